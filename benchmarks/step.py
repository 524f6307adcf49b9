"""What a step is measured against: the matrix work at the GEMM rate of this machine, attention measured alone, random weights.

Random weights serve: speed and memory do not depend on their values. Used by train_step.py and generate.py.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from sakuga.core.cost import Held
from sakuga.core.family import Member
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
