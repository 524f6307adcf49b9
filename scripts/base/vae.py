"""Trains the tiny VAE on all looks: stills, then clips, then the decoder alone on noisy latents.

After the clips the encoder never changes again, so a transformer may be trained while the decoder still learns. The
VAE is written in diffusers' format after every stage. Killed and started again, it continues.

Shapes: B batch, C channels, F frames, H W size.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers_vae import make_vae, vae_config
from names import SILU_GAIN, VAE_FILE
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from training import Average, Clock, Muon, cosine, prepare, seeds, set_rates
from whole_clip import decode, encode

from data import NAMED, Clips
from sakuga.core.family import VAE_TINY, Vae

ROW = VAE_TINY
BASE_SHARE = 0.4  # of a batch; the rest are the other looks
LATENT_NOISE = 0.15  # standard deviations, while the decoder learns alone
FIXED = 8  # held-out clips of each look that PSNR is measured on


class Stage(NamedTuple):
    name: str
    share: float  # of the minutes
    batch: int
    frames: int
    rate: float  # 1 is Muon 0.02, AdamW 2e-3
    end: float  # the rate's share at the end of the stage
    kl: float


STAGES = (
    Stage("stills", 0.31, 24, 1, 1.0, 0.3, 3e-4),
    Stage("clips", 0.51, 4, 9, 0.6, 0.05, 2e-3),
    Stage("decoder", 0.18, 4, 9, 0.6, 0.02, 0.0),
)


def new_model(row: Vae, seed: int) -> Any:
    """Random weights that keep the variance, and that see one frame alone: what stills teach is at once valid for clips."""
    model = make_vae(row).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        p.data.fill_(1.0 if name.endswith("gamma") else 0.0)
        if p.ndim == 5:
            p.data[:, :, -1] = slice_of(name, p[:, :, -1], generator)
        elif p.ndim == 4 and p.shape[2] == 3:
            p.data.copy_(torch.randn(p.shape, generator=generator) / p[0].numel() ** 0.5)
        elif name.endswith("to_qkv.weight"):
            p.data.copy_(torch.randn(p.shape, generator=generator) / p.shape[1] ** 0.5)
    model.quant_conv.bias.data[row.channels :] = -5.0  # a latent is nearly certain from the start
    return model.requires_grad_(True).train()


def slice_of(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """The slice of a 3D kernel that meets the newest frame."""
    out, into = like.shape[:2]
    if "time_conv" in name:
        return torch.eye(into).repeat(out // into, 1).view_as(like)
    if name.startswith("post_quant"):
        return torch.eye(out).view_as(like)
    if name.startswith("quant"):
        half = torch.eye(out // 2, into)
        return torch.cat((half, 0.1 * half.roll(out // 2, 1))).view_as(like)
    gain = 1.0 if "conv_in" in name or "shortcut" in name else SILU_GAIN
    if ".conv2." in name:
        gain *= 0.1  # a block begins near the identity
    if name.startswith("decoder.conv_out"):
        gain *= 0.3
    return gain * torch.randn(like.shape, generator=generator) / like[0].numel() ** 0.5


def optimisers(model: Any, stage: Stage) -> tuple[Muon, torch.optim.AdamW]:
    inner, rest = [], []
    for name, p in model.named_parameters():
        if stage.name == "decoder" and not name.startswith(("decoder", "post_quant")):
            p.requires_grad_(False)
            continue
        edge = name.endswith(("conv_in.weight", "decoder.conv_out.weight", "quant_conv.weight"))
        (rest if p.ndim < 4 or edge else inner).append(p)
    matrices = [p for p in inner if p[0].numel() > 1]
    rest += [p for p in inner if p[0].numel() == 1]  # gammas
    return Muon(matrices, 0.02 * stage.rate), torch.optim.AdamW(rest, 2e-3 * stage.rate, weight_decay=0, foreach=True)


def to_pixels(clips: np.ndarray) -> Tensor:
    """uint8 [B, F, H, W, 3] -> [B, 3, F, H, W] in [-1, 1]."""
    return torch.from_numpy(np.array(clips)).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def batch(stage: Stage, sets: tuple[Clips, Clips], rng: np.random.Generator) -> Tensor:
    parts = []
    for of_base in rng.uniform(size=stage.batch) < BASE_SHARE:
        pixels = sets[0 if of_base else 1].pixels
        clip = pixels[rng.integers(len(pixels))]
        start = rng.integers(len(clip) - stage.frames + 1)
        parts.append(clip[start : start + stage.frames])
    return to_pixels(np.stack(parts))


def loss_of(model: Any, stage: Stage, x_BCFHW: Tensor, generator: torch.Generator, std_C: Tensor) -> Tensor:
    with torch.set_grad_enabled(stage.name != "decoder"), torch.autocast("cpu", torch.bfloat16):
        mean, log_variance = encode(model, x_BCFHW)
    noise = torch.randn(mean.shape, generator=generator)
    spread = LATENT_NOISE * std_C if stage.name == "decoder" else (0.5 * log_variance).exp()
    with torch.autocast("cpu", torch.bfloat16):
        y = decode(model, mean + spread * noise)
    d = y - x_BCFHW
    edges = d.diff(dim=3).abs().mean() + d.diff(dim=4).abs().mean()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    return d.abs().mean() + 0.5 * edges + d.square().mean() + stage.kl * kl


@torch.no_grad()
def measure(model: Any, fixed: dict[str, Tensor]) -> dict[str, float]:
    """Mean PSNR by look, without noise."""
    figures = {}
    for look, x in fixed.items():
        with torch.autocast("cpu", torch.bfloat16):
            y = decode(model, encode(model, x)[0]).clamp(-1, 1)
        figures[look] = (-10 * ((y - x) / 2).square().flatten(1).mean(1).log10()).mean().item()
    return figures


@torch.no_grad()
def latent_statistics(model: Any, clips: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the latents by channel."""
    with torch.autocast("cpu", torch.bfloat16):
        latents = torch.cat([encode(model, x)[0] for x in clips]).transpose(0, 1).flatten(1)
    return latents.mean(1), latents.std(1)


def base_clips(sets: tuple[Clips, Clips], count: int) -> Iterator[Tensor]:
    return (to_pixels(sets[0].pixels[i : i + 16]) for i in range(0, min(count, len(sets[0].pixels)), 16))


def write(model: Any, row: Vae, folder: Path, statistics: tuple[Tensor, Tensor]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: p.detach().to(torch.float16).contiguous() for name, p in model.named_parameters()}
    save_file(weights, folder / VAE_FILE, metadata={"format": "pt"})
    mean, std = ([round(value, 4) for value in each.tolist()] for each in statistics)
    config = {"_class_name": "AutoencoderKLWan", **vae_config(row), "latents_mean": mean, "latents_std": std}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


@torch.no_grad()
def picture(model: Any, fixed: dict[str, Tensor], file: Path) -> None:
    """Truth above what came back, first, middle and last frame of clips of each look."""
    rows = []
    for x in fixed.values():
        with torch.autocast("cpu", torch.bfloat16):
            y = decode(model, encode(model, x[:4])[0]).clamp(-1, 1)
        for each in (x[:4], y):
            rows.append(torch.cat([each[b, :, f] for b in range(4) for f in (0, 8)], dim=2))
    image = ((torch.cat(rows, dim=1).permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
    Image.fromarray(image).resize((image.shape[1] * 2, image.shape[0] * 2), 0).save(file)


def train(stage: Stage, model: Any, row: Vae, sets: tuple[Clips, Clips], fixed: dict[str, Tensor], args: Any) -> None:
    muon, adam = optimisers(model, stage)
    average = Average((p for p in model.parameters() if p.requires_grad), 0.995)
    clock = Clock(
        args.out / f"vae-{stage.name}.pt", args.out / "vae.log", stage.share * args.minutes,
        model=model, muon=muon, adam=adam, average=average,
    )  # fmt: skip
    std_C = torch.ones(row.channels, 1, 1, 1)
    if stage.name == "decoder":
        statistics = latent_statistics(model, base_clips(sets, 1024))
        std_C = statistics[1].view(-1, 1, 1, 1)
    clock.pause()
    shown = time.monotonic()
    while clock.progress < 1:
        rng, generator = seeds(args.seed, STAGES.index(stage), clock.step)
        set_rates(min(1.0, (clock.step + 1) / 20) * cosine(clock.progress, stage.end), muon, adam)
        loss = loss_of(model, stage, batch(stage, sets, rng), generator, std_C)
        for optimiser in (muon, adam):
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(average.live, 1.0)
        muon.step()
        adam.step()
        average.update()
        clock.tick()
        if time.monotonic() - shown > 30 or clock.progress >= 1:
            average.swap()
            figures = " ".join(f"{look} {value:.2f}" for look, value in measure(model, fixed).items())
            if clock.progress >= 1:
                picture(model, fixed, args.out / f"vae-{stage.name}.png")
            average.swap()
            clock.log(f"{stage.name} {clock.step} {clock.seconds:.0f}s loss {loss.item():.4f} PSNR {figures}")
            shown = time.monotonic()
            clock.pause()
    average.swap()  # what follows builds on the averaged weights
    if stage.frames > 1:
        write(model, row, args.out / "vae", latent_statistics(model, base_clips(sets, 2048)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=35)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--row", type=json.loads, default={})
    args = parser.parse_args()
    prepare()
    args.out.mkdir(parents=True, exist_ok=True)
    sets = (Clips(args.data, "base"), Clips(args.data, "mixed"))
    held = Clips(args.data, "held")
    fixed = {look: to_pixels(held.pixels[held.of(look)[:FIXED]]) for look in NAMED}
    row = replace(ROW, **{k: tuple(v) if isinstance(v, list) else v for k, v in args.row.items()})
    model = new_model(row, args.seed)
    for stage in STAGES:
        train(stage, model, row, sets, fixed, args)


if __name__ == "__main__":
    main()
