"""A step of generation against its floor and against diffusers on the same shapes, in one run; and a whole small video.

    python benchmarks/generate.py                                        # tiny, on the CPU, in seconds
    python benchmarks/generate.py --model wan2.2-t2v-a14b --size 832 480 81 --device cuda --memory 24

A step is two forward passes (guidance). The floor is the matrix work of both at the GEMM rate measured here, and attention
measured alone. Weights are random: speed and memory do not depend on their values. The whole video is of the embedded model:
prompt, 20 steps with guidance, 17 frames, decoded.
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
from sakuga.core.cost import parameters
from sakuga.core.family import Member, member
from sakuga.nn.device import pick_device, pick_dtype

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
    model = model.to_empty(device=device).to(dtype)
    with torch.no_grad():
        for values in (*model.parameters(), *model.buffers()):
            values.normal_(std=0.02)
    return model


@torch.no_grad()
def step_figures(
    wan: Member, size: tuple[int, int, int], layers: int, device: torch.device, repeats: int
) -> dict[str, Any]:
    """Seconds of a step of ours, of diffusers and of the floor, and the peak of device memory (GB)."""
    dtype = pick_dtype(None, device)
    tokens = wan.tokens(*size)
    x = torch.randn(1, *wan.latent_shape(*size), device=device)
    text = torch.randn(1, wan.text.length, wan.transformer.text_dim, device=device)
    t = torch.tensor([500.0], device=device)
    made: dict[str, Callable[[], Callable[[], object]]] = {
        "ours": lambda: _twice(random_model(wan, layers, device, dtype), x, t, text),
        "diffusers": lambda: _twice(diffusers_model(wan, layers, device, dtype), x.to(dtype), t, text.to(dtype)),
    }
    told: dict[str, float] = {}
    peak = None
    for name, make in made.items():  # one model is in memory at a time
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        told[name] = seconds(make(), device, repeats)
        if device.type == "cuda" and name == "ours":
            peak = torch.cuda.max_memory_allocated(device) / 1e9
    floor = floor_seconds(wan, layers, tokens, device, dtype, repeats)
    ratios = {"over_floor": told["ours"] / floor, "faster_than_diffusers": told["diffusers"] / told["ours"]}
    rounded = {name: round(value, 4) for name, value in (told | {"floor": floor} | ratios).items()}
    return {"tokens": tokens, **rounded, "peak_gb": peak}


def _twice(model: Any, *inputs: torch.Tensor) -> Callable[[], object]:
    return lambda: [model(*inputs) for _ in range(2)]


def whole_seconds(repeats: int) -> float:
    """A whole video of the embedded model; what it opens is opened each time, as a person would have it."""
    with tempfile.TemporaryDirectory() as folder, api.new(Path(folder) / "p", "tiny") as project:
        asked: dict[str, Any] = {"frames": FRAMES, "steps": STEPS, "lora": "none"}
        return seconds(lambda: api.generate(project, "a red car in a meadow", **asked), torch.device("cpu"), repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--size", nargs=3, type=int, metavar=("WIDTH", "HEIGHT", "FRAMES"))
    parser.add_argument("--layers", type=int, help="fewer layers than the model has")
    parser.add_argument("--memory", type=float, help="GB that the card may use, to stand in for a smaller one")
    parser.add_argument("--device")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    wan, device = member(options.model), pick_device(options.device)
    if options.memory and device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, options.memory * 1e9 / total), device)
    size = tuple(options.size or (*wan.sizes[0], FRAMES))
    figures = {"model": wan.name, "size": size, "layers": options.layers or wan.transformer.layers}
    figures["step_seconds"] = step_figures(wan, size, figures["layers"], device, options.repeats)
    if wan.tiny:
        figures["whole_seconds"] = round(whole_seconds(options.repeats), 2)
    name = f"generate-{wan.name}-{device.type}-{'x'.join(map(str, size))}"
    print(machine.write(name, figures))
    print(figures)


if __name__ == "__main__":
    main()
