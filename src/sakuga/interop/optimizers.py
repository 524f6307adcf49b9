"""Optimizers by the names that other trainers give them. Sakuga trains with AdamW in full precision."""

from dataclasses import dataclass
from typing import Any

from .draft import Draft


@dataclass(frozen=True)
class AdamW:
    """One of the AdamW family, with the values it has where the file gives none. `betas`, `eps`: as in the papers."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01
    learning_rate: float = 1e-3
    note: str = ""


_STATE = "theirs keeps its state in 8 bits, Sakuga in full precision"
_OPTIMI = AdamW((0.9, 0.99), 1e-6, note="theirs adds with Kahan sums; Sakuga's LoRA weights are in full precision")
FAMILY = {
    "adamw": AdamW(),
    "adamw8bit": AdamW(note=_STATE),
    "pagedadamw8bit": AdamW(note=_STATE),
    "pagedadamw": AdamW(),
    "adamw_optimi": _OPTIMI,
    "adamw8bitkahan": AdamW((0.9, 0.99), note=_STATE),
}


def take_optimizer(draft: Draft, there: str, name: str, values: dict[str, Any], rate: float | None) -> bool:
    """AdamW's own settings from another trainer's optimizer `name` with its arguments; False where it is another one.

    `rate` is the learning rate where it is not among the arguments. Every value that holds there is written out.
    """
    known = FAMILY.get(name.rpartition(".")[2].lower() or "adamw")
    if known is None:
        note = (
            "Sakuga trains with AdamW; choose train.learning_rate for it, that of another optimizer means another thing"
        )
        draft.report.add("refused", there, name, "", note)
        for key, value in values.items():
            draft.report.add("refused", f"{there}.{key}", value, "", f"it is an argument of {name}, which is not here")
        return False
    draft.report.add("differs" if known.note else "exact", there, name, "AdamW", known.note)
    held = {"lr": known.learning_rate if rate is None else rate, "betas": list(known.betas)}
    given: dict[str, Any] = {**held, "eps": known.eps, "weight_decay": known.weight_decay, **values}
    keys = {"lr": "learning_rate", "betas": "betas", "eps": "eps", "weight_decay": "weight_decay"}
    for key, value in given.items():
        if key not in keys:
            draft.report.add("refused", f"{there}.{key}", value, "", "AdamW has no such argument here")
            continue
        own = list(value) if isinstance(value, list | tuple) else float(value)
        note = "" if key in values or (key == "lr" and rate is not None) else "not given: the value that holds there"
        draft.put("exact", f"{there}.{key}" if key != "lr" else "learning_rate", value, f"train.{keys[key]}", own, note)
    return True
