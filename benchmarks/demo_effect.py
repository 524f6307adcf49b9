"""What a LoRA of the demo does, again and again: each look of the films, several seeds of the training.

    python benchmarks/demo_effect.py                          # two looks, three seeds: about half an hour of two cores
    python benchmarks/demo_effect.py --looks cel --seeds 1 --steps 600

Prints a line for each training and writes the figures. A second start goes on where the first stopped.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import machine

from sakuga.cli import show
from sakuga.demo.run import LOOKS, TRAINING, Size, run_demo

WANTED = {"base": 0.15, "lora": 0.85, "kept": 0.90, "motion": 0.30}


def figures(folder: Path, look: str, seed: int, size: Size, model: str) -> dict[str, float]:
    """One training: style of the base and with the LoRA, prompt kept, motion against the films', seconds."""
    started = time.perf_counter()
    with show.progress() as progress:
        result = run_demo(folder / look, False, progress, model, size, look, seed)
    effect = result.effect
    return {
        "base": effect.style["base"].mean,
        "lora": effect.style["lora"].mean,
        "lora_spread": effect.style["lora"].spread,
        **{f"{who}_{name}": value for who, each in effect.measures.items() for name, value in each.items()},
        "kept": round(effect.kept, 4),
        "motion": round(effect.motion_ratio, 4),
        "seconds": round(time.perf_counter() - started, 1),
    }


def met(found: dict[str, float]) -> dict[str, bool]:
    return {
        "base": found["base"] <= WANTED["base"],
        "lora": found["lora"] >= WANTED["lora"],
        "kept": found["kept"] >= WANTED["kept"],
        "motion": abs(found["motion"] - 1) <= WANTED["motion"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--looks", nargs="+", choices=LOOKS, default=list(LOOKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=TRAINING["steps"])
    parser.add_argument("--model", choices=("tiny", "tiny-experts"), default="tiny")
    parser.add_argument("--folder", type=Path, help="kept afterwards; a temporary one by default")
    parser.add_argument("--name", default="demo-effect", help="of the result")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        found = []
        for look in args.looks:
            for seed in args.seeds:
                one = figures(folder, look, seed, Size(steps=args.steps), args.model)
                found.append({"look": look, "seed": seed, **one, "met": met(one)})
                print(found[-1], flush=True)
    machine.write(args.name, {"wanted": WANTED, "steps": args.steps, "model": args.model, "trainings": found})
    return 0 if all(all(one["met"].values()) for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
