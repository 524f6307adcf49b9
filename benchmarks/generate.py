"""A step of generation against its floor and against diffusers on the same shapes, in one run; and a whole small video.

    python benchmarks/generate.py                                        # tiny, on the CPU, in seconds
    python benchmarks/generate.py --weights fp8 --stream 6 --compile     # the same, held in little memory
    python benchmarks/generate.py --model wan2.2-t2v-a14b --size 832 480 81 --device cuda --compile
    python benchmarks/generate.py --model wan2.2-t2v-a14b --size 1280 720 81 --device cuda --vram 24 --compile

A step is two forward passes (guidance). The floor is the matrix work of both at the GEMM rate measured here, and attention
measured alone. Weights are random: speed and memory do not depend on their values. They are held as `sakuga generate`
would hold them, or as --weights and --stream say; where blocks are streamed, the rate of their copies is measured too: a
step is free of it where a block computes longer than the next is copied. diffusers is run with weights that stay on the
device, where they fit. The whole video is of the embedded model: prompt, 20 steps with guidance, 17 frames, decoded.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import torch
import torch.nn.functional as F
from step import gemm_rate, random_model, seconds

from sakuga import api
from sakuga.core.cost import GB, Held, forward_bytes, parameters, plan_weights
from sakuga.core.family import Member, member
from sakuga.nn.compiled import check_compiler, compile_blocks
from sakuga.nn.device import cap_memory, pick_device, pick_dtype, room_for_weights
from sakuga.nn.parts import NAMES, SMALLER
from sakuga.nn.quant import KINDS, quantise_blocks
from sakuga.nn.stream import Stream

FRAMES, STEPS = 17, 20  # of the whole video


def floor_seconds(
    wan: Member, layers: int, tokens: int, device: torch.device, dtype: torch.dtype, repeats: int
) -> float:
    """Two forward passes: matrices at the measured rate, attention alone."""
    t = wan.transformer
    shape = (1, t.heads, tokens, t.dim // t.heads)
    q, k, v = (torch.randn(shape, device=device, dtype=dtype) for _ in range(3))
    attention = seconds(lambda: F.scaled_dot_product_attention(q, k, v), device, repeats)
    by_text = 2 * t.dim * t.dim * t.layers
    flop = 2 * ((parameters(t) - by_text) * tokens + by_text * wan.text.length) * layers / t.layers
    return 2 * (flop / gemm_rate(tokens, wan, device, dtype, repeats) + attention * layers)


def diffusers_model(wan: Member, layers: int, device: torch.device, dtype: torch.dtype) -> Any:
    from diffusers import WanTransformer3DModel

    t = wan.transformer
    with torch.device("meta"):
        model = WanTransformer3DModel(
            patch_size=t.patch, num_attention_heads=t.heads, attention_head_dim=t.dim // t.heads, in_channels=t.in_channels,
            out_channels=t.out_channels, text_dim=t.text_dim, freq_dim=t.freq_dim, ffn_dim=t.ffn_dim, num_layers=layers,
        )  # fmt: skip
    model = model.to(dtype).to_empty(device=device)
    with torch.no_grad():
        for values in (*model.parameters(), *model.buffers()):
            values.normal_(std=0.02)
    return model


def ours(
    wan: Member, layers: int, device: torch.device, dtype: torch.dtype, held: Held, compiled: bool
) -> torch.nn.Module:
    model = random_model(wan, layers, device, dtype, held)
    if compiled:
        compile_blocks(model)
    return model


@torch.no_grad()
def step_figures(
    wan: Member, size: tuple[int, int, int], layers: int, device: torch.device, held: Held, compiled: bool, repeats: int
) -> dict[str, Any]:
    """Seconds of a step of ours, of diffusers and of the floor, and the peak of device memory (GB) of both."""
    dtype = pick_dtype(None, device)
    tokens = wan.tokens(*size)
    x = torch.randn(1, *wan.latent_shape(*size), device=device)
    text = torch.randn(1, wan.text.length, wan.transformer.text_dim, device=device)
    t = torch.tensor([500.0], device=device)
    made: dict[str, Callable[[], Callable[[], object]]] = {
        "ours": lambda: _twice(ours(wan, layers, device, dtype, held, compiled), x, t, text),
        "diffusers": lambda: _twice(diffusers_model(wan, layers, device, dtype), x.to(dtype), t, text.to(dtype)),
    }
    told: dict[str, float | None] = {}
    for name, make in made.items():  # one model is in memory at a time
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        try:
            told[name] = seconds(make(), device, repeats)
        except torch.OutOfMemoryError:
            told[name] = None
        if device.type == "cuda":
            told[f"{name}_peak_gb"] = torch.cuda.max_memory_allocated(device) / GB
    told["floor"] = floor_seconds(wan, layers, tokens, device, dtype, repeats)
    told["over_floor"] = _ratio(told["ours"], told["floor"])
    told["faster_than_diffusers"] = _ratio(told["diffusers"], told["ours"])
    if held.streamed:
        told["copies_gb_per_second"] = copy_rate(wan, device, dtype, held, repeats)
    return {"tokens": tokens, **{name: value and round(value, 4) for name, value in told.items()}}


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a and b else None


def _twice(model: Any, *inputs: torch.Tensor) -> Callable[[], object]:
    return lambda: [model(*inputs) for _ in range(2)]


def copy_rate(wan: Member, device: torch.device, dtype: torch.dtype, held: Held, repeats: int) -> float:
    """GB a second at which a streamed block comes to the device when nothing else runs."""
    stream = random_model(wan, 1, device, dtype, Held(held.kind, 1)).stream
    assert isinstance(stream, Stream)

    def again() -> None:
        stream.held[0] = (-1, -1)
        with stream(0):
            pass

    return stream.packed[0].buffer.numel() / GB / seconds(again, device, repeats)


@torch.no_grad()
def rounding(wan: Member, device: torch.device, dtype: torch.dtype, kind: str) -> float:
    """Relative error that a kind makes in the output of one block, of the same weights."""
    model = random_model(wan, 1, device, dtype)
    size = (*wan.sizes[0], 5)
    given = (
        torch.randn(1, *wan.latent_shape(*size), device=device), torch.tensor([500.0], device=device),
        torch.randn(1, wan.text.length, wan.transformer.text_dim, device=device),
    )  # fmt: skip
    plain = model(*given)
    quantise_blocks(model, KINDS[kind])
    return ((model(*given) - plain).norm() / plain.norm()).item()


def whole_seconds(repeats: int, asked: dict[str, Any]) -> float:
    """A whole video of the embedded model; what it opens is opened each time, as a person would have it."""
    with tempfile.TemporaryDirectory() as folder, api.new(Path(folder) / "p", "tiny") as project:
        asked = {"frames": FRAMES, "steps": STEPS, "lora": "none", **asked}
        return seconds(lambda: api.generate(project, "a red car in a meadow", **asked), torch.device("cpu"), repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--size", nargs=3, type=int, metavar=("WIDTH", "HEIGHT", "FRAMES"))
    parser.add_argument("--layers", type=int, help="fewer layers than the model has")
    parser.add_argument("--weights", choices=KINDS, help="how large weights are stored; else as memory allows")
    parser.add_argument("--stream", type=int, help="blocks in host memory; else as memory allows")
    parser.add_argument("--vram", type=float, help="GB that the card may use, to stand in for a smaller one")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    wan, device = member(options.model), pick_device(options.device)
    dtype = pick_dtype(None, device)
    cap_memory(device, options.vram)
    if options.compile:
        check_compiler(device)
    size = tuple(options.size or (*wan.sizes[0], FRAMES))
    layers, own = options.layers or wan.transformer.layers, NAMES[dtype]
    kinds = (options.weights,) if options.weights else (own, *SMALLER[own])
    free = room_for_weights(device, options.vram)
    held = plan_weights(wan.transformer, forward_bytes(wan.transformer, wan.tokens(*size)), free, kinds, options.stream)
    held = Held(held.kind, min(held.streamed, layers))
    how = {"weights": held.kind, "streamed": held.streamed, "vram": options.vram, "compile": options.compile}
    figures: dict[str, Any] = {"model": wan.name, "size": size, "layers": layers, **how}
    figures["step_seconds"] = step_figures(wan, size, layers, device, held, options.compile, options.repeats)
    if held.kind != own:
        figures["rounding"] = round(rounding(wan, device, dtype, held.kind), 5)
    if wan.tiny:
        asked = {name: getattr(options, name) for name in ("weights", "stream", "vram", "compile")}
        figures["whole_seconds"] = round(whole_seconds(options.repeats, asked), 2)
    suffix = [held.kind] * (held.kind != own) + [f"stream{held.streamed}"] * bool(held.streamed)
    suffix += [f"{options.vram or 0:g}gb"] * bool(options.vram) + ["compile"] * options.compile
    name = "-".join(["generate", wan.name, device.type, "x".join(map(str, size)), *suffix])
    print(machine.write(name, figures))
    print(figures)


if __name__ == "__main__":
    main()
