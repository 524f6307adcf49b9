"""Adapters: what stands beside a Linear in the model. Those that learn, one class for each kind, and those of files.

A kind that learns has its numbers as parameters under the names that files give them (`core.adapters`), and says how it
acts. What it is at a moment is its `change` (`lora_changes`), in which form it is saved, shown and taken over.

Shapes: A [rank, in], B [out, rank], magnitude [out, 1]; x [..., in].
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.adapters import LATE, MAGNITUDE, Shapes
from .flow import key_seed
from .lora_changes import (
    Change,
    Dora,
    Kron,
    Learnt,
    LoraTensors,
    assembled,
    from_parts,
    kron_act,
    low_rank_act,
    row_lengths,
)  # fmt: skip
from .lora_fold import home, plain_weight


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


# Those that learn


class Begun(NamedTuple):
    """What became of a change that an adapter begins with: the rank that it had, and the share of its norm that is lost."""

    rank: int
    lost: float


class Trained(Adapter):
    """base(x) + what the kind adds to it for dropout(x). Parts are fp32 and compute in the type of x.

    Dropout is of the adapter's input and in training mode alone (torch's generator; a checkpointed block sees its mask again).
    """

    begins_with = ""  # in words, what files it can begin with

    def __init__(self, base: nn.Module, parts: Mapping[str, Tensor], alpha: float, dropout: float = 0.0) -> None:
        super().__init__(base)
        for name, part in parts.items():
            self.register_parameter(name, nn.Parameter(part.float()))
        self.alpha, self.dropout = alpha, dropout
        self.training = base.training  # a new adapter joins the mode that the model is in

    @property
    def parts(self) -> dict[str, nn.Parameter]:
        """What is learnt, in the order of the kind."""
        return {name: part for name, part in self._parameters.items() if part is not None}

    @property
    def rank(self) -> int:
        """By which alpha is divided."""
        raise NotImplementedError

    @property
    def scale(self) -> float:
        return self.strength * self.alpha / self.rank

    @property
    def change(self) -> Learnt:
        """What it changes now; the numbers are its own, not copies."""
        return assembled({name: part.detach() for name, part in self.parts.items()}, self.alpha)

    def act(self, x: Tensor) -> Tensor:
        """What it adds to the output, [..., out]."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.act(self.dropped(x))

    def dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x

    @torch.no_grad()
    def take(self, saved: Learnt) -> None:
        """Takes over a change of the same kind and sizes."""
        for name, part in self.parts.items():
            part.copy_(saved.parts()[name])
        self.alpha = self.rank if saved.alpha is None else saved.alpha

    def begin_with(self, change: Change | Dora, strength: float) -> Begun | None:
        """Puts a change times `strength` into this adapter, freshly made; None where it is of a kind that it cannot hold.

        It keeps its own rank and scale: of the same rank the values are exact, a lower one is filled up with what the adapter
        began with, a higher one becomes the best of this rank (singular values).
        """
        raise NotImplementedError

    def share(self, other: "Trained") -> None:
        """Learns with the very parameters of another adapter of its kind, as strong: an optimizer knows them."""
        for name, part in other.parts.items():
            setattr(self, name, part)
        self.alpha, self.strength = other.alpha, other.strength


class LoraLinear(Trained):
    """base(x) + strength * alpha / rank * B A x."""

    A: nn.Parameter
    B: nn.Parameter
    begins_with = "plain"

    @property
    def rank(self) -> int:
        return self.A.shape[0]

    def act(self, x: Tensor) -> Tensor:
        return low_rank_act(x, self.A, self.B, self.scale)

    @torch.no_grad()
    def begin_with(self, change: Change | Dora, strength: float) -> Begun | None:
        if isinstance(change, Dora):
            return None
        held, lost = _at_most(change, self.rank)
        self.A[: held.rank] = held.A.to(self.A)
        self.B[:, : held.rank] = _times(held.B.to(self.B), strength * held.alpha / held.rank / self.scale)
        return Begun(change.rank, lost)


class KronLinear(Trained):
    """base(x) + strength * alpha / rank * (w1 kron w2) x, w2 of the rank; of a whole w2 the scale is the strength alone."""

    begins_with = "equally split LoKr"

    @property
    def rank(self) -> int:
        low = self.parts.get("lokr_w2_b")
        return len(self.parts["lokr_w2"]) if low is None else len(low)

    @property
    def scale(self) -> float:
        return self.strength if "lokr_w2" in self.parts else super().scale

    def act(self, x: Tensor) -> Tensor:
        return kron_act(x, self.parts, self.scale)

    @torch.no_grad()
    def begin_with(self, change: Change | Dora, strength: float) -> Begun | None:
        """Of a LoKr whose factors have the sizes of these."""
        mine = self.change
        if not isinstance(change, Kron) or not isinstance(mine, Kron) or change.sizes != mine.sizes:
            return None
        parts, ratio = self.parts, strength * change.scale / self.scale
        parts["lokr_w1"].copy_(change.w1)
        if "lokr_w2" in parts:
            parts["lokr_w2"].copy_(_times(change.w2, ratio))
            return Begun(self.rank, 0.0)
        low = {"A": change.whole.get("lokr_w2_b"), "B": change.whole.get("lokr_w2_a")}
        halves = {name: half for name, half in low.items() if half is not None and "lokr_t2" not in change.whole}
        w2: Change = from_parts(halves or {"diff": change.w2}, None)
        held, lost = _at_most(w2, self.rank)
        parts["lokr_w2_a"][:, : held.rank] = held.B.to(parts["lokr_w2_a"])
        parts["lokr_w2_b"][: held.rank] = _times(held.A.to(parts["lokr_w2_b"]), ratio)
        return Begun(w2.rank, lost)


class DoraLinear(LoraLinear):
    """m (W + s B A) x / |W + s B A|, for rows; b is added as it was.

    The lengths are constants to the gradient (section 4.3 of the paper). They need no product of the size of W: |W|^2 is
    taken once, and W A^T is the base's own output for the rows of A, wherever and in whatever type W is stored.
    """

    magnitude: nn.Parameter
    squares: Tensor  # |W|^2 of every row
    begins_with = "plain or DoRA"

    def __init__(self, base: nn.Module, parts: Mapping[str, Tensor], alpha: float, dropout: float = 0.0) -> None:
        super().__init__(base, parts, alpha, dropout)
        self.register_buffer("squares", plain_weight(innermost(base)).square().sum(1), persistent=False)

    @torch.no_grad()
    def lengths(self, dtype: torch.dtype) -> Tensor:
        """|W + s B A| of every row, [out, 1] in fp32, whatever the strength; W A^T is computed in `dtype`."""
        WA = unbiased(innermost(self.base), self.A.to(dtype)).float().T
        return row_lengths(self.squares, WA, self.A, self.B, self.alpha / self.rank)

    def forward(self, x: Tensor) -> Tensor:
        """y + s ((g - 1) (W x + B A x) + B A x) with g = m / length: to the bit y while nothing is learnt."""
        y = self.base(x)
        inner: Any = innermost(self.base)
        Wx = _without(y, self.bias) if inner is self.base else unbiased(inner, x)
        added = low_rank_act(self.dropped(x), self.A, self.B, self.alpha / self.rank)
        longer = (self.magnitude / self.lengths(x.dtype) - 1)[:, 0].to(x.dtype)
        return y + self.strength * (longer * (Wx + added) + added)

    @torch.no_grad()
    def begin_with(self, change: Change | Dora, strength: float) -> Begun | None:
        """Of a plain LoRA, with the lengths that it gives to rows; or of a DoRA by rows, which stays one at any strength s:

        W + s (g (W + C) - W) = h (W + s g / h C)      with the gain g, and h = 1 + s (g - 1)
        """
        if isinstance(change, Dora) and change.magnitude.shape != self.magnitude.shape:
            return None
        weight = plain_weight(innermost(self.base))
        begun = super().begin_with(change.change if isinstance(change, Dora) else change, strength)
        longer = torch.ones_like(self.magnitude)
        if begun and isinstance(change, Dora):
            gain = change.gain(weight).to(longer)
            longer = torch.lerp(longer, gain, strength)
            self.B.mul_(gain / longer)
        low = LoraTensors(self.A, self.B, self.alpha)
        self.magnitude.copy_(longer * (weight + low.matrix()).norm(dim=1, keepdim=True))
        return begun


def _at_most(change: Change, rank: int) -> tuple[LoraTensors, float]:
    """A change as it is where it is plain and of no higher rank, else the best of this rank; the share that is lost."""
    return (change, 0.0) if isinstance(change, LoraTensors) and change.rank <= rank else change.low_rank(rank)


def _times(half: Tensor, ratio: float) -> Tensor:
    return half if ratio == 1 else half * ratio


TRAINED: dict[str, type[Trained]] = {"lora": LoraLinear, "lokr": KronLinear, "dora": DoraLinear}


def fresh(linear: Any, shapes: Shapes, *key: str | int) -> dict[str, Tensor]:
    """The values that parts begin with, of the key alone: uniform in +-1/sqrt(columns) (kaiming_uniform, a = sqrt 5), in
    order; zeros for those of `LATE`, so that the model begins unchanged; and the lengths of the rows of W."""
    generator = torch.Generator("cpu").manual_seed(key_seed(*key))
    device = home(linear)
    made: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        bound = 1 / math.sqrt(shape[1])
        if name == MAGNITUDE:
            made[name] = plain_weight(linear).square().sum(1, keepdim=True).sqrt()
        elif name in LATE:
            made[name] = torch.zeros(shape, device=device)
        else:
            made[name] = torch.empty(shape).uniform_(-bound, bound, generator=generator).to(device)
    return made


# Those of files


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
            delta = (gain[:, 0] - 1) * unbiased(linear, x) + gain[:, 0] * self.change.change.act(x)
        else:
            delta = unbiased(linear, (gain[0] - 1) * x) + self.change.change.act(gain[0] * x)
        return self.base(x) + self.strength * delta


def unbiased(linear: Any, x: Tensor) -> Tensor:
    """W x."""
    y: Tensor = linear(x)
    return _without(y, linear.bias)


def _without(y: Tensor, bias: Tensor | None) -> Tensor:
    return y if bias is None else y - bias.to(y.dtype)


def innermost(layer: Any) -> Any:
    """The Linear under any adapters."""
    while isinstance(layer, Adapter):
        layer = layer.base
    return layer
