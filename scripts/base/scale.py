"""Measures the scales of the style measure, once, before any LoRA is trained: looks.json.

For each film look: its palette from clips as they are drawn, and what palette, outline and flatness come to on the base's
look (0) and on the film's (1), both given back by the VAE. Only held-out clips are looked at.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers_vae import load_vae
from vae import to_pixels
from whole_clip import decode, encode

from data import Clips
from sakuga.core.family import VAE_TINY
from sakuga.demo.style import make_scale

LOOKS = ("cel", "woodcut")
CLIPS = 120  # of each look


@torch.no_grad()
def given_back(folder: Path, clips: np.ndarray) -> list[np.ndarray]:
    """The frames of clips after the VAE."""
    door = load_vae(VAE_TINY, folder)
    frames: list[np.ndarray] = []
    for at in range(0, len(clips), 8):
        pixels_BCFHW = decode(door.model, encode(door.model, to_pixels(clips[at : at + 8]))[0]).clamp(-1, 1)
        frames += list(((pixels_BCFHW + 1) * 127.5).round().byte().permute(0, 2, 3, 4, 1).flatten(0, 1).numpy())
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of looks.json")
    args = parser.parse_args()
    held = Clips(args.data, "held")
    clips = {look: np.stack([held.pixels[at] for at in held.of(look)[:CLIPS]]) for look in ("base", *LOOKS)}
    back = {look: given_back(args.vae, pixels)[::3] for look, pixels in clips.items()}
    scales = {look: make_scale(back["base"], back[look], list(clips[look][:, 4])) for look in LOOKS}
    (args.out / "looks.json").write_text(json.dumps({look: scale.as_json() for look, scale in scales.items()}) + "\n")
    for look, scale in scales.items():
        spread = {name: scale.score(back[name]).mean(axis=1).std() for name in ("base", look)}
        print(f"{look}: base {scale.base.round(3)}, film {scale.film.round(3)}, spread of frames {spread}", flush=True)


if __name__ == "__main__":
    main()
