"""Commands that make the dataset ready: caption, check, plan, cache."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from .. import api
from ..core import settings as s
from ..core.errors import SakugaError
from . import show
from .base import EMPTY, HERE, Common, Options, all_failed, app, summarise

if TYPE_CHECKING:
    from ..stages.plan import Plan

MORE_CUT = 0.05  # of a picture, beyond what its section cuts off on average: `plan` names the item
MOST_DEAR = 10  # items that it names; --json has all
MOST_DROPPED = 200  # likewise


@app.command
def caption(
    *,
    item: tuple[str, ...] = (),
    rule: tuple[str, ...] = (),
    again: Annotated[bool, Parameter(negative="")] = False,
    write_prompts: Annotated[bool, Parameter(negative="")] = False,
    settings: Annotated[s.CaptionWay | None, Options] = None,
    common: Common = HERE,
) -> None:
    """Write a caption for every item that has none from a person.

    Args:
        item: Only these items, by name or pattern
        rule: Only those in whose captions these rules of `sakuga lint` find something; they are made anew
        again: Also those that are up to date; a person's words stay
        write_prompts: Only put the instructions that models are given into the project, to be edited
    """
    if write_prompts:
        with common.open() as project:
            written = [str(path) for path in api.caption_prompts(project)]
        if common.json:
            show.print_json(written)
        else:
            show.say(f"edit {' and '.join(written)}; `sakuga caption` then makes its captions anew")
        return
    with common.open() as project, show.progress() as progress:
        summary = api.caption(project, item=item, rule=rule, again=again, progress=progress, **s.given(settings))
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
    elif items or findings:
        faults = [f for f in findings if f["severity"] != "advice"]
        if faults:
            rows = ((f["severity"], f["item"], f["rule"], f["reason"]) for f in faults)
            show.table(("severity", "item", "rule", "reason"), rows)
        else:
            show.say(f"nothing wrong was found in {items} clips and stills")
        for f in findings[len(faults) :]:  # the worst come first
            show.say(f"advice on {f['item']}: {f['reason']} ({f['rule']})")
    else:
        show.say(EMPTY)
    if broken := {f["item"] for f in findings if f["severity"] == "error"}:
        raise SakugaError(
            f"{len(broken)} of {items} clips and stills cannot be trained on as they are; mend them first"
        )


@app.command
def plan(
    *,
    card: str | None = None,
    against: Path | None = None,
    report: Annotated[bool, Parameter(negative="", help="Write a page")] = False,
    settings: Annotated[s.TrainSettings | None, Options] = None,
    common: Common = HERE,
) -> None:
    """Count every sample of an epoch, and say of every item that gives none or fewer, why.

    Args:
        card: The card that hours and memory are told for ("RTX 3090"); the one of this machine by default
        against: Another sakuga.toml, or a part of one, whose plan is shown beside this one
    """
    with common.open() as project, show.progress() as progress:
        planned = api.plan(project, card=card, progress=progress, **s.given(settings))
        other = api.plan_with(project, against, card=card) if against else None
        page = api.plan_report(project, planned, other, str(against)) if report else None
    if common.json:
        told = _plain(planned) | ({"against": _plain(other)} if other else {})
        show.print_json(told | ({"report": page} if page else {}))
    elif not planned.samples and not planned.dropped:
        show.say(EMPTY)
    elif other is not None:
        show.table(("", "sakuga.toml ", f"{against} "), api.plan_differences(planned, other))
    else:
        _show_plan(planned)
    if page and not common.json:
        show.say(str(page))


def _plain(planned: "Plan") -> dict[str, Any]:
    tuples = {"sizes": [size._asdict() for size in planned.sizes]}
    return asdict(planned) | tuples | {"lengths": [length._asdict() for length in planned.lengths]}


def _show_plan(planned: "Plan") -> None:
    sections = [
        (name, values["samples"], *_costs(planned.fits.get(name, {}))) for name, values in planned.sections.items()
    ]
    show.table(
        ("section", "samples ", "cut off ", "at worst ", "scaled "),
        [*sections, ("an epoch", planned.samples, "", "", "")],
    )
    timed = any(bucket.seconds is not None for bucket in planned.bucket_costs)
    show.table(
        ("bucket", "samples ", "tokens ", *(["a sample "] if timed else [])),
        ((b.name, b.samples, b.tokens, *([f"{b.seconds:.2f} s"] if timed else [])) for b in planned.bucket_costs),
    )
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
    _suggest(planned)
    for expert, seen in planned.experts.items():
        hours = f", {planned.hours[expert]:.1f} hours (estimate)" if expert in planned.hours else ""
        levels = f", {planned.shares[expert]:.1%} of the noise levels" if len(planned.shares) > 1 else ""
        epochs = seen / max(1, planned.samples - planned.held_out)
        show.say(f"{expert}: {planned.steps_of[expert]} steps, {epochs:.1f} epochs, {seen} samples seen{levels}{hours}")
    show.say(
        f"cache: {show.size(planned.cache['latents'])} of latents, about {show.size(planned.cache['texts'])} of texts"
    )
    if need := planned.memory:
        parts = f"weights {need.weights:.2f}, LoRA {need.lora:.2f}, activations {need.activations:.2f}"
        on = {
            None: "",
            True: f"; fits the {need.card}",
            False: f"; more than the {need.card_gigabytes} GB of the {need.card}",
        }
        show.say(f"memory of a step of {need.bucket}: about {need.total:.2f} GB ({parts}){on[need.fits]}")
    if planned.dropped:
        few = planned.dropped[:MOST_DROPPED]
        show.table(("dropped", "section", "reason"), ((d["item"], d["section"], d["reason"]) for d in few))
        if more := len(planned.dropped) - len(few):
            show.say(f"and {more} more; `sakuga drops` and --json list all")


def _suggest(planned: "Plan") -> None:
    """Sizes and lengths that waste least of this footage."""
    if planned.sizes:
        sizes = (f"{s.width}x{s.height} ({s.still_tokens} to {s.clip_tokens})" for s in planned.sizes)
        show.say(f"sizes for this footage (tokens of a still to those of the longest clip): {', '.join(sizes)}")
    if planned.lengths:
        told = (f"{x.frames} ({x.share:.0%} of the clips, {x.one_window:.0%} of their frames)" for x in planned.lengths)
        show.say(f"lengths for these clips: {', '.join(told)}")
    if best := planned.advice:
        state = {None: "", True: ", which the card has", False: ", more than the card has"}[best.fits]
        show.say(
            f"advice: {best.frames} frames, which {best.share:.0%} of the clips have, at {best.width}x{best.height}: "
            f"a step takes about {best.gigabytes:.1f} GB{state}"
        )


def _costs(section: dict[str, float]) -> tuple[str, str, str]:
    """What a section's sizes cut off, on average and at worst, and the largest scale."""
    if "upscale" not in section:
        return "", "", ""
    return f"{section['crop_mean']:.1%}", f"{section['crop_worst']:.1%}", f"x{section['upscale']:.2f}"


@app.command
def cache(
    *,
    verify: Annotated[
        bool, Parameter(negative="", help="Read all that is encoded; encode what is damaged anew")
    ] = False,
    prune: Annotated[
        bool, Parameter(negative="", help="Remove what no sample and no caption asks for any more")
    ] = False,
    settings: Annotated[s.CacheSettings | None, Options] = None,
    common: Common = HERE,
) -> None:
    """Encode every planned sample and caption that is not encoded yet (train does this too)."""
    with common.open() as project, show.progress() as progress:
        summary = api.cache(project, progress=progress, verify=verify, **s.given(settings))
        spare = api.cache_unused(project, prune=prune)
    if common.json:
        told = {"encoded": len(summary.done), "unchanged": len(summary.unchanged), "failed": summary.failed}
        show.print_json(told | {"unused": asdict(spare), "pruned": prune})
    else:
        summarise("cache", summary)
        if prune:
            show.say(f"removed {spare.files} encodings, {show.size(spare.bytes)}")
        elif spare.files:
            show.say(f"{spare.files} encodings, {show.size(spare.bytes)}, are not asked for; `--prune` removes them")
    all_failed(summary)
