"""The files of a model's weights as they lie on the disk: which they are, and what their headers say of the tensors in them.

No tensor is read here, and nothing that could read one is imported. Files come from strangers: whatever they hold, what is
said of them is true or is one sentence.
"""

import json
import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from .errors import SakugaError

SHOWN = 3
BRIEF = 100
HEADER_MOST = 100_000_000  # bytes, as the format has it
GIGABYTE = 1e9
BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4, "C64": 64, "BOOL": 8,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8,
}  # fmt: skip
_EXPERT = re.compile(r"(?<![a-z])(high|low)(?=[-_ ]?noise|[^a-z]|$)")
_SHARD = re.compile(r"[\w .()+-]{1,200}\.safetensors")  # a file beside the index, never one elsewhere


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of a .safetensors: its type as the format names it, its shape, and where it begins in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    bytes: int


def brief(words: str) -> str:
    """A stranger's words as a sentence can hold them."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in words[:BRIEF])
    return shown if len(words) <= BRIEF else shown + "..."


def few(keys: Collection[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(map(brief, sorted(keys)[:SHOWN])) + more


def weight_files(path: Path) -> list[Path]:
    """The files that a model's path stands for; a folder with an index gives exactly the shards it names."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise SakugaError(f"{path} does not exist; give the model's weight file or its folder")
    indexes = sorted(path.glob("*.safetensors.index.json"))
    if len(indexes) > 1:
        raise SakugaError(f"{path} holds {len(indexes)} models ({indexes[0].name}, ...); give the folder of one")
    if indexes:
        files = [path / name for name in _shards(indexes[0])]
    else:
        files = sorted(path.glob("*.safetensors"))
    if not files:
        raise SakugaError(f"{path} holds no .safetensors file; give the model's weight file or its folder")
    for file in files:
        if not file.is_file():
            why = f"named by {indexes[0].name} but is missing" if indexes else "a link to a file that is missing"
            raise SakugaError(f"{file} is {why}; download the model again")
    return files


def _shards(index: Path) -> list[str]:
    """The files that an index names."""
    places = read_object(index).get("weight_map")
    names = list(places.values()) if isinstance(places, dict) else []
    if not names or not all(isinstance(name, str) and _SHARD.fullmatch(name) for name in names):
        raise SakugaError(f"{index} does not say which files beside it hold the weights; download the model again")
    return sorted(set(names))


def read_object(path: Path) -> dict[str, Any]:
    """What a JSON file of a model says."""
    try:
        read = json.loads(read_bytes(path))
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise SakugaError(f"{path} is not a JSON object; download the model again")
    return read


def read_bytes(path: Path) -> bytes:
    """The content of a small file of a model."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SakugaError(f"{path} cannot be read: {error.strerror}; look whether it is there and yours") from error


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a .safetensors by name, in the order in which they lie in it.

    Raises SakugaError where the file is cut short, or is none.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            (length,) = struct.unpack("<Q", file.read(8))
            if length > HEADER_MOST:
                raise ValueError("it has no header")
            if length > size - 8:
                raise ValueError("its header is longer than the file")
            found = _tensors(json.loads(file.read(length)), 8 + length)
    except OSError as error:
        raise SakugaError(f"{path} cannot be read: {error.strerror}; look whether it is there and yours") from error
    except (ValueError, RecursionError, struct.error) as error:
        raise SakugaError(f"{path} cannot be read as weights ({brief(str(error))}); download it again") from error
    whole = max((info.begin + info.bytes for info in found.values()), default=8 + length)
    if whole > size:
        raise SakugaError(
            f"{path} is cut short: {size / GIGABYTE:.3g} of {whole / GIGABYTE:.3g} GB are there; download it again"
        )
    return found


def _tensors(header: Any, first: int) -> dict[str, TensorInfo]:
    """What a header says of tensors, the first of which begins at `first`. Raises ValueError where it is no table of them."""
    if not isinstance(header, dict):
        raise ValueError("its header is no table")
    tensors = {key: _tensor(key, said, first) for key, said in header.items() if key != "__metadata__"}
    return dict(sorted(tensors.items(), key=lambda item: item[1].begin))


def _tensor(key: str, said: Any, first: int) -> TensorInfo:
    match said:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [begin, end]}:
            if dtype in BITS and all(type(n) is int and n >= 0 for n in (*shape, begin, end)) and (
                (end - begin) * 8 == prod(shape) * BITS[dtype]
            ):  # fmt: skip
                return TensorInfo(dtype, tuple(shape), first + begin, end - begin)
    raise ValueError(f"{brief(key)} is no tensor that can be")


def sizes(tensors: Mapping[str, TensorInfo]) -> dict[str, int]:
    """Bytes by type of number, the most first."""
    found: dict[str, int] = {}
    for info in tensors.values():
        found[info.dtype] = found.get(info.dtype, 0) + info.bytes
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def expert_by_name(path: Path) -> str | None:
    """high or low, where the name of a file or of its folder says one of them."""
    name = path.name.lower()
    if path.name == "transformer_2" or ((path.parent / "transformer_2").is_dir() and path.name == "transformer"):
        return "low" if path.name == "transformer_2" else "high"  # as diffusers lays out the two
    found = {match[1] for match in _EXPERT.finditer(re.sub(r"(high|low)noise", r"\1_noise", name))}
    return found.pop() if len(found) == 1 else None
