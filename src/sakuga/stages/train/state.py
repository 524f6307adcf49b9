"""A run on disk: checkpoints for other programs, and the state from which it goes on bit for bit."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ...core.errors import SakugaError
from ...core.files import write_atomic
from ...nn.lora import LoraSet, LoraTensors
from ...nn.weights import BROKEN, brief

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW remembers of a parameter


@dataclass(frozen=True)
class State:
    """Where an expert's training stands: the last step done, the adapters, and what the optimizer remembers."""

    step: int
    tensors: dict[str, LoraTensors]
    moments: list[dict[str, Tensor]]  # one for each parameter, in the order of LoraSet.parameters()


def state_path(folder: Path, expert: str) -> Path:
    return folder / f"state-{expert}.safetensors"


def save_state(path: Path, step: int, lora: LoraSet, optimizer: torch.optim.Optimizer) -> None:
    """Replace the state file; at any moment the old or the new one is whole."""
    tensors: dict[str, Tensor] = {}
    alphas: dict[str, float] = {}
    for name, layer in lora.tensors().items():
        tensors |= {f"A.{name}": layer.A.cpu().contiguous(), f"B.{name}": layer.B.cpu().contiguous()}
        alphas[name] = layer.alpha
    for number, parameter in enumerate(lora.parameters()):
        for key, value in optimizer.state[parameter].items():
            tensors[f"moment.{number}.{key}"] = torch.as_tensor(value).detach().cpu().contiguous()
    # one entry of metadata: safetensors writes several in a random order, and equal states shall be equal bytes
    write_atomic(path, save(tensors, {"state": json.dumps({"step": step, "alphas": alphas})}))


def load_state(path: Path) -> State:
    """Raises SakugaError where the file is not a state."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        return _state(metadata, found)
    except (*BROKEN, KeyError, ValueError, TypeError, OverflowError) as error:
        why = brief(str(error))
        raise SakugaError(f"{path} is not the state of a run ({why}); start a new run with another --name") from error


def _state(metadata: dict[str, str], found: dict[str, Tensor]) -> State:
    """The state that a file's tensors make. Raises KeyError for what is missing, ValueError and the like for what is odd."""
    told = json.loads(metadata["state"])
    step, alphas = int(told["step"]), told["alphas"]
    if step < 1 or not isinstance(alphas, dict) or not all(math.isfinite(alpha) for alpha in alphas.values()):
        raise ValueError("its step or its alphas cannot be")
    tensors: dict[str, LoraTensors] = {}
    moments: list[dict[str, Tensor]] = []
    for name, alpha in alphas.items():
        tensors[name] = LoraTensors(found[f"A.{name}"], found[f"B.{name}"], alpha)
        for half in (tensors[name].A, tensors[name].B):
            saved = {key: found[f"moment.{len(moments)}.{key}"] for key in MOMENTS}
            shapes = tuple(value.shape for value in saved.values())
            if half.ndim != 2 or shapes != ((), half.shape, half.shape):
                raise ValueError(f"the moments of {name} have other shapes than it has")
            if {half.dtype, *(value.dtype for value in saved.values())} != {torch.float32} or not saved["step"] > 0:
                raise ValueError(f"the moments of {name} are not the numbers of an optimizer")
            moments.append(saved)
    return State(step, tensors, moments)


def restore(state: State, lora: LoraSet, optimizer: torch.optim.Optimizer) -> None:
    """Put a state back into adapters and optimizer."""
    lora.load(state.tensors)
    for parameter, moments in zip(lora.parameters(), state.moments, strict=True):
        # AdamW counts its steps on the CPU; the other moments live beside the parameter
        optimizer.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in moments.items()}
