"""The optimizers by the names that settings give them: a table, or any class by its dotted name.

Every group keeps its full rate as `initial_lr` (torch's own name for it), and a step's rate is that times the schedule's
share (`set_rates`). Optimizers that find their own rate keep it, scaled by the schedule alone.
"""

import importlib
import inspect
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from torch.optim import Optimizer

from ..core.adapters import LATE, MAGNITUDE
from ..core.errors import SakugaError, nearest
from ..core.train_settings import TrainSettings
from .lora import LoraSet


@dataclass(frozen=True)
class Known:
    """An optimizer of the table: its class, what it is made with unless told otherwise, and where it comes from."""

    path: str
    usual: Mapping[str, Any] = field(default_factory=dict)
    package: str = ""  # of the extra; empty for what is always there
    own_rate: bool = False  # finds its rate itself: the setting's has no meaning to it


KNOWN = {
    "adamw": Known("torch.optim.AdamW"),
    "adamw8bit": Known("bitsandbytes.optim.AdamW8bit", package="bitsandbytes"),
    "adamw-kahan": Known("optimi.AdamW", {"kahan_sum": True}, "torch-optimi"),
    # its own rule for rates would multiply them by the size of B, which begins at zero
    "adafactor": Known("transformers.optimization.Adafactor", {"scale_parameter": False, "relative_step": False}),
    "prodigy": Known("prodigyopt.Prodigy", {"lr": 1.0}, "prodigyopt", own_rate=True),
    "automagic": Known("sakuga.nn.automagic.Automagic"),
}

WAYS = {"fused", "foreach", "differentiable"}  # how AdamW computes: one of them at most


def make_optimizer(lora: LoraSet, settings: TrainSettings) -> Optimizer:
    """The optimizer that the settings name, over what a LoRA learns.

    Of learning_rate, betas, eps and weight_decay those are passed that the class takes; `optimizer_args` go first. With
    `lora_plus` what begins at zero (B; of LoKr w2) is a group with so many times the rate (LoRA+, Hayou et al. 2024), whose
    argument is that the half that begins at zero decides how fast a product grows. The lengths of DoRA do not decay: towards zero
    would be away from the base. Raises SakugaError for
    a name that is none, a package that is not installed, and arguments that the class does not take.
    """
    name, own = settings.optimizer, settings.optimizer_args
    known = KNOWN.get(name) or _dotted(name)
    made = _class(name, known)
    taken = inspect.signature(made).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in taken.values())
    names = sorted(n for n, p in taken.items() if n != "params" and p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD))
    for key in own:
        if key not in names and not open_ended:
            raise SakugaError(
                f"{name} has no argument '{key}' (train.optimizer_args){nearest(key, names)}; it takes {', '.join(names)}"
            )
    arguments = {**_ours(settings, taken), **known.usual, **own}
    if name == "adamw" and not own.keys() & WAYS:
        arguments["fused"] = True  # one kernel for all parameters, on a CPU as well: a third of the time
    rate = float(arguments.get("lr", settings.learning_rate))
    try:
        with redirect_stdout(StringIO()):  # Prodigy prints
            optimizer = made(_groups(lora, name, known, rate, settings.lora_plus), **arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise SakugaError(f"{name} cannot be made with these train.optimizer_args ({error}); change them") from error
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", rate)
    return optimizer


def set_rates(optimizer: Optimizer, share: float) -> None:
    """The rates of the next step: of every group its full one times `share`."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * share


def rate_of(optimizer: Optimizer) -> float:
    """The rate that the next step is made with, to be shown: the first group's, and Prodigy's times its own estimate."""
    group = optimizer.param_groups[0]
    return float(group["lr"]) * float(group.get("d", 1.0))


def kind_of(optimizer: Optimizer) -> str:
    """The dotted name of an optimizer's class."""
    return f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"


def _groups(lora: LoraSet, name: str, known: Known, rate: float, plus: float) -> list[dict[str, Any]]:
    if plus != 1 and known.own_rate:
        raise SakugaError(f"{name} finds one rate for all that it trains; set train.lora_plus to 1")
    parts = lora.parts()
    lengths: dict[str, Any] = {"params": [p for part, p in parts if part == MAGNITUDE], "weight_decay": 0.0}
    if plus == 1:
        groups: list[dict[str, Any]] = [{"params": [p for part, p in parts if part != MAGNITUDE]}]
    else:
        slow = {"params": [p for part, p in parts if part not in LATE | {MAGNITUDE}], "lr": rate}
        fast = {"params": [p for part, p in parts if part in LATE], "lr": plus * rate}
        groups = [slow, fast]
    told = [*groups, lengths] if lengths["params"] else groups
    return [group | {"initial_lr": group.get("lr", rate)} for group in told]


def _ours(settings: TrainSettings, taken: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """Those of our settings that a class takes, as what we mean by them: some take an `eps` of two numbers."""
    s = settings
    values = {"lr": s.learning_rate, "betas": s.betas, "eps": s.eps, "weight_decay": s.weight_decay}
    return {key: value for key, value in values.items() if key in taken and _means(taken[key].default, value)}


def _means(default: Any, value: Any) -> bool:
    """Whether an argument with this default is meant as this value is: one number, or as many."""
    if isinstance(default, tuple | list) or isinstance(value, tuple):
        return default is inspect.Parameter.empty or (
            isinstance(default, tuple | list) and len(default) == _long(value)
        )
    return not isinstance(default, bool | str)


def _long(value: Any) -> int:
    return len(value) if isinstance(value, tuple) else 0


def _dotted(name: str) -> Known:
    if "." not in name:
        raise SakugaError(
            f"there is no optimizer '{name}'{nearest(name, list(KNOWN))}; choose {', '.join(KNOWN)}, or write a class by its "
            "dotted name"
        )
    return Known(name)


def _class(name: str, known: Known) -> type[Optimizer]:
    module, _, leaf = known.path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), leaf)
    except (ImportError, AttributeError, ValueError) as error:
        if known.package:
            raise SakugaError(f"{name} needs {known.package}; run pip install 'sakuga[optimizers]'") from error
        raise SakugaError(
            f"train.optimizer '{name}' cannot be imported ({error}); install it or mend the name"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Optimizer)):
        raise SakugaError(
            f"train.optimizer '{name}' is no optimizer of torch; name a class made from torch.optim.Optimizer"
        )
    closure = inspect.signature(found.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise SakugaError(
            f"train.optimizer '{name}' computes the loss several times a step, which no training here does; choose another"
        )
    return found
