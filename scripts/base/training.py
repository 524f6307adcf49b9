"""What the trainings of the base share: Muon, averaged weights, a clock that survives a kill, a log.

Trainings are given minutes, not steps: schedules run over the share of the time that is used up, and the time already
used is kept in the checkpoint. It is the time that `THREADS` free cores would take, by the CPU's own count, so that a
busy machine delays a training but does not spoil it. What a step draws depends on (seed, step) alone.
"""

import math
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

THREADS = 2
CHECKPOINT_SECONDS = 120


def prepare() -> None:
    torch.set_num_threads(min(THREADS, os.cpu_count() or 1))
    torch.set_flush_denormal(True)


def seeds(*parts: int) -> tuple[np.random.Generator, torch.Generator]:
    """Generators for the draws of one step."""
    rng = np.random.default_rng(list(parts))
    return rng, torch.Generator().manual_seed(int(rng.integers(2**62)))


class Muon(torch.optim.Optimizer):
    """Momentum whose step is made orthogonal (Jordan et al. 2024), for matrices and convolutions seen as matrices."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault((p.shape[0], p[0].numel()), []).append(p)
            for (rows, columns), same in shapes.items():
                ahead = []
                for p in same:
                    held = self.state[p].setdefault("momentum", torch.zeros_like(p))
                    held.lerp_(p.grad, 1 - group["momentum"])
                    ahead.append(p.grad.lerp(held, group["momentum"]).flatten(1))  # Nesterov
                rate = group["lr"] * max(1, rows / columns) ** 0.5
                for p, made in zip(same, orthogonal(torch.stack(ahead)), strict=True):
                    p.add_(made.view_as(p), alpha=-rate)


def orthogonal(stack: Tensor) -> Tensor:
    """Roughly U V^T of the singular value decomposition of each matrix [N, rows, columns], by Newton-Schulz steps."""
    x = stack if stack.shape[1] <= stack.shape[2] else stack.mT
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-10)
    x = _newton_schulz_small(x) if x.shape[2] > 2 * x.shape[1] else _newton_schulz(x.bfloat16()).float()
    return x if stack.shape[1] <= stack.shape[2] else x.mT


def _newton_schulz(x: Tensor) -> Tensor:
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x


def _newton_schulz_small(x: Tensor) -> Tensor:
    """The same on the Gram matrix of a wide x, of which every step is a polynomial: x is touched twice, not 15 times."""
    one = torch.eye(x.shape[1])
    made, gram = one, x @ x.mT
    for _ in range(5):
        step = 3.4445 * one - 4.7750 * gram + 2.0315 * gram @ gram
        made, gram = step @ made, step @ gram @ step
    return made @ x


class Average:
    """Exponential moving average of a model's parameters, young at first so that the start is soon forgotten."""

    def __init__(self, parameters: Iterable[nn.Parameter], most: float) -> None:
        self.live = list(parameters)
        self.most, self.steps = most, 0
        self.held = [p.detach().clone() for p in self.live]

    def update(self) -> None:
        self.steps += 1
        keep = min(self.most, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.held, [p.detach() for p in self.live], 1 - keep)

    def swap(self) -> None:
        """Exchange averaged and live weights; a second call undoes it."""
        for p, held in zip(self.live, self.held, strict=True):
            kept = p.detach().clone()
            p.data.copy_(held)
            held.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        return {"held": self.held, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        for held, kept in zip(self.held, state["held"], strict=True):
            held.copy_(kept)


class Clock:
    """Steps and seconds of one stage, its checkpoint and its log. `parts` are what a checkpoint holds."""

    def __init__(self, file: Path, log: Path, minutes: float, **parts: Any) -> None:
        self.file, self.log_file, self.seconds_in_all, self.parts = file, log, 60 * minutes, parts
        self.step, self.seconds = 0, 0.0
        if file.exists():
            state = torch.load(file, weights_only=True)
            self.step, self.seconds = state.pop("step"), state.pop("seconds")
            for name, part in parts.items():
                part.load_state_dict(state[name])
            self.log(f"{file.name}: continued at step {self.step}, {self.seconds:.0f} s")
        self.last, self.saved = _worked(), time.monotonic()

    @property
    def progress(self) -> float:
        return min(1.0, self.seconds / self.seconds_in_all)

    def tick(self) -> None:
        """A step is done."""
        now = _worked()
        self.step, self.seconds, self.last = self.step + 1, self.seconds + now - self.last, now
        if time.monotonic() - self.saved > CHECKPOINT_SECONDS or self.progress >= 1:
            self.save()

    def pause(self) -> None:
        """What has gone by since the last tick does not count: measuring, say."""
        self.last = _worked()

    def save(self) -> None:
        state = {name: part.state_dict() for name, part in self.parts.items()}
        partial = self.file.with_suffix(".part")
        torch.save({"step": self.step, "seconds": self.seconds, **state}, partial)
        partial.replace(self.file)
        self.saved = time.monotonic()

    def log(self, line: str) -> None:
        line = f"{time.strftime('%F %T')} {line}"
        print(line, flush=True)
        with self.log_file.open("a") as file:
            file.write(line + "\n")


def _worked() -> float:
    """Seconds that this process has kept its threads busy."""
    return time.process_time() / torch.get_num_threads()


def set_rates(factor: float, *optimisers: torch.optim.Optimizer) -> None:
    """Every group's learning rate: its first one times `factor`."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = factor * group.setdefault("peak", group["lr"])


def cosine(progress: float, end: float = 0.02) -> float:
    """From 1 to `end` over the way."""
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * progress))
