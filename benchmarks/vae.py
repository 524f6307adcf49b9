"""Our VAE against diffusers' AutoencoderKLWan: same weights, same frames, same run, in turns.

    python benchmarks/vae.py                                             # Wan 2.1, small frames, on the CPU
    python benchmarks/vae.py --model wan2.2-ti2v-5b --size 192 128 9
    python benchmarks/vae.py --size 1280 720 81 --device cuda --memory 12 --ours

Weights are random: speed and memory do not depend on their values. On the CPU one thread is measured, in processor time, which
is the same on a machine that others use too; run it with OMP_WAIT_POLICY=PASSIVE. `--memory` is what may be held on the way
beside weights, pixels and latents, in GB.
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts" / "base"))

from diffusers_vae import make_vae as make_theirs

from sakuga.core.family import Vae, member
from sakuga.nn.device import pick_device
from sakuga.nn.vae import VaeDoor, make_vae, official_key


def doors(facts: Vae, device: torch.device, dtype: torch.dtype, both: bool) -> tuple[VaeDoor, Any]:
    """Ours and theirs of the same random weights, which keep the variance."""
    network = make_vae(facts).to_empty(device=device).to(dtype)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            p.normal_(std=1 / p[0].numel() ** 0.5 if p.dim() > 1 and p[0].numel() > 1 else 0.25, generator=generator)
            if p.dim() > 1 and p[0].numel() == 1:
                p.add_(1)  # gamma
    weights, theirs = network.state_dict(), None
    if both:
        theirs = make_theirs(facts).to_empty(device=device).to(dtype).eval()
        theirs.load_state_dict({key: weights[official_key(key, facts)] for key in theirs.state_dict()})
    network.channels_last()
    return VaeDoor(network, facts.mean, facts.std), theirs


def timed(work: Callable[[], Tensor], device: torch.device) -> tuple[Tensor, float]:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    started = clock()
    made = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return made, clock() - started


def peak(device: torch.device) -> float:
    """GB at the peak: of the card, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="wan2.1-t2v-1.3b")
    parser.add_argument("--size", nargs=3, type=int, metavar=("WIDTH", "HEIGHT", "FRAMES"), default=(192, 128, 9))
    parser.add_argument("--memory", type=float, help="GB for activations; without it, what is free")
    parser.add_argument("--device")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ours", action="store_true", help="ours alone, where theirs does not fit")
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts, device, dtype = member(options.model).vae, pick_device(options.device), getattr(torch, options.dtype)
    width, height, frames = options.size
    door, theirs = doors(facts, device, dtype, both=not options.ours)
    door.budget = options.memory * 1e9 if options.memory else None
    pixels = (torch.rand(1, 3, frames, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1).to(device)
    loaded = peak(device)

    ours_takes: dict[str, list[float]] = {"encode": [], "decode": []}
    their_takes: dict[str, list[float]] = {"encode": [], "decode": []}
    apart: dict[str, float] = {}
    for _ in range(options.repeats):
        latents, took = timed(lambda: door.encode(pixels), device)
        ours_takes["encode"].append(took)
        made, took = timed(lambda latents=latents: door.decode(latents), device)  # type: ignore[misc]
        ours_takes["decode"].append(took)
        if theirs is None:
            continue
        found, took = timed(lambda: theirs.encode(pixels.to(dtype)).latent_dist.mode().float(), device)
        their_takes["encode"].append(took)
        raw = (latents / door.scale + door.mean).to(dtype)
        shown, took = timed(lambda raw=raw: theirs.decode(raw).sample.float().clamp(-1, 1), device)  # type: ignore[misc]
        their_takes["decode"].append(took)
        apart["encode"] = ((found - door.mean) * door.scale - latents).abs().max().item()
        apart["decode"] = (shown.cpu() - made).abs().max().item()

    figures: dict[str, Any] = {
        "model": options.model, "vae": facts.name, "size": options.size, "dtype": options.dtype, "device": device.type,
        "memory_gb": options.memory, "peak_gb_loaded": round(loaded, 2),
        "peak_gb": round(peak(device), 2),
    }  # fmt: skip
    for way, takes in ours_takes.items():
        figures[way] = {"seconds": [round(t, 2) for t in takes]}
        if theirs is not None:
            ratios = [b / a for a, b in zip(takes, their_takes[way], strict=True)]
            figures[way] |= {
                "diffusers_seconds": [round(t, 2) for t in their_takes[way]],
                "times_as_fast": round(statistics.median(ratios), 2), "apart": float(f"{apart[way]:.2g}"),
            }  # fmt: skip
    kind = "memory" if theirs is None else "speed"
    name = f"vae-{kind}-{facts.name}-{device.type}-{options.dtype}-{width}x{height}x{frames}"
    sys.stdout.write(f"{figures}\n{machine.write(name, figures)}\n")


if __name__ == "__main__":
    main()
