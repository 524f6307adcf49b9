"""The kinds of adapters that can be trained, and the sizes of what they learn on a Linear.

    lora   W + s B A                      s = alpha / rank
    lokr   W + s (w1 kron w2)             w2 whole, s = 1; or w2_a w2_b of the rank
    dora   m (W + s B A) / |W + s B A|    lengths of rows, one for each output

Sources: LoRA arXiv:2106.09685, LoKr arXiv:2309.14859 (its sizes as LyCORIS chooses them), DoRA arXiv:2402.09353.

A part is named as in files. Shapes: W [out, in], A [rank, in], B [out, rank], w1 [a, b], w2 [c, d] where a c = out and
b d = in, m [out, 1].
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

MOST_RANK = 1024  # that anybody trains

Shapes = dict[str, tuple[int, int]]

# Parts that begin at zero, so that the model begins unchanged: those that LoRA+ speeds up.
LATE = frozenset({"B", "lokr_w2_b", "lokr_w2"})
MAGNITUDE = "magnitude"  # begins as the lengths of the rows of W


@dataclass(frozen=True)
class Kind:
    """An adapter as settings choose it. `factor` and `full_matrix` are those of LoKr."""

    name: str = "lora"
    factor: int | None = None
    full_matrix: bool = False

    def parts(self, out: int, into: int, rank: int) -> Shapes:
        """What is learnt on a Linear [out, in], in order."""
        return _PARTS[self.name](self, out, into, rank)

    def numbers(self, out: int, into: int, rank: int) -> int:
        """How many numbers that is."""
        return sum(math.prod(shape) for shape in self.parts(out, into, rank).values())

    @property
    def keeps_outputs(self) -> bool:
        """Whether a step keeps the output of every Linear, too: the gradient of lengths is made of it."""
        return self.name == "dora"


def _lora(kind: Kind, out: int, into: int, rank: int) -> Shapes:
    return {"A": (rank, into), "B": (out, rank)}


def _dora(kind: Kind, out: int, into: int, rank: int) -> Shapes:
    return _lora(kind, out, into, rank) | {MAGNITUDE: (out, 1)}


def _lokr(kind: Kind, out: int, into: int, rank: int) -> Shapes:
    """w2 is whole where the rank is half of its longer side or more: two matrices of the rank would be no smaller."""
    (a, c), (b, d) = split(out, kind.factor), split(into, kind.factor)
    if kind.full_matrix or 2 * rank >= max(c, d):
        return {"lokr_w1": (a, b), "lokr_w2": (c, d)}
    return {"lokr_w1": (a, b), "lokr_w2_a": (c, rank), "lokr_w2_b": (rank, d)}


_PARTS: dict[str, Callable[[Kind, int, int, int], Shapes]] = {"lora": _lora, "lokr": _lokr, "dora": _dora}
LORA = Kind()


def split(width: int, factor: int | None) -> tuple[int, int]:
    """A width as a smaller and a larger factor: the one that is asked for and the rest, or the two nearest to its root.

    Where `factor` does not divide the width, the largest divisor below it does, as in LyCORIS.
    """
    if factor is not None and width % factor == 0:
        small = factor
    else:
        most = min(width if factor is None else factor, math.isqrt(width))
        small = next(n for n in range(most, 0, -1) if width % n == 0)
    return min(small, width // small), max(small, width // small)
