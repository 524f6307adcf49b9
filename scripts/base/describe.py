"""Trains a describer on drawn clips of all looks, as drawn and as the VAE gives them back.

Two are made, each on its own half of the clips: one captions (seed 1), the other judges what is generated (seed 2).
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers_vae import load_vae
from safetensors.torch import save_file
from torch import Tensor
from training import Average, Clock, Muon, cosine, prepare, seeds, set_rates
from vae import to_pixels
from whole_clip import decode, encode

from data import CLASSES, NAMED, Clips
from sakuga.core.family import VAE_TINY, Vae
from sakuga.nn.describer import Network

BATCH = 32
THROUGH = {"base": 800, "mixed": 1600, "later": 2400, "held": 360, "held-later": 360}  # also through the VAE
SHARES = {"base": 0.2, "mixed": 0.3, "later": 0.5}  # of a batch


@torch.no_grad()
def through_vae(clips: Clips, count: int, folder: Path, row: Vae, file: Path) -> np.ndarray:
    """The first `count` clips as the VAE gives them back, kept on disk."""
    if not file.exists():
        door = load_vae(row, folder)
        made = np.empty((count, *clips.pixels.shape[1:]), np.uint8)
        for at in range(0, count, 8):
            with torch.autocast("cpu", torch.bfloat16):
                pixels = decode(door.model, encode(door.model, to_pixels(clips.pixels[at : min(at + 8, count)]))[0])
            made[at : min(at + 8, count)] = (
                ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 4, 1).numpy()
            )
        np.save(file, made)
    return np.load(file, mmap_mode="r")


def disturbed(pixels_BCFHW: Tensor, generator: torch.Generator) -> Tensor:
    """Small changes of brightness, contrast and sharpness, so that nothing hangs on a single level."""
    shape = (len(pixels_BCFHW), 1, 1, 1, 1)
    gain = 1 + 0.1 * torch.randn(shape, generator=generator)
    noise = 0.06 * torch.rand(shape, generator=generator) * torch.randn(pixels_BCFHW.shape, generator=generator)
    soft = F.avg_pool3d(pixels_BCFHW, (1, 3, 3), 1, (0, 1, 1), count_include_pad=False)
    blur = torch.rand(shape, generator=generator)
    return (pixels_BCFHW.lerp(soft, blur) * gain + 0.1 * torch.randn(shape, generator=generator) + noise).clamp(-1, 1)


@torch.no_grad()
def shares_right(model: Network, pixels: np.ndarray, labels: dict[str, Tensor]) -> dict[str, float]:
    """The share of clips on which each fact is told right, and all of them."""
    right = {fact: [] for fact in CLASSES}  # type: dict[str, list[Tensor]]
    for at in range(0, len(pixels), 40):
        for fact, logits in model(to_pixels(pixels[at : at + 40])).items():
            right[fact].append(logits.argmax(1) == labels[fact][at : at + 40])
    by_fact = {fact: torch.cat(each) for fact, each in right.items()}
    every = torch.stack(list(by_fact.values())).all(0)
    return {fact: each.float().mean().item() for fact, each in by_fact.items()} | {"all": every.float().mean().item()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True, help="the VAE's folder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--seed", type=int, default=1, help="1 captions, 2 judges")
    args = parser.parse_args()
    prepare()
    args.out.mkdir(parents=True, exist_ok=True)
    sets = {name: Clips(args.data, name) for name in THROUGH}
    back = {name: through_vae(sets[name], count, args.vae, VAE_TINY, args.out / f"through-{name}.npy")
            for name, count in THROUGH.items()}  # fmt: skip
    labels = {name: {fact: torch.from_numpy(sets[name].labels(fact)) for fact in CLASSES} for name in THROUGH}

    torch.manual_seed(args.seed)
    model = Network(CLASSES)
    for p in model.parameters():
        if p.ndim == 5:
            p.data = p.data.contiguous(memory_format=torch.channels_last_3d)
    convs = [p for p in model.parameters() if p.ndim == 5]
    muon = Muon(convs[1:], 0.02)
    adam = torch.optim.AdamW([p for p in model.parameters() if p.ndim < 5] + convs[:1], 2e-3, foreach=True)
    average = Average(model.parameters(), 0.995)
    clock = Clock(args.out / f"describer-{args.seed}.pt", args.out / "describe.log", args.minutes,
                  model=model, muon=muon, adam=adam, average=average)  # fmt: skip
    shown = time.monotonic()
    while clock.progress < 1:
        rng, generator = seeds(args.seed, clock.step)
        set_rates(min(1.0, (clock.step + 1) / 20) * cosine(clock.progress), muon, adam)
        picked = [draw(rng, sets, back, args.seed % 2) for _ in range(BATCH)]
        pixels = disturbed(to_pixels(np.stack([clip for clip, _, _ in picked])), generator)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(pixels)
        losses = [
            F.cross_entropy(logits[fact].float(), torch.stack([labels[name][fact][at] for _, name, at in picked]))
            for fact in CLASSES
        ]
        loss = torch.stack(losses).sum()
        model.zero_grad(set_to_none=True)
        loss.backward()
        muon.step()
        adam.step()
        average.update()
        clock.tick()
        if time.monotonic() - shown > 30 or clock.progress >= 1:
            clock.log(f"describer {args.seed}: {clock.step} {clock.seconds:.0f}s losses "
                      + " ".join(f"{f} {x.item():.3f}" for f, x in zip(CLASSES, losses, strict=True)))  # fmt: skip
            shown = time.monotonic()
            clock.pause()
    average.swap()
    file = args.out / f"describer-{args.seed}.safetensors"
    save_file({name: p.detach().half().contiguous() for name, p in model.named_parameters()}, file)
    for name in ("held", "held-later"):
        report(model, name, sets[name], back[name], labels[name], clock)


def draw(
    rng: np.random.Generator, sets: dict[str, Clips], back: dict[str, np.ndarray], half: int
) -> tuple[np.ndarray, str, int]:
    """A clip of this describer's half, of any look, drawn or given back by the VAE."""
    name = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    pixels = back[name] if rng.uniform() < 0.6 else sets[name].pixels
    at = 2 * int(rng.integers(len(pixels) // 2)) + half
    return pixels[at], name, at


def report(model: Network, name: str, held: Clips, back: np.ndarray, labels: dict[str, Tensor], clock: Clock) -> None:
    for look in NAMED:
        for kind, pixels in (("drawn", held.pixels), ("through the VAE", back)):
            at = [i for i in held.of(look) if i < len(pixels)]
            shares = shares_right(model, pixels[at], {fact: each[at] for fact, each in labels.items()})
            clock.log(
                f"{name}, {look}, {kind}: " + " ".join(f"{fact} {100 * share:.1f}" for fact, share in shares.items())
            )


if __name__ == "__main__":
    main()
