"""One training step of a LoRA, against its floor on this machine, measured in one run.

    python benchmarks/step.py                                                    # tiny, on the CPU, in seconds
    python benchmarks/step.py --model wan2.1-t2v-14b --size 384 208 45 --memory 80 --device cuda

The floor is the matrix work at the GEMM rate measured here, plus attention measured alone, with the recompute that the
step does. Weights are random: speed and memory do not depend on their values.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import machine
import torch
import torch.nn.functional as F

from sakuga.core.cost import Held
from sakuga.core.family import Member, member
from sakuga.nn import flow
from sakuga.nn.device import cap_memory, pick_device, pick_dtype
from sakuga.nn.lora import inject
from sakuga.nn.parts import NAMES
from sakuga.nn.quant import KINDS, SCALE, quantise_blocks
from sakuga.nn.stream import Stream, spread
from sakuga.nn.transformer import WanTransformer, is_island
from sakuga.nn.weights import fill


def seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The median time of `work`, after one turn to warm up."""
    times = []
    for _ in range(repeats + 1):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def gemm_rate(tokens: int, wan: Member, device: torch.device, dtype: torch.dtype, repeats: int) -> float:
    """FLOP/s of the transformer's largest matrix at this many tokens."""
    t = wan.transformer
    a, b = (
        torch.randn(tokens, t.dim, device=device, dtype=dtype),
        torch.randn(t.ffn_dim, t.dim, device=device, dtype=dtype),
    )
    return 2 * tokens * t.dim * t.ffn_dim / seconds(lambda: F.linear(a, b), device, repeats)


def attention_seconds(
    tokens: int, wan: Member, device: torch.device, dtype: torch.dtype, recompute: bool, repeats: int
) -> float:
    """Self-attention of one layer, forward (twice with recompute) and backward."""
    t = wan.transformer
    shape = (1, t.heads, tokens, t.dim // t.heads)
    q, k, v = (torch.randn(shape, device=device, dtype=dtype, requires_grad=True) for _ in range(3))

    def both() -> None:
        F.scaled_dot_product_attention(q, k, v).sum().backward()

    forward = seconds(lambda: F.scaled_dot_product_attention(q.detach(), k.detach(), v.detach()), device, repeats)
    return seconds(both, device, repeats) + (forward if recompute else 0.0)


def matrix_flop(tokens: int, wan: Member, layers: int, recompute: bool) -> float:
    """Forward and input gradient of the frozen matrices (2 FLOP a parameter and token each), and the recompute."""
    t = wan.transformer
    seen_by_tokens = layers * (6 * t.dim * t.dim + 2 * t.dim * t.ffn_dim)
    seen_by_text = layers * 2 * t.dim * t.dim
    passes = 3 if recompute else 2
    return passes * 2 * (seen_by_tokens * tokens + seen_by_text * wan.text.length)


def random_model(
    wan: Member, layers: int, device: torch.device, dtype: torch.dtype, held: Held | None = None
) -> WanTransformer:
    """A model of random weights, held as `held` says (else as they compute, resident); never larger than that anywhere."""
    with torch.device("meta"):
        model = WanTransformer(replace(wan.transformer, layers=layers))
    own = NAMES[dtype]
    kind = held.kind if held else own
    stored = quantise_blocks(model, KINDS[kind]) if kind != own else []
    numbers = spread(held.streamed if held else 0, layers)
    hosted = tuple(f"blocks.{n}." for n in numbers)
    drawn: dict[tuple[int, ...], torch.Tensor] = {}  # one of each shape: drawing all would take minutes

    def values() -> Iterator[tuple[str, torch.Tensor]]:
        for name, like in model.state_dict().items():
            if like.shape not in drawn:
                drawn[like.shape] = torch.randn(like.shape, device=device, dtype=dtype) * 0.02
            number = drawn[like.shape] + 1 if name.endswith(SCALE) else drawn[like.shape]
            place = "cpu" if name.startswith(hosted) and like.dim() == 2 else device
            kept = like.dtype if name in stored else torch.float32 if is_island(name) else dtype
            yield name, number.to(place, kept, copy=True)

    fill(model, values(), Path("random"), lambda _: None, None)
    if numbers:
        model.stream = Stream({n: model.blocks[n] for n in numbers}, device)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--size", nargs=3, type=int, metavar=("WIDTH", "HEIGHT", "FRAMES"))
    parser.add_argument("--layers", type=int, help="fewer layers than the model has")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--memory", type=float, help="GB that the card may use, to stand in for a smaller one")
    parser.add_argument("--device")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    wan, device = member(options.model), pick_device(options.device)
    dtype = pick_dtype(None, device)
    cap_memory(device, options.memory)
    size = tuple(options.size or (*wan.sizes[0], wan.frames))
    tokens, layers = wan.tokens(*size), options.layers or wan.transformer.layers
    recompute = device.type == "cuda"

    model = random_model(wan, layers, device, dtype)
    model.checkpointing = recompute
    lora = inject(model, options.rank, options.rank, seed=1)
    optimizer = torch.optim.AdamW(lora.parameters(), lr=1e-4)
    latent, noise = (torch.randn(1, *wan.latent_shape(*size), device=device) for _ in range(2))
    text = torch.randn(1, wan.text.length, wan.text.dim, device=device)

    def step() -> None:
        velocity = model(
            flow.noise_latents(latent, noise, 0.7), torch.full((1,), flow.model_time(0.7), device=device), text
        )
        flow.flow_loss(velocity, flow.target(latent, noise)).mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    took = seconds(step, device, options.repeats)
    rate = gemm_rate(tokens, wan, device, dtype, options.repeats)
    attention = layers * attention_seconds(tokens, wan, device, dtype, recompute, options.repeats)
    floor = matrix_flop(tokens, wan, layers, recompute) / rate + attention
    figures = {
        "model": wan.name, "layers": layers, "size": size, "tokens": tokens, "rank": options.rank,
        "dtype": str(dtype).removeprefix("torch."), "recompute": recompute,
        "step_seconds": round(took, 4), "floor_seconds": round(floor, 4), "share_of_floor": round(floor / took, 3),
        "gemm_gflops": round(rate / 1e9, 1), "attention_seconds": round(attention, 4),
        "memory_gib": round(torch.cuda.max_memory_allocated(device) / 2**30, 2) if device.type == "cuda" else None,
    }  # fmt: skip
    name = f"step-{wan.name}-{device.type}-{'x'.join(map(str, size))}"
    sys.stdout.write(f"{figures}\n{machine.write(name, figures)}\n")


if __name__ == "__main__":
    main()
