"""LoRA in a model: adapters on the Linears of a transformer. `lora_file` reads and writes them.

An adapter wraps a Linear where it stands in the model (`LoraLinear`), in training and for files alike; adapters stack.
The model's state_dict stays that of the base: the original keys, nothing of the adapters, loadable with adapters in
place.

Shapes: A [rank, in], B [out, rank]; x [..., in].
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import SakugaError, nearest
from .flow import key_seed
from .lora_file import (
    HEADER_LIMIT,
    TARGETS,
    Hashes,
    LoraFile,
    LoraTensors,
    hashes,
    load_lora,
    lora_state_dict,
    save_lora,
)
from .weights import brief, few

__all__ = [
    "HEADER_LIMIT", "TARGETS", "Applied", "Hashes", "LoraFile", "LoraLinear", "LoraSet", "LoraTensors", "apply", "hashes",
    "inject", "load_lora", "lora_state_dict", "merge", "save_lora",
]  # fmt: skip


class LoraLinear(nn.Module):
    """base(x) + strength * alpha / rank * B A x. The base is frozen; A and B are fp32 and compute in the type of x."""

    def __init__(self, base: nn.Module, A: Tensor, B: Tensor, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A, self.B = nn.Parameter(A.float()), nn.Parameter(B.float())
        self.alpha, self.strength = alpha, 1.0

    @property
    def scale(self) -> float:
        return self.strength * self.alpha / self.A.shape[0]

    def forward(self, x: Tensor) -> Tensor:
        delta = F.linear(F.linear(x, self.A.to(x.dtype)), self.B.to(x.dtype))
        return self.base(x) + self.scale * delta

    @property
    def weight(self) -> Tensor:
        """The base's weight: code that asks a Linear for it goes on working."""
        return self.base.weight  # type: ignore[return-value]

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias  # type: ignore[return-value]

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        return self.base.state_dict(destination=destination, prefix=prefix, keep_vars=keep_vars)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        """Hands the keys that stand at this name on to the base, which torch loads next."""
        for key in [k for k in state_dict if k.startswith(prefix) and not k.startswith(f"{prefix}base.")]:
            state_dict[f"{prefix}base.{key[len(prefix) :]}"] = state_dict.pop(key)


class LoraSet:
    """The adapters that one LoRA has in a model, by the name of the layer."""

    def __init__(self, layers: dict[str, LoraLinear]) -> None:
        self.layers = layers

    def parameters(self) -> list[nn.Parameter]:
        """A and B of every layer, in the order of the model."""
        return [p for layer in self.layers.values() for p in (layer.A, layer.B)]

    def tensors(self) -> dict[str, LoraTensors]:
        """The values, as `save_lora` takes them."""
        return {n: LoraTensors(x.A.detach(), x.B.detach(), x.alpha) for n, x in self.layers.items()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, LoraTensors]) -> None:
        """Takes over saved values, of exactly these layers and ranks."""
        if tensors.keys() != self.layers.keys():
            odd = sorted(tensors.keys() ^ self.layers.keys())
            raise SakugaError(f"the saved LoRA has other layers than this one ({few(odd)}); train with its settings")
        for name, layer in self.layers.items():
            saved = tensors[name]
            if saved.A.shape != layer.A.shape or saved.B.shape != layer.B.shape:
                ranks = f"rank {saved.A.shape[0]} at {name}, this one {layer.A.shape[0]}"
                raise SakugaError(f"the saved LoRA has {ranks}; set the same rank")
            layer.A.copy_(saved.A)
            layer.B.copy_(saved.B)
            layer.alpha = saved.alpha

    def set_strength(self, strength: float) -> None:
        """How strongly the LoRA acts from the next step on; 0 is off, 1 as trained."""
        for layer in self.layers.values():
            layer.strength = strength

    def remove(self, model: nn.Module) -> None:
        """Takes these adapters out of the model; others stay."""
        for name, layer in self.layers.items():
            parent, leaf = _parent(model, name)
            while getattr(parent, leaf) is not layer:
                parent, leaf = getattr(parent, leaf), "base"
            setattr(parent, leaf, layer.base)

    @torch.no_grad()
    def merge(self, model: nn.Module, strength: float = 1.0) -> None:
        """Folds the adapters into the base's weights at `strength`, and takes them out."""
        for name, layer in self.layers.items():
            weight = _innermost(layer).weight
            if not isinstance(weight, Tensor) or weight.dtype not in (torch.float32, torch.bfloat16, torch.float16):
                raise SakugaError(f"{name} is quantised and a LoRA cannot be merged into it; load the model in bf16")
            delta = strength * layer.alpha / layer.A.shape[0] * (layer.B @ layer.A)
            weight.copy_((weight.float() + delta.to(weight.device)).to(weight.dtype))
        self.remove(model)


def inject(model: nn.Module, rank: int, alpha: float, seed: int, include: Collection[str] = TARGETS) -> LoraSet:
    """New adapters for training on the Linears of every block that `include` names; all else is frozen.

    A is drawn by seed and layer name, uniform in +-1/sqrt(in) (kaiming_uniform, a = sqrt 5); B is zero, so that the
    model begins unchanged. Raises SakugaError for a target that is none, or when the model has none of them.
    """
    for target in include:
        if target not in TARGETS:
            raise SakugaError(f"'{target}' is not a layer a LoRA can train{nearest(target, TARGETS)}")
    if rank < 1:
        raise SakugaError(f"a LoRA's rank is at least 1, not {rank}")
    model.requires_grad_(False)
    pattern = re.compile(rf"blocks\.\d+\.({'|'.join(map(re.escape, include))})")
    found = [name for name, _ in model.named_modules() if pattern.fullmatch(name)]
    if not found:
        raise SakugaError("the model has none of the layers that the LoRA is to train; name others in `include`")
    return LoraSet({name: _wrap(model, name, *_fresh(model, name, rank, seed), alpha) for name in found})


def _fresh(model: nn.Module, name: str, rank: int, seed: int) -> tuple[Tensor, Tensor]:
    layer: Any = model.get_submodule(name)
    base = _innermost(layer)
    generator = torch.Generator("cpu").manual_seed(key_seed("lora", seed, name))
    bound = 1 / math.sqrt(base.in_features)
    A = torch.empty(rank, base.in_features).uniform_(-bound, bound, generator=generator)
    return A, torch.zeros(base.out_features, rank)


def _wrap(model: nn.Module, name: str, A: Tensor, B: Tensor, alpha: float) -> LoraLinear:
    parent, leaf = _parent(model, name)
    base = getattr(parent, leaf)
    held = next((t for t in (*base.parameters(), *base.buffers())), A)
    layer = LoraLinear(base, A.to(held.device), B.to(held.device), alpha)
    setattr(parent, leaf, layer)
    return layer


def _parent(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf


def _innermost(layer: Any) -> Any:
    """The Linear under any adapters."""
    while isinstance(layer, LoraLinear):
        layer = layer.base
    return layer


# From files


@dataclass(frozen=True)
class Applied:
    """A LoRA from a file, in a model: its adapters, and what of the file was used and what was not."""

    lora: LoraSet
    used: list[str]  # layers
    unused: list[str]  # layers that the model lacks, and keys that no layer could be made of


def apply(model: nn.Module, file: LoraFile, strength: float = 1.0) -> Applied:
    """Wraps the layers that the file names; the adapters are not trained. `applied.lora` sets the strength and removes.

    Raises SakugaError when no layer fits, or one has another width: a LoRA of another model must not pass in silence.
    """
    modules = {re.sub(r"\.base(?=\.|$)", "", name): _innermost(module) for name, module in model.named_modules()}
    used = [name for name in file.tensors if hasattr(modules.get(name), "in_features")]
    if not used:
        keys = few([*file.tensors, *file.unused])
        raise SakugaError(f"{file.path} has nothing that fits this model ({keys}); is it a LoRA for Wan?")
    for name in used:
        A, B, _ = file.tensors[name]
        if (A.shape[1], B.shape[0]) != (modules[name].in_features, modules[name].out_features):
            raise SakugaError(
                f"{file.path} was made for another model: its {name} is {B.shape[0]} x {A.shape[1]}, this model's is "
                f"{modules[name].out_features} x {modules[name].in_features}; choose the model it was trained on"
            )
    lora = LoraSet({name: _wrap(model, name, *file.tensors[name]) for name in used})
    for parameter in lora.parameters():
        parameter.requires_grad_(False)
    lora.set_strength(strength)
    return Applied(lora, used, sorted(map(brief, {*file.tensors} - {*used})) + file.unused)


def merge(model: nn.Module, file: LoraFile, strength: float = 1.0) -> Applied:
    """Folds a LoRA into the weights of the model; says what was used, as `apply` does."""
    applied = apply(model, file)
    applied.lora.merge(model, strength)
    return applied
