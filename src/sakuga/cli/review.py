"""Commands by which captions are reviewed: what they leave out, a second opinion, batches to look at, words and tags."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from .. import api
from ..core import settings as s
from ..core.errors import SakugaError
from . import show
from .base import HERE, Common, Options, all_failed, app, summarise

if TYPE_CHECKING:
    from ..core.coverage.counts import Coverage
    from ..core.covered import Disagreement

SHOWN = 12  # rows of a table; --json has all

Flag = Parameter(negative="")


@app.command
def coverage(*, report: Annotated[bool, Flag] = False, common: Common = HERE) -> None:
    """Count what the captions say, and tell what they leave out: that is learnt as the style.

    Args:
        report: Write a page
    """
    with common.open() as project:
        told = api.coverage(project)
        page = api.coverage_report(project, told) if report else None
    if common.json:
        show.print_json(asdict(told) | ({"report": page} if page else {}))
    else:
        _show_coverage(told)
        if page:
            show.say(str(page))


def _show_coverage(told: "Coverage") -> None:
    common = list(told.phrases.items())[: 2 * SHOWN]
    show.table(("phrase", "captions ", "share "), ((p, n, f"{n / told.captions:.0%}") for p, n in common))
    for group, counts in told.camera.items():
        show.say(f"{group}: " + ", ".join(f"{name or 'none'} {n}" for name, n in counts.items()))
    if told.bound:
        title = "Never one without the other"
        rows = ((", ".join(one.phrases), ", ".join(one.always), one.captions) for one in told.bound[:SHOWN])
        show.table(("phrases", "always with", "captions "), rows, title)
    if told.unsaid:
        lacking = ((one.phrase, one.first, one.second) for one in told.unsaid[:SHOWN])
        show.table(("phrase", "said ", "seen "), lacking, "Left out")
    if told.strangers:
        title = "Look alike, and share no word"
        show.table(("items",), ((", ".join(items[:4]),) for items in list(told.strangers.values())[:SHOWN]), title)
    again = "" if told.seconds else "; `sakuga opinion` tells what they leave out"
    show.say(f"{told.captions} captions name {len(told.phrases)} things and attributes{again}")


@app.command
def opinion(
    *,
    ask: Literal["caption", "claims"] | None = None,
    item: tuple[str, ...] = (),
    again: Annotated[bool, Flag] = False,
    told: Annotated[bool, Flag] = False,
    settings: Annotated[s.CaptionWay | None, Options] = None,
    common: Common = HERE,
) -> None:
    """Ask another captioner, and show where it disagrees with the captions; none of them is changed.

    Args:
        ask: For a caption of its own, or whether each claim of a caption holds (claims); opinion.ask by default
        item: Only these items, by name or pattern
        again: Also what was answered already
        told: Ask nothing, only show what was told before
    """
    summary = None
    with common.open() as project, show.progress() as progress:
        if not told:
            changes = s.given(settings) | ({"ask": ask} if ask else {})
            summary = api.opinion(project, item=item, again=again, progress=progress, **changes)
        found, slipped = api.disagreements(project), api.mismatches(project, progress=progress)
    if common.json:
        show.print_json({"disagreements": [asdict(one) for one in found], "mismatches": slipped})
    else:
        if summary is not None:
            summarise("opinion", summary)
        _show_disagreements(found)
        for slip in slipped:
            show.say(f"{slip['why']} (by {slip['by']})")
    if summary is not None:
        all_failed(summary)


def _show_disagreements(found: "Sequence[Disagreement]") -> None:
    rows = [(one.item, f"{one.score:.2f}", _of(one)) for one in found if one.score > 0]
    if rows:
        show.table(("item", "score ", "what the other says"), rows[:SHOWN])
        if (more := len(rows) - SHOWN) > 0:
            show.say(f"and {more} more; --json lists all")
    else:
        show.say("there is no second opinion yet" if not found else "the second opinion denies nothing")


def _of(one: "Disagreement") -> str:
    parts = [f"denies: {'; '.join(one.denied)}"] if one.denied else []
    parts += [f"also sees: {', '.join(one.lacks)}"] if one.lacks else []
    parts += [f"does not name: {', '.join(one.alone)}"] if one.alone else []
    return ". ".join(parts)


@app.command
def review(
    *,
    next: Annotated[int | None, Parameter(name="--next")] = None,
    seen: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = (),
    batch: Annotated[bool, Flag] = False,
    undo: Annotated[bool, Flag] = False,
    common: Common = HERE,
) -> None:
    """Go through the captions in batches: the least seen first, of those the worst. Without options, say how far it is.

    Args:
        next: Show this many
        seen: Mark these items as seen, by name or pattern
        batch: Mark the batch that was shown last
        undo: Take the last marks back
    """
    if (next is not None) + bool(seen) + batch + undo > 1:
        raise SakugaError("--next, --seen, --batch and --undo each do another thing; give one of them")
    if next is not None and next < 1:
        raise SakugaError(f"--next {next} shows nothing; give how many captions you want to see")
    with common.open() as project:
        told: dict[str, Any] = {}
        if next is not None:
            told["next"] = api.review_next(project, next)
        elif seen or batch:
            told["seen"], told["changed"] = api.review_seen(project, None if batch else seen)
        elif undo:
            told["undone"] = api.review_undo(project)
        told |= api.review(project)
    if common.json:
        show.print_json(told)
        return
    for one in told.get("next", ()):
        faults = f" ({', '.join(dict.fromkeys(one['faults']))})" if one["faults"] else ""
        show.say(f"{one['item']}, {one['state']}{faults}\n  {one['text']}")
    for done, how in (("seen", "marked as seen"), ("changed", "changed since they were shown, and not marked"),
                      ("undone", "no longer marked")):  # fmt: skip
        if told.get(done):
            show.say(f"{len(told[done])} captions {how}")
    show.say(", ".join(f"{state}: {n}" for state, n in sorted(told["states"].items())) or "there are no captions yet")
    show.say(_progress(told))


def _progress(told: dict[str, Any]) -> str:
    from ..core.review import Progress

    return str(Progress(told["done"], told["total"], told["passing"]))


@app.command
def captions(
    item: str,
    *,
    undo: Annotated[bool, Flag] = False,
    set: Annotated[str | None, Parameter(name="--set")] = None,
    common: Common = HERE,
) -> None:
    """Show all words that an item has had, and who wrote them when; put others in their place.

    Args:
        item: A clip or still, as clips/film_000074
        undo: Put the former words back; once more, those before
        set: Words of yours
    """
    if undo and set is not None:
        raise SakugaError("--undo and --set both say which words the item is to have; give one of them")
    with common.open() as project:
        if undo:
            api.caption_undo(project, item)
        elif set is not None:
            api.caption_set(project, item, set)
        rows = api.caption_history(project, item)
    if common.json:
        show.print_json(rows)
        return
    for row in rows:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["made"]))
        by = f"{row['by']}, by {row['source']}" if row["by"] == "person" and row["source"] else row["by"]
        show.say(f"{when}  {by}\n  {row['text']}")
    if not rows:
        show.say(f"{item} has no words yet; `sakuga caption` writes some")


@app.command
def tag(
    items: list[str],
    *,
    add: tuple[str, ...] = (),
    remove: tuple[str, ...] = (),
    common: Common = HERE,
) -> None:
    """Give tags to items or take them away; sections choose by them, and [triggers] gives a tag a trigger of its own.

    Args:
        items: Clips and stills, by name or pattern
        add: Tags to give
        remove: Tags to take away, also those that a folder gave
    """
    with common.open() as project:
        told = api.tag(project, items, add, remove)
    if common.json:
        show.print_json([{"item": item, "tags": tags} for item, tags in told.items()])
    else:
        show.table(("item", "tags"), ((item, ", ".join(tags)) for item, tags in told.items()))
