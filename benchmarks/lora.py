"""Work on LoRA files of the size that people have: random rank-32 files in the geometry of the 14B, timed by command.

    python benchmarks/lora.py [--blocks 40] [--rank 32]

Every figure is one run of the function behind a command, reading and writing included: seconds and the peak of the process.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine
import torch

from sakuga import api
from sakuga.core.family import SIZE_14B
from sakuga.nn.lora_changes import LoraTensors
from sakuga.nn.lora_file import save_lora
from sakuga.nn.lora_names import TARGETS


def random_lora(path: Path, blocks: int, rank: int, seed: int) -> None:
    """A LoRA of every target of so many blocks, in bf16."""
    generator = torch.Generator().manual_seed(seed)
    dim, ffn = SIZE_14B.dim, SIZE_14B.ffn_dim
    sizes = {"ffn.0": (ffn, dim), "ffn.2": (dim, ffn)}
    tensors = {}
    for target in (t for t in TARGETS if not t.endswith("_img")):
        out, into = sizes.get(target, (dim, dim))
        for block in range(blocks):
            A = torch.randn(rank, into, generator=generator)
            tensors[f"blocks.{block}.{target}"] = LoraTensors(
                A, 0.01 * torch.randn(out, rank, generator=generator), rank
            )
    save_lora(path, tensors, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=SIZE_14B.layers)
    parser.add_argument("--rank", type=int, default=32)
    options = parser.parse_args()
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.safetensors" for name in "ab"]
        for seed, file in enumerate(files):
            random_lora(file, options.blocks, options.rank, seed)
        out = Path(folder) / "out.safetensors"
        work: dict[str, Callable[[], object]] = {
            "show": lambda: api.lora_show(files[0]),
            "convert to kohya": lambda: api.lora_convert(files[0], "kohya", out),
            "convert to half the rank": lambda: api.lora_convert(files[0], "comfy", out, rank=options.rank // 2),
            "merge two": lambda: api.lora_merge(files, out, precision="bf16"),
            "merge two to the rank of one": lambda: api.lora_merge(files, out, rank=options.rank, precision="bf16"),
        }
        for name, call in work.items():
            started = time.perf_counter()
            call()
            seconds[name] = round(time.perf_counter() - started, 2)
        megabytes = files[0].stat().st_size / 1e6
    figures = {
        "blocks": options.blocks,
        "rank": options.rank,
        "file_megabytes": round(megabytes),
        "seconds": seconds,
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    machine.write("lora", figures)


if __name__ == "__main__":
    main()
