"""Where an expert's training stands, on disk: the file from which it goes on bit for bit, whatever the optimizer.

A safetensors file: the adapters, their running mean, and every tensor that the optimizer remembers; in its metadata, as
JSON, the rest of what it remembers, with names in the places of its tensors, and a digest of all. Nothing is unpickled.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor
from torch.optim import Optimizer

from ...core.errors import SakugaError
from ...nn.ema import Ema
from ...nn.lora import LoraSet
from ...nn.lora_changes import Learnt, Misfit, assembled
from ...nn.lora_file import tensor_bytes, write_state
from ...nn.optimizers import kind_of
from ...nn.weights import BROKEN, brief

FUSED = "fused"  # how torch computes, not what: as the machine that goes on does, not the one that began


@dataclass(frozen=True)
class State:
    """A training after `step` steps, in copies of its own on the CPU: it goes on while they are written."""

    step: int
    optimizer: str  # the class
    lora: dict[str, Learnt]
    mean: dict[str, Learnt] | None  # the running mean of the adapters, after `updates` of it
    updates: int
    memory: dict[str, Any]  # the optimizer's state_dict()
    of: str = ""  # which expert of which model in which run; files of one may fit another

    @property
    def best(self) -> dict[str, Learnt]:
        """What a checkpoint is to hold: the running mean where there is one."""
        return self.lora if self.mean is None else self.mean

    def write(self, path: Path) -> None:
        """Replaces the state file; at any moment the old or the new one is whole. Equal states are equal bytes."""
        tensors: dict[str, Tensor] = {}
        told = {
            "step": self.step,
            "optimizer": self.optimizer,
            "alphas": {name: layer.alpha for name, layer in self.lora.items()},
            "updates": None if self.mean is None else self.updates,
            "of": self.of,
            "memory": _taken_apart(self.memory, "memory", tensors),
        }
        for kind, layers in (("lora", self.lora), ("mean", self.mean or {})):
            for name, layer in layers.items():
                tensors |= {f"{kind}.{part}.{name}": tensor for part, tensor in _values(layer).items()}
        text = json.dumps(told)
        write_state(path, tensors, {"state": text, "digest": _digest(text, tensors)}, limit=None)


def state_path(folder: Path, expert: str) -> Path:
    return folder / f"state-{expert}.safetensors"


def snapshot(step: int, lora: LoraSet, optimizer: Optimizer, ema: Ema | None = None, of: str = "") -> State:
    """The training as it stands, copied: the one part of saving that the step waits for."""
    mean = None
    if ema is not None:
        with ema.swapped():
            mean = _copied(lora.tensors())
    memory = _on_cpu(optimizer.state_dict())
    return State(step, kind_of(optimizer), _copied(lora.tensors()), mean, ema.count if ema else 0, memory, of)


def save_state(path: Path, step: int, lora: LoraSet, optimizer: Optimizer, ema: Ema | None = None) -> None:
    """A snapshot, written at once."""
    snapshot(step, lora, optimizer, ema).write(path)


def load_state(path: Path) -> State:
    """Raises SakugaError where the file is not a state as it was written."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        text = metadata["state"]
        if metadata["digest"] != _digest(text, found):
            raise ValueError("its content is not what was written")
        return _state(json.loads(text), found)
    except (*BROKEN, KeyError, ValueError, TypeError, Misfit) as error:
        why = brief(str(error))
        raise SakugaError(f"{path} is not the state of a run ({why}); start a new run with another --name") from error


def restore(state: State, lora: LoraSet, optimizer: Optimizer, ema: Ema | None = None) -> None:
    """Puts a state back into adapters, optimizer and running mean.

    Raises SakugaError where it is of another optimizer, of a LoRA of other layers or ranks, or lacks the mean.
    """
    groups = [len(group["params"]) for group in optimizer.param_groups]
    if state.optimizer != kind_of(optimizer) or groups != [len(g["params"]) for g in state.memory["param_groups"]]:
        raise SakugaError(
            f"the saved state is of another optimizer ({state.optimizer}, here it is {kind_of(optimizer)}, or with other "
            "groups); set train.optimizer and train.lora_plus as they were, or start a new run with another --name"
        )
    if (state.mean is None) != (ema is None):
        raise SakugaError(
            "the saved state and this training do not both keep a running mean; set train.ema as it was, or start a new run "
            "with another --name"
        )
    lora.load(state.lora)
    _remember(optimizer, state.memory)
    if ema is not None and state.mean is not None:
        ema.load(lora.in_order(state.mean), state.updates)


def _remember(optimizer: Optimizer, memory: dict[str, Any]) -> None:
    """load_state_dict, exactly: torch's own turns every tensor into the type of its parameter."""
    now = [{FUSED: group[FUSED]} if FUSED in group else {} for group in optimizer.param_groups]
    groups = [saved | mine for saved, mine in zip(memory["param_groups"], now, strict=True)]
    optimizer.load_state_dict({**memory, "param_groups": groups})
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = [number for group in groups for number in group["params"]]
    for number, parameter in zip(numbers, parameters, strict=True):
        held = optimizer.state[parameter]
        for key, saved in memory["state"].get(number, {}).items():
            if key in held:  # some classes keep them in other places than they save them in
                held[key] = _exactly(saved, held[key])


def _exactly(saved: Any, held: Any) -> Any:
    """What was saved, its tensors where torch has put them. Of words in lists torch makes something else."""
    if isinstance(saved, Tensor):
        return saved.to(held.device) if held.dtype != saved.dtype else held
    if isinstance(saved, Mapping):
        return {key: _exactly(inner, held[key]) for key, inner in saved.items()}
    if isinstance(saved, list | tuple):
        return type(saved)(_exactly(one, other) for one, other in zip(saved, held, strict=True))
    return saved


# Copies


def _copied(layers: Mapping[str, Learnt]) -> dict[str, Learnt]:
    return {
        name: assembled({part: _copy(tensor) for part, tensor in _values(each).items()}, each.alpha)
        for name, each in layers.items()
    }


def _values(change: Learnt) -> dict[str, Tensor]:
    """What is learnt of a change, by part; alpha is a setting."""
    return {part: tensor for part, tensor in change.parts().items() if part != "alpha"}


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _on_cpu(value: Any) -> Any:
    """A structure with its tensors copied."""
    if isinstance(value, Tensor):
        return _copy(value)
    if isinstance(value, Mapping):
        return {key: _on_cpu(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_on_cpu, value))
    return value


# Structures as JSON and tensors


def _taken_apart(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON; its tensors go into `tensors` under the names of their places. Raises SakugaError for objects."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[key, _taken_apart(inner, f"{name}.{key}", tensors)] for key, inner in value.items()]}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_taken_apart(inner, f"{name}.{n}", tensors) for n, inner in enumerate(value)]}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise SakugaError(
        f"the optimizer remembers a {type(value).__name__} ({name}), which no state can hold; choose another train.optimizer"
    )


def _put_together(told: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(told, dict):
        return told
    ((kind, value),) = told.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "dict":
        return {key: _put_together(inner, tensors) for key, inner in value}
    inside = [_put_together(inner, tensors) for inner in value]
    return tuple(inside) if kind == "tuple" else inside


def _state(told: dict[str, Any], found: Mapping[str, Tensor]) -> State:
    """The state that a file's tensors make. Raises KeyError for what is missing."""

    def layers(kind: str) -> dict[str, Learnt]:
        parts: dict[str, dict[str, Tensor]] = {name: {} for name in told["alphas"]}
        for key, tensor in found.items():
            of, _, rest = key.partition(".")
            part, _, name = rest.partition(".")
            if of == kind:
                parts[name][part] = tensor
        return {name: assembled(parts[name], alpha) for name, alpha in told["alphas"].items()}

    mean = None if told["updates"] is None else layers("mean")
    memory = _put_together(told["memory"], found)
    return State(told["step"], told["optimizer"], layers("lora"), mean, told["updates"] or 0, memory, told["of"])


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Of the words, and of each tensor's name, type, shape and bytes."""
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensor_bytes(tensors[name]))
    return digest.hexdigest()
