"""What a project holds, as rows that every surface can show."""

from dataclasses import asdict
from typing import Any

from .control import Training, running
from .project import Project

_COUNTS = {
    "films": "SELECT count(*) AS n FROM film",
    "shots": "SELECT count(*) AS n FROM shot",
    "picked": "SELECT count(*) AS n FROM pick WHERE kept",
    "clips": "SELECT count(*) AS n FROM item WHERE kind = 'clip'",
    "stills": "SELECT count(*) AS n FROM item WHERE kind = 'still'",
    "captioned": "SELECT count(DISTINCT item) AS n FROM caption WHERE item IN (SELECT name FROM item)",
    "samples": "SELECT coalesce(sum(repeats), 0) AS n FROM sample",
    "dropped": "SELECT count(*) AS n FROM sample_drop",
    "encoded": "SELECT count(*) AS n FROM cache_entry",
    "checkpoints": "SELECT count(*) AS n FROM checkpoint",
}


def read_status(project: Project) -> dict[str, Any]:
    """Counts of everything, what each stage has done, how far each run is, and what the one in training says of itself."""
    stages: dict[str, dict[str, int]] = {}
    for row in project.rows("SELECT stage, state, count(*) AS n FROM work GROUP BY stage, state ORDER BY min(ended)"):
        stages.setdefault(row["stage"], {"done": 0, "failed": 0})[row["state"]] = row["n"]
    training = running(project)
    return {
        "project": project.name,
        "folder": str(project.folder),
        "model": project.member.name,
        "trigger": project.settings.trigger,
        "counts": {name: project.rows(query)[0]["n"] for name, query in _COUNTS.items()},
        "stages": stages,
        "failed": project.rows("SELECT stage, item, reason FROM work WHERE state = 'failed' ORDER BY stage, item"),
        "runs": [_run(project, row, training) for row in project.rows("SELECT id, name, state FROM run ORDER BY id")],
        "training": None if training is None else _training(project, training),
    }


def _run(project: Project, row: dict[str, Any], training: Training | None) -> dict[str, Any]:
    """A run; one that says it is running and that nobody trains was killed."""
    query = "SELECT expert, rank, steps, steps_done FROM run_expert WHERE run = ? ORDER BY id"
    killed = row["state"] == "running" and (training is None or training.run != row["name"])
    state = "stopped" if killed else row["state"]
    return {"name": row["name"], "state": state, "experts": project.rows(query, row["id"])}


def _training(project: Project, training: Training) -> dict[str, Any]:
    """The training at work: what it last said, and what the store knows of its samples and its last checkpoint."""
    of_run = "JOIN run_expert ON run_expert.id = run_expert WHERE run = (SELECT id FROM run WHERE name = ?)"
    seen = project.rows(f"SELECT expert, count(*) AS n FROM item_loss {of_run} GROUP BY expert", training.run)
    saved = project.rows(
        f"SELECT expert, step, file, made FROM checkpoint {of_run} ORDER BY made DESC LIMIT 1", training.run
    )
    return {
        "run": training.run,
        "pid": training.pid,
        "host": training.host,
        "live": None if training.live is None else asdict(training.live),
        "samples": {row["expert"]: row["n"] for row in seen},
        "checkpoint": saved[0] if saved else None,
    }
