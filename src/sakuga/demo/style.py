"""How much of a film's look a picture has, told from its pixels alone.

Three measures count equally: how far its colours lie from the film's palette, how much of it is dark outline, and how
much of it is flat. Each is scaled so that 0 is what the base draws and 1 what the film shows, both seen through the VAE,
so that the VAE's softness speaks for neither. The scales are measured once, before any LoRA is trained on the look.

Shapes: N pictures or K colours, H W size.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

MEASURES = ("palette", "outline", "flatness")
COLOURS = 24  # of a palette
INK_WIDTH, INK_DEPTH = 5, 45  # an outline is narrower than this (px) and darker than its surroundings by this (of 255)
FLAT_SLOPE = 1.0  # levels a pixel; a VAE that is a little noisy hides what a higher one would tell
SAMPLED_PIXELS = 40_000


def palette_of(pictures: Iterable[np.ndarray]) -> np.ndarray:
    """The colours [K, 3] that pictures [H, W, 3] are made of: the centres of k-means over some of their pixels."""
    pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures]).astype(np.float32)
    chosen = pixels[np.random.default_rng(0).choice(len(pixels), min(SAMPLED_PIXELS, len(pixels)), replace=False)]
    cv2.setRNGSeed(0)
    until = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 0.2)
    _, _, centres = cv2.kmeans(chosen, COLOURS, None, until, 3, cv2.KMEANS_PP_CENTERS)
    return np.asarray(centres)


def palette_distance(picture: np.ndarray, palette: np.ndarray) -> float:
    """The mean distance in RGB (0..441) of a picture's pixels to the nearest colour of the palette."""
    steps = picture.reshape(-1, 1, 3).astype(np.float32) - palette[None]
    return float(np.linalg.norm(steps, axis=2).min(axis=1).mean())


def outline(picture: np.ndarray) -> float:
    """The share of pixels on a dark line: what closing the luma by more than a line's width makes brighter."""
    kernel = np.ones((INK_WIDTH, INK_WIDTH), np.uint8)
    return float((cv2.morphologyEx(_luma(picture), cv2.MORPH_BLACKHAT, kernel) > INK_DEPTH).mean())


def flatness(picture: np.ndarray) -> float:
    """The share of pixels where luma does not slope (the Sobel sum, by its weight of 8)."""
    luma = _luma(picture).astype(np.float32)
    slope = np.hypot(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)) / 8
    return float((slope < FLAT_SLOPE).mean())


def _luma(picture: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))


def measured(pictures: Iterable[np.ndarray], palette: np.ndarray) -> np.ndarray:
    """The three measures of each picture, [N, 3]."""
    return np.array([[palette_distance(p, palette), outline(p), flatness(p)] for p in pictures])


@dataclass(frozen=True)
class Scale:
    """The palette of a film's look, and what the measures come to on the base (0) and on the film (1)."""

    palette: np.ndarray
    base: np.ndarray
    film: np.ndarray

    def score(self, pictures: Iterable[np.ndarray]) -> np.ndarray:
        """Each measure of each picture on the scale, [N, 3]; their mean is the style."""
        return (measured(pictures, self.palette) - self.base) / (self.film - self.base)

    def as_json(self) -> dict[str, Any]:
        return {name: np.round(getattr(self, name), 4).tolist() for name in ("palette", "base", "film")}


def make_scale(base: Iterable[np.ndarray], film: Iterable[np.ndarray], drawn: Iterable[np.ndarray]) -> Scale:
    """From pictures of the base's look and of the film's, both through the VAE, and of the film's as they were drawn."""
    palette = palette_of(drawn)
    return Scale(palette, measured(base, palette).mean(axis=0), measured(film, palette).mean(axis=0))


def read_scales(path: Path) -> Mapping[str, Scale]:
    """The scale of each look from a JSON file."""
    looks = json.loads(path.read_text("utf-8"))
    return {name: Scale(**{key: np.array(value) for key, value in scale.items()}) for name, scale in looks.items()}
