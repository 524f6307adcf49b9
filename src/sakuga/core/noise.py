"""Noise levels: how training draws them, how a shift moves them, and the share that falls to each expert.

t is in (0, 1], 1 is pure noise; u is uniform in (0, 1). Numbers, or anything that has their arithmetic (a Tensor).
"""

import math
import sys
from statistics import NormalDist
from typing import Any, Literal, TypeVar

from .errors import SakugaError

Kind = Literal["uniform", "sigmoid"]
Time = TypeVar("Time", float, Any)

_NORMAL = NormalDist()
_SMALLEST, _LARGEST = sys.float_info.min, 1 - sys.float_info.epsilon / 2  # the ends of the open interval (0, 1)


def shift_time(t: Time, shift: float) -> Time:
    """t' = S t / (1 + (S - 1) t): more of the way spent at high noise, for larger videos (Esser et al. 2024)."""
    return shift * t / (1 + (shift - 1) * t)


def unshift_time(t: Time, shift: float) -> Time:
    """The inverse of `shift_time`."""
    return t / (shift - (shift - 1) * t)


def shift_by_tokens(shift: float, tokens: int, usual: int) -> float:
    """S sqrt(L / L_0): the shift that leaves a video of L tokens, frames counted, as far from its noise as S leaves one of
    L_0 (Esser et al. 2024, eq. 23)."""
    return shift * math.sqrt(tokens / usual)


def time_cdf(t: float, kind: Kind, shift: float, scale: float = 1, mean: float = 0) -> float:
    """P(noise level <= t). uniform: t itself; sigmoid: t = sigmoid(scale z + mean), z normal; the shift comes after."""
    p = unshift_time(min(max(t, 0.0), 1.0), shift)
    if kind == "uniform" or p in (0.0, 1.0):
        return p
    return _NORMAL.cdf((math.log(p / (1 - p)) - mean) / scale)


def share(t_min: float, t_max: float, kind: Kind, shift: float, scale: float = 1, mean: float = 0) -> float:
    """The share of all draws that fall between `t_min` and `t_max`."""
    return time_cdf(t_max, kind, shift, scale, mean) - time_cdf(t_min, kind, shift, scale, mean)


def time_at(
    u: float, kind: Kind, shift: float, scale: float = 1, mean: float = 0, t_min: float = 0, t_max: float = 1
) -> float:
    """The noise level at quantile `u` of the distribution truncated to [t_min, t_max]: its shape kept, not squeezed.

    Raises SakugaError where the distribution has next to nothing between the two.
    """
    low = time_cdf(t_min, kind, shift, scale, mean)
    mass = time_cdf(t_max, kind, shift, scale, mean) - low
    if mass < 1e-9:
        raise SakugaError(
            f"the noise levels drawn ({kind}, shift {shift:g}) never fall between {t_min:g} and {t_max:g}: "
            "widen the range or change the shift"
        )
    p = min(max(low + u * mass, _SMALLEST), _LARGEST)
    if kind == "sigmoid":
        p = 1 / (1 + math.exp(-(scale * _NORMAL.inv_cdf(p) + mean)))
    return min(max(shift_time(p, shift), t_min, _SMALLEST), t_max)
