"""Encodings in files: one tensor each, with the key it is stored under and a sum over its bytes.

What was damaged on the disk, or copied under a wrong name, cannot be read as what it is not.
"""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..core.errors import SakugaError

NOTE = "key and sha256"


def write_encoding(path: Path, name: str, key: str, tensor: Tensor) -> None:
    """Write a tensor that `name` ("latent", "text") is the kind of, under its key."""
    tensor = tensor.contiguous()
    # not save_file: it reports a full disk as an error of its own; one note: several come in any order
    path.write_bytes(save({name: tensor}, {NOTE: _note(key, tensor)}))


def read_encoding(path: Path, name: str, key: str) -> Tensor:
    """The tensor that was written. Raises SakugaError where it is not there, is damaged, or is another's."""
    tensor = _sound(path, name, key)
    if tensor is None:
        raise SakugaError(f"{path.name} is missing from the cache or damaged; `sakuga cache --verify` makes it anew")
    return tensor


def _sound(path: Path, name: str, key: str) -> Tensor | None:
    try:
        with safe_open(path, "pt") as file:
            noted, tensor = file.metadata() or {}, file.get_tensor(name)
    except (OSError, SafetensorError):
        return None
    return tensor if noted.get(NOTE) == _note(key, tensor) else None


def _note(key: str, tensor: Tensor) -> str:
    return f"{key} {hashlib.sha256(tensor.view(torch.uint8).numpy().data).hexdigest()}"
