"""Commands that make the dataset ready: caption, check, plan, cache."""

from dataclasses import asdict
from typing import Annotated

from .. import api
from ..core import settings as s
from ..core.errors import SakugaError
from . import show
from .base import EMPTY, HERE, Common, Options, all_failed, app, summarise

MORE_CUT = 0.05  # of a picture, beyond what its section cuts off on average: `plan` names the item
MOST_DEAR = 10  # items that it names; --json has all


@app.command
def caption(*, settings: Annotated[s.CaptionSettings | None, Options] = None, common: Common = HERE) -> None:
    """Write a caption for every item that has none from a person."""
    with common.open() as project, show.progress() as progress:
        summary = api.caption(project, progress=progress, **s.given(settings))
        from ..core import captions

        words = captions.current(project)
    if common.json:
        show.print_json([{"item": name, "caption": c.text, "origin": c.origin} for name, c in sorted(words.items())])
    else:
        summarise("caption", summary)
    all_failed(summary)


@app.command
def check(*, settings: Annotated[s.CheckSettings | None, Options] = None, common: Common = HERE) -> None:
    """Say what is wrong with the dataset; where something cannot be trained on, the exit code is 1."""
    with common.open() as project, show.progress() as progress:
        findings = api.check(project, progress=progress, **s.given(settings))
        items = project.rows("SELECT count(*) AS n FROM item")[0]["n"]
    if common.json:
        show.print_json(findings)
    elif findings:
        show.table(
            ("severity", "item", "rule", "reason"),
            ((f["severity"], f["item"], f["rule"], f["reason"]) for f in findings),
        )
    elif items:
        show.say(f"nothing wrong was found in {items} clips and stills")
    else:
        show.say(EMPTY)
    if broken := {f["item"] for f in findings if f["severity"] == "error"}:
        raise SakugaError(
            f"{len(broken)} of {items} clips and stills cannot be trained on as they are; mend them first"
        )


@app.command
def plan(*, settings: Annotated[s.TrainSettings | None, Options] = None, common: Common = HERE) -> None:
    """Count every sample of an epoch, and say of every item that gives none or fewer, why."""
    with common.open() as project, show.progress() as progress:
        planned = api.plan(project, progress=progress, **s.given(settings))
    if common.json:
        show.print_json(asdict(planned) | {"sizes": [size._asdict() for size in planned.sizes]})
        return
    if not planned.samples and not planned.dropped:
        show.say(EMPTY)
        return
    sections = [
        (name, values["samples"], *_costs(planned.fits.get(name, {}))) for name, values in planned.sections.items()
    ]
    show.table(
        ("section", "samples ", "cut off ", "at worst ", "scaled "),
        [*sections, ("an epoch", planned.samples, "", "", "")],
    )
    show.table(("bucket", "samples "), planned.buckets.items())
    usual = {name: fit["crop_mean"] for name, fit in planned.fits.items()}
    dear = [c for c in planned.costs if c.crop > usual[c.section] + MORE_CUT or c.upscale > 1]
    dear.sort(key=lambda cost: (-cost.crop, -cost.upscale))
    if dear:
        show.table(
            ("cut or enlarged most", "section", "at ", "cut off ", "scaled "),
            (
                (c.item, c.section, f"{c.width}x{c.height}", f"{c.crop:.1%}", f"x{c.upscale:.2f}")
                for c in dear[:MOST_DEAR]
            ),
        )
    show.say(f"{planned.samples - planned.held_out} samples to train on, {planned.held_out} held out for validation")
    if planned.sizes:
        sizes = (f"{s.width}x{s.height} ({s.still_tokens} to {s.clip_tokens})" for s in planned.sizes)
        show.say(f"sizes for this footage (tokens of a still to those of the longest clip): {', '.join(sizes)}")
    for expert, seen in planned.experts.items():
        show.say(f"{expert}: {planned.steps} steps, {planned.epochs:.1f} epochs, {seen} samples seen")
    if planned.dropped:
        show.table(("dropped", "section", "reason"), ((d["item"], d["section"], d["reason"]) for d in planned.dropped))


def _costs(section: dict[str, float]) -> tuple[str, str, str]:
    """What a section's sizes cut off, on average and at worst, and the largest scale."""
    if "upscale" not in section:
        return "", "", ""
    return f"{section['crop_mean']:.1%}", f"{section['crop_worst']:.1%}", f"x{section['upscale']:.2f}"


@app.command
def cache(*, settings: Annotated[s.CacheSettings | None, Options] = None, common: Common = HERE) -> None:
    """Encode every planned sample and caption that is not encoded yet (train does this too)."""
    with common.open() as project, show.progress() as progress:
        summary = api.cache(project, progress=progress, **s.given(settings))
    if common.json:
        show.print_json({"encoded": len(summary.done), "unchanged": len(summary.unchanged), "failed": summary.failed})
    else:
        summarise("cache", summary)
    all_failed(summary)
