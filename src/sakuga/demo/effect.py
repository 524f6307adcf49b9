"""What the LoRA did, from the pictures alone: style, prompt, motion, and how near each generation is to the dataset.

Every figure compares the same prompts and the same noise without the LoRA and with it, and comes with its spread.

Shapes: N videos, F frames, H W size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..core.media import film as media
from ..core.media.fit import fit
from ..core.media.picture import read_picture
from ..signals.measures import luma, motion
from .style import MEASURES, Scale

NEAR = (24, 16)  # size at which pictures are compared with the dataset
STILL = {".png", ".jpg", ".jpeg", ".webp"}


@dataclass(frozen=True)
class Figure:
    """A mean over videos, with the standard deviation over them."""

    mean: float
    spread: float


@dataclass(frozen=True)
class Neighbour:
    """The frame of the dataset that is most like a generation, and how far it is (mean difference per level, 0..1)."""

    item: str
    picture: np.ndarray
    distance: float


@dataclass(frozen=True)
class Effect:
    """All figures of a comparison. The right facts of each video are shares of the facts that its prompt names."""

    style: dict[str, Figure]  # base, lora
    measures: dict[str, dict[str, float]]  # base, lora -> palette, outline, flatness
    right: dict[str, Figure]  # base, lora: share of facts shown as asked
    facts: dict[str, dict[str, float]]  # base, lora -> fact -> share
    motion: dict[str, Figure]  # base, lora, films

    @property
    def kept(self) -> float:
        """How much of the base's obedience to prompts is left."""
        return self.right["lora"].mean / max(self.right["base"].mean, 1e-9)

    @property
    def motion_ratio(self) -> float:
        return self.motion["lora"].mean / max(self.motion["films"].mean, 1e-9)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"kept": self.kept, "motion_ratio": self.motion_ratio}


def compare(
    videos: Mapping[str, Sequence[np.ndarray]],  # base, lora -> [F, H, W, 3] of each prompt
    shown: Mapping[str, Sequence[Mapping[str, bool]]],  # base, lora -> per prompt: fact -> whether it is seen
    clips: Sequence[np.ndarray],
    scale: Scale,
) -> Effect:
    """The figures of generations without and with the LoRA, against clips of the films."""
    scores = {who: np.array([scale.score(video).mean(axis=0) for video in made]) for who, made in videos.items()}
    moves = {who: [moved(video) for video in made] for who, made in {**videos, "films": clips}.items()}
    named = {who: [float(np.mean(list(facts.values()))) for facts in seen] for who, seen in shown.items()}
    return Effect(
        {who: _figure(score.mean(axis=1)) for who, score in scores.items()},
        {who: dict(zip(MEASURES, score.mean(axis=0).round(4).tolist(), strict=True)) for who, score in scores.items()},
        {who: _figure(shares) for who, shares in named.items()},
        {who: _by_fact(seen) for who, seen in shown.items()},
        {who: _figure(amounts) for who, amounts in moves.items()},
    )


def _by_fact(seen: Sequence[Mapping[str, bool]]) -> dict[str, float]:
    shares = {fact: float(np.mean([facts[fact] for facts in seen])) for fact in seen[0]}
    return shares | {"all": float(np.mean([all(facts.values()) for facts in seen]))}


def _figure(values: Sequence[float] | np.ndarray) -> Figure:
    return Figure(round(float(np.mean(values)), 4) + 0.0, round(float(np.std(values)), 4))  # + 0: no minus zero


def moved(video_FHWC: np.ndarray) -> float:
    """How much a video changes from frame to frame: the mean absolute difference of luma, 0..1."""
    lumas = [luma(picture) for picture in video_FHWC]
    return float(np.mean([motion(a, b) for a, b in pairwise(lumas)]))


def read_video(path: Path, size: tuple[int, int] | None = None, most: int | None = None) -> np.ndarray:
    """The frames of a clip, or the one of a picture, [F, H, W, 3]; fitted to `size`, the middle `most` of them."""
    if path.suffix.lower() in STILL:
        pictures = [read_picture(path)]
    else:
        count = len(media.scan_times(path))
        first = 0 if most is None else max(0, (count - most) // 2)
        pictures = [rgb for _, rgb in media.frames(path, range(first, min(count, first + (most or count))))]
    return np.stack([fit(picture, *size) if size else picture for picture in pictures])


def nearest(videos: Sequence[np.ndarray], dataset: Mapping[str, np.ndarray]) -> list[Neighbour]:
    """For each video, the frame of the dataset (item -> frames) that is most like its middle one."""
    frames = [(item, picture) for item, pictures in dataset.items() for picture in pictures]
    small = np.stack([_small(picture) for _, picture in frames])
    found = []
    for video in videos:
        distances = np.abs(small - _small(video[len(video) // 2])).mean(axis=1)
        best = int(distances.argmin())
        found.append(Neighbour(*frames[best], float(distances[best])))
    return found


def _small(picture: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.resize(picture, NEAR, interpolation=cv2.INTER_AREA)).astype(np.float32).reshape(-1) / 255
