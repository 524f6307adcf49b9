"""What a weight file is, told from names and shapes: every member and its parts in every naming, and what is not of Wan."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from diffusers_vae import make_vae
from safetensors.torch import save_file

from official import official
from sakuga.core.errors import SakugaError
from sakuga.core.family import CLIP_H, FAMILY, MEMBERS, VAE_21, VAE_22, Transformer
from sakuga.core.weight_files import expert_by_name
from sakuga.nn.clip import load_clip, make_clip
from sakuga.nn.recognise import Content, candidates, content, recognise
from sakuga.nn.text import load_text, make_text, text_config
from sakuga.nn.transformer import WanTransformer
from sakuga.nn.vae import load_vae
from sakuga.nn.weights import load_transformer

PATH = Path("mine.safetensors")
Shapes = Mapping[str, tuple[int, ...]]


def shapes(model: Any, prefix: str = "") -> Shapes:
    return {prefix + key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def transformer(name: str) -> WanTransformer:
    with torch.device("meta"):
        return WanTransformer(FAMILY[name].transformer)


TITLES = {
    "wan2.1-t2v-1.3b": "the transformer of Wan 2.1 T2V 1.3B",
    "wan2.1-t2v-14b": "the transformer of Wan 2.1 T2V 14B, or an expert of Wan 2.2 T2V A14B",
    "wan2.1-i2v-14b": "the transformer of Wan 2.1 I2V 14B",
    "wan2.2-t2v-a14b": "the transformer of Wan 2.1 T2V 14B, or an expert of Wan 2.2 T2V A14B",
    "wan2.2-i2v-a14b": "an expert of Wan 2.2 I2V A14B",
    "wan2.2-ti2v-5b": "the transformer of Wan 2.2 TI2V 5B",
}


@pytest.mark.parametrize("name", TITLES)
def test_every_transformer(name: str) -> None:
    model = transformer(name)
    for prefix in ("", "diffusion_model.", "model.diffusion_model."):
        found = content(shapes(model, prefix), PATH)
        assert (found.kind, found.title) == ("transformer", TITLES[name])
        assert name in found.members
    named = dict(model.state_dict())
    diffusers = {k: tuple(v.shape) for k, v in convert_wan_transformer_to_diffusers(named).items()}
    assert content(diffusers, PATH).title == TITLES[name]


def test_the_name_tells_the_experts_apart() -> None:
    found = content(shapes(transformer("wan2.2-t2v-a14b")), Path("wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"))
    assert (found.title, found.members) == ("the high expert of Wan 2.2 T2V A14B", ("wan2.2-t2v-a14b",))
    assert found.serves("high", FAMILY["wan2.2-t2v-a14b"]) and not found.serves("low", FAMILY["wan2.2-t2v-a14b"])
    assert not found.serves("vae", FAMILY["wan2.2-t2v-a14b"])


@pytest.mark.parametrize(
    ("name", "expert"),
    [
        ("Wan2_2-T2V-A14B-LOW_fp8_e4m3fn.safetensors", "low"),
        ("Wan2.2-I2V-A14B-HighNoise.safetensors", "high"),
        ("low_noise_model", "low"),
        ("style-high.safetensors", "high"),
        ("glow_noise.safetensors", None),
        ("slowly_flowing.safetensors", None),
        ("highlight.safetensors", None),
        ("high_and_low.safetensors", None),
        ("transformer_2", "low"),
        ("transformer", None),
    ],
)
def test_experts_by_name(name: str, expert: str | None) -> None:
    assert expert_by_name(Path("models") / name) == expert


def test_a_diffusers_pipeline_of_two(tmp_path: Path) -> None:
    (tmp_path / "transformer_2").mkdir()
    assert expert_by_name(tmp_path / "transformer") == "high"


def test_the_other_parts() -> None:
    with torch.device("meta"):
        vae_21 = official("modules.vae2_1").WanVAE_(dim=VAE_21.base_dim, z_dim=VAE_21.channels)
    for found in (content(shapes(vae_21), PATH), content(shapes(make_vae(VAE_21)), PATH)):
        assert found.kind == "vae" and "wan2.2-i2v-a14b" in found.members and "wan2.2-ti2v-5b" not in found.members
    assert content(shapes(make_vae(VAE_22)), PATH).title == "the VAE of Wan 2.2 TI2V 5B"
    wan = FAMILY["wan2.1-t2v-14b"]
    assert content(shapes(make_text(text_config(wan.text))), PATH).title == "the text encoder umt5-xxl"
    seen = content({**shapes(make_clip(CLIP_H), "vision_model."), "visual_projection.weight": (1024, 1280)}, PATH)
    assert (seen.kind, seen.members) == ("clip", ("wan2.1-i2v-14b",))


def lora(name: str, form: str) -> Shapes:
    shape = FAMILY[name].transformer
    return {form.format("A"): (32, shape.dim), form.format("B"): (shape.dim, 32)}


@pytest.mark.parametrize(
    "form", ["diffusion_model.blocks.0.self_attn.q.lora_{}.weight", "transformer.blocks.0.attn1.to_q.lora_{}.weight"]
)
def test_loras(form: str) -> None:
    found = content(lora("wan2.1-t2v-14b", form), Path("style-low.safetensors"))
    assert found.kind == "lora" and found.title.endswith("Wan 2.2 I2V A14B (low expert)")
    assert content(lora("wan2.1-t2v-1.3b", form), PATH).title == "a LoRA for Wan 2.1 T2V 1.3B"
    other = {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": (8, 320)}
    assert content(other, PATH).title == "a LoRA, but not for Wan"


@pytest.mark.parametrize(
    ("keys", "title"),
    [
        ({"conditioner.embedders.1.model.x": (1,), "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3)},
         "an SDXL checkpoint, not of Wan"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "a Stable Diffusion checkpoint, not of Wan"),
        ({"double_blocks.0.img_attn.qkv.weight": (9, 3)}, "a Flux transformer, not of Wan"),
        ({"shared.weight": (32128, 4096)}, "a T5 text encoder of 32128 tokens and width 4096"),
        ({"encoder.conv_in.weight": (128, 3, 3, 3)}, "a VAE for pictures"),
        ({"vision_model.embeddings.patch_embedding.weight": (1024, 3, 14, 14)}, "a CLIP of another size"),
        ({"a": (1,)}, "none of Wan's files (a)"),
        ({}, "none of Wan's files (it is empty)"),
    ],
)  # fmt: skip
def test_strangers(keys: Shapes, title: str) -> None:
    assert content(keys, PATH) == Content("other", title)


def test_relatives_and_unknown_sizes() -> None:
    wan = dict(shapes(transformer("wan2.1-t2v-1.3b")))
    found = content(wan | {"vace_blocks.0.before_proj.weight": (1, 1)}, PATH)
    assert (found.kind, found.title) == ("other", "a VACE model of Wan, which Sakuga does not know")
    with torch.device("meta"):
        odd = content(shapes(WanTransformer(Transformer(48, 64, 2, 3, 16, 16, 24, freq_dim=32))), PATH)
    assert odd.title == "a transformer of Wan's kind with 3 layers of width 48 and 16 channels in" and not odd.members


# Files


def small(kind: torch.dtype, path: Path, keys: Shapes) -> Path:
    save_file({key: torch.zeros(shape, dtype=kind) for key, shape in keys.items()}, path)
    return path


def tiny(path: Path, kind: torch.dtype = torch.bfloat16) -> Path:
    return small(kind, path, shapes(transformer("tiny")))


def test_precision_is_told(tmp_path: Path) -> None:
    assert recognise(tiny(tmp_path / "a.safetensors")).precision == "bf16"
    scaled = dict(shapes(transformer("tiny"))) | {"blocks.0.ffn.0.scale_weight": ()}
    assert recognise(small(torch.float8_e4m3fn, tmp_path / "b.safetensors", scaled)).precision == "fp8 (e4m3), scaled"
    torch.save({k: torch.zeros(v) for k, v in shapes(transformer("tiny")).items()}, tmp_path / "c.pth")
    assert recognise(tmp_path / "c.pth").members == recognise(tmp_path / "a.safetensors").members


def said(call: Callable[[], object]) -> str:
    with pytest.raises(SakugaError) as caught:
        call()
    return str(caught.value)


def test_a_wrong_file_is_named_as_what_it_is(tmp_path: Path) -> None:
    wan = FAMILY["tiny"]
    style = small(
        torch.bfloat16, tmp_path / "style.safetensors", lora("wan2.1-t2v-1.3b", "blocks.0.self_attn.q.lora_{}.weight")
    )
    whole, vae = (
        tiny(tmp_path / "whole.safetensors"),
        small(torch.float32, tmp_path / "vae.safetensors", shapes(make_vae(wan.vae))),
    )
    assert said(lambda: load_transformer(wan.transformer, style)) == (
        f"{style} is a LoRA for Wan 2.1 T2V 1.3B, not a transformer of Wan; give it to --lora"
    )
    titles = ", ".join(m.title for m in MEMBERS if m.vae == wan.vae)
    assert said(lambda: load_transformer(wan.transformer, vae)) == (
        f"{vae} is the VAE of {titles}, not a transformer of Wan; it belongs to models.vae"
    )
    model = recognise(whole).title
    assert said(lambda: load_vae(wan.vae, whole)) == (
        f"{whole} is {model}, not a VAE of Wan; it belongs to models.transformer, models.high or models.low"
    )
    assert said(lambda: load_text(wan.text, whole, None)).startswith(f"{whole} is {model}, not UMT5; it belongs to")
    assert said(lambda: load_clip(whole)).startswith(f"{whole} is {model}, not CLIP's picture encoder; it belongs to")
    assert said(lambda: load_transformer(FAMILY["wan2.1-t2v-1.3b"].transformer, whole)) == (
        f"{whole} is {model}, which is not the model chosen; give that model's file, or choose another --model"
    )
    sdxl = small(torch.float16, tmp_path / "sdxl.safetensors", {"conditioner.embedders.1.x": (1,)})
    assert said(lambda: load_transformer(wan.transformer, sdxl)) == (
        f"{sdxl} is an SDXL checkpoint, not of Wan, not a transformer of Wan; `sakuga models` lists what is needed"
    )


def test_files_of_another_kind(tmp_path: Path) -> None:
    for name, sentence in (
        ("a.gguf", "a.gguf is a GGUF file, which Sakuga does not read; take the .safetensors of the same model"),
        ("a.png", "a.png holds no weights that Sakuga knows; give a .safetensors or .pth file"),
    ):
        (tmp_path / name).write_bytes(b"GGUF")
        assert said(lambda name=name: recognise(tmp_path / name)).endswith(sentence)  # type: ignore[misc]


def test_a_folder_is_searched_two_drawers_deep(tmp_path: Path) -> None:
    for place in ("diffusion_models/wan", "loras"):
        (tmp_path / place).mkdir(parents=True)
    mine = tiny(tmp_path / "diffusion_models" / "wan" / "my_merge.safetensors")
    (tmp_path / "loras" / "broken.safetensors").write_bytes(b"no")
    assert [(path, found.kind) for path, found in candidates(tmp_path)] == [(mine, "transformer")]
