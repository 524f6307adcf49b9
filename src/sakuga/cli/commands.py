"""The commands: each reads its options, makes one call of `sakuga.api`, and shows what came of it.

Nothing heavy is imported before a command runs.
"""

import json
import signal
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from .. import __version__, api
from ..core import family
from ..core import settings as s
from ..core.errors import SakugaError
from ..core.project import CONFIG, Project, change_config
from . import show

app = App(
    name="sakuga",
    version=__version__,
    help="From films to a style LoRA for the Wan video models.",
    default_parameter=Parameter(negative_iterable="", consume_multiple=True),
    suppress_keyboard_interrupt=False,  # `run` has a sentence for it
)


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """What every command takes."""

    project: Annotated[
        Path, Parameter(name=["--project", "-p"], help="Folder of the project (here, or above here)")
    ] = Path()
    json: Annotated[bool, Parameter(negative="", help="Print the result as JSON")] = False

    def open(self) -> Project:
        return api.open_project(self.project)


ADOPTED = """
SELECT folder, name, kind, file, width, height, frames, fps, tags,
  coalesce((SELECT text != '' FROM caption WHERE item = name ORDER BY id DESC LIMIT 1), 0) AS captioned
FROM item WHERE folder IS NOT NULL ORDER BY folder, name
"""
HERE = Common()
EMPTY = "the dataset is empty: `sakuga pick` shots, then `sakuga export`"
Options = Parameter(name="*")


@app.command
def new(folder: Path, *, model: str = "wan2.2-t2v-a14b", trigger: str = "") -> None:
    """Make a project folder.

    Args:
        folder: Where; its name is the name of the project
        model: The model the LoRA is for
        trigger: The word that calls the style
    """
    with api.new(folder, model, trigger) as project:
        show.say(f"{project.folder} is a project for {project.member.title}; `sakuga add` films to it")


@app.command
def add(paths: list[Path], *, common: Common = HERE) -> None:
    """Add films, or folders of films.

    Args:
        paths: Video files, or folders that hold some
    """
    with common.open() as project, show.progress() as progress:
        summary = api.add(project, paths, progress=progress)
        films = project.rows("SELECT name, file, width, height, codec, rate, seconds FROM film ORDER BY name")
    if common.json:
        show.print_json({"films": films, "failed": summary.failed})
    else:
        _summarise("add", summary)
        show.table(
            ("film", "size", "codec", "rate ", "length "),
            (
                (f["name"], f"{f['width']}x{f['height']}", f["codec"], f["rate"] or "", _length(f["seconds"]))
                for f in films
            ),
        )
    _all_failed(summary)


@app.command
def shots(*, settings: Annotated[s.ShotSettings | None, Options] = None, common: Common = HERE) -> None:
    """Find the shots of every film, in one decoding pass."""
    with common.open() as project, show.progress() as progress:
        summary = api.shots(project, progress=progress, **s.given(settings))
        rows = _shot_rows(project)
        notes = project.rows("SELECT film, note FROM timeline WHERE note != ''")
    if common.json:
        show.print_json([{k: row[k] for k in ("film", "first", "last", "kept", "reason")} for row in rows])
    else:
        _summarise("shots", summary)
        for note in notes:
            show.say(f"{note['film']}: {note['note']}")
        _shot_table(rows)
    _all_failed(summary)


@app.command
def pick(
    *,
    keep: tuple[str, ...] = (),
    drop: tuple[str, ...] = (),
    undecide: tuple[str, ...] = (),
    reason: str = "",
    settings: Annotated[s.PickSettings | None, Options] = None,
    common: Common = HERE,
) -> None:
    """Decide which shots are used, by name (film_000074, 'film_*', or a film) and by rule.

    The rule's options given here are kept in sakuga.toml.

    Args:
        keep: Shots to use
        drop: Shots to leave out
        undecide: Shots to leave to the rule again
        reason: Why, for --keep and --drop
    """
    with common.open() as project, show.progress() as progress:
        api.pick(project, keep, drop, undecide, reason=reason, progress=progress, **s.given(settings))
        rows = _shot_rows(project)
    if common.json:
        show.print_json([{k: row[k] for k in ("film", "first", "last", "kept", "reason", "name")} for row in rows])
    else:
        _shot_table(rows)
        show.say(f"{sum(row['kept'] for row in rows)} of {len(rows)} shots picked")


@app.command
def export(*, settings: Annotated[s.ExportSettings | None, Options] = None, common: Common = HERE) -> None:
    """Write clips and stills of the picked shots."""
    with common.open() as project, show.progress() as progress:
        summary = api.export(project, progress=progress, **s.given(settings))
        items = project.rows("SELECT name, kind, file, width, height, frames, shot FROM item ORDER BY name")
        picked = project.rows("SELECT count(*) AS n FROM pick WHERE kept")[0]["n"]
    if common.json:
        show.print_json({"items": items, "failed": summary.failed})
    else:
        _summarise("export", summary)
        kinds = [item["kind"] for item in items]
        show.say(f"the dataset has {kinds.count('clip')} clips and {kinds.count('still')} stills")
        if not picked:
            show.say("no shot is picked: `sakuga pick --auto`, or `sakuga pick --keep ...`")
    _all_failed(summary)


@app.command
def adopt(folders: list[Path] | None = None, *, remove: tuple[str, ...] = (), common: Common = HERE) -> None:
    """Make the clips and pictures of folders items of the dataset, with their captions. Nothing is written there.

    Without a folder, those that were adopted before are read anew.

    Args:
        folders: Folders of clips, pictures and their .txt (or captions.json, or *.jsonl); folders inside become tags
        remove: Adopted folders to take out of the dataset; their files stay where they are
    """
    with common.open() as project, show.progress() as progress:
        summary = api.adopt(project, folders or (), remove, progress=progress)
        items = project.rows(ADOPTED)
    if common.json:
        for item in items:
            item["tags"], item["captioned"] = json.loads(item["tags"]), bool(item["captioned"])
        show.print_json({"items": items, "failed": summary.failed})
    else:
        _summarise("adopt", summary)
        counts: dict[str, list[int]] = {}
        for item in items:
            clip = item["kind"] == "clip"
            added = (clip, not clip, item["captioned"])
            counts[item["folder"]] = [n + a for n, a in zip(counts.get(item["folder"], (0, 0, 0)), added, strict=True)]
        show.table(("folder", "clips ", "stills ", "captioned "), ((name, *count) for name, count in counts.items()))
    _all_failed(summary)


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
        _summarise("caption", summary)
    _all_failed(summary)


@app.command
def check(*, settings: Annotated[s.CheckSettings | None, Options] = None, common: Common = HERE) -> None:
    """Say what is wrong with the dataset."""
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


@app.command
def plan(*, settings: Annotated[s.TrainSettings | None, Options] = None, common: Common = HERE) -> None:
    """Count every sample of an epoch, and say of every item that gives none or fewer, why."""
    with common.open() as project, show.progress() as progress:
        planned = api.plan(project, progress=progress, **s.given(settings))
    if common.json:
        show.print_json(asdict(planned))
        return
    if not planned.samples and not planned.dropped:
        show.say(EMPTY)
        return
    sections = [(name, values["samples"]) for name, values in planned.sections.items()]
    show.table(("section", "samples "), [*sections, ("an epoch", planned.samples)])
    show.table(("bucket", "samples "), planned.buckets.items())
    show.say(f"{planned.samples - planned.held_out} samples to train on, {planned.held_out} held out for validation")
    for expert, seen in planned.experts.items():
        show.say(f"{expert}: {planned.steps} steps, {planned.epochs:.1f} epochs, {seen} samples seen")
    if planned.dropped:
        show.table(("dropped", "section", "reason"), ((d["item"], d["section"], d["reason"]) for d in planned.dropped))


@app.command
def cache(*, settings: Annotated[s.CacheSettings | None, Options] = None, common: Common = HERE) -> None:
    """Encode every planned sample and caption that is not encoded yet (train does this too)."""
    with common.open() as project, show.progress() as progress:
        summary = api.cache(project, progress=progress, **s.given(settings))
    if common.json:
        show.print_json({"encoded": len(summary.done), "unchanged": len(summary.unchanged), "failed": summary.failed})
    else:
        _summarise("cache", summary)
    _all_failed(summary)


@app.command
def train(*, settings: Annotated[s.TrainSettings | None, Options] = None, common: Common = HERE) -> None:
    """Train a LoRA for each expert. Ctrl-C finishes the step and saves; the same command goes on."""
    with common.open() as project, show.progress() as progress, _Stop() as stop:
        run = api.train(
            project, progress=progress, on_step=stop.stepped, should_stop=stop.asked.is_set, **s.given(settings)
        )
    if common.json:
        losses = {name: {"first": ls[0], "last": ls[-1], "steps": len(ls)} for name, ls in run.losses.items() if ls}
        files = {name: str(path) for name, path in run.checkpoints.items()}
        show.print_json(
            {
                "run": run.name,
                "stopped": run.stopped,
                "losses": losses,
                "validation": run.validation,
                "checkpoints": files,
            }
        )
        return
    show.say(f"{run.name} {'was stopped; the same command goes on' if run.stopped else 'is done'}")
    for expert, path in run.checkpoints.items():
        shown = [f"{step}: {loss:.4f}" for step, loss in run.validation.get(expert, {}).items()]
        show.say(f"{expert}: {path}" + (f" (validation loss at step {', '.join(shown)})" if shown else ""))


@app.command
def generate(
    prompt: str, *, settings: Annotated[s.GenerateSettings | None, Options] = None, common: Common = HERE
) -> None:
    """Make a video from a prompt, with the project's LoRA.

    Args:
        prompt: What should be seen
    """
    with common.open() as project, show.progress() as progress:
        video = api.generate(project, prompt, progress=progress, **s.given(settings))
    if common.json:
        show.print_json(asdict(video))
        return
    worn = ", ".join(dict.fromkeys(path.stem for path in video.loras.values())) or "none"
    show.say(f"{video.path} ({video.width}x{video.height}, {video.frames} frames, LoRA: {worn})")
    for key in video.unused:
        show.say(f"not used of the LoRA: {key}")


@app.command
def publish(*, settings: Annotated[s.PublishSettings | None, Options] = None, common: Common = HERE) -> None:
    """Write the LoRA files that other programs load, with their metadata."""
    with common.open() as project, show.progress() as progress:
        files = api.publish(project, progress=progress, **s.given(settings))
    if common.json:
        show.print_json([asdict(file) for file in files])
        return
    for file in files:
        show.say(f"{file.path} ({file.expert}, step {file.step}, {file.layers} layers, AutoV2 {file.hashes.autov2})")


@app.command
def status(*, common: Common = HERE) -> None:
    """What the project holds, what each stage has done, and what its next run would do and why."""
    with common.open() as project:
        found = api.status(project)
    if common.json:
        show.print_json(found)
        return
    show.say(f"{found['project']}: {found['model']}, trigger '{found['trigger']}'")
    show.table(("what", "count "), found["counts"].items())
    if found["stages"]:
        show.table(
            ("stage", "done ", "set aside "), ((name, n["done"], n["failed"]) for name, n in found["stages"].items())
        )
    groups: dict[tuple[str, str, str], list[str]] = {}
    for item in found["stale"]:
        groups.setdefault((item["stage"], item["state"], item["why"]), []).append(item["item"])
    if groups:
        rows = [(stage, len(items), state, _few(items), why) for (stage, state, why), items in groups.items()]
        show.table(("stale", "items ", "state", "which", "why"), rows)
    for run in found["runs"]:
        experts = ", ".join(f"{e['expert']} {e['steps_done']}/{e['steps']}" for e in run["experts"])
        show.say(f"{run['name']}: {run['state']} ({experts})")


@app.command
def sigmas(
    *, model: str | None = None, steps: int | None = None, shift: float | None = None, sampler: str = "unipc",
    common: Common = HERE,
) -> None:  # fmt: skip
    """The noise levels that sampling visits, and which expert takes each.

    Args:
        model: The model (that of the project by default)
        steps: Sampling steps (the model's own by default)
        shift: Shift (the model's own by default)
        sampler: unipc, dpm++ or euler
    """
    from ..nn import samplers

    member = family.member(model) if model else common.open().member
    if shift is not None and shift <= 0:
        raise SakugaError(f"--shift is a number above 0, not {shift:g}")
    how = sampler, member.steps if steps is None else steps, shift or member.shift
    times, levels = samplers.timesteps(*how), samplers.sigmas(*how)
    experts = samplers.split(times, member)
    high = sum(name == member.experts[0].name for name in experts) if member.boundary else 0
    if common.json:
        plain = [int(t) if float(t).is_integer() else float(t) for t in times]
        show.print_json({"timesteps": plain, "high": high, "low": len(experts) - high})
        return
    show.table(
        ("step ", "timestep ", "sigma ", "expert"),
        (
            (n + 1, f"{t:g}", f"{sigma:.4f}", e)
            for n, (t, sigma, e) in enumerate(zip(times, levels, experts, strict=False))
        ),
    )


@app.command
def models(*, common: Common = HERE) -> None:
    """Which files the project's model needs, and where each was found."""
    from ..core.models import survey

    with common.open() as project:
        found = survey(project)
    if common.json:
        show.print_json(found)
        return
    show.table(
        ("part", "size ", "licence", "found, or where to get it"),
        (
            (f["role"], f"{f['gigabytes']:g} GB", f["licence"], f["path"] or f"missing: {f['name']} from {f['source']}")
            for f in found
        ),
    )


@app.command
def doctor(*, common: Common = HERE) -> None:
    """What this machine and the project need, what is missing, and how to mend it."""
    from ..doctor import examine, worst

    inside = (api.home_of(common.project) / CONFIG).is_file()
    project = common.open() if inside else None
    findings = examine(project)
    if common.json:
        show.print_json([asdict(finding) for finding in findings])
    else:
        show.table(("", "what", "found", "remedy"), ((f.state, f.check, f.found, f.remedy) for f in findings))
    if fault := worst(findings):
        raise fault


@app.command
def drops(*, common: Common = HERE) -> None:
    """Everything that was left out or set aside, with its reason; `restore` brings shots back."""
    with common.open() as project:
        found = api.drops(project)
    if common.json:
        show.print_json(found)
        return
    show.table(("stage", "what", "reason"), ((d["stage"], d["item"], d["reason"]) for d in found))
    if not found:
        show.say("nothing is left out")


@app.command
def restore(shots: list[str], *, common: Common = HERE) -> None:
    """Keep shots that were left out, whatever the rule says; `export` then writes them.

    Args:
        shots: Names or patterns, as `drops` shows them
    """
    with common.open() as project:
        api.pick(project, keep=shots, reason="restored")
        kept = project.rows("SELECT count(*) AS n FROM pick WHERE kept")[0]["n"]
    if common.json:
        show.print_json({"picked": kept})
    else:
        show.say(f"{kept} shots are picked; `sakuga export` writes what is new")


@app.command(name="set")
def set_(key: str, value: str, *, common: Common = HERE) -> None:
    """Change a setting in sakuga.toml; comments there survive.

    Args:
        key: The setting, shots.min_seconds for instance
        value: Its new value
    """
    with common.open() as project:
        change_config(project.folder / CONFIG, key, value)
    show.say(f"{key} = {value}")


@app.command
def settings(*, common: Common = HERE) -> None:
    """Every setting with its default, unit and help."""
    rows = list(s.describe())
    if common.json:
        show.print_json(rows)
        return
    show.table(("setting", "default", "what it does"), ((r["key"], r["default"], r["help"]) for r in rows))


@app.command
def demo(folder: Path = Path("demo"), *, fresh: bool = False, json: bool = False) -> None:
    """The whole way on a film made on the spot and a tiny model, on a CPU, in a minute.

    Args:
        folder: Where the demo's project goes
        fresh: Begin anew instead of going on
        json: Print the result as JSON
    """
    from ..demo import run_demo

    with show.progress() as progress:
        result = run_demo(folder, fresh, progress)
    if json:
        show.print_json(asdict(result))
        return
    counts = f"{result.shots} shots, {result.items} items, {result.samples} samples, {result.steps} steps"
    show.say(f"{counts} in {show.duration(result.seconds)}")
    show.say(f"LoRA:  {result.lora}")
    show.say(f"video: {result.video}")
    show.say(
        "the tiny model has random weights: it shows the way, not a picture. With your own film: sakuga new, sakuga add ..."
    )


def _few(names: list[str], most: int = 2) -> str:
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


def _summarise(what: str, summary: Any) -> None:
    show.summary(what, len(summary.done), len(summary.unchanged), summary.failed, len(summary.retired))


def _all_failed(summary: Any) -> None:
    """A command whose every item failed has failed; one with a few set aside has not."""
    if summary.failed and not summary.done and not summary.unchanged:
        raise SakugaError(f"nothing could be done: {next(iter(summary.failed.values()))}")


def _length(seconds: float | None) -> str:
    return "" if seconds is None else show.duration(seconds)


def _shot_rows(project: Project) -> list[dict[str, Any]]:
    query = """
    SELECT shot.name, film.file AS film, shot.first, shot.last, shot.seconds, shot.brightness, shot.motion,
           coalesce(pick.kept, 0) AS kept, coalesce(pick.reason, 'undecided') AS reason
    FROM shot JOIN film ON film.name = shot.film LEFT JOIN pick ON pick.shot = shot.name ORDER BY shot.film, shot.first"""
    return [row | {"kept": bool(row["kept"])} for row in project.rows(query)]


def _shot_table(rows: list[dict[str, Any]]) -> None:
    show.table(
        ("shot", "frames ", "length ", "light ", "motion ", "picked", "reason"),
        ((r["name"], r["last"] - r["first"] + 1, f"{r['seconds']:.2f} s", f"{r['brightness']:.2f}", f"{r['motion']:.3f}",
          "yes" if r["kept"] else "no", r["reason"]) for r in rows),
    )  # fmt: skip


# Help lists the commands in the order of the journey, which is the order they stand in above.
for place, command in enumerate(name for name in app if not name.startswith("-")):
    app[command].sort_key = place


class _Stop:
    """Ctrl-C asks for a stop after the step in hand. Before the first step, or a second time, it stops at once."""

    def __enter__(self) -> "_Stop":
        self.asked, self.training = threading.Event(), False
        self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def stepped(self, report: object) -> None:
        self.training = True

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked.is_set() or not self.training:
            raise KeyboardInterrupt
        self.asked.set()
        show.errors.print("finishing this step, then saving (Ctrl-C again stops at once)")

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self.before)
