"""What a first frame that is given clean costs: its timestep told frame by frame, or token by token as official code does.

    python benchmarks/first_frame.py [--grid 31 8 10] [--layers 1] [--runs 3]

One transformer of the 5B's width, random weights, fp32 on the CPU. `modulation_bytes` is what a block is given of time;
the official size, 1280 x 704 with 121 frames, is reckoned from it.
"""

import argparse
import statistics
import sys
import time
from dataclasses import replace

import machine
import torch

from sakuga.core.family import member
from sakuga.nn.transformer import WanTransformer

MEMBER = member("wan2.2-ti2v-5b")


@torch.no_grad()
def measured(
    model: WanTransformer, latents: torch.Tensor, t: torch.Tensor, runs: int
) -> tuple[dict[str, float], torch.Tensor]:
    """Median seconds of the time embedding and of a whole forward, bytes of the modulation, and the velocity."""
    text = torch.zeros(1, 8, model.shape.text_dim)
    embedding, forward = [], []
    for _ in range(runs):
        started = time.perf_counter()
        _, modulation = model.embed_time(t)
        embedding.append(time.perf_counter() - started)
        started = time.perf_counter()
        velocity = model(latents, t, text)
        forward.append(time.perf_counter() - started)
    figures = {"embedding_s": statistics.median(embedding), "forward_s": statistics.median(forward)}
    return {**figures, "modulation_bytes": modulation.numel() * modulation.element_size()}, velocity


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--grid", type=int, nargs=3, default=(31, 4, 5), help="latent frames, and patches high and wide"
    )
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    frames, high, wide = options.grid
    torch.manual_seed(0)
    model = WanTransformer(replace(MEMBER.transformer, layers=options.layers)).eval()
    latents = torch.randn(1, MEMBER.transformer.in_channels, frames, 2 * high, 2 * wide)
    by_frame = torch.full((1, frames), 900.0)
    by_frame[:, 0] = 0
    told = {"video": torch.tensor([900.0]), "frame": by_frame, "token": by_frame.repeat_interleave(high * wide, dim=1)}
    found = {name: measured(model, latents, t, options.runs) for name, t in told.items()}
    tokens = MEMBER.tokens(*MEMBER.sizes[0], MEMBER.frames)
    each = found["token"][0]["modulation_bytes"] / (frames * high * wide)
    figures = {
        "tokens": frames * high * wide, "layers": options.layers,
        **{name: figures for name, (figures, _) in found.items()},
        "largest_difference": (found["frame"][1] - found["token"][1]).abs().max().item(),
        "official_size": {"tokens": tokens, "modulation_bytes_by_token": round(each * tokens)},
    }  # fmt: skip
    sys.stdout.write(f"{figures}\n{machine.write('first_frame', figures)}\n")


if __name__ == "__main__":
    main()
