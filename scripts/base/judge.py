"""Generates clips for held-out prompts and lets the second describer say what is to be seen in them.

Prints the share of prompts of which subject, colour, time of day and direction came out right, each and all together,
and writes a sheet of the first ones to look at.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from diffusers_vae import load_vae
from names import TEXT_FOLDER, TOKENIZER_FOLDER, TRANSFORMER_FILES
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from training import prepare
from whole_clip import decode

from data import CLASSES, FACTS, FRAMES, HEIGHT, WIDTH, Clips
from sakuga.core.family import FAMILY, NEGATIVE_PROMPT
from sakuga.nn.denoise import generate_latents
from sakuga.nn.describer import Network
from sakuga.nn.flow import noise_for
from sakuga.nn.text import load_text, pad_text
from sakuga.nn.weights import load_transformer

BATCH = 20
ASKED = ("subject", "colour", "time", "direction")  # and all of them together; the place is told beside


def load_describer(file: Path) -> Network:
    model = Network(CLASSES)
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(file).items()})
    return model.eval().requires_grad_(False)


@torch.no_grad()
def generated(args: argparse.Namespace, prompts: list[str]) -> Tensor:
    """Pixels [B, C, F, H, W] of each prompt."""
    member = FAMILY[args.member]
    text = load_text(member.text, args.weights / TEXT_FOLDER, args.weights / TOKENIZER_FOLDER, torch.float32)
    door = load_vae(member.vae, args.vae)
    transformers = {
        e.name: load_transformer(member.transformer, args.weights / TRANSFORMER_FILES[e.name], torch.float32)
        for e in member.experts
    }
    shape = member.latent_shape(WIDTH, HEIGHT, FRAMES)
    negative = pad_text(text.encode([NEGATIVE_PROMPT]), member.text.length)
    made = []
    for at in range(0, len(prompts), BATCH):
        some = prompts[at : at + BATCH]
        noise = torch.stack([noise_for(shape, "judge", args.seed, i) for i in range(at, at + len(some))])
        words = pad_text(text.encode(some), member.text.length)
        latents = generate_latents(
            transformers, member, words, negative.expand(len(some), -1, -1), noise_BCFHW=noise, steps=args.steps
        )
        made.append(decode(door.model, latents / door.scale + door.mean).clamp(-1, 1))
    return torch.cat(made)


def sheet(pixels: Tensor, file: Path, clips: int = 24) -> None:
    """First, middle and last frame of each clip, four clips in a row."""
    frames = pixels[:clips, :, [0, 4, 8]].permute(0, 2, 3, 4, 1)  # B, F, H, W, C
    rows = frames.unflatten(0, (-1, 4)).permute(0, 3, 1, 2, 4, 5).flatten(2, 4).flatten(0, 1)
    image = Image.fromarray(((rows + 1) * 127.5).round().byte().numpy())
    image.resize((image.width * 3 // 2, image.height * 3 // 2)).save(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="the folder text_and_transformer.py wrote")
    parser.add_argument("--describer", type=Path, required=True)
    parser.add_argument("--member", choices=("tiny", "tiny-experts"), default="tiny")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    prepare()
    rows = Clips(args.data, "held").rows[: args.prompts]
    started = time.monotonic()
    prompts = [row["captions"][0] for row in rows]
    pixels = generated(args, prompts)
    seconds = time.monotonic() - started
    described = load_describer(args.describer)(pixels)
    right = {
        fact: logits.argmax(1).numpy() == np.array([FACTS[fact].index(row["scene"][fact]) for row in rows])
        for fact, logits in described.items()
    }
    every = np.stack([right[fact] for fact in ASKED]).all(0)
    shares = " ".join(f"{fact} {100 * each.mean():.1f}" for fact, each in right.items())
    print(f"{len(rows)} prompts in {seconds:.0f} s: {shares}; all four {100 * every.mean():.1f}")
    for i in range(24):
        print(f"{i:3d} {prompts[i]}" + "".join(f" [{fact}]" for fact in right if not right[fact][i]))
    sheet(pixels, args.weights / f"judged-{args.member}.png")


if __name__ == "__main__":
    main()
