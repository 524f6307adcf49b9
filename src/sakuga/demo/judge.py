"""Judges whether a video shows what was asked, by a classifier that never saw what the captioner was trained on."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..core.models import embedded
from ..nn.describer import load_describer

ASKED = ("subject", "colour", "time", "direction")


def judge(videos: Sequence[np.ndarray], asked: Sequence[Mapping[str, str]]) -> list[dict[str, bool]]:
    """For each video [F, H, W, 3], which of the facts asked for are seen in it."""
    describer = load_describer(embedded("judge.safetensors"))
    seen = (describer.facts(video) for video in videos)
    return [{fact: told[fact] == wanted[fact] for fact in ASKED} for told, wanted in zip(seen, asked, strict=True)]
