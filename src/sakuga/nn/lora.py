"""LoRA in a model: adapters on the Linears of a transformer. `lora_file` reads and writes them.

An adapter (`adapters`) wraps a Linear where it stands in the model, in training and for files alike; adapters stack. The
model's state_dict stays that of the base: the original keys, nothing of the adapters, loadable with adapters in place. What
a file adds to biases, norms and modulations is added to the parameter itself (`Shift`), and taken back exactly.

Shapes: A [rank, in], B [out, rank]; x [..., in].
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..core.adapters import LORA, Kind
from ..core.errors import SakugaError, nearest
from ..core.family import MEMBERS, Transformer
from .adapters import TRAINED, ChangedLinear, LoraLinear, Trained, fresh, innermost
from .lora_changes import Change, Dora, Kron, Learnt, LoraTensors, difference, on_device
from .lora_file import HEADER_LIMIT, Hashes, LoraFile, hashes, load_lora, lora_state_dict, save_lora
from .lora_fold import home, plain_weight, store
from .lora_names import TARGETS, stranger
from .weights import brief, few

__all__ = [
    "HEADER_LIMIT", "TARGETS", "Applied", "ChangedLinear", "Hashes", "LoraFile", "LoraLinear", "LoraSet", "LoraTensors",
    "apply", "hashes", "inject", "load_lora", "lora_state_dict", "merge", "merge_all", "save_lora",
]  # fmt: skip

T = TypeVar("T", bound=Trained)


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
        self, layers: Mapping[str, Trained], others: Mapping[str, ChangedLinear] = {}, shifts: Sequence[Shift] = ()
    ) -> None:
        self.layers, self.others, self.shifts = dict(layers), others, shifts

    def parts(self) -> list[tuple[str, nn.Parameter]]:
        """What is learnt on every layer, in the order of the model, each with the name of the part that it is."""
        return [part for layer in self.layers.values() for part in layer.parts.items()]

    def parameters(self) -> list[nn.Parameter]:
        """The same without the names."""
        return [part for _, part in self.parts()]

    def tensors(self) -> dict[str, Learnt]:
        """The values, as `save_lora` takes them."""
        return {name: layer.change for name, layer in self.layers.items()}

    def in_order(self, saved: Mapping[str, Learnt]) -> list[Tensor]:
        """Saved values in the order of `parameters`."""
        return [saved[name].parts()[part] for name, layer in self.layers.items() for part in layer.parts]

    def load(self, saved: Mapping[str, Learnt]) -> None:
        """Takes over saved values, of exactly these layers, kinds and ranks."""
        if saved.keys() != self.layers.keys():
            odd = sorted(saved.keys() ^ self.layers.keys())
            raise SakugaError(f"the saved LoRA has other layers than this one ({few(odd)}); train with its settings")
        for name, layer in self.layers.items():
            _check_same(name, saved[name], layer.change)
            layer.take(saved[name])

    def adapters(self) -> dict[str, Trained | ChangedLinear]:
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


def _check_same(name: str, saved: Learnt, here: Learnt) -> None:
    """Raises SakugaError where one change cannot take the place of another."""
    if saved.kind != here.kind:
        kinds = f"{saved.kind} at {name}, this one {here.kind}"
        raise SakugaError(f"the saved LoRA is {kinds}; set train.adapter as it was")
    if saved.shape != here.shape:
        sizes = [f"{out} x {into}" for out, into in (saved.shape, here.shape)]
        raise SakugaError(f"the saved LoRA is of another model: its {name} is {sizes[0]}, this one's {sizes[1]}")
    sizes_of = [{part: tensor.shape for part, tensor in change.parts().items()} for change in (saved, here)]
    if sizes_of[0] != sizes_of[1]:
        if isinstance(saved, Kron):
            raise SakugaError(
                f"the saved LoRA has other factors at {name}; set train.rank, train.factor and train.full_matrix as they were"
            )
        ranks = [len(change.parts()["A"]) for change in (saved, here)]
        raise SakugaError(f"the saved LoRA has rank {ranks[0]} at {name}, this one {ranks[1]}; set the same rank")


def inject(
    model: nn.Module, rank: int, alpha: float | None, seed: int, include: Collection[str] = (), *,
    exclude: Collection[str] = (), ranks: Mapping[str, int] = {}, rslora: bool = False, dropout: float = 0.0,
    kind: Kind = LORA,
) -> LoraSet:  # fmt: skip
    """New adapters for training on the Linears of every block (`TARGETS`); all else is frozen.

    Patterns are searched for in dotted names (`blocks.3.self_attn.q`): one of `include` is to be found where there are
    any, none of `exclude`, and the last of `ranks` that is found gives a layer its rank. `alpha` None is each layer's rank.
    With `rslora` the scale is alpha / sqrt(rank) (Kalajdzievski 2023), kept as an alpha that gives it by alpha / rank.

    What a `kind` learns begins with values drawn by seed and layer name, and with zeros where that leaves the model
    unchanged (`adapters.fresh`): A and B of plain LoRA. Raises SakugaError for a pattern that is none or finds nothing, and
    when no layer is left.
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
        own, linear = of_layer[name], innermost(model.get_submodule(name))
        scaled = (own if alpha is None else alpha) * (math.sqrt(own) if rslora else 1)
        parts = fresh(linear, kind.parts(linear.out_features, linear.in_features, own), "lora", seed, name)
        layers[name] = _wrap(model, name, TRAINED[kind.name], parts, scaled, dropout)
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


def _wrap(
    model: nn.Module, name: str, made: type[T], parts: Mapping[str, Tensor], alpha: float, dropout: float = 0.0
) -> T:
    parent, leaf = _parent(model, name)
    base = getattr(parent, leaf)
    layer = made(base, {part: tensor.to(_device(base, tensor)) for part, tensor in parts.items()}, alpha, dropout)
    setattr(parent, leaf, layer)
    return layer


def _wrap_plain(model: nn.Module, name: str, change: LoraTensors) -> LoraLinear:
    return _wrap(model, name, LoraLinear, {"A": change.A, "B": change.B}, change.alpha)


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
        {name: _wrap_plain(model, name, file.tensors[name]) for name in used if name in file.tensors},
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
