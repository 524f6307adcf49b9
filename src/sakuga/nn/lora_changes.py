"""The changes that files make to the weight of a Linear: low rank (LoRA), Kronecker (LoKr), Hadamard (LoHa), whole (diff), and
direction with length (DoRA).

Sources: LoRA arXiv:2106.09685, FedPara (LoHa) arXiv:2108.06098, LyCORIS (LoKr) arXiv:2309.14859, DoRA arXiv:2402.09353.

Every kind has a `shape` (out, in), the most that its `rank` can be, its `matrix` (scaled, [out, in], fp32), `act` (the
matrix times x, in the type of x), its Frobenius `norm`, the `parts` it is in files, and `low_rank`: plain LoRA of at most
a rank (exact where none is given), with the share of the norm that is lost. DoRA is none of them: what it adds depends on
the weight it is added to.

Shapes: the weight W is [out, in]; A [rank, in], B [out, rank]; x [..., in].
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.adapters import MAGNITUDE

NOISE = 1e-6  # singular values below this share of the largest are rounding, in fp32
_T = TypeVar("_T", bound="Change | Dora")


class LoraTensors(NamedTuple):
    """The adapter of one layer: its effect is x -> alpha / rank * B A x."""

    A: Tensor
    B: Tensor
    alpha: float

    @property
    def kind(self) -> str:
        return "LoRA"

    @property
    def shape(self) -> tuple[int, int]:
        return self.B.shape[0], self.A.shape[1]

    @property
    def rank(self) -> int:
        return self.A.shape[0]

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def matrix(self) -> Tensor:
        return self.scale * (self.B.float() @ self.A.float())

    def norm(self) -> float:
        """|B A|^2 is the sum of (B^T B) * (A A^T), which are small."""
        grams = (self.B.double().T @ self.B.double()) * (self.A.double() @ self.A.double().T)
        return abs(self.scale) * math.sqrt(max(0.0, grams.sum().item()))

    def act(self, x: Tensor) -> Tensor:
        return low_rank_act(x, self.A, self.B, self.scale)

    def parts(self) -> dict[str, Tensor]:
        return {"A": self.A, "B": self.B, "alpha": torch.tensor(float(self.alpha))}

    def low_rank(self, rank: int | None = None) -> tuple["LoraTensors", float]:
        return (self, 0.0) if rank is None or rank >= self.rank else truncate(self.B * self.scale, self.A, rank)


@dataclass(frozen=True)
class Kron:
    """LoKr: scale * (w1 kron w2); w1 [a, b], w2 [c, d] for a weight [a c, b d]. `whole` holds it as the file did.

    Both factors whole: the scale is 1, whatever alpha says. Otherwise it is alpha over the rank of the last low one; None is
    that rank.
    """

    whole: Mapping[str, Tensor]
    alpha: float | None = None
    kind = "LoKr"

    @property
    def w1(self) -> Tensor:
        return _factor(self.whole, "lokr_w1")

    @property
    def w2(self) -> Tensor:
        return _factor(self.whole, "lokr_w2")

    @property
    def inner(self) -> int | None:
        """The rank of the last low factor."""
        low = self.whole.get("lokr_w2_b", self.whole.get("lokr_w1_b"))
        return None if low is None else len(low)

    @property
    def scale(self) -> float:
        return 1.0 if self.alpha is None or self.inner is None else self.alpha / self.inner

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(a, b) and (c, d)."""
        return _outer(_chain(self.whole, "lokr_w1")), _outer(_chain(self.whole, "lokr_w2"))

    @property
    def shape(self) -> tuple[int, int]:
        (a, b), (c, d) = self.sizes
        return a * c, b * d

    @property
    def rank(self) -> int:
        return _rank_of(self.whole, "lokr_w1") * _rank_of(self.whole, "lokr_w2")

    def matrix(self) -> Tensor:
        return self.scale * torch.kron(self.w1, self.w2)

    def norm(self) -> float:
        return abs(self.scale) * float(self.w1.norm()) * float(self.w2.norm())

    def act(self, x: Tensor) -> Tensor:
        return kron_act(x, self.whole, self.scale)

    def parts(self) -> dict[str, Tensor]:
        """With an alpha that gives the scale, in files of whole factors too: there are readers that ask for one."""
        return dict(self.whole) | {"alpha": torch.tensor(self.scale * (self.inner or 1))}

    def low_rank(self, rank: int | None = None) -> tuple[LoraTensors, float]:
        """The singular vectors of a Kronecker product are products of those of its factors, so none is searched for."""
        (U1, s1, V1), (U2, s2, V2) = (torch.linalg.svd(w, full_matrices=False) for w in (self.w1, self.w2))
        values = abs(self.scale) * torch.outer(s1, s2).flatten()
        order = values.argsort(descending=True, stable=True)
        kept = order[: _needed(values[order], self.rank if rank is None else rank)]
        first, second = kept // len(s2), kept % len(s2)
        root = values[kept].sqrt()
        B = root * torch.einsum("ar,cr->acr", U1[:, first], U2[:, second]).flatten(0, 1)
        A = root[:, None] * torch.einsum("rb,rd->rbd", V1[first], V2[second]).flatten(1)
        return LoraTensors(A, B * math.copysign(1, self.scale), float(len(kept))), _lost(values, values[kept])


@dataclass(frozen=True)
class Hadamard:
    """LoHa: scale * (B1 A1) * (B2 A2), element by element."""

    B1: Tensor
    A1: Tensor
    B2: Tensor
    A2: Tensor
    scale: float
    whole: Mapping[str, Tensor]
    kind = "LoHa"

    @property
    def shape(self) -> tuple[int, int]:
        return self.B1.shape[0], self.A1.shape[1]

    @property
    def rank(self) -> int:
        return min(self.A1.shape[0] * self.A2.shape[0], *self.shape)

    def matrix(self) -> Tensor:
        return self.scale * ((self.B1 @ self.A1) * (self.B2 @ self.A2))

    def norm(self) -> float:
        return float(self.matrix().norm())

    def act(self, x: Tensor) -> Tensor:
        return F.linear(x, self.matrix().to(x.dtype))

    def parts(self) -> dict[str, Tensor]:
        return dict(self.whole)

    def low_rank(self, rank: int | None = None) -> tuple[LoraTensors, float]:
        """An element-wise product of ranks r and s has rank r s at most: columns of B and rows of A meet in all pairs."""
        B = torch.einsum("or,os->ors", self.B1, self.B2).flatten(1)
        A = torch.einsum("ri,si->rsi", self.A1, self.A2).flatten(0, 1)
        return truncate(self.scale * B, A, self.rank if rank is None else rank)


@dataclass(frozen=True)
class Full:
    """`diff`: the whole difference, [out, in]."""

    diff: Tensor
    kind = "diff"

    @property
    def shape(self) -> tuple[int, int]:
        return self.diff.shape[0], self.diff.shape[1]

    @property
    def rank(self) -> int:
        return min(self.shape)

    def matrix(self) -> Tensor:
        return self.diff.float()

    def norm(self) -> float:
        return float(self.diff.float().norm())

    def act(self, x: Tensor) -> Tensor:
        return F.linear(x, self.diff.to(x.dtype))

    def parts(self) -> dict[str, Tensor]:
        return {"diff": self.diff}

    def low_rank(self, rank: int | None = None) -> tuple[LoraTensors, float]:
        return from_matrix(self.matrix(), rank)


@dataclass(frozen=True)
class Dora:
    """DoRA: W + change, its rows (or columns) then brought to the lengths `magnitude` ([out, 1] or [1, in])."""

    change: "Change"
    magnitude: Tensor

    @property
    def kind(self) -> str:
        return f"DoRA of {self.change.kind}"

    @property
    def shape(self) -> tuple[int, int]:
        return self.change.shape

    @property
    def rank(self) -> int:
        return min(self.shape)

    @property
    def alpha(self) -> float | None:
        return self.change.alpha if isinstance(self.change, LoraTensors | Kron) else None

    def gain(self, weight: Tensor) -> Tensor:
        """How much longer each row or column becomes, in the shape of the magnitude."""
        along = 1 if self.magnitude.shape[1] == 1 else 0
        length = (weight.float() + self.change.matrix()).norm(dim=along, keepdim=True)
        return self.magnitude.float() / length.clamp_min(torch.finfo(torch.float32).tiny)

    def difference(self, weight: Tensor) -> Tensor:
        """What it adds to this weight, [out, in] in fp32."""
        return self.gain(weight) * (weight.float() + self.change.matrix()) - weight.float()

    def norm(self) -> float:
        """Of the change before the lengths are set: those depend on the base."""
        return self.change.norm()

    def parts(self) -> dict[str, Tensor]:
        return self.change.parts() | {"magnitude": self.magnitude}


Change = LoraTensors | Kron | Hadamard | Full
Learnt = LoraTensors | Kron | Dora  # the kinds that are trained


# Formulas


def low_rank_act(x: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    """scale * B A x, in the type of x."""
    return scale * F.linear(F.linear(x, A.to(x.dtype)), B.to(x.dtype))


def kron_act(x: Tensor, parts: Mapping[str, Tensor], scale: float) -> Tensor:
    """scale * (w1 kron w2) x, which is w1 X w2^T with x written as rows X [b, d]. In the type of x.

    w1 acts where w2 is narrowest: between its halves, where it has two.
    """
    w1 = _product([w.to(x.dtype) for w in _chain(parts, "lokr_w1")])
    *left, right = (w.to(x.dtype) for w in _chain(parts, "lokr_w2"))
    rows = x.unflatten(-1, (w1.shape[1], right.shape[1]))
    turned = F.linear(F.linear(rows, right).mT, w1).mT
    for w in reversed(left):
        turned = F.linear(turned, w)
    return scale * turned.flatten(-2)


def row_lengths(squares: Tensor, WA: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    """|W + s B A| of every row, [out, 1], from |W|^2 [out] and W A^T [out, rank].

    For a row w of W and b of B: |w + s b A|^2 = |w|^2 + 2 s b . (A w) + s^2 b (A A^T) b^T.
    """
    crossed = (B * WA).sum(1)
    added = (B @ (A @ A.T) * B).sum(1)
    whole = squares + 2 * scale * crossed + scale**2 * added
    return whole.clamp_min(torch.finfo(torch.float32).tiny).sqrt()[:, None]


def difference(change: Change | Dora, weight: Tensor) -> Tensor:
    """What a change adds to this weight, [out, in] in fp32."""
    return change.difference(weight) if isinstance(change, Dora) else change.matrix()


def on_device(change: _T, device: torch.device) -> _T:
    """The same change with its tensors there."""
    if isinstance(change, LoraTensors):
        return change._replace(A=change.A.to(device), B=change.B.to(device))
    made: Any = change
    moved = {f.name: _moved(getattr(made, f.name), device) for f in fields(made)}
    return replace(made, **moved)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: part.to(device) for name, part in value.items()}
    return on_device(value, device) if isinstance(value, Change) else value


# Low rank


def truncate(B: Tensor, A: Tensor, rank: int) -> tuple[LoraTensors, float]:
    """The best LoRA of at most `rank` for B A, and the share of the norm that is lost. Never makes the matrix itself.

    With B = Q1 R1 and A^T = Q2 R2 the singular values of B A are those of the small R1 R2^T.
    """
    Q1, R1 = torch.linalg.qr(B.float())
    Q2, R2 = torch.linalg.qr(A.float().T)
    U, values, V = torch.linalg.svd(R1 @ R2.T, full_matrices=False)
    return _halves(Q1 @ U, values, V @ Q2.T, rank)


def from_matrix(matrix: Tensor, rank: int | None = None) -> tuple[LoraTensors, float]:
    """The best LoRA of at most `rank` for a whole matrix [out, in]."""
    U, values, V = torch.linalg.svd(matrix.float(), full_matrices=False)
    return _halves(U, values, V, len(values) if rank is None else rank)


def _halves(U: Tensor, values: Tensor, V: Tensor, rank: int) -> tuple[LoraTensors, float]:
    kept = _needed(values, rank)
    root = values[:kept].sqrt()
    tensors = LoraTensors((root[:, None] * V[:kept]).contiguous(), (U[:, :kept] * root).contiguous(), float(kept))
    return tensors, _lost(values, values[:kept])


def _needed(values: Tensor, most: int) -> int:
    """How many of these singular values, largest first, are worth keeping: at least one, at most `most`."""
    return max(1, min(most, int((values > NOISE * values[0]).sum())))


def _lost(values: Tensor, kept: Tensor) -> float:
    """The share of the norm that is not in the kept singular values."""
    whole, held = values.double().square().sum().item(), kept.double().square().sum().item()
    return math.sqrt(max(0.0, 1 - held / whole)) if whole > 0 else 0.0


def join(changes: Sequence[tuple[LoraTensors, float]]) -> LoraTensors:
    """The weighted sum of LoRAs of one layer as one LoRA, exact: their ranks stand beside one another; alpha = rank."""
    A = torch.cat([tensors.A.float() for tensors, _ in changes])
    B = torch.cat([weight * tensors.scale * tensors.B.float() for tensors, weight in changes], dim=1)
    return LoraTensors(A, B, float(len(A)))


# From the parts of a file


def _chain(parts: Mapping[str, Tensor], stem: str) -> list[Tensor]:
    """The matrices whose product a factor of LoKr is, first to last. With a core between them the first stands the other way
    round in files."""
    if stem in parts:
        return [parts[stem]]
    a, b = parts[f"{stem}_a"], parts[f"{stem}_b"]
    core = parts.get("lokr_t2") if stem == "lokr_w2" else None
    return [a, b] if core is None else [_turned(a), _squeezed(core), b]


def _factor(parts: Mapping[str, Tensor], stem: str) -> Tensor:
    """A factor of LoKr as one matrix, in fp32."""
    return _product([matrix.float() for matrix in _chain(parts, stem)])


def _product(chain: Sequence[Tensor]) -> Tensor:
    made, *more = chain
    for matrix in more:
        made = made @ matrix
    return made


def _outer(chain: Sequence[Tensor]) -> tuple[int, int]:
    """The size of a product."""
    return chain[0].shape[0], chain[-1].shape[1]


def _rank_of(whole: Mapping[str, Tensor], stem: str) -> int:
    """The most that the rank of a product can be."""
    return min(min(matrix.shape) for matrix in _chain(whole, stem))


class Misfit(Exception):
    """Parts of one layer that do not go together."""


_LORA, _LOHA = {"A", "B"}, {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}
_FACTORS = tuple(({stem}, {f"{stem}_a", f"{stem}_b"}) for stem in ("lokr_w1", "lokr_w2"))
_LOKR = [one | other for one in _FACTORS[0] for other in _FACTORS[1]]


def make_one(parts: Mapping[str, Tensor]) -> bool:
    """Whether parts of these names make one change."""
    names = set(parts)
    if names == {"diff"}:
        return parts["diff"].ndim == 2
    return names - {"mid"} == _LORA or names - {"lokr_t2"} in _LOKR or names - {"hada_t1", "hada_t2"} == _LOHA


def scaled(parts: Mapping[str, Tensor]) -> bool:
    """Whether alpha means anything to these parts: it does not where none has a rank."""
    return "diff" not in parts and not {"lokr_w1", "lokr_w2"} <= parts.keys()


def from_parts(parts: Mapping[str, Tensor], alpha: float | None) -> Change:
    """The change that these parts of a layer make (`make_one`). `alpha` None stands for the rank.

    Raises Misfit when their shapes do not go together.
    """
    if "A" in parts:
        return _lora(parts, alpha)
    if "diff" in parts:
        return Full(parts["diff"])
    return _hadamard(parts, alpha) if "hada_w1_a" in parts else _kron(parts, alpha)


def _lora(parts: Mapping[str, Tensor], alpha: float | None) -> LoraTensors:
    A, B = parts["A"], parts["B"]
    if A.ndim > 2 and B.ndim > 2:  # of a convolution: the kernel is folded into `in`
        A, B = A.flatten(1), B.flatten(1)
    if "mid" in parts:
        A = _times(_squeezed(parts["mid"]), A)
    _same_rank(B, A)
    return LoraTensors(A, B, float(A.shape[0]) if alpha is None else alpha)


def _kron(parts: Mapping[str, Tensor], alpha: float | None) -> Kron:
    for stem in ("lokr_w1", "lokr_w2"):
        chain = _chain(parts, stem)
        if any(matrix.ndim != 2 for matrix in chain):
            raise Misfit("are no matrices")
        for first, second in pairwise(chain):
            _same_rank(first, second)
    return Kron(dict(parts), alpha)


def _hadamard(parts: Mapping[str, Tensor], alpha: float | None) -> Hadamard:
    halves = []
    for number in "12":
        a, b = parts[f"hada_w{number}_a"].float(), parts[f"hada_w{number}_b"].float()
        core = parts.get(f"hada_t{number}")
        if core is not None:
            a = _times(_turned(a), _squeezed(core))
        _same_rank(a, b)
        halves += [a, b]
    B1, A1, B2, A2 = halves
    if (B1.shape[0], A1.shape[1]) != (B2.shape[0], A2.shape[1]):
        raise Misfit("are of two sizes")
    whole = dict(parts) | ({"alpha": torch.tensor(alpha)} if alpha is not None else {})
    return Hadamard(B1, A1, B2, A2, 1.0 if alpha is None else alpha / A1.shape[0], whole)


def _squeezed(core: Tensor) -> Tensor:
    """The middle matrix [r, r], without the sides of one that a convolution of one pixel has."""
    return core.flatten(1) if core.ndim > 2 and math.prod(core.shape[2:]) == 1 else core


def _turned(a: Tensor) -> Tensor:
    """With a core between them, the first factor stands the other way round in files."""
    if a.ndim != 2:
        raise Misfit("are no matrices")
    return a.T


def _times(a: Tensor, b: Tensor) -> Tensor:
    _same_rank(a, b)
    return a.float() @ b.float()


def _same_rank(B: Tensor, A: Tensor) -> None:
    if B.ndim != 2 or A.ndim != 2:
        raise Misfit("are no matrices")
    if B.shape[1] != A.shape[0]:
        raise Misfit(f"have ranks {A.shape[0]} and {B.shape[1]}")


def assembled(parts: Mapping[str, Tensor], alpha: float | None) -> Any:
    """The change that all parts of a layer make, its lengths among them where it is a DoRA."""
    core = {name: part for name, part in parts.items() if name not in ("alpha", MAGNITUDE)}
    change = from_parts(core, alpha)
    return with_magnitude(change, parts[MAGNITUDE]) if MAGNITUDE in parts else change


def with_magnitude(change: Change, magnitude: Tensor) -> Dora:
    """The change as DoRA; a magnitude is a row or a column, or the plain list of peft, one for each output."""
    out, into = change.shape
    shaped = magnitude.reshape(-1, 1) if magnitude.ndim == 1 else magnitude
    if shaped.shape not in ((out, 1), (1, into)):
        raise Misfit(f"are {out} x {into} and of lengths {list(magnitude.shape)}")
    return Dora(change, shaped)
