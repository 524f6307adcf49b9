"""The real film: two minutes of 1936 cel animation with known cuts, in the folder that SAKUGA_FILMS names."""

import json
import os
from pathlib import Path

import pytest

import sakuga

pytestmark = pytest.mark.film


def test_every_cut_is_found(tmp_path: Path) -> None:
    folder = Path(os.environ["SAKUGA_FILMS"])
    known = json.loads((folder / "cuts.json").read_text("utf-8"))
    with sakuga.new(tmp_path / "p", "tiny") as project:
        sakuga.add(project, [folder / name for name in known])
        assert sakuga.shots(project).failed == {}
        for film, truth in known.items():
            rows = project.rows("SELECT first FROM shot WHERE film = ? AND first > 0", Path(film).stem)
            found = {row["first"] for row in rows}
            assert set(truth["cuts"]) <= found
            assert found.isdisjoint(truth["hard_negatives"])
            count = project.rows("SELECT frames, rate FROM timeline WHERE film = ?", Path(film).stem)
            assert count == [{"frames": 1440, "rate": "24"}]
