"""Loading a transformer: how much memory of the host it takes, and how fast it goes.

    python benchmarks/load.py [--member wan2.1-t2v-14b] [--dtype bf16 fp8] [--layers 40] [--folder .] [--target null]

A .safetensors in the layout of the member is written with a hole where the weights stand, which takes no room on the disk
and reads as zeros; a process of its own loads it. `null` throws every tensor away once it has its type, as one does that
goes to a card; `cpu` keeps the model. --layers takes fewer layers than the member has, for the slope.
"""

import argparse
import json
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from math import prod
from pathlib import Path

import machine

TYPES = {"fp32": ("F32", 4), "bf16": ("BF16", 2), "fp16": ("F16", 2), "fp8": ("F8_E4M3", 1)}
GB = 1e9


def sparse(shape, dtype: str, path: Path) -> int:
    """Write the file; its size in bytes. In fp8 every matrix has a scale beside it."""
    import torch

    from sakuga.nn.transformer import WanTransformer

    with torch.device("meta"):
        state = WanTransformer(shape).state_dict()
    header, begin = {}, 0
    for key, tensor in state.items():
        sizes = [(key, TYPES[dtype], list(tensor.shape))]
        if dtype == "fp8" and key.endswith(("attn.q.weight", "attn.k.weight", "ffn.0.weight", "ffn.2.weight")):
            sizes.append((f"{key.removesuffix('.weight')}.scale_weight", TYPES["fp32"], []))
        for name, (kind, width), dims in sizes:
            end = begin + prod(dims) * width
            header[name] = {"dtype": kind, "shape": dims, "data_offsets": [begin, end]}
            begin = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + begin)
    return path.stat().st_size


def load(path: Path, member: str, layers: int, target: str) -> None:
    """In the process that is measured: load, and tell seconds and memory."""
    import resource

    import torch

    from sakuga.core.family import FAMILY
    from sakuga.nn.weights import load_transformer, read_weights

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    if target == "null":
        for _, tensor in read_weights(path):
            tensor.to(torch.bfloat16, copy=True)
    else:
        load_transformer(replace(FAMILY[member].transformer, layers=layers), path, torch.bfloat16, target)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    json.dump({"seconds": round(seconds, 2), "peak": peak * 1024, "before": before * 1024}, sys.stdout)


def measured(member: str, layers: int, dtype: str, target: str, folder: Path) -> dict[str, object]:
    from sakuga.core.family import FAMILY

    path = folder / "sparse.safetensors"
    size = sparse(replace(FAMILY[member].transformer, layers=layers), dtype, path)
    command = [sys.executable, __file__, "--member", member, "--layers", str(layers), "--target", target]
    told = subprocess.run([*command, "--load", str(path)], check=True, capture_output=True, text=True).stdout
    path.unlink()
    found = json.loads(told)
    return {
        "dtype": dtype, "layers": layers, "target": target, "file_gb": round(size / GB, 2),
        "host_peak_gb": round(found["peak"] / GB, 2), "before_gb": round(found["before"] / GB, 2),
        "seconds": found["seconds"], "gb_per_second": round(size / GB / found["seconds"], 2),
    }  # fmt: skip


def main() -> None:
    from sakuga.core.family import FAMILY

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--member", default="wan2.1-t2v-14b", choices=FAMILY)
    parser.add_argument("--dtype", nargs="+", default=["bf16", "fp8"], choices=TYPES)
    parser.add_argument("--layers", nargs="+", type=int, default=None)
    parser.add_argument("--target", default="null", choices=["null", "cpu", "cuda"])
    parser.add_argument("--folder", type=Path, default=None, help="where the file goes; it takes no room")
    parser.add_argument("--load", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    layers = options.layers or [FAMILY[options.member].transformer.layers]
    if options.load:
        load(options.load, options.member, layers[0], options.target)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows = [
            measured(options.member, count, dtype, options.target, Path(folder))
            for dtype in options.dtype
            for count in layers
        ]
    path = machine.write(f"load-{options.target}", {"member": options.member, "loads": rows})
    sys.stdout.write(f"{json.dumps(rows, indent=1)}\n{path}\n")


if __name__ == "__main__":
    main()
