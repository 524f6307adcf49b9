"""What the layers of Wan are called in each form of LoRA file, and which part of a layer a key holds.

A form is a way to name layers (`FORMS`) joined to a way to end keys (`ENDINGS`). Reading takes any mixture of them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from .keys import DIFFUSERS

_SELF = tuple(f"self_attn.{p}" for p in "qkvo")
_CROSS = tuple(f"cross_attn.{p}" for p in ("q", "k", "v", "o", "k_img", "v_img"))
TARGETS = (*_SELF, *_CROSS, "ffn.0", "ffn.2")  # of every block, where the block has them
_OUTER = (
    "time_embedding.0", "time_embedding.2", "time_projection.1", "text_embedding.0", "text_embedding.2", "head.head",
    "img_emb.proj.0", "img_emb.proj.1", "img_emb.proj.3", "img_emb.proj.4", "patch_embedding",
)  # fmt: skip
_NORMS = (
    "norm3", "self_attn.norm_q", "self_attn.norm_k", "cross_attn.norm_q", "cross_attn.norm_k", "cross_attn.norm_k_img",
)  # fmt: skip
_KOHYA = {name.replace(".", "_"): name for name in (*TARGETS, *_OUTER, *_NORMS)}
_TO_DIFFUSERS = {original: name for name, original in DIFFUSERS.items()}
_UNDERSCORED = {name.replace(".", "_"): original for name, original in DIFFUSERS.items()}

# What may stand before a layer's name; several may, in this order. The expert that it tells, in files that hold both.
_PREFIXES = {
    "base_model.model.": None, "model.diffusion_model.": None, "diffusion_model.": None, "pipe.dit.": None,
    "transformer.": "high", "transformer_1.": "high", "transformer_2.": "low",
    "lora_unet__": None, "lora_unet_": None, "lora_transformer_": None, "lycoris_": None,
}  # fmt: skip
_SECOND = "transformer_2."
_IN_BLOCK = re.compile(r"blocks[._](\d+)[._](.+)")

# How keys end, and the part of the layer that they hold.
ENDINGS = {
    ".lora_A.weight": "A", ".lora_A.default.weight": "A", ".lora_down.weight": "A", ".lora.down.weight": "A",
    ".lora_B.weight": "B", ".lora_B.default.weight": "B", ".lora_up.weight": "B", ".lora.up.weight": "B",
    ".lora_A": "A", ".lora_B": "B", "_lora.down.weight": "A", "_lora.up.weight": "B",
    ".lora_linear_layer.down.weight": "A", ".lora_linear_layer.up.weight": "B",
    ".lora_mid.weight": "mid", ".lora_B.bias": "B_bias", ".lora_B.default.bias": "B_bias", ".alpha": "alpha",
    ".lokr_w1": "lokr_w1", ".lokr_w1_a": "lokr_w1_a", ".lokr_w1_b": "lokr_w1_b",
    ".lokr_w2": "lokr_w2", ".lokr_w2_a": "lokr_w2_a", ".lokr_w2_b": "lokr_w2_b", ".lokr_t2": "lokr_t2",
    ".hada_w1_a": "hada_w1_a", ".hada_w1_b": "hada_w1_b", ".hada_w2_a": "hada_w2_a", ".hada_w2_b": "hada_w2_b",
    ".hada_t1": "hada_t1", ".hada_t2": "hada_t2",
    ".dora_scale": "magnitude", ".lora_magnitude_vector": "magnitude", ".lora_magnitude_vector.weight": "magnitude",
    ".lora_magnitude_vector.default": "magnitude", ".lora_magnitude_vector.default.weight": "magnitude",
    ".diff": "diff", ".diff_b": "diff_b", ".diff_m": "diff_m",
}  # fmt: skip
_ENDING = re.compile("(.*?)(" + "|".join(map(re.escape, sorted(ENDINGS, key=len, reverse=True))) + ")", re.DOTALL)


class Key(NamedTuple):
    """What a key of a file says."""

    layer: str  # by its original name, as far as it has one
    part: str | None  # a value of ENDINGS; None when the ending is not known
    second: bool = False  # of the low expert, in a file that holds both


def parse(key: str) -> Key:
    """The layer and part of a key of any form."""
    match = _ENDING.fullmatch(key)
    if match is None:
        return Key(key, None)
    return Key(original_name(match[1]), ENDINGS[match[2]], _SECOND in key[: key.find("blocks")])


def original_name(name: str) -> str:
    """The original name of a layer, from its name in any of the forms."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    block, rest = "", name
    if match := _IN_BLOCK.fullmatch(name):
        block, rest = f"blocks.{match[1]}.", match[2]
    return block + (DIFFUSERS.get(rest) or _KOHYA.get(rest) or _UNDERSCORED.get(rest) or rest)


def diffusers_name(layer: str) -> str:
    """What diffusers calls a layer, by its original name."""
    match = _IN_BLOCK.fullmatch(layer)
    block, rest = (f"blocks.{match[1]}.", match[2]) if match else ("", layer)
    return block + _TO_DIFFUSERS.get(rest, rest)


@dataclass(frozen=True)
class Form:
    """How a file names the key of a layer's part."""

    title: str
    layer: Callable[[str], str]
    endings: dict[str, str]  # of those parts that have another ending than in LyCORIS' files
    plain: bool = False  # holds low rank alone, without alpha

    def key(self, layer: str, part: str) -> str:
        return self.layer(layer) + self.endings.get(part, f".{part}")


_PEFT_ENDINGS = {"A": ".lora_A.weight", "B": ".lora_B.weight", "B_bias": ".lora_B.bias"}
_KOHYA_ENDINGS = {"A": ".lora_down.weight", "B": ".lora_up.weight"}
_MAGNITUDE = {"magnitude": ".dora_scale"}
FORMS = {
    "comfy": Form(
        "ComfyUI", lambda layer: f"diffusion_model.{layer}", _PEFT_ENDINGS | _MAGNITUDE | {"diff_m": ".modulation.diff"}
    ),
    "kohya": Form("kohya", lambda layer: f"lora_unet_{layer.replace('.', '_')}", _KOHYA_ENDINGS | _MAGNITUDE),
    "diffusers": Form(
        "diffusers",
        lambda layer: f"transformer.{diffusers_name(layer)}",
        _PEFT_ENDINGS | _MAGNITUDE | {"diff_b": ".lora_B.bias"},
        plain=True,
    ),
}

# Names of other forms that are read, as a person knows them: the first that fits any key of a file.
_SIGNS = (
    ("both experts in diffusers' names", re.compile(r"transformer_2\..*")),
    ("kohya (musubi)", re.compile(r"lora_unet_[^_].*")),
    ("kohya with two underscores (VideoX-Fun)", re.compile(r"lora_unet__.*")),
    ("LyCORIS", re.compile(r"lycoris_.*")),
    ("peft", re.compile(r"base_model\.model\..*")),
    ("ComfyUI with model.", re.compile(r"model\.diffusion_model\..*")),
    ("ComfyUI (diffusion-pipe, ai-toolkit)", re.compile(r"diffusion_model\..*")),
    ("diffusers", re.compile(r"(transformer\.)?(.*\.)?(attn[12]|condition_embedder|ffn\.net)\..*")),
    ("original names, no prefix", re.compile(r"(transformer\.)?(blocks|head|\w+_embedding)\..*")),
)


def form_of(keys: list[str]) -> str:
    """What form of file these keys are of, in words."""
    for title, sign in _SIGNS:
        if any(sign.fullmatch(key) for key in keys):
            return title
    return "no form of Wan's layers"


# Layers that only other models have.
_STRANGERS = (
    ("Stable Diffusion", re.compile(r"(down|up|mid|input|output|middle)_blocks?[._]|lora_te\d?_|conditioner[._]")),
    ("Flux or HunyuanVideo", re.compile(r"(double|single)_blocks[._]|single_transformer_blocks|txt_in[._]")),
    ("Qwen-Image", re.compile(r"transformer_blocks[._].*(img_mlp|add_q_proj)")),
    ("LTX-Video or another transformer", re.compile(r"transformer_blocks[._]")),
)


def stranger(keys: list[str]) -> str:
    """Which other model these keys belong to; empty when that is not known."""
    return next((name for name, sign in _STRANGERS if any(sign.search(key) for key in keys)), "")
