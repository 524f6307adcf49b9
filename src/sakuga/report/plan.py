"""The page of a plan: what an epoch is, what it costs, what gives nothing and why; beside another plan where one is given."""

from pathlib import Path

from ..core.files import write_atomic
from ..core.project import Project
from ..stages.plan import Plan, differences
from .page import FOLDER, bar, cards, page, row, table, text

MOST_DROPS = 2000  # rows of the page; --json has all


def write_plan_report(project: Project, plan: Plan, other: Plan | None = None, name: str = "") -> Path:
    """Write `report/plan.html` into the project; returns its path. `name` is what the other plan is called."""
    body = _cards(plan)
    if other is not None:
        rows = [row((text(what), text(a), f"<b>{text(b)}</b>" if a != b else text(b)))
                for what, a, b in differences(plan, other)]  # fmt: skip
        body += "<h2>Side by side</h2>" + table(("", "sakuga.toml", text(name)), rows)
    body += _sections(plan) + _buckets(plan) + _lengths(plan) + _sizes(plan) + _dropped(plan)
    target = project.folder / FOLDER / "plan.html"
    target.parent.mkdir(exist_ok=True)
    write_atomic(target, page(f"{project.name}: plan", body))
    return target


def _cards(plan: Plan) -> str:
    told = [(f"{plan.samples:,}", f"samples an epoch, {plan.held_out:,} of them held out for validation")]
    trained = max(1, plan.samples - plan.held_out)
    told += [
        (f"{steps:,}", f"steps of {expert}, {plan.experts[expert] / trained:.1f} epochs")
        for expert, steps in plan.steps_of.items()
    ]
    told += [(f"{sum(plan.cache.values()) / 1e9:,.2f} GB", "of cache")]
    if plan.memory:
        on = {None: "", True: f", fits the {plan.memory.card}", False: f", more than the {plan.memory.card} has"}
        told += [(f"{plan.memory.total:.1f} GB", f"a step of {plan.memory.bucket}{on[plan.memory.fits]} (estimate)")]
    told += [
        (f"{hours:,.{0 if hours >= 100 else 1}f} h", f"for {expert} (estimate)") for expert, hours in plan.hours.items()
    ]
    return cards(told)


def _sections(plan: Plan) -> str:
    rows = []
    for name, values in plan.sections.items():
        fit = plan.fits.get(name)
        cut = (f"{fit['crop_mean']:.1%}", f"{fit['crop_worst']:.1%}", f"x{fit['upscale']:.2f}") if fit else ("", "", "")
        rows.append(row((text(name), f"{values['samples']:,}", bar(values["samples"] / max(plan.samples, 1)), *cut)))
    return "<h2>Sections</h2>" + table(("section", "samples", "", "cut off", "at worst", "scaled"), rows)


def _buckets(plan: Plan) -> str:
    work = sum(b.samples * b.petaflop for b in plan.bucket_costs) or 1.0
    rows = [
        row((b.name, f"{b.samples:,}", f"{b.tokens:,}", f"{b.petaflop:.3g}", bar(b.samples * b.petaflop / work),
             "" if b.seconds is None else f"{b.seconds:.2f} s"))
        for b in plan.bucket_costs
    ]  # fmt: skip
    head = ("bucket", "samples", "tokens", "10<sup>15</sup> operations", "share of the work", "a sample")
    return "<h2>Buckets</h2>" + table(head, rows)


def _lengths(plan: Plan) -> str:
    if not plan.lengths:
        return ""
    rows = [
        row((f"<b>{x.frames}</b>" if x.asked else str(x.frames), f"{x.clips:,}", f"{x.share:.0%}", f"{x.one_window:.0%}",
             f"{x.end_to_end:.0%}"))
        for x in plan.lengths
    ]  # fmt: skip
    head = ("frames", "clips that have them", "of all", "footage in one window", "end to end")
    return "<h2>Lengths</h2><p>In bold what a section asks for.</p>" + table(head, rows)


def _sizes(plan: Plan) -> str:
    rows = [row((f"{s.width}x{s.height}", f"{s.still_tokens:,}", f"{s.clip_tokens:,}")) for s in plan.sizes]
    return "<h2>Sizes for this footage</h2>" + table(("size", "tokens of a still", "of the longest clip"), rows)


def _dropped(plan: Plan) -> str:
    if not plan.dropped:
        return ""
    rows = [row((text(d["item"]), text(d["section"]), text(d["reason"]))) for d in plan.dropped[:MOST_DROPS]]
    more = len(plan.dropped) - MOST_DROPS
    rest = f"<p>and {more:,} more</p>" if more > 0 else ""
    count = f"<i>{len(plan.dropped):,}</i>"
    return f"<h2>Gives none, or fewer {count}</h2>" + table(("item", "section", "reason"), rows) + rest
