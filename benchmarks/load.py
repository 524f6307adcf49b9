"""Loading a transformer, or encoding by the text encoder layer by layer: the memory it takes, and how fast it goes.

    python benchmarks/load.py [--member wan2.1-t2v-14b] [--dtype bf16 fp8] [--layers 40] [--folder .] [--target null]
    python benchmarks/load.py --part text [--layers 2 4] [--dtype bf16 fp8] [--captions 4] [--tokens 110] [--target cpu]

A .safetensors in the layout of the member is written with a hole where the weights stand, which takes no room on the disk
and reads as zeros; a process of its own loads it. `null` throws every tensor away once it has its type, as one does that
goes to a card; `cpu` keeps the model. --layers takes fewer layers than the member has, for the slope. Of `text`, random captions
go through the layers, in the precision in which that device computes; what a whole encoder of 24 layers takes is reckoned.
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

SCALED = (
    "attn.q.weight",
    "attn.k.weight",
    "ffn.0.weight",
    "ffn.2.weight",
    "q.weight",
    "wi_0.weight",
    "wo.weight",
    "shared.weight",
)
TYPES = {"fp32": ("F32", 4), "bf16": ("BF16", 2), "fp16": ("F16", 2), "fp8": ("F8_E4M3", 1)}
GB = 1e9


def sparse(state, dtype: str, path: Path) -> int:
    """Write the file of these tensors (on the meta device, by name); its size in bytes. In fp8 every matrix has a scale."""
    header, begin = {}, 0
    for key, tensor in state.items():
        sizes = [(key, TYPES[dtype], list(tensor.shape))]
        if dtype == "fp8" and key.endswith(SCALED):
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


def transformer_state(shape):
    import torch

    from sakuga.nn.transformer import WanTransformer

    with torch.device("meta"):
        return WanTransformer(shape).state_dict()


def text_state(facts):
    from sakuga.nn.text import make_text, text_config

    return dict(make_text(text_config(facts)).named_parameters())


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
    size = sparse(transformer_state(replace(FAMILY[member].transformer, layers=layers)), dtype, path)
    command = [sys.executable, __file__, "--member", member, "--layers", str(layers), "--target", target]
    told = subprocess.run([*command, "--load", str(path)], check=True, capture_output=True, text=True).stdout
    path.unlink()
    found = json.loads(told)
    return {
        "dtype": dtype, "layers": layers, "target": target, "file_gb": round(size / GB, 2),
        "host_peak_gb": round(found["peak"] / GB, 2), "before_gb": round(found["before"] / GB, 2),
        "seconds": found["seconds"], "gb_per_second": round(size / GB / found["seconds"], 2),
    }  # fmt: skip


def encode(path: Path, member: str, layers: int, target: str, captions: int, tokens: int) -> None:
    """In the process that is measured: captions through the layers, first the reading alone."""
    import resource

    import torch

    from sakuga.core.family import FAMILY
    from sakuga.nn import text
    from sakuga.nn.device import pick_dtype

    facts, device = replace(FAMILY[member].text, layers=layers), torch.device(target)
    numbers = torch.Generator().manual_seed(0)
    rows = torch.randint(3, facts.vocabulary, (captions, tokens), generator=numbers).tolist()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text.load_tokenizer = lambda path: lambda words: rows[int(words)]  # captions are named by their numbers
    door = text.load_text(facts, path, path, pick_dtype(None, device), device, layered=True)
    door.encode(["0"])  # what a first call sets up
    seconds = []
    for words in (["0"], [str(n) for n in range(captions)]):
        started = time.perf_counter()
        found = door.encode(words)
        found[-1].cpu()
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    card = torch.cuda.max_memory_allocated() if target != "cpu" else 0
    json.dump({"seconds": seconds, "peak": peak * 1024, "before": before * 1024, "card": card}, sys.stdout)


def encoded(options: argparse.Namespace, layers: int, dtype: str, folder: Path) -> dict[str, object]:
    """One figure of `--part text`, with what it makes for all layers."""
    from sakuga.core.family import FAMILY

    facts = FAMILY[options.member].text
    path = folder / "sparse.safetensors"
    size = sparse(text_state(replace(facts, layers=layers)), dtype, path)
    target = "cuda" if options.target == "cuda" else "cpu"
    command = [sys.executable, __file__, "--part", "text", "--member", options.member, "--layers", str(layers)]
    command += ["--target", target, "--captions", str(options.captions), "--tokens", str(options.tokens)]
    told = subprocess.run([*command, "--load", str(path)], check=True, capture_output=True, text=True).stdout
    path.unlink()
    found = json.loads(told)
    one, many = (seconds / layers for seconds in found["seconds"])
    caption = (many - one) / max(1, options.captions - 1)
    return {
        "dtype": dtype, "layers": layers, "target": target, "file_gb": round(size / GB, 2), "captions": options.captions,
        "tokens": options.tokens, "host_peak_gb": round(found["peak"] / GB, 2), "before_gb": round(found["before"] / GB, 2),
        "card_peak_gb": round(found["card"] / GB, 2), "layer_read_seconds": round(one - caption, 3),
        "layer_caption_seconds": round(caption, 4), "all_layers_read_seconds": round((one - caption) * facts.layers, 1),
        "all_layers_caption_seconds": round(caption * facts.layers, 2),
    }  # fmt: skip


def text(options: argparse.Namespace) -> None:
    layers = options.layers or [2, 4]
    if options.load:
        encode(options.load, options.member, layers[0], options.target, options.captions, options.tokens)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows = [encoded(options, count, dtype, Path(folder)) for dtype in options.dtype for count in layers]
    path = machine.write(f"load-text-{rows[0]['target']}", {"member": options.member, "encodings": rows})
    sys.stdout.write(f"{json.dumps(rows, indent=1)}\n{path}\n")


def main() -> None:
    from sakuga.core.family import FAMILY

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--member", default="wan2.1-t2v-14b", choices=FAMILY)
    parser.add_argument("--dtype", nargs="+", default=["bf16", "fp8"], choices=TYPES)
    parser.add_argument("--layers", nargs="+", type=int, default=None)
    parser.add_argument("--target", default="null", choices=["null", "cpu", "cuda"])
    parser.add_argument("--folder", type=Path, default=None, help="where the file goes; it takes no room")
    parser.add_argument("--load", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--part", default="transformer", choices=["transformer", "text"])
    parser.add_argument("--captions", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=110, help="of a caption; 88 words are about as many")
    options = parser.parse_args()
    if options.part == "text":
        text(options)
        return
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
