"""Sakuga from Python: the same calls that the command line and the studio make.

    import sakuga
    project = sakuga.new("my-style", model="tiny", trigger="MyStyle")
    sakuga.add(project, ["film.mkv"])
    for stage in (sakuga.shots, sakuga.pick, sakuga.export, sakuga.caption): stage(project)
    run = sakuga.train(project, steps=20)
    video = sakuga.generate(project, "MyStyle. a girl runs along the sea wall")

Each call takes the settings of sakuga.toml, changed for this call by keyword. Each holds the project's lock while it
works, does only what is not done yet, and raises SakugaError with a sentence for a person. Modules that need torch or
a decoder are imported when they are first used.
"""

import fnmatch
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from glob import escape as glob_escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .core.errors import SakugaError, nearest
from .core.files import resolved
from .core.progress import Progress, Silent
from .core.project import CONFIG, Project, change_config, read_config
from .core.prompts import PromptLine as PromptLine
from .core.prompts import read_prompts as read_prompts
from .core.settings import Settings, change, parse

if TYPE_CHECKING:
    from .core.control import Training
    from .core.coverage.counts import Coverage
    from .core.covered import Disagreement
    from .core.made import Made
    from .core.stage import Stage, Summary
    from .core.suspects import Suspect
    from .interop.layout import Exported
    from .interop.settle import Imported
    from .nn.lora_told import LoraTold
    from .stages.cache import Unused
    from .stages.enhance import Enhanced
    from .stages.generate import Video
    from .stages.loras import Written
    from .stages.masks import Taken
    from .stages.pack import Packed, Unpacked
    from .stages.plan import Plan
    from .stages.publish import Published
    from .stages.repeats import Part
    from .stages.train import Run, StepReport

# The stages that work item by item, in the order of the film's journey.
STAGES = (
    "add",
    "look",
    "judge",
    "shots",
    "repeats",
    "alike",
    "overlays",
    "subjects",
    "pick",
    "export",
    "adopt",
    "caption",
    "inspect",
    "check",
    "plan",
    "cache",
)


SEVERITIES = ("error", "warning", "advice")
ADVISORS = ("opinion", "claims", "fit")  # stages that training does without
ERROR_WEIGHT = 10  # of a finding of lint that is an error, beside a warning: such captions are reviewed first


def new(folder: Path | str, model: str, trigger: str = "") -> Project:
    """Make a project. The files of a tiny model come with Sakuga."""
    return Project.create(folder, model, trigger)


def home_of(folder: Path | str = ".") -> Path:
    """The folder of the project that `folder` is or lies in; `folder` itself where there is none."""
    start = resolved(folder)
    above = (start, *start.parents) if start.is_dir() else ()  # a mistyped folder means no other project
    return next((f for f in above if (f / CONFIG).is_file()), start)


def open_project(folder: Path | str = ".") -> Project:
    """Open the project in `folder` or in one of the folders above it."""
    return Project(home_of(folder))


def add(
    project: Project, paths: Iterable[Path | str] = (), remove: Iterable[str] = (), *, progress: Progress | None = None
) -> "Summary":
    """Add films, or folders of films. A film that cannot be read is set aside with its reason.

    `remove` takes films out again, by name; their files are left alone, and `shots` then lets go of their shots.
    """
    from .stages.add import forget_films, note_films

    with project.writing("add"):
        forget_films(project, remove)
        asked = set(note_films(project, paths))
        summary = _run(project, "add", {}, progress)
        # of the films that were not named here only what is new is told, and what ails them after what ails the others
        unchanged = [name for name in summary.unchanged if name in asked]
        failed = {name: summary.failed[name] for name in sorted(summary.failed, key=lambda name: name not in asked)}
        return replace(summary, unchanged=unchanged, failed=failed)


def shots(project: Project, *, progress: Progress | None = None, **settings: Any) -> "Summary":
    """Find the shots of every film, the parts that films share, what stands over their pictures, and who is in them."""
    with project.writing("shots"):
        looked = _run(project, "look", {}, progress)
        judged = change(project.settings.shots, settings).judge != "off"
        unsure = _run(project, "judge", {}, progress).failed if judged else {}
        done = _run(project, "shots", settings, progress)
        compared = _run(project, "repeats", {}, progress).failed
        grouped = _run(project, "alike", {}, progress).failed
        overlaid = _run(project, "overlays", {}, progress).failed
        unseen = _run(project, "subjects", {}, progress).failed
        return replace(done, failed=looked.failed | unsure | done.failed | compared | grouped | overlaid | unseen)


def shots_report(project: Project) -> Path:
    """Write pages with counts by reason and contact sheets into the project's folder `report`; the first one's path."""
    from .report.shots import write_shots_report

    with project.writing("shots"):
        return write_shots_report(project)


def parts(project: Project) -> "list[Part]":
    """The parts that recur, an opening in every episode, film by film: where they stand, and where else."""
    from .stages.repeats import parts as listed

    return listed(project)


def pick(
    project: Project, keep: Iterable[str] = (), drop: Iterable[str] = (), undecide: Iterable[str] = (), *,
    reason: str = "", progress: Progress | None = None, **settings: Any,
) -> "Summary":  # fmt: skip
    """Decide about shots by name or pattern; then let the rule speak for the rest.

    Settings of the rule that are given here are kept in sakuga.toml: the next decision must not undo them.
    """
    from .core import picks

    with project.writing("pick"):
        picks.decide(project, {"keep": keep, "drop": drop, "undecided": undecide}, reason)
        done = _run(project, "pick", settings, progress)
        for name, value in settings.items():
            if value is not None:
                change_config(project.folder / CONFIG, f"pick.{name}", json.dumps(value))
        project.settings = read_config(project.folder / CONFIG)
        return done


def export(project: Project, *, progress: Progress | None = None, **settings: Any) -> "Summary":
    """Write clips and stills of the picked shots. What was retouched takes its place again."""
    from .stages.retouch import restore

    with project.writing("export"):
        done = _run(project, "export", settings, progress)
        return replace(done, failed=done.failed | restore(project))


def retouch(
    project: Project, item: str, file: Path | str | None = None, *, note: str = "", undo: bool = False
) -> dict[str, Any]:
    """Let `file`, retouched in another program, stand for a clip or still of the dataset; `undo` puts its own back.

    Returns {item, file, came_from, note, original ...}; nothing but the item for `undo`.
    """
    from .stages.retouch import retouch as put
    from .stages.retouch import undo as put_back

    if (file is None) != undo:
        raise SakugaError("name either the file that is to stand for the item, or --undo")
    with project.writing("retouch"):
        if file is not None:
            return put(project, item, file, note)
        put_back(project, item)
        return {"item": item}


def adopt(
    project: Project, paths: Iterable[Path | str] = (), remove: Iterable[Path | str] = (), *,
    progress: Progress | None = None,
) -> "Summary":  # fmt: skip
    """Make the clips and pictures of folders items, with their captions; read folders that were adopted before anew.

    `remove` takes folders out again. Nothing is written into any of them, and nothing there is ever removed.
    """
    from .core import captions
    from .stages.adopt import note_folders

    with project.writing("adopt"):
        if not note_folders(project, paths, remove) and not remove:
            raise SakugaError("no folder is adopted yet; name one that holds clips or pictures and their captions")
        summary = _run(project, "adopt", {}, progress)
        captions.sync(project)
        return summary


def caption(
    project: Project, *, item: Iterable[str] = (), rule: Iterable[str] = (), again: bool = False,
    progress: Progress | None = None, **settings: Any,
) -> "Summary":  # fmt: skip
    """Write a caption for every item that has none from a person.

    `item` names items, or patterns of them, and leaves the others as they are. `rule` does anew those in whose captions
    one of these rules of lint finds something, `again` what is up to date too; a person's words stay in every case.
    """
    from .core.stage import run

    base, rules = project.settings.caption.asked(settings), list(rule)
    wanted = _chosen(project, list(item))
    if rules:
        wanted &= {found for name in rules for found in lint_hits(project, name)}
    with project.writing("caption"):
        return run(stage("caption"), project, base, progress, only=wanted.__contains__, again=again or bool(rules))


def caption_prompts(project: Project) -> list[Path]:
    """Put the instructions that models are given into the project's folder `prompts`, to be edited. Returns the files."""
    from .stages.caption.prompts import write_prompts

    with project.writing("caption"):
        return write_prompts(project.folder)


def _chosen(project: Project, patterns: Sequence[str]) -> set[str]:
    """Which items patterns mean; all without any."""
    names = [row["name"] for row in project.rows("SELECT name FROM item")]
    wanted = set(names) if not patterns else set()
    for pattern in patterns:
        if not (found := fnmatch.filter(names, pattern)):
            raise SakugaError(
                f"no item is named '{pattern}'{nearest(pattern, names)}; `sakuga caption --json` lists them"
            )
        wanted.update(found)
    return wanted


def lint(project: Project, rules: Iterable[str] = (), items: Iterable[str] = ()) -> list[dict[str, Any]]:
    """What is wrong with the captions: {item, file, rule, severity, start, end, found, why, fix} of each finding.

    `rules` by name, `items` by name or pattern; all without any. `start` and `end` are characters; `fix` is what should
    stand there, None where only a person can tell.
    """
    from .stages.lint import lint as run

    with project.writing("lint"):
        return run(project, rules, _linted(project, items))


def lint_hits(project: Project, rule: str) -> list[str]:
    """The items in whose captions a rule finds something."""
    return list(dict.fromkeys(found["item"] for found in lint(project, [rule])))


def lint_fix(
    project: Project, rules: Iterable[str] = (), items: Iterable[str] = (), *, preview: bool = True,
    in_place: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """What the fixes make of captions: {item, before, after, rules, by, place}; without `preview` they are written.

    A caption without `place` stands in a folder of a person's, which is only read unless they say `in_place`.
    """
    from .stages.lint import fixes, write

    with project.writing("lint"):
        made = fixes(project, rules, _linted(project, items), in_place)
        if not preview:
            write(project, made)
        return [asdict(fix) for fix in made]


def _linted(project: Project, patterns: Iterable[str]) -> set[str] | None:
    asked = list(patterns)
    if not asked:
        return None
    return _chosen(project, asked)


def coverage(project: Project) -> "Coverage":
    """What the captions say and leave out: counts of phrases, camera words, what always comes together, what is unsaid."""
    from .core import captions
    from .core.covered import read_coverage

    with project.writing("coverage"):
        captions.sync(project)
        return read_coverage(project)


def coverage_report(project: Project, told: "Coverage") -> Path:
    """Write the coverage of captions to the page report/coverage.html."""
    from .report.coverage import write_coverage_report

    return write_coverage_report(project, told)


def opinion(
    project: Project,
    *,
    item: Iterable[str] = (),
    again: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> "Summary":
    """Ask another captioner (`opinion.backend`) for captions of its own, or whether each claim of a caption holds.

    `item` names items, or patterns of them; `again` asks anew what was answered. Captions are left as they are.
    """
    from .core import captions
    from .core.stage import run

    base = project.settings.opinion.asked(settings)
    wanted = _chosen(project, list(item))
    with project.writing("opinion"):
        captions.sync(project)
        asked = (
            stage("caption.opinion")
            if base.ask == "caption"
            else import_module(f"{__package__}.stages.caption.opinion").CLAIMS
        )
        return run(asked, project, base, progress, only=wanted.__contains__, again=again)


def disagreements(project: Project) -> "list[Disagreement]":
    """Where a second opinion differs from the captions, the worst first."""
    from .core.covered import disagreements as ranked

    return ranked(project)


def mismatches(project: Project, *, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Captions that fit a neighbour's file better than their own, as where numbering slipped: {items, offset, gain, why, by}.

    Told by `alike.model` where it knows words, else by second captions, else by what was measured of the shots.
    """
    from .core import captions
    from .core.covered import mismatches as found
    from .core.stage import run

    with project.writing("opinion"):
        captions.sync(project)
        run(stage("caption.fit"), project, project.settings.alike, progress)
        return [asdict(slip) | {"why": slip.why, "by": by} for slip, by in found(project)]


def review(project: Project) -> dict[str, Any]:
    """How far the review of captions is: {states: {state: captions}, done, total, passing}."""
    from collections import Counter

    from .core import captions
    from .core import review as reviews

    with project.writing("review"):
        captions.sync(project)
        known = reviews.states(project)
    return {"states": dict(Counter(one.state for one in known)), **asdict(reviews.progress(known))}


def review_next(project: Project, count: int) -> list[dict[str, Any]]:
    """The next captions to look at, the least seen first, of those the worst: {item, file, text, by, state, faults}.

    They are noted as shown, so that `review_seen` without items means them.
    """
    from .core import review as reviews
    from .stages.lint import findings

    with project.writing("review"):
        faults: dict[str, list[str]] = {}
        weights: dict[str, int] = {}
        for found in findings(project):
            faults.setdefault(found.item, []).append(found.rule)
            weights[found.item] = weights.get(found.item, 0) + (ERROR_WEIGHT if found.severity == "error" else 1)
        batch = reviews.next_ones(reviews.states(project), weights, count)
        reviews.show(project, batch)
    return [
        {
            "item": one.item,
            "file": one.file,
            "text": one.text,
            "by": one.by,
            "state": one.state,
            "faults": faults.get(one.item, []),
        }
        for one in batch
    ]


def review_seen(project: Project, items: Iterable[str] | None = None) -> tuple[list[str], list[str]]:
    """Note the captions of items, by name or pattern, as seen; those of the last batch without any.

    Returns the items, and those of the batch that are not, since their words have changed since it was shown.
    """
    from .core import captions
    from .core import review as reviews

    with project.writing("review"):
        captions.sync(project)
        if items is None:
            return reviews.mark_batch(project)
        return reviews.mark(project, sorted(_chosen(project, list(items)))), []


def review_undo(project: Project) -> list[str]:
    """Take the last marks of the review back. Returns the items."""
    from .core import review as reviews

    with project.writing("review"):
        return reviews.undo(project)


def caption_history(project: Project, item: str) -> list[dict[str, Any]]:
    """All words that an item has had, the oldest first: {id, text, by, source, made (s)}."""
    from .core import captions

    _chosen(project, [glob_escape(item)])
    with project.writing("captions"):
        captions.sync(project)
        return captions.history(project, item)


def caption_set(project: Project, item: str, text: str) -> None:
    """Give an item words of yours, in the store and in its .txt. Those in an adopted folder are only read."""
    from .core import captions

    if not text.strip():
        raise SakugaError("a caption needs words; to have it written anew, empty its .txt and run `sakuga caption`")
    caption_history(project, item)
    with project.writing("captions"):
        captions.write(project, {item: (_caption_place(project, item), text.strip())}, "set")


def caption_undo(project: Project, item: str) -> str:
    """Put the former words of an item back, as words of yours; the next undo goes one step further. Returns them."""
    from .core import captions

    text = captions.before(caption_history(project, item))
    if text is None:
        raise SakugaError(f"{item} has had no other words, so there is nothing to go back to")
    with project.writing("captions"):
        captions.write(project, {item: (_caption_place(project, item), text)}, captions.UNDO)
    return text


def _caption_place(project: Project, item: str) -> str:
    from .core import captions

    (row,) = project.rows("SELECT name, file, folder FROM item WHERE name = ?", item)
    place = captions.place(project, row)
    if place is None:
        raise SakugaError(f"the words of {item} stand in a folder of yours, which is only read; edit them there")
    return place


def tag(
    project: Project, items: Iterable[str], add: Iterable[str] = (), remove: Iterable[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Give tags to items (by name or pattern) or take them away. Returns the tags of these items."""
    from .core import tags

    chosen = _chosen(project, list(items))
    with project.writing("tag"):
        tags.tag(project, sorted(chosen), add, remove)
    return {item: found for item, found in sorted(tags.tags_of(project).items()) if item in chosen}


def masks(project: Project) -> list[dict[str, Any]]:
    """The items that have a mask: {item, file, share} of each. `share` is how much of the item counts, of masks that were
    taken; of what is transparent itself `file` is its own."""
    from .core.counting import MASKED

    return project.rows(MASKED)


def take_masks(project: Project, path: Path | str, of: str | None = None) -> "Taken":
    """Take masks from a folder, or one file: each is for the item whose name it bears.

    `of` names the folder of items that they are for, or one item. What does not fit is told and set aside.
    """
    from .stages.masks import take_masks as take

    with project.writing("masks"):
        return take(project, path, of)


def remove_masks(project: Project, items: Iterable[str]) -> list[str]:
    """Remove the masks of items (by name or pattern). Returns the items that had one."""
    from .core.counting import forget_masks

    with project.writing("masks"):
        return forget_masks(project, sorted(_chosen(project, list(items))))


def weigh(project: Project, weight: float, items: Iterable[str]) -> dict[str, float]:
    """Let the loss of items (by name or pattern) count so much, beside the weight of their section. Returns all weights."""
    from .core import counting

    if not (chosen := list(items)):
        raise SakugaError("name the clips and stills that are to be weighed, or a pattern of them")
    with project.writing("weigh"):
        counting.weigh(project, sorted(_chosen(project, chosen)), weight)
    return counting.weights(project)


def weights(project: Project) -> dict[str, float]:
    """The weights of the items that have one of their own."""
    from .core.counting import weights as read

    return read(project)


def check(project: Project, *, progress: Progress | None = None, **settings: Any) -> list[dict[str, Any]]:
    """What is wrong with the dataset, the worst first: {item, severity, rule, reason} of each finding, and of each item that
    was set aside. Severity is error, warning or advice."""
    with project.writing("check"):
        _run(project, "inspect", {}, progress)
        _run(project, "plan", {}, progress)
        _run(project, "check", settings, progress)
    found = project.rows("SELECT item, severity, rule, reason FROM finding ORDER BY item, rule")
    failed = project.rows("SELECT stage, item, reason FROM work WHERE state = 'failed' ORDER BY stage, item")
    found += [
        {
            "item": f["item"],
            "severity": "warning" if f["stage"] in ADVISORS else "error",
            "rule": f"{f['stage']}-failed",
            "reason": f["reason"],
        }
        for f in failed
    ]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding["severity"]))


def status(project: Project) -> dict[str, Any]:
    """What the project holds, what each stage has done, and what its next run would do and why."""
    from .core.stale import stale
    from .core.status import read_status

    found: list[dict[str, Any]] = []
    unknown: dict[str, str] = {}
    for name in STAGES:
        if name == "cache" or (name == "judge" and project.settings.shots.judge == "off"):
            continue  # content-addressed: what is missing is told by `plan` and made by `train`; its record needs torch
        try:
            settings = getattr(project.settings, name, None) or Settings()
            found += [asdict(item) for item in stale(stage(name), project, settings)]
        except SakugaError as error:
            unknown[name] = str(error)
    return read_status(project) | {"stale": found, "unknown": unknown}


def drops(project: Project) -> list[dict[str, Any]]:
    """Everything that is left out, as {stage, item, reason}: shots, items that failed, clips and parts of them that hold more
    than one shot, items that a section drops."""
    shots = "SELECT 'pick' AS stage, shot AS item, reason FROM pick WHERE NOT kept ORDER BY shot"
    failed = "SELECT stage, item, reason FROM work WHERE state = 'failed' ORDER BY stage, item"
    clips = "SELECT 'export' AS stage, name AS item, reason FROM clip_drop ORDER BY name, first"
    dropped = "SELECT 'plan' AS stage, item, reason FROM sample_drop ORDER BY section, item"
    return [row for query in (failed, shots, clips, dropped) for row in project.rows(query)]


def plan(
    project: Project, *, card: str | None = None, progress: Progress | None = None, **settings: Any
) -> "Plan":  # fmt: skip
    """Every sample of an epoch and every drop with its reason. Settings are those of `train`.

    Hours and memory are those of `card` ("RTX 3090"); of the one in this machine by default.
    """
    from .core import cards
    from .stages.plan import read_plan

    train_settings = change(project.settings.train, settings)
    found = cards.card(card) if card else cards.card_here()
    _locked(project, "plan", {}, progress)
    return read_plan(project, train_settings, found)


def plan_with(project: Project, file: Path | str, *, card: str | None = None) -> "Plan":
    """The plan that the project would have with the settings of another sakuga.toml; what that leaves out stays.

    Sections that it names take the place of all sections. Nothing of the project changes.
    """
    from .core import cards
    from .core.project import read_values
    from .stages.plan import tell

    found = cards.card(card) if card else cards.card_here()
    values = project.settings.model_dump(mode="json", exclude_unset=True)
    for name, value in read_values(Path(file)).items():
        merged = isinstance(value, dict) and name != "sections"
        values[name] = {**values.get(name, {}), **value} if merged else value
    return tell(project, parse(values, str(file)), found)


def plan_differences(one: "Plan", other: "Plan") -> list[tuple[str, Any, Any]]:
    """Two plans side by side, as (what, of the one, of the other)."""
    from .stages.plan import differences

    return differences(one, other)


def plan_report(project: Project, plan: "Plan", other: "Plan | None" = None, name: str = "") -> Path:
    """Write a plan, beside another one called `name` where there is one, to the page report/plan.html."""
    from .report.plan import write_plan_report

    return write_plan_report(project, plan, other, name)


def cache(project: Project, *, progress: Progress | None = None, verify: bool = False, **settings: Any) -> "Summary":
    """Encode every planned sample and caption that is not encoded yet.

    `verify` first reads all that is encoded; what is damaged is encoded anew.
    """
    from .stages.cache import verify as read_all

    with project.writing("cache"):
        if verify:
            read_all(project, progress or Silent())
        return _cache(project, settings, progress)


def cache_unused(project: Project, *, prune: bool = False) -> "Unused":
    """The encodings that no sample and no caption asks for any more; `prune` removes them."""
    from .stages.cache import unused

    with project.writing("cache"):
        _run(project, "plan", {}, None)
        return unused(project, prune)


def train(
    project: Project, *, progress: Progress | None = None, on_step: "Callable[[StepReport], None] | None" = None,
    should_stop: Callable[[], bool] = lambda: False, **settings: Any,
) -> "Run":  # fmt: skip
    """Plan, encode what is missing, and train; a run that was stopped goes on where it stopped.

    In a process that `torchrun` started it is one of several, and all but the first only compute.
    """
    from .nn import world as several

    chosen = change(project.settings.train, settings)
    world, device = several.join(chosen.device)
    chosen = chosen.model_copy(update={"device": device})
    if not world.leads:
        from .stages.train import Run
        from .stages.train.hands import help_out

        setup = help_out(project, device, world)
        world.close()
        return Run(setup.name, setup.folder, helped=True) if setup else Run("", project.folder, helped=True)
    chosen.check(project.member)
    with project.writing("train"):
        _encoded(project, chosen.device, progress)
        from .stages.train import train as run

        return run(project, chosen, progress, on_step or (lambda report: None), should_stop, world)


def suspects(
    project: Project, run: str | None = None, *, expert: str | None = None, measure: bool = False,
    progress: Progress | None = None, **settings: Any,
) -> "list[Suspect]":  # fmt: skip
    """Items whose loss is higher than it should be, the most suspicious first: bad captions, hidden cuts.

    From the draws of a run; with `measure` from a test of each caption against those of others, which sees far more and
    needs no training. With neither, from what was tested, or else from the last run. Settings are those of `train`.
    """
    from .core import captions
    from .core import suspects as told

    chosen = change(project.settings.train, settings)
    with project.writing("suspects"):
        captions.sync(project)
        if measure:
            _encoded(project, chosen.device, progress)
            from .stages.train.own_words import test_captions

            expert = test_captions(project, chosen, expert, progress or Silent())
        found = [] if run else told.suspects_of_captions(project, expert)
        return found or told.suspects_of_training(project, run, expert)


def stop(project: Project, run: str | None = None, *, wait: bool = False) -> "Training":
    """Ask the training that another process does to save and end after the step in hand; `wait` until it has."""
    return _ask(project, "stop", run, wait)


def save(project: Project, run: str | None = None, *, wait: bool = False) -> "Training":
    """Ask the training that another process does for a checkpoint after the step in hand; `wait` until it is there."""
    return _ask(project, "save", run, wait)


def _ask(project: Project, wish: Literal["stop", "save"], run: str | None, waits: bool) -> "Training":
    from .core import control

    training, request = control.ask(project, wish, run)
    if waits:
        control.wait(project, training, wish, request)
        return replace(training, saved=control.saved(project, training))
    return training


def pack(
    project: Project, out: Path | str | None = None, *, run: str | None = None, with_models: bool = False,
    with_clips: bool = False, progress: Progress | None = None,
) -> "Packed":  # fmt: skip
    """Encode what is missing, and write all that training needs elsewhere to one archive; films and clips stay.

    With `run` only that run goes, to come home into the project that it left.
    """
    from .stages.pack import pack as leave
    from .stages.pack import pack_run

    path = Path(out or f"{project.name}{f'-{run}' if run else ''}.tar").absolute()
    with project.writing("pack"):
        if run is not None:
            return pack_run(project, run, path, progress or Silent())
        _encoded(project, project.settings.cache.device, progress)
        return leave(project, path, with_models, with_clips, progress or Silent())


def unpack(
    file: Path | str, folder: Path | str | None = None, *, models: Path | str | None = None,
    progress: Progress | None = None,
) -> "Unpacked":  # fmt: skip
    """Unpack what `pack` wrote: a project into a new folder, a run into the project it left (`folder`, or here).

    `models` is where this machine has model files; the result says which of them are missing.
    """
    from .stages.pack import unpack as run

    place, weights = Path(folder) if folder else None, Path(models) if models else None
    return run(Path(file), place, weights, progress or Silent())


def generate(
    project: Project, prompt: str, *, enhanced: bool = False, progress: Progress | None = None, **settings: Any
) -> "Video":
    """Make a video from a prompt."""
    return generate_all(project, [PromptLine(prompt)], enhanced=enhanced, progress=progress, **settings)[0]


def generate_all(
    project: Project, prompts: Sequence[PromptLine], *, enhanced: bool = False, progress: Progress | None = None,
    **settings: Any,
) -> "list[Video]":  # fmt: skip
    """Make a video of each prompt (`read_prompts` reads a file of them); what is needed is loaded once for all.

    `enhanced` takes the prompts as wishes, of which `enhance` makes the prompts.
    """
    from .stages.generate import generate as run

    chosen = change(project.settings.generate, settings)
    if enhanced:
        made = enhance(project, [line.text for line in prompts], progress=progress)
        prompts = [replace(line, text=each.prompt) for line, each in zip(prompts, made, strict=True)]
    return run(project, prompts, chosen, progress)


def again(project: Project, made: "Made", *, progress: Progress | None = None, **settings: Any) -> "Video":
    """Make a video of ours again as it says it was made (`read_made`), with `settings` changed. Its LoRA files are found by
    what they hold, where they are not where they were."""
    from .core.made import as_settings

    return generate_all(project, [PromptLine(made.prompt)], progress=progress, **as_settings(project, made) | settings)[
        0
    ]


def enhance(
    project: Project, wishes: Sequence[str], *, progress: Progress | None = None, **settings: Any
) -> "list[Enhanced]":  # fmt: skip
    """Make a prompt of 80 to 100 words of each wish, by an OpenAI-compatible server, with the project's trigger."""
    from .stages.enhance import enhance as run

    return run(project, wishes, change(project.settings.enhance, settings), progress)


def publish(project: Project, *, progress: Progress | None = None, **settings: Any) -> "list[Published]":
    """Write the LoRA files that other programs load."""
    from .stages.publish import publish as run

    with project.writing("publish"):
        return run(project, change(project.settings.publish, settings), progress)


def lora_show(file: Path | str) -> "LoraTold":
    """Say what a LoRA file of any program is. No project is needed."""
    from .nn.lora_told import describe

    return describe(file)


def lora_convert(
    file: Path | str, form: str, out: Path | str | None = None, *, rank: int | None = None, plain: bool = False,
    precision: str | None = None, alone: bool = False,
) -> "list[Written]":  # fmt: skip
    """Write a LoRA, or both files of its pair, as comfy, kohya or diffusers; above `rank` layers are cut to it."""
    from .stages.loras import convert_files as run

    where = None if out is None else Path(out)
    return run(Path(file), form, where, rank=rank, plain=plain, precision=precision, alone=alone)


def lora_merge(
    files: Sequence[Path | str], out: Path | str, *, weights: Sequence[float] | None = None, rank: int | None = None,
    form: str = "comfy", precision: str | None = None, alone: bool = False,
) -> "list[Written]":  # fmt: skip
    """Write the weighted sum of LoRAs as one, both sums where they are pairs; exact unless a rank is given."""
    from .stages.loras import merge_files as run

    paths = [Path(file) for file in files]
    return run(paths, Path(out), weights=weights, rank=rank, form=form, precision=precision, alone=alone)


def models(project: Project) -> list[dict[str, Any]]:
    """Every file that the project's model needs: its path where it was found, what is in it, or one that would do."""
    from .core.models import folder_of, survey
    from .nn.recognise import contents

    return contents(survey(project), project.member, folder_of(project))


def download_models(project: Project, *, progress: Progress | None = None) -> list[Path]:
    """Get the files that the project's model lacks from the Hugging Face hub. Returns those that came."""
    from .core.hub import download
    from .core.models import folder_of, missing

    with project.writing("models"):
        return [download(file, folder_of(project), progress) for file in missing(project)]


def recognise(path: Path | str) -> dict[str, Any]:
    """What a weight file is, from the names and shapes of its tensors."""
    from .nn.recognise import recognise as run

    found = run(Path(path))
    return asdict(found) | {"ask": found.ask}


def import_config(
    trainer: str, file: Path | str, words: Sequence[str] = (), *, into: Path | str | None = None,
    maps: Sequence[str] = (), model: str | None = None,
) -> "Imported":  # fmt: skip
    """Make a project from the files of another trainer, musubi or diffusion-pipe, or fill the one at `into`.

    `words`: for musubi a file of commands, or the arguments of its training; for diffusion-pipe the dataset file where it lies
    elsewhere now. `maps` say where paths lie on this machine, as `H:/datasets=/mnt/h`.
    """
    from .interop import import_config as run

    return run(trainer, Path(file), words, Path(into) if into is not None else None, maps, model)


def export_config(project: Project, trainer: str, out: Path | str | None = None) -> "Exported":
    """Lay the dataset out for another trainer (musubi, diffusion-pipe or ai-toolkit), with the configuration it takes."""
    from .interop import export_config as run

    return run(project, trainer, Path(out) if out is not None else None)


def stage(name: str) -> "Stage[Any]":
    """The record of an item-by-item stage."""
    return import_module(f".stages.{name}", __package__).STAGE


def _locked(project: Project, name: str, settings: dict[str, Any], progress: Progress | None) -> "Summary":
    with project.writing(name):
        return _run(project, name, settings, progress)


def _run(project: Project, name: str, settings: dict[str, Any], progress: Progress | None) -> "Summary":
    from .core.stage import run

    base: Settings = getattr(project.settings, name, None) or Settings()
    return run(stage(name), project, change(base, settings), progress or Silent())


def _encoded(project: Project, device: str | None, progress: Progress | None) -> None:
    """Encode what is planned and not encoded yet. Raises SakugaError where something cannot be."""
    failed = _cache(project, {"device": device}, progress).failed
    if failed:
        first = next(iter(failed.values()))
        raise SakugaError(f"{len(failed)} of the samples and captions cannot be encoded, the first since {first}")


def _cache(project: Project, settings: dict[str, Any], progress: Progress | None) -> "Summary":
    _run(project, "plan", {}, progress)
    return _run(project, "cache", settings, progress)
