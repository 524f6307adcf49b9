"""LoRA in a model: adapters on the Linears of a transformer. `lora_file` reads and writes them.

An adapter wraps a Linear where it stands in the model, in training and for files alike (`LoraLinear`; `ChangedLinear` for
what is no plain LoRA); adapters stack. The model's state_dict stays that of the base: the original keys, nothing of the
adapters, loadable with adapters in place. What a file adds to biases, norms and modulations is added to the parameter
itself (`Shift`), and taken back exactly.

Shapes: A [rank, in], B [out, rank]; x [..., in].
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import SakugaError, nearest
from ..core.family import MEMBERS, Transformer
from .flow import key_seed
from .lora_changes import Change, Dora, LoraTensors, difference, on_device
from .lora_file import HEADER_LIMIT, Hashes, LoraFile, hashes, load_lora, lora_state_dict, save_lora
from .lora_fold import home, plain_weight, store
from .lora_names import TARGETS, stranger
from .weights import brief, few

__all__ = [
    "HEADER_LIMIT", "TARGETS", "Applied", "ChangedLinear", "Hashes", "LoraFile", "LoraLinear", "LoraSet", "LoraTensors",
    "apply", "hashes", "inject", "load_lora", "lora_state_dict", "merge", "merge_all", "save_lora",
]  # fmt: skip


class Adapter(nn.Module):
    """A Linear with something beside it; `strength` 0 is off, 1 as trained. The base is frozen."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.strength = 1.0

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


class LoraLinear(Adapter):
    """base(x) + strength * alpha / rank * B A dropout(x). A and B are fp32 and compute in the type of x.

    Dropout is of the LoRA's input and in training mode alone (torch's generator; a checkpointed block sees its mask again).
    """

    def __init__(self, base: nn.Module, A: Tensor, B: Tensor, alpha: float, dropout: float = 0.0) -> None:
        super().__init__(base)
        self.A, self.B = nn.Parameter(A.float()), nn.Parameter(B.float())
        self.alpha, self.dropout = alpha, dropout
        self.training = base.training  # a new adapter joins the mode that the model is in

    @property
    def scale(self) -> float:
        return self.strength * self.alpha / self.A.shape[0]

    @property
    def change(self) -> LoraTensors:
        return LoraTensors(self.A.detach(), self.B.detach(), self.alpha)

    def forward(self, x: Tensor) -> Tensor:
        seen = F.dropout(x, self.dropout, self.training) if self.dropout else x
        delta = F.linear(F.linear(seen, self.A.to(x.dtype)), self.B.to(x.dtype))
        return self.base(x) + self.scale * delta


class ChangedLinear(Adapter):
    """base(x) + strength * (changed W - W) x, for a change of another kind. Not trained.

    DoRA scales rows or columns of W + change: its share is (g - 1) W x + g change(x) for rows of gain g, and
    W ((g - 1) x) + change(g x) for columns.
    """

    def __init__(self, base: nn.Module, change: Change | Dora) -> None:
        super().__init__(base)
        self.change = change
        self.gain = change.gain(plain_weight(innermost(base))) if isinstance(change, Dora) else None

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(self.change, Dora) or self.gain is None:
            assert not isinstance(self.change, Dora)
            return self.base(x) + self.strength * self.change.act(x)
        linear, gain = innermost(self.base), self.gain.to(x.dtype)
        if gain.shape[1] == 1:
            delta = (gain[:, 0] - 1) * _unbiased(linear, x) + gain[:, 0] * self.change.change.act(x)
        else:
            delta = _unbiased(linear, (gain[0] - 1) * x) + self.change.change.act(gain[0] * x)
        return self.base(x) + self.strength * delta


def _unbiased(linear: Any, x: Tensor) -> Tensor:
    y: Tensor = linear(x)
    return y if linear.bias is None else y - linear.bias


@dataclass(eq=False)
class Shift:
    """What a LoRA adds to a parameter that is no weight of a Linear.

    The module keeps the value of the base and all shifts of it, so that they come off exactly and in any order.
    """

    owner: nn.Module
    name: str
    delta: Tensor
    strength: float = 1.0

    def put(self) -> None:
        base, shifts = self._kept().setdefault(self.name, (self._parameter.detach().clone(), []))
        shifts.append(self)
        self._renew(base, shifts)

    def set_strength(self, strength: float) -> None:
        self.strength = strength
        self._renew(*self._kept()[self.name])

    def remove(self) -> None:
        base, shifts = self._kept()[self.name]
        shifts.remove(self)
        self._renew(base, shifts)
        if not shifts:
            del self._kept()[self.name]

    def settle(self) -> None:
        """Makes it part of the base."""
        base, shifts = self._kept()[self.name]
        settled = (base.float() + self.strength * self.delta.to(base.device)).to(base.dtype)
        self._kept()[self.name] = settled, shifts
        self.remove()

    @property
    def _parameter(self) -> Tensor:
        found: Tensor = getattr(self.owner, self.name)
        return found

    def _kept(self) -> dict[str, tuple[Tensor, list["Shift"]]]:
        return self.owner.__dict__.setdefault("_shifted", {})

    @torch.no_grad()
    def _renew(self, base: Tensor, shifts: list["Shift"]) -> None:
        added = sum((s.strength * s.delta.to(base.device) for s in shifts), torch.zeros((), device=base.device))
        self._parameter.copy_((base.float() + added).to(base.dtype) if shifts else base)


class LoraSet:
    """The adapters that one LoRA has in a model, by the name of the layer."""

    def __init__(
        self, layers: dict[str, LoraLinear], others: Mapping[str, ChangedLinear] = {}, shifts: Sequence[Shift] = ()
    ) -> None:
        self.layers, self.others, self.shifts = layers, others, shifts

    def parameters(self) -> list[nn.Parameter]:
        """A and B of every layer, in the order of the model."""
        return [p for layer in self.layers.values() for p in (layer.A, layer.B)]

    def tensors(self) -> dict[str, LoraTensors]:
        """The values, as `save_lora` takes them."""
        return {name: layer.change for name, layer in self.layers.items()}

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
                if len(saved.A) != len(layer.A):
                    raise SakugaError(f"the saved LoRA has {ranks}; set the same rank")
                sizes = [f"{len(B)} x {A.shape[1]}" for A, B in ((saved.A, saved.B), (layer.A, layer.B))]
                raise SakugaError(
                    f"the saved LoRA is of another model: its {name} is {sizes[0]}, this one's {sizes[1]}"
                )
            layer.A.copy_(saved.A)
            layer.B.copy_(saved.B)
            layer.alpha = saved.alpha

    def adapters(self) -> dict[str, LoraLinear | ChangedLinear]:
        """All of them, by the name of the layer."""
        return {**self.layers, **self.others}

    def set_strength(self, strength: float) -> None:
        """How strongly the LoRA acts from the next step on; 0 is off, 1 as trained."""
        for adapter in self.adapters().values():
            adapter.strength = strength
        for shift in self.shifts:
            shift.set_strength(strength)

    def remove(self, model: nn.Module) -> None:
        """Takes these adapters out of the model; others stay."""
        for name, layer in self.adapters().items():
            parent, leaf = _parent(model, name)
            while getattr(parent, leaf) is not layer:
                parent, leaf = getattr(parent, leaf), "base"
            setattr(parent, leaf, layer.base)
        for shift in self.shifts:
            shift.remove()

    def merge(self, model: nn.Module, strength: float = 1.0) -> float:
        """Folds the adapters into the base's weights at `strength`, takes them out, and says what rounding cost."""
        return fold(model, [(self, strength)])


def inject(
    model: nn.Module, rank: int, alpha: float | None, seed: int, include: Collection[str] = (), *,
    exclude: Collection[str] = (), ranks: Mapping[str, int] = {}, rslora: bool = False, dropout: float = 0.0,
) -> LoraSet:  # fmt: skip
    """New adapters for training on the Linears of every block (`TARGETS`); all else is frozen.

    Patterns are searched for in dotted names (`blocks.3.self_attn.q`): one of `include` is to be found where there are
    any, none of `exclude`, and the last of `ranks` that is found gives a layer its rank. `alpha` None is each layer's rank.
    With `rslora` the scale is alpha / sqrt(rank) (Kalajdzievski 2023), kept as an alpha that gives it by alpha / rank.

    A is drawn by seed and layer name, uniform in +-1/sqrt(in) (kaiming_uniform, a = sqrt 5); B is zero, so that the
    model begins unchanged. Raises SakugaError for a pattern that is none or finds nothing, and when no layer is left.
    """
    if (least := min([rank, *ranks.values()])) < 1:
        raise SakugaError(f"a LoRA's rank is at least 1, not {least}")
    model.requires_grad_(False)
    blocks = re.compile(rf"blocks\.\d+\.({'|'.join(map(re.escape, TARGETS))})")
    there = [name for name, _ in model.named_modules() if blocks.fullmatch(name)]
    wanted = _found("include", include, there)
    banned = _found("exclude", exclude, there, must=False)
    found = [name for name in there if (not include or name in wanted) and name not in banned]
    of_layer = dict.fromkeys(found, rank) | {name: ranks[p] for name, p in _found("ranks", ranks, there).items()}
    if not found:
        raise SakugaError("the model has none of the layers that the LoRA is to train; change `include` and `exclude`")
    layers = {}
    for name in found:
        own = of_layer[name]
        scaled = (own if alpha is None else alpha) * (math.sqrt(own) if rslora else 1)
        layers[name] = _wrap(model, name, *_fresh(model, name, own, seed), scaled, dropout)
    return LoraSet(layers)


def _found(setting: str, patterns: Iterable[str], names: Sequence[str], must: bool = True) -> dict[str, str]:
    """Name -> the last of the patterns that finds it. Each is to find something where it `must`."""
    last: dict[str, str] = {}
    for pattern in patterns:
        try:
            hits = [name for name in names if re.search(pattern, name)]
        except re.error as error:
            raise SakugaError(f"'{pattern}' in train.{setting} is no pattern ({error}); mend it") from None
        if must and not hits:
            parts = sorted({name.split(".", 2)[-1] for name in names})
            raise SakugaError(
                f"'{pattern}' in train.{setting} finds no layer that a LoRA can train{nearest(pattern, parts)} (there are, in "
                f"every block: {', '.join(parts)})"
            )
        last |= dict.fromkeys(hits, pattern)
    return last


def _fresh(model: nn.Module, name: str, rank: int, seed: int) -> tuple[Tensor, Tensor]:
    layer: Any = model.get_submodule(name)
    base = innermost(layer)
    generator = torch.Generator("cpu").manual_seed(key_seed("lora", seed, name))
    bound = 1 / math.sqrt(base.in_features)
    A = torch.empty(rank, base.in_features).uniform_(-bound, bound, generator=generator)
    return A, torch.zeros(base.out_features, rank)


def _wrap(model: nn.Module, name: str, A: Tensor, B: Tensor, alpha: float, dropout: float = 0.0) -> LoraLinear:
    parent, leaf = _parent(model, name)
    base = getattr(parent, leaf)
    device = _device(base, A)
    layer = LoraLinear(base, A.to(device), B.to(device), alpha, dropout)
    setattr(parent, leaf, layer)
    return layer


def _wrap_other(model: nn.Module, name: str, change: Change | Dora) -> ChangedLinear:
    parent, leaf = _parent(model, name)
    base = getattr(parent, leaf)
    layer = ChangedLinear(base, on_device(change, _device(base, torch.empty(0))))
    setattr(parent, leaf, layer)
    return layer


def _device(base: nn.Module, otherwise: Tensor) -> torch.device:
    return home(base) or otherwise.device


def _parent(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf


def innermost(layer: Any) -> Any:
    """The Linear under any adapters."""
    while isinstance(layer, Adapter):
        layer = layer.base
    return layer


# From files


@dataclass(frozen=True)
class Applied:
    """A LoRA from a file, in a model: its adapters, and what of the file was used and what was not."""

    lora: LoraSet
    used: list[str]  # layers
    unused: list[str]  # layers that the model lacks, and keys that no layer could be made of
    lost: float = 0.0  # share of what it adds that rounding to the weights' type took, when it was merged


def apply(model: nn.Module, file: LoraFile, strength: float = 1.0) -> Applied:
    """Wraps the layers that the file names; the adapters are not trained. `applied.lora` sets the strength and removes.

    Raises SakugaError when no layer fits, or one has another width: a LoRA of another model must not pass in silence.
    """
    modules = {re.sub(r"\.base(?=\.|$)", "", name): innermost(module) for name, module in model.named_modules()}
    used = [name for name in file.layers if hasattr(modules.get(name), "in_features")]
    shifts = _shifts(modules, file)
    if not used and not shifts:
        keys = [*file.layers, *file.unused]
        other = stranger(keys)
        whose = f"it is of {other}; choose one for Wan" if other else "is it a LoRA for Wan?"
        raise SakugaError(f"{file.path} has nothing that fits this model ({few(keys)}); {whose}")
    for name in used:
        out, into = file.layers[name].shape
        if (into, out) != (modules[name].in_features, modules[name].out_features):
            raise SakugaError(
                f"{file.path} was made for another model: its {name} is {out} x {into}, this model's is "
                f"{modules[name].out_features} x {modules[name].in_features}; choose the model it was trained on"
                + _widths(file)
            )
    lora = LoraSet(
        {name: _wrap(model, name, *file.tensors[name]) for name in used if name in file.tensors},
        {name: _wrap_other(model, name, file.others[name]) for name in used if name in file.others},
        list(shifts.values()),
    )
    for parameter in lora.parameters():
        parameter.requires_grad_(False)
    for shift in lora.shifts:
        shift.put()
    lora.set_strength(strength)
    odd = {n for n in file.layers if n not in used and f"{n}.weight" not in shifts} | ({*file.shifts} - {*shifts})
    return Applied(lora, [*used, *shifts], sorted(map(brief, odd)) + file.unused)


def _shifts(modules: Mapping[str, Any], file: LoraFile) -> dict[str, Shift]:
    """What the file adds to other parameters, as far as the model has them in that size."""
    made = {}
    whole = dict(file.shifts)
    for name, change in file.layers.items():  # a convolution, its kernel folded into `in`
        weight = getattr(modules.get(name), "weight", None)
        if isinstance(weight, Tensor) and weight.ndim > 2 and not isinstance(change, Dora):
            whole[f"{name}.weight"] = change.matrix()
    for parameter, delta in whole.items():
        owner, _, leaf = parameter.rpartition(".")
        there = getattr(modules.get(owner), leaf, None)
        if isinstance(there, Tensor) and there.numel() == delta.numel() and there.shape[:1] == delta.shape[:1]:
            made[parameter] = Shift(modules[owner], leaf, delta.reshape(there.shape).float())
    return made


def _widths(file: LoraFile) -> str:
    """The members of the family that every layer of a file fits in size, in brackets."""
    fit = [m.title for m in MEMBERS if not m.tiny and all(_fits(m.transformer, *it) for it in file.layers.items())]
    return f" (it has the widths of {', '.join(fit)})" if fit else ""


def _fits(wan: Transformer, name: str, change: Change | Dora) -> bool:
    tail = re.sub(r"blocks\.\d+\.", "", name)
    sizes = {"ffn.0": (wan.ffn_dim, wan.dim), "ffn.2": (wan.dim, wan.ffn_dim)}
    return tail not in TARGETS or change.shape == sizes.get(tail, (wan.dim, wan.dim))


def merge(model: nn.Module, file: LoraFile, strength: float = 1.0) -> Applied:
    """Folds a LoRA into the weights of the model; says what was used, as `apply` does."""
    return merge_all(model, [(file, strength)])[0]


def merge_all(model: nn.Module, files: Sequence[tuple[LoraFile, float]]) -> list[Applied]:
    """Folds several LoRAs into the weights, each weight rounded once; every DoRA starts from the base's own weight."""
    applied = [apply(model, file, strength) for file, strength in files]
    lost = fold(model, [(one.lora, strength) for one, (_, strength) in zip(applied, files, strict=True)])
    return [replace(one, lost=lost) for one in applied]


@torch.no_grad()
def fold(model: nn.Module, loras: Sequence[tuple[LoraSet, float]]) -> float:
    """Writes adapters that are in the model into its weights and takes them out.

    Returns which share of what they add rounding to the weights' type took: root mean square over all layers.
    """
    names = dict.fromkeys(name for lora, _ in loras for name in lora.adapters())
    wanted = lost = 0.0
    for name in names:
        linear = innermost(model.get_submodule(name))
        weight = plain_weight(linear, name)
        delta = torch.zeros_like(weight)
        for lora, strength in loras:
            if adapter := lora.adapters().get(name):
                delta += strength * difference(adapter.change, weight)
        exact = weight + delta
        wanted += delta.square().sum().item()
        lost += (store(linear, exact) - exact).square().sum().item()
    for lora, strength in loras:
        for shift in lora.shifts:
            shift.set_strength(strength)
            shift.settle()
        lora.shifts = ()
        lora.remove(model)
    return math.sqrt(lost / wanted) if wanted else 0.0
