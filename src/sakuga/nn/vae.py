"""The door to the video VAE: pixels to normalised latents and back.

Shapes: B batch, C channels, F frames (pixels) or latent frames, H W size.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..core.errors import SakugaError
from ..core.family import Vae
from .device import free_memory
from .vae_network import VaeNetwork
from .weights import fill, read_object, read_weights, wanted

PIXEL_CHANNELS = 3
HOST_BUDGET = 4e9  # bytes on a processor
FREE_SHARE = 0.9  # of a card's free memory, for what is free lies in pieces
MOST = 1e6  # that a mean or a deviation of latents can be; those of Wan are about 1
_STEMS = (
    (r"^(encoder|decoder)\.conv_in\.", r"\1.conv1."),
    (r"^(encoder|decoder)\.mid_block\.resnets\.0\.", r"\1.middle.0."),
    (r"^(encoder|decoder)\.mid_block\.attentions\.0\.", r"\1.middle.1."),
    (r"^(encoder|decoder)\.mid_block\.resnets\.1\.", r"\1.middle.2."),
    (r"^(encoder|decoder)\.norm_out\.", r"\1.head.0."),
    (r"^(encoder|decoder)\.conv_out\.", r"\1.head.2."),
    (r"^quant_conv\.", "conv1."),
    (r"^post_quant_conv\.", "conv2."),
    (r"^encoder\.down_blocks\.", "encoder.downsamples."),
    (r"^decoder\.up_blocks\.", "decoder.upsamples."),
)
_LEAVES = {
    "norm1": "residual.0",
    "conv1": "residual.2",
    "norm2": "residual.3",
    "conv2": "residual.6",
    "conv_shortcut": "shortcut",
}
_LAYER = re.compile(r"(en|de)coder\.(down|up)samples\.(\d{1,3})\.(.*)", re.DOTALL)
_IN_LEVEL = re.compile(r"(?:(?:(?:down|up)samples|resnets)\.(\d{1,3})|((?:down|up)samplers?(?:\.0)?))\.(.*)", re.DOTALL)


def official_key(key: str, facts: Vae) -> str:
    """The name of a weight of a VAE file, of diffusers' or the official, as the official code of Wan 2.2 has it.

    There, layers are counted by level, the residual blocks and then the resampling; that of Wan 2.1 counts all in a row.
    """
    for pattern, name in _STEMS:
        key = re.sub(pattern, name, key)
    if not (found := _LAYER.fullmatch(key)):
        return _leaf(key)
    half, way, number, rest = found.groups()
    blocks = facts.res_blocks + (way == "up")
    if inside := _IN_LEVEL.fullmatch(rest):
        level, layer, rest = int(number), blocks if inside[2] else int(inside[1]), inside[3]
    else:
        level, layer = divmod(int(number), blocks + 1)
    return _leaf(f"{half}coder.{way}samples.{level}.{way}samples.{layer}.{rest}")


def _leaf(key: str) -> str:
    """A layer of a residual block by its official name."""
    stem, _, leaf = key.rpartition(".")
    block, _, layer = stem.rpartition(".")
    return f"{block}.{_LEAVES[layer]}.{leaf}" if layer in _LEAVES and block[-1:].isdigit() else key


def make_vae(facts: Vae) -> VaeNetwork:
    """The network without weights, on the meta device."""
    with torch.device("meta"):
        return VaeNetwork(facts)


class VaeDoor:
    """`model` is the network; `mean` and `std` are of the latents, by channel.

    `budget` is how many bytes may be held on the way, beside weights, pixels and latents: None is what is free on a card,
    and `HOST_BUDGET` on a processor.
    """

    def __init__(
        self, model: VaeNetwork, mean: Sequence[float], std: Sequence[float], budget: float | None = None
    ) -> None:
        self.model, self.budget = model.eval().requires_grad_(False), budget
        self.device, self.dtype = model.conv1.weight.device, model.conv1.weight.dtype
        self.stride = model.facts.stride
        self.mean = self._by_channel(mean)
        # Kept as the inverse, and divided by on the way back, since official code does: equal to the last bit.
        self.scale = 1 / self._by_channel(std)

    def _by_channel(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, device=self.device).view(1, -1, 1, 1, 1)

    @torch.no_grad()
    def encode(self, pixels_BCFHW: Tensor) -> Tensor:
        """Pixels in [-1, 1], F = 1 + a multiple of the stride -> normalised latents in fp32 (the mode, no noise)."""
        frames, *size = pixels_BCFHW.shape[2:]
        assert (frames - 1) % self.stride[0] == 0, "the VAE would leave out the last frames"
        assert all(n % s == 0 for n, s in zip(size, self.stride[1:], strict=True)), "the VAE would leave out a border"
        return (self.model.encode(pixels_BCFHW, self._budget()).float() - self.mean) * self.scale

    @torch.no_grad()
    def decode(self, latents_BCFHW: Tensor) -> Tensor:
        """Normalised latents -> pixels in fp32, clamped to [-1, 1], in the memory of the host."""
        raw = latents_BCFHW.to(self.device, torch.float32) / self.scale + self.mean
        B, _, frames, *size = raw.shape
        time, *sides = self.stride
        pixels_BCFHW = torch.empty(
            B, PIXEL_CHANNELS, 1 + (frames - 1) * time, *(n * s for n, s in zip(size, sides, strict=True))
        )
        for where, piece in self.model.decode(raw.to(self.dtype), self._budget()):
            pixels_BCFHW[where] = piece.float().clamp_(-1, 1).cpu()
        return pixels_BCFHW

    def _budget(self) -> float:
        if self.budget is not None:
            return self.budget
        if self.device.type != "cuda":
            return HOST_BUDGET
        return FREE_SHARE * free_memory(self.device)


def load_vae(facts: Vae, path: Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> VaeDoor:
    """The VAE of that row from a diffusers folder or from an official file (.pth or .safetensors)."""
    known = {"latents_mean": list(facts.mean), "latents_std": list(facts.std)}
    statistics = _statistics(path, facts) if path.is_dir() else known
    model = make_vae(facts)
    tensors = ((official_key(key, facts), tensor) for key, tensor in read_weights(path))
    with wanted(path, "vae", facts):
        fill(model, tensors, path, lambda _: dtype, device)
    model.channels_last()
    return VaeDoor(model, statistics["latents_mean"], statistics["latents_std"])


def _statistics(folder: Path, facts: Vae) -> dict[str, list[float]]:
    """Mean and deviation of the latents by channel: those of the folder's config.json before those that are known."""
    file = folder / "config.json"
    if not file.is_file():
        raise SakugaError(f"{folder} has no config.json; give a VAE folder of diffusers, or the VAE's single file")
    config = read_object(file)
    found: dict[str, list[float]] = {}
    for key, known, least in (("latents_mean", facts.mean, -MOST), ("latents_std", facts.std, 1 / MOST)):
        values = config.get(key, list(known))
        if not isinstance(values, list) or len(values) != facts.channels or not all(_within(least, v) for v in values):
            raise SakugaError(
                f"{file}: {key} is not a number for each of the {facts.channels} channels; download it again"
            )
        found[key] = values
    return found


def _within(least: float, value: object) -> bool:
    return isinstance(value, int | float) and least <= value <= MOST
