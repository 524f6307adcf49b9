"""Commands from films to the files of the dataset: add, shots, pick, export, adopt."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from .. import api
from ..core import settings as s
from ..core.errors import SakugaError
from ..core.project import Project
from . import show
from .base import HERE, Common, Options, all_failed, app, summarise

if TYPE_CHECKING:
    from ..stages.repeats import Part

SCORES = (
    "brightness", "motion", "camera", "subject", "drawings", "static", "black", "blank", "sharpness", "damage", "words",
    "outlier", "outlier_rank", "outlier_why", "cluster", "duplicate_of", "shot_size", "people", "nude_score",
)  # fmt: skip
MOST_LISTED = 200  # shots
COMMON = 0.05  # share of the shots from which a group of look-alikes is told
PLACES = 3  # of a recurring part that are named; of the others the number is told


@app.command
def add(paths: list[Path] | None = None, *, remove: tuple[str, ...] = (), common: Common = HERE) -> None:
    """Add films, or folders of films.

    Args:
        paths: Video files, or folders that hold some
        remove: Films to take out of the project, by name; their files stay where they are
    """
    if not paths and not remove:
        raise SakugaError("name the films to add, or a folder that holds them: `sakuga add films/*.mkv`")
    with common.open() as project, show.progress() as progress:
        summary = api.add(project, paths or (), remove, progress=progress)
        films = project.rows("SELECT name, file, width, height, codec, rate, seconds FROM film ORDER BY name")
    if common.json:
        show.print_json({"films": films, "failed": summary.failed})
    else:
        summarise("add", summary)
        show.table(
            ("film", "size", "codec", "rate ", "length "),
            (
                (f["name"], f"{f['width']}x{f['height']}", f["codec"], f["rate"] or "", _length(f["seconds"]))
                for f in films
            ),
        )
    all_failed(summary)


@app.command
def shots(
    *, report: bool = False, settings: Annotated[s.ShotSettings | None, Options] = None, common: Common = HERE
) -> None:
    """Find the shots of every film, in one decoding pass.

    Args:
        report: Also write a page with counts by reason and contact sheets, report/shots.html in the project
    """
    with common.open() as project, show.progress() as progress:
        summary = api.shots(project, progress=progress, **s.given(settings))
        rows = _shot_rows(project)
        notes = project.rows("SELECT film, note FROM timeline WHERE note != ''")
        parts = api.parts(project)
        page = api.shots_report(project) if report else None
    if common.json:
        told = ("film", "first", "last", "kept", "reason")
        show.print_json([{k: row[k] for k in told} | {"scores": {k: row[k] for k in SCORES}} for row in rows])
    else:
        summarise("shots", summary)
        for note in notes:
            show.say(f"{note['film']}: {note['note']}")
        _shot_table(rows)
        _part_table(parts)
        _say_common(rows)
        if page is not None:
            show.say(f"the report is {page}")
    all_failed(summary)


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
        shown = project.rows(STILLS_IN_CLIPS)[0]["n"]
    if common.json:
        show.print_json({"items": items, "failed": summary.failed})
    else:
        summarise("export", summary)
        kinds = [item["kind"] for item in items]
        show.say(f"the dataset has {kinds.count('clip')} clips and {kinds.count('still')} stills")
        if shown:
            show.say(f"{shown} of the stills stand in a clip too; `sakuga export --stills-from outside` takes others")
        if not picked:
            show.say("no shot is picked: `sakuga pick --auto`, or `sakuga pick --keep ...`")
    all_failed(summary)


@app.command
def retouch(item: str, file: Path | None = None, *, undo: bool = False, note: str = "", common: Common = HERE) -> None:
    """Let a picture or clip that you retouched in another program stand for one of the dataset.

    The original is kept, and a later export puts yours back in its place.

    Args:
        item: A clip or still, as clips/film_000074 or stills/film_000120
        file: What is to stand for it, of the same size and number of frames
        undo: Put the original back
        note: How it was made, for your own record
    """
    with common.open() as project:
        told = api.retouch(project, item, file, note=note, undo=undo)
    if common.json:
        show.print_json(told)
    else:
        show.say(f"{item} is its own again" if undo else f"{told['came_from']} stands for {item} now")


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
        summarise("adopt", summary)
        counts: dict[str, list[int]] = {}
        for item in items:
            clip = item["kind"] == "clip"
            added = (clip, not clip, item["captioned"])
            counts[item["folder"]] = [n + a for n, a in zip(counts.get(item["folder"], (0, 0, 0)), added, strict=True)]
        show.table(("folder", "clips ", "stills ", "captioned "), ((name, *count) for name, count in counts.items()))
    all_failed(summary)


STILLS_IN_CLIPS = """
SELECT count(*) AS n FROM item AS still WHERE kind = 'still' AND EXISTS (
  SELECT 1 FROM item AS clip WHERE clip.kind = 'clip' AND clip.shot = still.shot
  AND still.first BETWEEN clip.first AND clip.last)
"""

ADOPTED = """
SELECT folder, name, kind, file, width, height, frames, fps, tags,
  coalesce((SELECT text != '' FROM caption WHERE item = name ORDER BY id DESC LIMIT 1), 0) AS captioned
FROM item WHERE folder IS NOT NULL ORDER BY folder, name
"""


def _length(seconds: float | None) -> str:
    return "" if seconds is None else show.duration(seconds)


def _shot_rows(project: Project) -> list[dict[str, Any]]:
    query = """
    SELECT shot.name, film.file AS film, shot.first, shot.last, shot.seconds, shot.brightness, shot.motion, camera, subject,
           drawings, static, black, blank, sharpness, damage, words, outlier, outlier_rank, outlier_why, cluster,
           duplicate_of, shot_size, people, nude_score, coalesce(pick.kept, 0) AS kept, coalesce(pick.reason, 'undecided') AS reason
    FROM shot JOIN film ON film.name = shot.film LEFT JOIN pick ON pick.shot = shot.name
         LEFT JOIN shot_group ON shot_group.shot = shot.name LEFT JOIN subject AS who ON who.shot = shot.name
    ORDER BY shot.film, shot.first"""
    return [row | {"kept": bool(row["kept"])} for row in project.rows(query)]


def _shot_table(rows: list[dict[str, Any]]) -> None:
    """The shots one by one, or film by film where nobody would read so many."""
    if len(rows) > MOST_LISTED:
        films: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            films.setdefault(row["film"], []).append(row)
        show.table(
            ("film", "shots ", "picked ", "length "),
            ((film, len(inside), sum(r["kept"] for r in inside), _length(sum(r["seconds"] for r in inside)))
             for film, inside in films.items()),
        )  # fmt: skip
        show.say(f"{len(rows):,} shots; `sakuga shots --report` shows them, --json lists them")
        return
    show.table(
        ("shot", "frames ", "length ", "light ", "motion ", "drawings ", "sharp ", "picked", "reason"),
        ((r["name"], r["last"] - r["first"] + 1, f"{r['seconds']:.2f} s", f"{r['brightness']:.2f}", f"{r['motion']:.3f}",
          f"{r['drawings']:.1f}/s", f"{r['sharpness']:.2f}", "yes" if r["kept"] else "no", r["reason"]) for r in rows),
    )  # fmt: skip


def _say_common(rows: list[dict[str, Any]]) -> None:
    """Which look is shown more often than others."""
    for cluster, count in Counter(row["cluster"] for row in rows if row["cluster"]).most_common(PLACES):
        if count > 2 and count >= COMMON * len(rows):
            show.say(f"{count} of {len(rows)} shots ({count / len(rows):.0%}) look like {cluster}")


def _part_table(parts: "list[Part]") -> None:
    """The parts that recur, where there are any."""
    if parts:
        show.table(
            ("film", "from ", "to ", "recurs as", "told by", "stands in"),
            ((p.film, _place(p.start_seconds), _place(p.start_seconds + p.seconds), p.kind, p.by, _places(p.places))
             for p in parts),
        )  # fmt: skip


def _places(places: list[tuple[str, float]]) -> str:
    """e02 0:41.3, e03 1:12.0 and 9 more."""
    told = ", ".join(f"{film} {_place(start)}" for film, start in places[:PLACES])
    return f"{told} and {len(places) - PLACES} more" if len(places) > PLACES else told


def _place(seconds: float) -> str:
    """A place in a film, in minutes and seconds."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    return f"{minutes}:{tenths / 10:04.1f}"
