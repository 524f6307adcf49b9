"""Makes a tiny member with random weights: real files in the real formats, in a second or two.

Every tensor is a pure function of the seed, its file and its name, so the same seed gives the same bytes.

Shapes: B batch, C channels, F frames, H W size.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers_vae import make_vae, vae_config
from names import (
    CONFIG_FILE,
    END,
    PAD,
    SILU_GAIN,
    TEXT_FILE,
    TEXT_FOLDER,
    TOKENIZER_FILE,
    TOKENIZER_FOLDER,
    TRANSFORMER_FILES,
    UNKNOWN,
    VAE_FILE,
    VAE_FOLDER,
)
from names import OTHER_CAPTIONS as CAPTIONS
from safetensors.torch import save
from torch import Tensor

from sakuga.core.errors import SakugaError
from sakuga.core.family import (
    FAMILY,
    SIZE_TINY,
    VAE_22,
    VAE_TINY,
    ClipVision,
    Member,
    ModelFile,
    TextEncoder,
    Transformer,
    Vae,
)
from sakuga.core.files import write_atomic
from sakuga.nn.clip import make_clip
from sakuga.nn.flow import noise_for
from sakuga.nn.text import make_text, text_config
from sakuga.nn.transformer import WanTransformer
from sakuga.nn.weights import fill

PIXEL_STD = 0.5  # of decoded noise
BIAS_STD = 0.02
CLIP_FILE = "clip.safetensors"

_TINY, _TWO = FAMILY["tiny"], FAMILY["tiny-experts"]
_GIVEN = replace(SIZE_TINY, in_channels=2 * VAE_TINY.channels + VAE_TINY.stride[0])
_VAE_22 = replace(VAE_22, base_dim=8, decoder_base_dim=8, res_blocks=1)
# One small member of each kind that takes a picture; the family has text-to-video ones of its own.
KINDS = {
    "tiny-i2v-clip": replace(
        _TINY, name="tiny-i2v-clip", title="Tiny I2V with CLIP", task="i2v", transformer=replace(_GIVEN, clip_branch=True),
        clip=ClipVision(1280, 64, 16, 2, 28, 14), files=(*_TINY.files, ModelFile("clip", (CLIP_FILE,), 0.03, "here")),
    ),
    "tiny-i2v-experts": replace(
        _TWO, name="tiny-i2v-experts", title="Tiny I2V with two experts", task="i2v", transformer=_GIVEN
    ),
    "tiny-ti2v": replace(
        _TINY, name="tiny-ti2v", title="Tiny TI2V", task="ti2v", vae=_VAE_22, fps=24,
        transformer=replace(SIZE_TINY, in_channels=VAE_22.channels, out_channels=VAE_22.channels),
    ),
}  # fmt: skip


def make_tiny(member: Member, folder: Path, seed: int = 0) -> None:
    """Write the files of a tiny member into `folder`; a file that is there already is left as it is."""
    if not member.tiny:
        raise SakugaError(f"{member.name} cannot be made from nothing; get its files as `sakuga models` lists them")
    for expert in member.experts:
        name = TRANSFORMER_FILES[expert.name]
        _write(folder / name, lambda name=name: save(_transformer(member.transformer, seed, name)))  # type: ignore[misc]
    _write_vae(member.vae, folder / VAE_FOLDER, seed)
    if member.clip is not None:
        facts = member.clip
        _write(
            folder / CLIP_FILE, lambda: save(_random(make_clip(facts).named_parameters(), seed, CLIP_FILE, gain=1.0))
        )
    _write_text(member.text, folder / TEXT_FOLDER, seed)
    _write(folder / TOKENIZER_FOLDER / TOKENIZER_FILE, lambda: _tokenizer(member.text.vocabulary))
    _write_json(folder / TOKENIZER_FOLDER / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": PAD, "eos_token": END, "unk_token": UNKNOWN,
    })  # fmt: skip


def _write(path: Path, content: Callable[[], str | bytes]) -> None:
    if not path.exists():
        write_atomic(path, content())


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    _write(path, lambda: json.dumps(content, indent=2, sort_keys=True) + "\n")


def _random(named: Iterable[tuple[str, Tensor]], seed: int, file: str, gain: float) -> dict[str, Tensor]:
    """Weights of variance gain^2 / fan-in, norms of one, small biases, for the names and shapes of `named`."""
    made: dict[str, Tensor] = {}
    for key, like in named:
        noise = noise_for(like.shape, "tiny", seed, file, key)
        if key.endswith("modulation"):
            made[key] = noise / like.shape[-1] ** 0.5
        elif key.endswith("bias"):
            made[key] = BIAS_STD * noise
        elif key.endswith("gamma") or like.dim() == 1:
            made[key] = torch.ones(like.shape)
        else:
            made[key] = gain * noise / like[0].numel() ** 0.5
    return made


def _transformer(shape: Transformer, seed: int, file: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        model = WanTransformer(shape)
    made = _random(model.named_parameters(), seed, file, gain=1.0)
    return {key: tensor.bfloat16() for key, tensor in made.items()}  # as the real files have them


def _write_text(facts: TextEncoder, folder: Path, seed: int) -> None:
    def weights() -> bytes:
        made = _random(make_text(text_config(facts)).named_parameters(), seed, TEXT_FOLDER, gain=1.0)
        made["shared.weight"] *= facts.dim**0.5  # an embedding is looked up, not summed over
        for key in made:
            if key.endswith("SelfAttention.q.weight"):
                made[key] /= facts.head_dim**0.5  # T5 does not scale its scores
        return save(made, metadata={"format": "pt"})

    _write(folder / TEXT_FILE, weights)
    _write_json(folder / CONFIG_FILE, {
        "architectures": ["UMT5EncoderModel"], "model_type": "umt5", "tie_word_embeddings": True, **text_config(facts),
    })  # fmt: skip


def _write_vae(facts: Vae, folder: Path, seed: int) -> None:
    """Weights and a config with the statistics that these very weights give to latents."""
    if (folder / VAE_FILE).exists() and (folder / CONFIG_FILE).exists():
        return
    model = make_vae(facts)
    made = _random(model.named_parameters(), seed, VAE_FOLDER, gain=SILU_GAIN)
    made["decoder.conv_out.weight"] *= PIXEL_STD
    fill(model, iter(made.items()), folder, lambda _: torch.float32, "cpu")
    mean, std = _latent_statistics(model, seed)
    _write(folder / VAE_FILE, lambda: save(made, metadata={"format": "pt"}))
    _write_json(folder / CONFIG_FILE, {
        "_class_name": "AutoencoderKLWan", **vae_config(facts), "latents_mean": mean, "latents_std": std,
    })  # fmt: skip


@torch.no_grad()
def _latent_statistics(model: Any, seed: int) -> tuple[list[float], list[float]]:
    """Mean and deviation by channel of the latents of smooth random videos."""
    coarse_BCFHW = noise_for((4, 3, 3, 6, 9), "tiny", seed, "video")
    pixels_BCFHW = F.interpolate(coarse_BCFHW, size=(5, 64, 96), mode="trilinear").tanh()
    latents_CX = model.encode(pixels_BCFHW).latent_dist.mode().transpose(0, 1).flatten(1)
    return _rounded(latents_CX.mean(1)), _rounded(latents_CX.std(1))


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


def _tokenizer(vocabulary: int) -> str:
    """tokenizer.json: bytes, and pieces of common words as far as the vocabulary goes, ended by the end mark."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, END, UNKNOWN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CAPTIONS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    return str(tokenizer.to_str(pretty=True))
