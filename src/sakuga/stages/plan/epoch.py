"""One epoch, counted from the items and the sections alone: nothing is read and nothing is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...core.dataset import held_out
from ...core.family import Member
from ...core.samples.enumeration import ItemFacts, Sample, enumerate_samples
from ...core.settings import Section

UNUSED = "no section of sakuga.toml takes it"


@dataclass(frozen=True)
class Epoch:
    """All samples, whether each is held out for validation, and {item, section, reason} of all that gives none or fewer."""

    samples: list[Sample]
    held_out: list[bool]
    dropped: list[dict[str, str]]


def count_epoch(
    items: Sequence[ItemFacts],
    sections: Mapping[str, Section],
    member: Member,
    shots: Mapping[str, str],
    holdout: float,
) -> Epoch:
    """The epoch of a dataset; `shots` names the shot of each item, whose items are held out together or not at all."""
    samples, drops = enumerate_samples(items, sections, member)
    kept_out = held_out({shots[sample.item.name] for sample in samples}, holdout)
    held = [shots[sample.item.name] in kept_out for sample in samples]
    dropped = [{"item": drop.item.name, "section": drop.section, "reason": drop.reason} for drop in drops]
    used = {sample.item.name for sample in samples} | {drop.item.name for drop in drops}
    dropped += [{"item": item.name, "section": "", "reason": UNUSED} for item in items if item.name not in used]
    return Epoch(samples, held, dropped)
