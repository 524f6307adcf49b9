"""Encodings in files: what belongs together in one file each, with its key and a sum over its bytes.

What was damaged on the disk, or copied under a wrong name, cannot be read as what it is not.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..core.errors import SakugaError

NOTE = "key and sha256"


def write_encoding(path: Path, key: str, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by what each is ("latent", "text"), under the key of them all."""
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    # not save_file: it reports a full disk as an error of its own; one note: several come in any order
    path.write_bytes(save(tensors, {NOTE: _note(key, tensors)}))


def read_encoding(path: Path, key: str, *names: str) -> dict[str, Tensor]:
    """The tensors that were written. Raises SakugaError where one of `names` is not among them, or the file is missing,
    damaged, or another's.
    """
    tensors = _sound(path, key)
    if tensors is None or not tensors.keys() >= set(names):
        raise SakugaError(f"{path.name} is missing from the cache or damaged; `sakuga cache --verify` makes it anew")
    return tensors


def _sound(path: Path, key: str) -> dict[str, Tensor] | None:
    try:
        with safe_open(path, "pt") as file:
            noted = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError):
        return None
    return tensors if noted.get(NOTE) == _note(key, tensors) else None


def _note(key: str, tensors: Mapping[str, Tensor]) -> str:
    """The key and a sum over the bytes, in the order of the names."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(tensors[name].view(torch.uint8).numpy().data)
    return f"{key} {found.hexdigest()}"
