"""Which checkpoints go when a new one is there: by `keep` and `keep_every`, but none that anything names."""

from collections.abc import Collection, Sequence

from ...core import store
from ...core.project import Project
from ...core.settings import TrainSettings
from ...core.stage import sweep

MEAN_LOSSES = """
SELECT validation.step, avg(loss) AS loss FROM validation JOIN checkpoint USING (run_expert, step)
WHERE run_expert = ? GROUP BY validation.step ORDER BY loss, validation.step LIMIT 1
"""
NAMED = """
SELECT checkpoint.step FROM checkpoint JOIN run_expert ON run_expert.id = checkpoint.run_expert
LEFT JOIN preview ON preview.run = run_expert.run AND preview.expert = run_expert.expert AND preview.step = checkpoint.step
LEFT JOIN checkpoint_use ON checkpoint_use.sha256 = checkpoint.sha256
WHERE checkpoint.run_expert = ? AND coalesce(preview.file, checkpoint_use.by) IS NOT NULL
"""


def superfluous(saved: Collection[int], keep: int | None, every: int | None, named: Collection[int]) -> list[int]:
    """Of the saved steps those that are not kept: not among the `keep` newest, no multiple of `every`, not in `named`.

    Without `keep` all are kept; the newest always is.
    """
    if keep is None:
        return []
    older = sorted(saved)[: -max(1, keep)]
    return [step for step in older if not (every and step % every == 0) and step not in named]


def tidy(project: Project, run_expert: int, settings: TrainSettings) -> list[int]:
    """Remove the checkpoints of an expert that its settings do not keep; call it when a new one is durable.

    The best by validation stays, and what a preview shows, a video was made with or `publish` wrote. Returns the steps. Row
    and file go together: the row's end marks the file for removal, which a crash only delays.
    """
    rows = {
        row["step"]: row["file"] for row in project.rows("SELECT * FROM checkpoint WHERE run_expert = ?", run_expert)
    }
    named = {row["step"] for query in (MEAN_LOSSES, NAMED) for row in project.rows(query, run_expert)}
    gone: Sequence[int] = superfluous(rows, settings.keep, settings.keep_every, named)
    if not gone:
        return []
    with store.transaction(project.db):
        for step in gone:
            project.db.execute("DELETE FROM checkpoint WHERE run_expert = ? AND step = ?", (run_expert, step))
            store.insert(project.db, "trash", {"path": rows[step]}, replace=True)
    sweep(project)
    return list(gone)
