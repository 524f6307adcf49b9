"""Reading weight files into models: tensor by tensor, so that host memory never holds a second copy.

A path is a .safetensors file, a folder of them (one model in one or several shards), or a .pth file of tensors.
Nothing in a file is run as code.
"""

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..core.errors import SakugaError
from ..core.family import Transformer
from .transformer import WanTransformer, is_island

PREFIXES = ("model.diffusion_model.", "diffusion_model.")
READABLE = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
QUANTISED = ("scale_weight", "weight_scale", "scale_input", "input_scale", "scaled_fp8")
SHOWN = 3


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
        index = json.loads(indexes[0].read_text("utf-8"))
        files = [path / name for name in sorted(set(index["weight_map"].values()))]
    else:
        files = sorted(path.glob("*.safetensors"))
    if not files:
        raise SakugaError(f"{path} holds no .safetensors file; give the model's weight file or its folder")
    for file in files:
        if not file.is_file():
            raise SakugaError(f"{file} is named by {indexes[0].name} but is missing; download the model again")
    return files


def read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """(key, tensor on the CPU) of every tensor under `path`, backed by the file until it is copied."""
    for file in weight_files(path):
        try:
            if file.suffix == ".safetensors":
                with safe_open(file, framework="pt", device="cpu") as opened:
                    for key in opened.keys():  # noqa: SIM118 (not a dict)
                        yield key, opened.get_tensor(key)
            elif file.suffix in (".pth", ".pt"):
                held = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
                if not isinstance(held, dict) or not all(isinstance(value, Tensor) for value in held.values()):
                    raise SakugaError(f"{file} is not a plain table of weights; give the published .pth file")
                yield from held.items()
            else:
                raise SakugaError(f"{file} is not a kind of file Sakuga reads; give a .safetensors or .pth file")
        except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise SakugaError(f"{file} cannot be read as weights ({error}); download it again") from error


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
                f"{path} holds quantised weights ({key}, {str(tensor.dtype).removeprefix('torch.')}), "
                "which Sakuga cannot read yet; use the fp16 or bf16 file of the same model"
            )
        if key not in expected:
            unexpected.append(key)
        elif key not in missing:
            raise SakugaError(f"{path} holds {key} twice; give the file or folder of one model")
        elif tensor.shape != expected[key].shape:
            raise SakugaError(
                f"{path} does not fit this model: {key} is {list(tensor.shape)}, expected {list(expected[key].shape)}; "
                "choose the --model that the file belongs to"
            )
        else:
            missing.discard(key)
            _assign(model, key, tensor.to(device, dtype_of(key)))
    if missing or unexpected:
        parts = [f"missing {_first(missing)}"] if missing else []
        parts += [f"not expected {_first(unexpected)}"] if unexpected else []
        raise SakugaError(f"{path} does not fit this model: {'; '.join(parts)}; choose the file that belongs to it")


def _assign(model: nn.Module, key: str, tensor: Tensor) -> None:
    owner, _, name = key.rpartition(".")
    setattr(model.get_submodule(owner), name, nn.Parameter(tensor, requires_grad=False))


def _first(keys: "set[str] | list[str]") -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(sorted(keys)[:SHOWN]) + more


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
