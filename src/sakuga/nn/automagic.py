"""Automagic: an optimizer whose every number has a rate of its own, which rises while it goes one way.

The idea is that of the optimizer of this name in ostris' ai-toolkit, here in our own form: the gradient is brought to
size by a factored mean of its squares (Adafactor, Shazeer and Stern 2018), and each number's rate is that of the schedule
times a factor, which is multiplied by `bump` where the sign is that of the last step and divided by it where not. Signs of
chance so leave the factor where it is, on average of its logarithm.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

LARGEST_RMS = 1.0  # of a step, in units of the rate: as Adafactor clips it


class Automagic(Optimizer):
    """p <- p - lr f (u + weight_decay p), u = g / sqrt(v). The factors f begin at 1 and stay within `low` and `high`."""

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-5, bump: float = 1.02, low: float = 0.01, high: float = 100.0,
        beta2: float = 0.99, eps: float = 1e-30, weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        if not (bump >= 1 and 0 < low <= 1 <= high and 0 <= beta2 < 1 and eps > 0):
            raise ValueError("bump is at least 1, low at most 1 and above 0, high at least 1, beta2 in [0, 1)")
        kept = {"lr": lr, "bump": bump, "low": low, "high": high, "beta2": beta2, "eps": eps}
        super().__init__(params, {**kept, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    _move(parameter, parameter.grad.float(), self.state[parameter], group)
        return loss


def _move(parameter: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    update = grad / _root_mean_square(grad, state, group)
    update /= (update.square().mean().sqrt() / LARGEST_RMS).clamp_min(1)
    up = update > 0
    if "factor" in state:
        agrees = torch.where(up == state["up"], group["bump"], 1 / group["bump"])
        state["factor"].mul_(agrees).clamp_(group["low"], group["high"])
    else:
        state["factor"] = torch.ones_like(update)
    state["up"] = up
    update += group["weight_decay"] * parameter
    parameter.sub_((group["lr"] * state["factor"] * update).to(parameter.dtype))


def _root_mean_square(grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """sqrt of the running mean of g^2: of a matrix by its rows and columns, r c / mean(r)."""
    square = grad.square() + group["eps"]
    if grad.ndim != 2:
        return _mean("all", square, state, group["beta2"]).sqrt()
    rows = _mean("rows", square.mean(1, keepdim=True), state, group["beta2"])
    columns = _mean("columns", square.mean(0, keepdim=True), state, group["beta2"])
    return (rows / rows.mean()).sqrt() * columns.sqrt()


def _mean(name: str, now: Tensor, state: dict[str, Any], beta: float) -> Tensor:
    mean: Tensor = torch.lerp(now, state[name], beta) if name in state else now
    state[name] = mean
    return mean
