"""Commands about the project as a whole: new, status, drops, restore, doctor, set, settings, demo."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import api
from ..core import settings as s
from ..core.project import CONFIG, change_config
from . import show
from .base import HERE, Common, app
from .footage import MOST_LISTED

_NUMBERS = re.compile(r"\S*\d\S*")  # and names that hold some: reasons that differ in nothing else are of one kind


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
    if found["training"] is not None:
        show.table(("training now", ""), _training(found["training"]))


def _training(told: dict[str, Any]) -> list[tuple[str, str]]:
    """What the training at work says of itself, a line for each thing that it says."""
    live, saved = told["live"] or {}, told["checkpoint"]
    corrected = "" if live.get("corrected") is None else f", corrected {live['corrected']:.4f}"
    pace = None if not live.get("seconds_per_step") else show.pace(1 / live["seconds_per_step"], "steps")
    lines = {
        "run": f"{told['run']} (process {told['pid']} on {told['host']})",
        "step": f"{live['step']} of {live['total']} of {live['expert']}" if live else None,
        "loss": None if live.get("loss") is None else f"{live['loss']:.4f}{corrected}",
        "rate": None if live.get("learning_rate") is None else f"{live['learning_rate']:.3g}",
        "speed": pace,
        "time left": None if live.get("seconds_left") is None else show.duration(live["seconds_left"]),
        "memory": None if live.get("memory") is None else show.size(live["memory"]),
        "samples": ", ".join(f"{expert} {count:,}" for expert, count in told["samples"].items()),
        "checkpoint": f"step {saved['step']} of {saved['expert']}: {saved['file']}" if saved else "none yet",
        "in hand": live.get("note"),
    }
    return [(name, text) for name, text in lines.items() if text]


def _few(names: list[str], most: int = 2) -> str:
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


@app.command
def drops(*, common: Common = HERE) -> None:
    """Everything that was left out or set aside, with its reason; `restore` brings shots back."""
    with common.open() as project:
        found = api.drops(project)
    if common.json:
        show.print_json(found)
        return
    if len(found) > MOST_LISTED:
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for drop in found:
            groups.setdefault((drop["stage"], _NUMBERS.sub("", drop["reason"])), []).append(drop)
        few = sorted(groups.values(), key=len, reverse=True)[:MOST_LISTED]
        show.table(
            ("stage", "dropped ", "one of them", "its reason"),
            ((g[0]["stage"], len(g), g[0]["item"], g[0]["reason"]) for g in few),
        )
        show.say(f"{len(found):,} are left out, for {len(groups):,} kinds of reasons; --json lists them one by one")
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
def demo(folder: Path = Path("demo"), *, model: str = "tiny", fresh: bool = False, json: bool = False) -> None:
    """The whole way on films drawn on the spot with the tiny model that comes with Sakuga, on a CPU, in minutes.

    Args:
        folder: Where the demo's films, project and report go
        model: tiny, or tiny-experts for a model of two experts
        fresh: Begin anew instead of going on
        json: Print the result as JSON
    """
    from ..demo.run import run_demo

    with show.progress() as progress:
        result = run_demo(folder, fresh, progress, model)
    if json:
        show.print_json(result.as_json())
        return
    for line in result.headline:
        show.say(line)
    show.say(f"in {show.duration(result.seconds)}")
    for path in result.lora:
        show.say(f"LoRA:    {path}")
    show.say(f"report:  {result.report}")
    show.say(f"picture: {result.picture}")
