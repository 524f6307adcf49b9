"""Who is in a picture: faces and other parts of people, how many people they make, the size of the shot, nudity.

NudeNet finds the parts where it is installed. It was trained on photographs: drawn people it mostly misses, so "none"
means that no face was found, not that nobody is there.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import SakugaError
from ..core.settings import ShotSize

SURE = 0.3  # a part counts from here on: faces in photographs get 0.5 to 0.8, painted backgrounds up to 0.2
SURELY_NUDE = 0.5  # likewise for bare parts, which flat skin colour alone brings to 0.25
FAR = 448  # pixels across, at which a picture without a face is looked at again; at 320, the usual, smaller ones are missed
FACE = 6 / 7  # of a head's height, from the hairline to the chin: that is what NudeNet puts its box around

# How many heads high a picture is at most that shows this much of a person. By the canon of eight heads to a figure (the
# chest is two heads down, the waist three, the middle of the thighs five), with room above the head. Framings are named
# by where they cut the figure: face, shoulders, chest, waist to thighs, or nowhere.
HEADS: tuple[tuple[float, ShotSize], ...] = (
    (1, "extreme close-up"), (2, "close-up"), (3, "medium close-up"), (5.5, "medium shot"), (10, "full shot"),
)  # fmt: skip

A_PERSON_HAS = {"FACE": 1, "BELLY": 1, "GENITALIA": 1, "BREAST": 2, "BUTTOCKS": 2, "FEET": 2, "ARMPITS": 2}
BARE = {
    "FEMALE_BREAST_EXPOSED", "FEMALE_GENITALIA_EXPOSED", "MALE_GENITALIA_EXPOSED", "BUTTOCKS_EXPOSED", "ANUS_EXPOSED",
}  # fmt: skip


class Part(NamedTuple):
    """A part of a person: NudeNet's name for it, how sure that is (0..1), its box in shares of the picture."""

    label: str
    score: float
    left: float
    top: float
    right: float
    bottom: float

    @property
    def kind(self) -> str:
        """What it is a part of, be it male or female, covered or not: a key of `A_PERSON_HAS`, or the empty string."""
        return next((kind for kind in A_PERSON_HAS if kind in self.label.split("_")), "")


Detector = Callable[[np.ndarray], list[Part]]


def parts_detector() -> Detector:
    """A function that finds the parts of people in an RGB picture [H, W, 3] uint8. Raises SakugaError without NudeNet."""
    try:
        from nudenet import NudeDetector
    except ImportError as error:
        raise SakugaError(
            f'who is in a shot cannot be told without NudeNet ({error}); `pip install "sakuga[subjects]"`, '
            "or set subjects.read to off"
        ) from error
    near, far = NudeDetector(), NudeDetector(inference_resolution=FAR)

    def find(rgb: np.ndarray) -> list[Part]:
        parts = look(near, rgb)
        again = parts if face_height(parts) else look(far, rgb)
        return again if face_height(again) else parts

    def look(network: Any, rgb: np.ndarray) -> list[Part]:
        # It swaps red and blue once more than it means to: given RGB it sees RGB, and is surer of faces.
        return [_part(told, rgb.shape[0], rgb.shape[1]) for told in network.detect(np.ascontiguousarray(rgb))]

    return find


def _part(told: dict[str, Any], height: int, width: int) -> Part:
    left, top, across, down = told["box"]
    right, bottom = min((left + across) / width, 1.0), min((top + down) / height, 1.0)
    return Part(told["class"], float(told["score"]), left / width, top / height, right, bottom)


def people(parts: Sequence[Part]) -> int:
    """How many people the parts of one picture make at least: two faces are two, three breasts or feet are two."""
    counts = Counter(part.kind for part in parts if part.score >= SURE and part.kind)
    return max((-(-count // A_PERSON_HAS[kind]) for kind, count in counts.items()), default=0)


def face_height(parts: Sequence[Part]) -> float:
    """Height of the tallest face of a picture, that of whoever is nearest, as a share of the picture; 0 without any."""
    return max((p.bottom - p.top for p in parts if p.kind == "FACE" and p.score >= SURE), default=0.0)


def shot_size(face: float) -> ShotSize:
    """The size of a shot whose nearest face takes the share `face` (0..1) of the picture's height; 0: there is none.

    A face is `FACE` of a head, so that the picture is FACE / face heads high, which `HEADS` names: from face = 0.86 on an
    extreme close-up, from 0.43 a close-up, 0.29 a medium close-up, 0.16 a medium shot, 0.086 a full shot. The canon of eight
    heads is Loomis's (Figure Drawing for All It's Worth, 1943), the framings are those of Thompson and Bowen (Grammar of
    the Shot, 2009). Drawn figures of five or six heads are shown further off than this says.
    """
    if face <= 0:
        return "none"
    return next((name for heads, name in HEADS if FACE / face <= heads), "long shot")


def nudity(parts: Sequence[Part]) -> float:
    """How sure it is (0..1) that a bare part is among them; `SURELY_NUDE` counts."""
    return max((part.score for part in parts if part.label in BARE), default=0.0)


def looked_at(kept: np.ndarray, first: int, last: int) -> list[int]:
    """The first, middle and last of the frames `kept` [K] from `first` to `last`: as many as there are, up to three."""
    inside = kept[(kept >= first) & (kept <= last)].tolist()
    return sorted({inside[0], inside[len(inside) // 2], inside[-1]}) if inside else []
