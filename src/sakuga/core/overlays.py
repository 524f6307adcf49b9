"""What stands over the shots of a film, as rows: logos and words, from which frame to which."""

import json
from typing import Any

from .project import Project

# what was read and says nothing is no words, whatever it looks like
OVER = """
SELECT kind, box, mask FROM overlay
WHERE film = ? AND kind = ? AND first <= ? AND last >= ? AND coalesce(text, 'unread') != '' ORDER BY first, box
"""


def over(project: Project, kind: str, film: str, first: int, last: int) -> list[dict[str, Any]]:
    """The overlays of a kind (logo, words) over frames first..last of a film: {kind, box (shares), mask (PNG, hex)}."""
    rows = project.rows(OVER, film, kind, last, first)
    return [row | {"box": json.loads(row["box"]), "mask": (row["mask"] or b"").hex()} for row in rows]
