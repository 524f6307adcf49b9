"""alike: which shots are the same one twice, which look alike, and whose style stands out, over all films at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.project import Project
from ..core.settings import AlikeSettings
from ..core.stage import Item, Rows, Scratch, Stage
from ..signals import alike
from ..signals.look import Look, Pictures

KEPT_WAYS = 64  # numbers that are kept of a model's features: what matters of the distances
MODEL_NEAR = 0.45  # between unit vectors: a cosine of 0.9
BATCH = 32  # pictures that a model looks at together


def _items(project: Project, settings: AlikeSettings) -> list[Item]:
    """One item: every shot is held against all others."""
    films = project.rows("SELECT film, look, look_sha256, pictures FROM timeline WHERE look != '' ORDER BY film")
    shots = project.rows("SELECT name, film, first, last, seconds FROM shot ORDER BY film, first")
    content: dict[str, Any] = {film["film"]: [film["look_sha256"]] for film in films}
    for shot in shots:
        content[shot["film"]].append([shot["name"], shot["first"], shot["last"]])
    if settings.model:
        content["model"] = [[file.name, file.stat().st_size] for file in sorted(Path(settings.model).glob("*"))]
    for film in films:
        film |= {kind: str(project.path(film[kind])) for kind in ("look", "pictures")}
    return [Item("all", content, {"films": films, "shots": shots}, label="comparing shots")] if shots else []


def _open(project: Project, settings: AlikeSettings) -> Any:
    """The model that tells what pictures show, where a person has one."""
    if not settings.model:
        return None
    from ..nn.embed import Embedder

    return Embedder.open(Path(settings.model), settings.device)


def _work(facts: Mapping[str, Any], settings: AlikeSettings, scratch: Scratch) -> Rows:
    shots = facts["shots"]
    seen: list[alike.Seen] = []
    styles: list[dict[str, np.ndarray]] = []
    told: list[np.ndarray] = []
    for film in facts["films"]:
        look = Look.load(Path(film["look"]))
        mine = [shot for shot in shots if shot["film"] == film["film"]]
        seen += [_seen(look, shot) for shot in mine]
        styles += [alike.style(look, shot["first"], shot["last"]) for shot in mine]
        if scratch.context:
            told.append(_told(scratch.context, look, Path(film["pictures"]), mine))
    outlying = alike.outliers({name: np.stack([style[name] for style in styles]) for name in styles[0]})
    layouts = np.stack([shot.layout for shot in seen])
    features = _fewer(np.concatenate(told)) if told else layouts
    near = settings.near or (MODEL_NEAR if told else alike.LOOKS_ALIKE)
    leaders = alike.clusters(features, near)
    copies = {twin.shot: twin for twin in alike.twins(seen)}
    rows = []
    for n, shot in enumerate(shots):
        twin = copies.get(n)
        rows.append({
            "shot": shot["name"], "cluster": shots[leaders[n]]["name"],
            "duplicate_of": shots[twin.original]["name"] if twin else None, "share": twin.share if twin else 0.0,
            "outlier": float(outlying.score[n]), "outlier_rank": float(outlying.rank[n]),
            "outlier_why": outlying.why[n], "features": features[n].astype(np.float32).tobytes(),
        })  # fmt: skip
    return {"shot_group": rows}


def _seen(look: Look, shot: Mapping[str, Any]) -> alike.Seen:
    span = slice(shot["first"], shot["last"] + 1)
    rate = (shot["last"] - shot["first"] + 1) / max(shot["seconds"], 1e-3)
    layout = alike.layout(look.tiny[span], look.tint[span])
    return alike.Seen(rate, look.hashes[span].copy(), look.local[span].copy(), layout)


def _told(embed: Any, look: Look, path: Path, shots: list[Mapping[str, Any]]) -> np.ndarray:
    """What the model says of the middle picture of each shot, [N, D]."""
    pictures = Pictures(path)
    middles = [look.kept[np.abs(look.kept - (s["first"] + s["last"]) / 2).argmin()] for s in shots]
    batches = [middles[start : start + BATCH] for start in range(0, len(middles), BATCH)]
    told = [embed([pictures.rgb(int(frame)) for frame in batch]) for batch in batches]
    pictures.close()
    return np.concatenate(told) if told else np.empty((0, embed.width), np.float32)


def _fewer(features: np.ndarray) -> np.ndarray:
    """Features [N, D] in the `KEPT_WAYS` directions in which they differ most (PCA), distances nearly as they were."""
    away = features - features.mean(axis=0)
    ways = np.linalg.svd(away.T @ away, hermitian=True)[0][:, :KEPT_WAYS]
    return (away @ ways).astype(np.float32)


STAGE = Stage(
    "alike", version=1, takes="shot", gives=("shot_group",), settings=AlikeSettings, items=_items, work=_work,
    unit="comparisons", context=_open,
)  # fmt: skip
