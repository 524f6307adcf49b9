"""What one decoding pass keeps of a film: numbers of every frame, pictures of every half second.

All that is told of a film later (shots, borders, words, repeats, scores) is derived from this, so that changing a
threshold never decodes the film again. `Watcher` takes the frames one by one, `Look` is what it gives, on disk one
compressed .npz and one zip of WebP pictures.
"""

import zipfile
from dataclasses import dataclass, field, fields
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from PIL import Image

from .borders import dark_edges
from .overlays import words_in
from .recurring import hashes_of, slow_waves
from .scores import damage, sharpness

LOOK_WIDTH = 256  # detectors were tuned on pictures of about this width
TINY, TINT = (16, 12), (8, 6)  # width and height of the smallest pictures: of luma, of either chroma
FLOW = (96, 72)  # the size at which motion is followed
LOCAL = (32, 24)  # parts of the picture that are asked for their change one by one
GRID = 8  # pixels of FLOW from one point of the motion to the next
BLACK, WHITE = 15, 240  # luma of 255 under which a pixel is black, over which it is white
EDGES_EVERY = 6  # frames from one in which bars are looked for to the next, while the picture changes by less than
ANOTHER = 0.04  # in the mean
WORDS_EVERY = 8  # frames from one that is looked at for words to the next
QUALITY, QUICK = 75, 0  # of the kept WebP pictures; the usual method 4 takes three times as long and saves a third


@dataclass(frozen=True)
class Look:
    """Per frame [N], shares 0..1 unless said otherwise; what compares a frame with the one before is 0 for the first.

    `change`: mean absolute difference of luma. `local`: that of the mean of one of 32x24 parts, where it is largest.
    `novel`: as `change`, once motion is made up for, so that a pan is small and a cut is not. `moved`: mean length
    of motion, of the width. `camera` [N, 3]: how far the whole picture goes right and down, of the width, and by how much
    it grows. `subject`: mean length of what moves otherwise. `luma`, `spread`: mean and deviation of luma. `chroma`: mean
    distance from grey. `black`, `white`: shares of the pixels. `sharp`: mean absolute Laplacian of luma. `edges` [N, 4]:
    dark rows and columns from the top, bottom, left and right on, in pixels of `size`. `hashes`:
    `recurring.picture_hash`. `tiny` [N, 12, 16], `tint` [N, 2, 6, 8]: the frame itself, luma and chromas, uint8.

    Of some frames: `kept` [K] are those whose pictures are in the zip, `fine` and `blocks` [K] what
    `scores.sharpness` and `scores.damage` tell of them in full size; `looked` [L] were looked at for words, and line m
    of letters, `words` [M, 4] as left, top, right, bottom in shares, stands in frame `words_in` [M].
    """

    size: np.ndarray  # width, height of the pictures looked at
    change: np.ndarray
    local: np.ndarray
    novel: np.ndarray
    moved: np.ndarray
    camera: np.ndarray
    subject: np.ndarray
    luma: np.ndarray
    spread: np.ndarray
    chroma: np.ndarray
    black: np.ndarray
    white: np.ndarray
    sharp: np.ndarray
    edges: np.ndarray
    hashes: np.ndarray
    tiny: np.ndarray
    tint: np.ndarray
    kept: np.ndarray
    fine: np.ndarray
    blocks: np.ndarray
    looked: np.ndarray
    words_in: np.ndarray
    words: np.ndarray

    def __len__(self) -> int:
        return len(self.change)

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "Look":
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{f.name: stored[f.name] for f in fields(cls)})


def look_size(width: int, height: int) -> tuple[int, int]:
    """The size at which a film of this displayed size is looked at: both even, about `LOOK_WIDTH` wide."""
    return LOOK_WIDTH, max(2, round(LOOK_WIDTH * height / width / 2) * 2)


@dataclass
class Watcher:
    """Takes every frame of a film as full-range uint8 planes: luma [H, W] of `size`, chromas [H/2, W/2]."""

    size: tuple[int, int]
    keep_every: int  # frames from one kept picture to the next
    pictures: dict[int, bytes] = field(default_factory=dict)  # WebP
    _rows: dict[str, list[Any]] = field(default_factory=dict)
    _fine: list[float] = field(default_factory=list)
    _blocks: list[float] = field(default_factory=list)
    _words: list[tuple[int, tuple[float, ...]]] = field(default_factory=list)
    _before: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None  # luma, at the sizes of FLOW and of LOCAL
    _flow: cv2.DISOpticalFlow = field(
        default_factory=lambda: cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    )

    def feed(self, luma: np.ndarray, blue: np.ndarray, red: np.ndarray) -> int:
        """Look at the next frame; returns its index."""
        index = len(self._rows.get("luma", ()))
        mean, spread = (float(v[0, 0]) / 255 for v in cv2.meanStdDev(luma))
        small = cv2.resize(luma, FLOW, interpolation=cv2.INTER_LINEAR)
        row: dict[str, Any] = {"luma": mean, "spread": spread}
        parts = cv2.resize(_halved(luma), LOCAL, interpolation=cv2.INTER_AREA)
        row |= self._compared(luma, small, parts)
        tint = [cv2.resize(_halved(_halved(c)), TINT, interpolation=cv2.INTER_AREA) for c in (blue, red)]
        row |= {"chroma": _from_grey(*tint), "tint": np.stack(tint)}
        row |= {"tiny": cv2.resize(small, TINY, interpolation=cv2.INTER_AREA)}
        row |= {"black": _share(luma, BLACK, cv2.THRESH_BINARY_INV), "white": _share(luma, WHITE, cv2.THRESH_BINARY)}
        row |= {"sharp": cv2.norm(cv2.Laplacian(luma, cv2.CV_16S), cv2.NORM_L1) / luma.size / 255}
        light = cv2.multiply(luma, 1 / 255, dtype=cv2.CV_32F)
        row |= {"edges": self._edges(index, light, row["change"]), "waves": slow_waves(light)}
        for name, value in row.items():
            self._rows.setdefault(name, []).append(value)
        self._before = luma, small, parts
        if index % WORDS_EVERY == 0:
            self._words += [(index, tuple(line)) for line in words_in(luma)]
        return index

    def keep(self, index: int, rgb: np.ndarray, whole: np.ndarray) -> None:
        """Keep the picture [H, W, 3] of a frame; `whole` is its luma in full size, uint8 [H, W]."""
        self._fine.append(sharpness(whole))
        self._blocks.append(damage(whole))
        data = BytesIO()
        Image.fromarray(rgb).save(data, "WEBP", quality=QUALITY, method=QUICK)
        self.pictures[index] = data.getvalue()

    def _edges(self, index: int, light: np.ndarray, change: float) -> tuple[int, int, int, int]:
        """Bars stand still: they are looked for in some frames, and wherever the picture is another one."""
        if index % EDGES_EVERY and change < ANOTHER:
            return cast(tuple[int, int, int, int], self._rows["edges"][-1])
        return dark_edges(light)

    def _compared(self, luma: np.ndarray, small: np.ndarray, parts: np.ndarray) -> dict[str, Any]:
        if self._before is None:
            return {"change": 0.0, "local": 0.0, "novel": 0.0, "motion": np.zeros_like(_POINTS)}
        before, small_before, parts_before = self._before
        change = cv2.norm(luma, before, cv2.NORM_L1) / luma.size / 255
        flow = self._flow.calc(small, small_before, None)  # where each pixel was
        warped = cv2.remap(
            small_before, cv2.add(flow, _PLACES), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )  # fmt: skip
        novel = cv2.norm(small, warped, cv2.NORM_L1) / small.size / 255
        motion = -flow[GRID // 2 :: GRID, GRID // 2 :: GRID].reshape(-1, 2)
        local = cv2.norm(parts, parts_before, cv2.NORM_INF) / 255
        return {"change": change, "local": local, "novel": novel, "motion": motion}

    def look(self) -> Look:
        """What was seen so far."""
        kinds = {"edges": np.int16, "tiny": np.uint8, "tint": np.uint8}
        told = {name: np.array(values, kinds.get(name, np.float32)) for name, values in self._rows.items()}
        # for all frames at once, which is many times faster than one by one
        told |= _moved(told.pop("motion")) | {"hashes": hashes_of(told.pop("waves"))}
        count = len(told["luma"])
        return Look(
            size=np.array(self.size, np.int16), kept=np.array(sorted(self.pictures), np.int32),
            fine=np.array(self._fine, np.float32), blocks=np.array(self._blocks, np.float32),
            looked=np.arange(0, count, WORDS_EVERY, dtype=np.int32),
            words_in=np.array([index for index, _ in self._words], np.int32),
            words=np.array([line for _, line in self._words], np.float32).reshape(-1, 4), **told,
        )  # fmt: skip

    def save_pictures(self, path: Path) -> None:
        """The kept pictures as a zip of NNNNNN.webp."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for index, data in sorted(self.pictures.items()):
                archive.writestr(_picture_name(index), data)


class Pictures:
    """The kept pictures of a film, read one by one."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path)

    def webp(self, index: int) -> bytes:
        return self._archive.read(_picture_name(index))

    def rgb(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8."""
        picture = cv2.imdecode(np.frombuffer(self.webp(index), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)

    def luma(self, index: int) -> np.ndarray:
        """[H, W] uint8."""
        return cv2.cvtColor(self.rgb(index), cv2.COLOR_RGB2GRAY)

    def close(self) -> None:
        self._archive.close()


def _picture_name(index: int) -> str:
    return f"{index:06d}.webp"


def _halved(picture: np.ndarray) -> np.ndarray:
    """Averaged two by two, which is many times faster than over areas of any size."""
    height, width = (side // 2 for side in picture.shape)
    return cv2.resize(picture[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)


def _share(luma: np.ndarray, level: int, how: int) -> float:
    return cv2.countNonZero(cv2.threshold(luma, level, 1, how)[1]) / luma.size


def _from_grey(blue: np.ndarray, red: np.ndarray) -> float:
    return float(np.hypot(blue.astype(np.float32) - 128, red.astype(np.float32) - 128).mean() / 128)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Every pixel's place [72, 96, 2], and that of the points motion is read at, from the middle [P, 2]."""
    places = np.stack(np.meshgrid(np.arange(FLOW[0]), np.arange(FLOW[1])), axis=2).astype(np.float32)
    points = places[GRID // 2 :: GRID, GRID // 2 :: GRID].reshape(-1, 2)
    return places, points - (np.array(FLOW, np.float32) - 1) / 2


_PLACES, _POINTS = _grid()


_FAR = np.hypot(_POINTS[:, 0], _POINTS[:, 1]) > FLOW[1] / 4  # nearer the middle, growth is lost in noise


def _moved(motion: np.ndarray) -> dict[str, np.ndarray]:
    """`moved`, `camera` and `subject` of `Look` from the motion [N, P, 2] of the points, in pixels of FLOW.

    The camera is what most of the picture does: the median shift, then the median growth along the way from the middle.
    """
    shift = np.median(motion, axis=1)
    away = _POINTS[_FAR]
    along = ((motion[:, _FAR] - shift[:, None]) * away).sum(2) / (away * away).sum(1)
    growth = np.median(along, axis=1)
    left = motion - shift[:, None] - growth[:, None, None] * _POINTS
    camera = np.column_stack((shift / FLOW[0], growth))
    lengths = {"moved": motion, "subject": left}
    return {"camera": camera.astype(np.float32)} | {
        name: (np.hypot(m[..., 0], m[..., 1]).mean(1) / FLOW[0]).astype(np.float32) for name, m in lengths.items()
    }
