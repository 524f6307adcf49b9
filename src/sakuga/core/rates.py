"""Schedules: which share of the full learning rate a step has. A pure function of the step's number."""

import math

from .train_settings import TrainSettings


def rate_share(step: int, steps: int, schedule: str = "constant", warmup: int = 0, decay: float = 0.2) -> float:
    """The share of the full rate that step n (from 1) of N has, in [0, 1].

    Up to the last of the W steps of the warm-up n / W. Then, with p = (n - 1 - W) / (N - W), which is 0 at the first step
    after it:

    - constant: 1
    - cosine: (1 + cos(pi p)) / 2
    - linear: 1 - p
    - wsd (warm-up, stable, decay): 1, and over the last D = decay N steps, at least one, 1 - (n - 1 - (N - D)) / D

    The one after the last would be 0: no step is lost on a rate of nothing.
    """
    if step <= warmup:
        return step / warmup
    if schedule == "constant":
        return 1.0
    last = max(1, round(decay * steps)) if schedule == "wsd" else steps - warmup
    first = max(warmup, steps - last)  # a fall that is longer than what is left begins right after the warm-up
    past = max(0, step - 1 - first) / max(1, steps - first)
    return 0.5 * (1 + math.cos(math.pi * past)) if schedule == "cosine" else 1 - past


def learning_rate(step: int, steps: int, settings: TrainSettings) -> float:
    """The rate of step `step` (from 1) of `steps`, before a phase or an optimizer changes it."""
    s = settings
    return s.learning_rate * rate_share(step, steps, s.schedule, s.warmup, s.decay)
