"""Pickled weights (.pth, .pt) without unpickling them here: another process says where each tensor lies in the file.

That process holds the open file and nothing else (`core.confine`). What it says is names and numbers, and all of it is
checked; the tensors are then views of the file itself, so that nothing is copied, however large it is.
"""

import io
import json
import mmap
import os
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from torch import Tensor

from ..core.confine import confine
from ..core.errors import SakugaError

MOST_BYTES = 4 * 2**30  # of memory for the process: it reads names and numbers, never the weights
MOST_SECONDS = 300
MOST_TOLD = 64 * 2**20  # bytes; a thousand tensors are told in a quarter of one MiB
READY = b"ready\n"

_MOST_DIMENSIONS = 8
_MOST_COUNT = 2**48
_KINDS = {
    "float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16,
    "float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2,
    "int64": torch.int64, "int32": torch.int32, "int16": torch.int16, "int8": torch.int8, "uint8": torch.uint8,
}  # fmt: skip
_KEPT = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT", "HOME", "USERPROFILE")  # what Python starts with
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


# Here

_Count = Annotated[int, Field(ge=0, le=_MOST_COUNT)]


class _Place(BaseModel):
    """Where a tensor lies: `begin` in bytes from the start of the file, `stride` in elements."""

    model_config = ConfigDict(strict=True, extra="forbid")
    key: str
    kind: str
    shape: Annotated[list[_Count], Field(max_length=_MOST_DIMENSIONS)]
    stride: Annotated[list[_Count], Field(max_length=_MOST_DIMENSIONS)]
    begin: _Count


_PLACES: TypeAdapter[list[_Place]] = TypeAdapter(list[_Place])


def read_pickle(path: Path) -> Iterator[tuple[str, Tensor]]:
    """(key, tensor) of every tensor of a .pth file, backed by the file. Raises SakugaError where it is anything else."""
    try:
        with path.open("rb") as file:
            told = _ask(file)
            tensors = list(_views(told.removeprefix(READY), file)) if told.startswith(READY) else None
    except OSError as error:
        raise SakugaError(f"{path} cannot be read: {error.strerror}; look whether it is there and yours") from error
    except ValueError as error:
        raise SakugaError(
            f"{path} cannot be read as weights: it is damaged, or not a plain table of weights; "
            "download it again, as .safetensors where there is one"
        ) from error
    if tensors is None:
        raise SakugaError(
            f"the process that is to read {path} did not start; run `sakuga doctor`, or take the weights as .safetensors"
        )
    yield from tensors


def _ask(file: BinaryIO) -> bytes:
    """What a confined process says of the file."""
    command = [sys.executable, "-P", "-c", f"from {__name__} import tell; tell()"]
    with subprocess.Popen(
        command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
    ) as process:
        alarm = threading.Timer(MOST_SECONDS, process.kill)
        alarm.start()
        try:
            assert process.stdout is not None
            return process.stdout.read(MOST_TOLD)
        finally:
            alarm.cancel()
            process.kill()


def environment() -> dict[str, str]:
    """The variables of the process: where its modules are, and nothing that others keep there, such as keys."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    modules = os.pathsep.join(path for path in sys.path if path)
    return {**kept, **_ONE_THREAD, "PYTHONPATH": modules, "CUDA_VISIBLE_DEVICES": ""}


def _views(told: bytes, file: BinaryIO) -> Iterator[tuple[str, Tensor]]:
    """The tensors that were told of. Raises ValueError where that makes no sense, or goes beyond the file."""
    places = _PLACES.validate_json(told)
    whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    for place in places:
        kind = _KINDS.get(place.kind)
        if kind is None or len(place.shape) != len(place.stride) or prod(n or 1 for n in place.shape) > _MOST_COUNT:
            raise ValueError(f"{place.key} is no tensor that can be")
        count = _extent(place.shape, place.stride)
        if place.begin + max(count, prod(place.shape)) * kind.itemsize > len(whole):
            raise ValueError(f"{place.key} lies beyond the end of the file")
        if count == 0:
            yield place.key, torch.empty(place.shape, dtype=kind)
        else:
            flat = torch.frombuffer(whole, dtype=kind, count=count, offset=place.begin)
            yield place.key, flat.as_strided(place.shape, place.stride)


def _extent(shape: list[int], stride: list[int]) -> int:
    """How many elements there are from the first of a tensor to its last."""
    return 1 + sum((n - 1) * step for n, step in zip(shape, stride, strict=False)) if all(shape) else 0


# In the other process


def tell() -> None:
    """Write the table of the file that is standard input to standard output. Nothing else is possible from here on."""
    sample = io.BytesIO()
    torch.save({"a": torch.zeros(1), "b": torch.nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))}, sample)
    sample.seek(0)
    json.dumps(_layout(sample))  # brings in every module that reading needs
    confine(MOST_BYTES, MOST_SECONDS)
    out = sys.stdout.buffer
    out.write(READY)
    out.flush()
    out.write(json.dumps(_layout(sys.stdin.buffer)).encode())
    out.flush()
    os._exit(0)


def _layout(file: BinaryIO) -> list[dict[str, Any]]:
    """Where each tensor lies. Whatever is odd raises an error of any kind, which ends the process."""
    from torch._subclasses import FakeTensorMode  # the documented way to learn where torch.load would read

    if file.read(4) != b"PK\3\4":
        raise ValueError("no archive: written by a torch before 1.6, or not at all")
    file.seek(0)
    with FakeTensorMode():
        held = torch.load(file, map_location="cpu", weights_only=True)
    records = _records(file)
    return [_place(key, tensor, records) for key, tensor in held.items()]


def _place(key: str, tensor: Tensor, records: dict[int, int]) -> dict[str, Any]:
    record = tensor.untyped_storage()._checkpoint_offset
    assert record is not None
    begin = tensor.storage_offset() * tensor.itemsize
    shape, stride = list(tensor.shape), list(tensor.stride())
    end = begin + _extent(shape, stride) * tensor.itemsize
    if end > records[record]:
        raise ValueError(f"{key} lies beyond the end of its record")
    kind = str(tensor.dtype).removeprefix("torch.")
    return {"key": key, "kind": kind, "shape": shape, "stride": stride, "begin": record + begin}


def _records(file: BinaryIO) -> dict[int, int]:
    """Where each uncompressed record of the archive begins, and its size in bytes.

    torch computes where records are; in an archive that another program packed anew they are elsewhere.
    """
    records = {}
    for entry in zipfile.ZipFile(file).infolist():
        file.seek(entry.header_offset)
        name_bytes, extra_bytes = struct.unpack("<26x2H", file.read(30))
        if entry.compress_type == zipfile.ZIP_STORED:
            records[entry.header_offset + 30 + name_bytes + extra_bytes] = entry.file_size
    return records
