"""Reading weight files into models: tensor by tensor, so that host memory never holds a second copy.

A path is a .safetensors file, a folder of them (one model in one or several shards), or a .pth file of tensors.
Nothing in a file is run as code. Files come from strangers: whatever they hold, they load or are one sentence.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..core.errors import SakugaError
from ..core.family import PICKLED, Transformer
from .pickles import read_pickle
from .transformer import WanTransformer, is_island

PREFIXES = ("model.diffusion_model.", "diffusion_model.")
READABLE = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
QUANTISED = ("scale_weight", "weight_scale", "scale_input", "input_scale", "scaled_fp8")
BROKEN = (SafetensorError, OSError, RuntimeError)  # what reading a damaged .safetensors raises
SHOWN = 3
BRIEF = 100
_SHARD = re.compile(r"[\w .()+-]{1,200}\.safetensors")  # a file beside the index, never one elsewhere


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


def read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """(key, tensor on the CPU) of every tensor under `path`, backed by the file until it is copied."""
    for file in weight_files(path):
        if file.suffix in PICKLED:
            yield from read_pickle(file)
        elif file.suffix == ".safetensors":
            yield from _read_safetensors(file)
        else:
            raise SakugaError(f"{file} is not a kind of file Sakuga reads; give a .safetensors or .pth file")


def _read_safetensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            for key in opened.keys():  # noqa: SIM118 (not a dict)
                yield key, opened.get_tensor(key)
    except BROKEN as error:
        raise SakugaError(f"{path} cannot be read as weights ({brief(str(error))}); download it again") from error


def brief(words: str) -> str:
    """A stranger's words as a sentence can hold them."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in words[:BRIEF])
    return shown if len(words) <= BRIEF else shown + "..."


def few(keys: Collection[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(map(brief, sorted(keys)[:SHOWN])) + more


def fill(
    model: nn.Module, tensors: Iterator[tuple[str, Tensor]], path: Path, dtype_of: Callable[[str], torch.dtype],
    device: torch.device | str,
) -> None:  # fmt: skip
    """Put tensors into a model made on the meta device, each cast and moved on its own; frozen.

    Every parameter must come, once, in its shape, and nothing else may.
    """
    expected = dict(model.named_parameters())
    missing, unexpected = set(expected), []
    for key, tensor in tensors:
        if key.endswith(QUANTISED) or tensor.dtype not in READABLE:
            raise SakugaError(
                f"{path} holds quantised weights ({brief(key)}, {str(tensor.dtype).removeprefix('torch.')}), "
                "which Sakuga cannot read yet; use the fp16 or bf16 file of the same model"
            )
        if key not in expected:
            unexpected.append(key)
        elif key not in missing:
            raise SakugaError(f"{path} holds {brief(key)} twice; give the file or folder of one model")
        elif tensor.shape != expected[key].shape:
            raise SakugaError(
                f"{path} does not fit this model: {key} is {brief(str(list(tensor.shape)))}, "
                f"expected {list(expected[key].shape)}; "
                "choose the --model that the file belongs to"
            )
        else:
            missing.discard(key)
            _assign(model, key, tensor.to(device, dtype_of(key)))
    if missing or unexpected:
        parts = [f"missing {few(missing)}"] if missing else []
        parts += [f"not expected {few(unexpected)}"] if unexpected else []
        raise SakugaError(f"{path} does not fit this model: {'; '.join(parts)}; choose the file that belongs to it")


def _assign(model: nn.Module, key: str, tensor: Tensor) -> None:
    owner, _, name = key.rpartition(".")
    setattr(model.get_submodule(owner), name, nn.Parameter(tensor, requires_grad=False))


def _strip(key: str) -> str:
    for prefix in PREFIXES:
        key = key.removeprefix(prefix)
    return key


def load_transformer(
    shape: Transformer, path: Path, dtype: torch.dtype = torch.bfloat16, device: torch.device | str = "cpu"
) -> WanTransformer:
    """The transformer of that shape from `path`, frozen, in eval mode; what `is_island` names is fp32."""
    with torch.device("meta"):
        model = WanTransformer(shape)
    tensors = ((_strip(key), tensor) for key, tensor in read_tensors(path))
    fill(model, tensors, path, lambda key: torch.float32 if is_island(key) else dtype, device)
    return model.eval()
