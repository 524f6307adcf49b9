"""What a project holds, as rows that every surface can show."""

from typing import Any

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
    """Counts of everything, what each stage has done, and how far each run is."""
    stages: dict[str, dict[str, int]] = {}
    for row in project.rows("SELECT stage, state, count(*) AS n FROM work GROUP BY stage, state ORDER BY min(ended)"):
        stages.setdefault(row["stage"], {"done": 0, "failed": 0})[row["state"]] = row["n"]
    return {
        "project": project.name,
        "folder": str(project.folder),
        "model": project.member.name,
        "trigger": project.settings.trigger,
        "counts": {name: project.rows(query)[0]["n"] for name, query in _COUNTS.items()},
        "stages": stages,
        "failed": project.rows("SELECT stage, item, reason FROM work WHERE state = 'failed' ORDER BY stage, item"),
        "runs": [_run(project, row) for row in project.rows("SELECT id, name, state FROM run ORDER BY id")],
    }


def _run(project: Project, row: dict[str, Any]) -> dict[str, Any]:
    query = "SELECT expert, rank, steps, steps_done FROM run_expert WHERE run = ? ORDER BY id"
    return {"name": row["name"], "state": row["state"], "experts": project.rows(query, row["id"])}
