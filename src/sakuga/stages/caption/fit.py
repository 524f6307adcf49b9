"""fit: a picture of every item and its caption as vectors in one space, by the model of `alike.model`, where it knows words.

From them is told whether captions fit a neighbour's file better than their own. Without such a model there is nothing to do.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core import captions
from ...core.media import film
from ...core.media.picture import read_picture
from ...core.picture_models import knows_words
from ...core.project import Project
from ...core.settings import AlikeSettings
from ...core.stage import Item, Rows, Scratch, Stage
from ...core.triggers import behind


def _items(project: Project, settings: AlikeSettings) -> list[Item]:
    if not settings.model or not knows_words(folder := Path(settings.model)):
        return []
    words = captions.current(project)
    model = [[file.name, file.stat().st_size] for file in sorted(folder.glob("*"))]
    items = []
    for row in project.rows("SELECT name, file, kind, frames FROM item ORDER BY name"):
        path, known = project.path(row["file"]), words.get(row["name"])
        if known is None or not known.text or not path.is_file():
            continue
        text = known.text[behind(known.text, project.settings.trigger) :]
        content = {"name": row["name"], "sha256": project.sha256(path), "text": text, "model": model}
        items.append(Item(row["name"], content, content | row | {"path": str(path)}))
    return items


def _open(project: Project, settings: AlikeSettings) -> Any:
    from ...nn.embed import Embedder

    assert settings.model is not None
    return Embedder.open(Path(settings.model), settings.device)


def _work(facts: Mapping[str, Any], settings: AlikeSettings, scratch: Scratch) -> Rows:
    path = Path(facts["path"])
    if facts["kind"] == "still":
        picture = read_picture(path)
    else:
        ((_, picture),) = film.frames(path, [facts["frames"] // 2])
    vectors = {"picture": scratch.context([picture])[0], "words": scratch.context.words([facts["text"]])[0]}
    return {"item_fit": [{"item": facts["name"]} | {k: v.astype(np.float32).tobytes() for k, v in vectors.items()}]}


STAGE = Stage(
    "fit", version=1, takes="item", gives=("item_fit",), settings=AlikeSettings, items=_items, work=_work, context=_open,
)  # fmt: skip
