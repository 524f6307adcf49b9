"""What of the items counts in training: masks say which of their places, weights how much their loss.

Both are a person's, and stay when an item is made anew. A mask's file is kept in the project's folder `masks`, under the
name of its item.
"""

import time
from collections.abc import Iterable, Sequence

import numpy as np

from . import store
from .errors import SakugaError
from .project import Project

MASKS = "masks"
ALPHA = "alpha"  # the mask of an item that is transparent itself
MASKED = """
SELECT name AS item, coalesce(item_mask.file, CASE mask WHEN 'alpha' THEN item.file ELSE mask END) AS file, share
FROM item LEFT JOIN item_mask ON item_mask.item = name WHERE item_mask.file IS NOT NULL OR mask != '' ORDER BY name
"""


def over_latent(mask_FHW: np.ndarray, stride: Sequence[int]) -> np.ndarray:
    """A mask of pixels, uint8, as one of latents [F', H', W'] in 0..1: the mean over what each latent pixel stands for.

    A latent frame stands for `stride[0]` frames, the first for one; a latent pixel for `stride[1]` by `stride[2]`.
    """
    frames, down, across = stride
    F, H, W = mask_FHW.shape
    tiles_FHW = mask_FHW.reshape(F, H // down, down, W // across, across).mean((2, 4)) / 255
    later_FHW = tiles_FHW[1:].reshape(-1, frames, *tiles_FHW.shape[1:]).mean(1)
    return np.concatenate((tiles_FHW[:1], later_FHW)).astype(np.float32)


def mask_files(project: Project) -> list[str]:
    """The files of masks that a person gave, seen from the project."""
    return [row["file"] for row in project.rows("SELECT file FROM item_mask ORDER BY item")]


def forget_masks(project: Project, items: Iterable[str]) -> list[str]:
    """Remove the masks of items, and return whose. The caller holds the project's lock."""
    gone = []
    for item in items:
        for row in project.rows("SELECT file FROM item_mask WHERE item = ?", item):
            with store.transaction(project.db):
                project.db.execute("DELETE FROM item_mask WHERE item = ?", (item,))
            project.path(row["file"]).unlink(missing_ok=True)
            gone.append(item)
    return gone


def weigh(project: Project, items: Iterable[str], weight: float) -> None:
    """Let the loss of items count so much, beside that of their section; 1 as if nothing had been said. The caller holds
    the lock. Raises SakugaError where the weight is none."""
    if not 0 < weight < float("inf"):
        raise SakugaError(f"{weight:g} is no weight; give a number above 0: 0.5 for half as much, 2 for twice")
    with store.transaction(project.db):
        for item in items:
            if weight == 1:
                project.db.execute("DELETE FROM item_weight WHERE item = ?", (item,))
            else:
                store.insert(
                    project.db, "item_weight", {"item": item, "weight": weight, "made": time.time()}, replace=True
                )


def weights(project: Project) -> dict[str, float]:
    """The weights of items that have one of their own."""
    return {row["item"]: row["weight"] for row in project.rows("SELECT item, weight FROM item_weight ORDER BY item")}
