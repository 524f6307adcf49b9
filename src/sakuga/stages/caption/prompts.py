"""What a model is asked: the instruction for clips and the one for stills, and what was measured, as hints.

The instruction stands in the project as prompts/clip.txt and prompts/still.txt where a person has put it there, else here.
It follows what made good style LoRAs: everything is said but the style, since what is not said is learnt as the style.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ...core import vocabulary
from ...core.errors import SakugaError
from ...core.files import write_atomic

Kind = Literal["clip", "still"]
FOLDER = "prompts"

_TEMPLATE = (
    "{trigger}. <who or what is there, and what happens>. <the place and its light>. <shot size, angle{and_camera}>."
)
_BEGIN = """\
Write the prompt from which a video model would make this {what} again, as one paragraph of plain English.

Begin with exactly "{trigger}. ", unaltered, and follow this plan: {template}

"""
_END = """\
Only say what can be seen, and be certain: no "either ... or", no "seems". Name everyone by what they look like (a woman with
long red hair, a boy in a yellow coat), with hair, clothes and the expression of the face; say man, woman, boy, girl, not male
or female. Where nobody is there, describe the things and the place as closely. Do not read out words that stand in the picture.

Say nothing about how it is drawn or made: no words like anime, animation, cartoon, illustration, drawing, style or film, and
nothing of the picture itself ("the image shows"). No lists, no headings, no line breaks, nothing before or after the paragraph.

Words for the shot, choose among: {shots}. For the angle: {angles}. For the light: {light}.{camera_words}
"""
_CLIP = """\
The pictures are taken from the clip in order, at the times given below: describe what changes from the first to the last, who
moves how, in which direction and how fast, as one action and not picture by picture. Say what the camera does.

"""
_STILL = """\
It is a single picture: describe the pose and the place, and no movement of the camera.

"""

DEFAULT: dict[Kind, str] = {
    "clip": _BEGIN + _CLIP + _END,
    "still": _BEGIN + _STILL + _END,
}

# (up to this value, words), of measures that run from 0 to 1
LIGHT = ((0.15, "a very dark scene"), (0.35, "a dark scene"), (0.65, "an evenly lit scene"), (1.0, "a bright scene"))
MOTION = ((0.004, "hardly anything moves"), (0.02, "calm movement"), (0.06, "lively movement"), (1.0, "fast movement"))

# widths of the picture in a second. On real cel film a camera that stands measures up to 0.05 where much of the picture
# moves, one that moves 0.07 and more, and a slow pan may be slower: between the two a hint could be wrong, so none is given
CAMERA_STANDS, CAMERA_MOVES = 0.012, 0.07
STANDS_STILL = 0.8  # share of a shot's time in held drawings
WORDS_SHOWN = 0.1  # share of a shot's time with burned-in words
DARK, BRIGHT = LIGHT[1][0], LIGHT[2][0]


def word(scale: tuple[tuple[float, str], ...], value: float) -> str:
    """What a scale calls a value."""
    return next((word for limit, word in scale if value <= limit), scale[-1][1])


def prompt_file(project: Path, kind: Kind) -> Path:
    """Where a person's own instruction for a kind stands."""
    return project / FOLDER / f"{kind}.txt"


def write_prompts(project: Path) -> list[Path]:
    """Put the instructions into the project, to be edited; those that are there stay. Returns the files."""
    kinds: tuple[Kind, ...] = ("clip", "still")
    for kind in kinds:
        if not (path := prompt_file(project, kind)).exists():
            write_atomic(path, DEFAULT[kind])
    return [prompt_file(project, kind) for kind in kinds]


def read_prompt(project: Path, kind: Kind) -> str:
    """The instruction for a kind: the person's own, else ours. Raises SakugaError for a file that is not to be read."""
    path = prompt_file(project, kind)
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except FileNotFoundError:
        return DEFAULT[kind]
    except OSError as error:
        raise SakugaError(
            f"the instruction {path} cannot be read: {error.strerror}; mend that, or remove it"
        ) from error
    except UnicodeDecodeError as error:
        raise SakugaError(f"the instruction {path} is not UTF-8 text; save it as UTF-8 in an editor") from error
    if not text:
        raise SakugaError(f"the instruction {path} is empty; write one, or remove the file to have ours")
    return text


def instruct(instruction: str, kind: Kind, trigger: str, hints: list[str]) -> str:
    """The prompt for one item: the instruction with its places filled, and the hints after it.

    Places are {trigger}, {shots}, {angles}, {light} and {camera}; other words in braces are left as they are. Without a
    trigger the sentence that asks for it, in our own instruction, is left out.
    """
    clip = kind == "clip"
    if not trigger:
        instruction = instruction.replace(
            'Begin with exactly "{trigger}. ", unaltered, and follow this plan', "Follow this plan"
        )
    template = _TEMPLATE.replace("{and_camera}", ", movement of the camera" if clip else "")
    words = {
        "what": "clip" if clip else "picture",
        "template": template.replace("{trigger}", trigger) if trigger else template.replace("{trigger}. ", ""),
        "trigger": trigger,
        "shots": ", ".join(vocabulary.SHOTS),
        "angles": ", ".join(vocabulary.ANGLES),
        "light": ", ".join(vocabulary.LIGHT),
        "camera": ", ".join(vocabulary.CAMERA),
        "camera_words": f" For the camera: {', '.join(vocabulary.CAMERA)}." if clip else "",
    }
    text = re.sub(r"\{(\w+)\}", lambda found: words.get(found[1], found[0]), instruction).strip()
    return f"{text}\n\nMeasured: {' '.join(hints)}" if hints else text


def hints(facts: Mapping[str, Any]) -> list[str]:
    """What was measured of an item's shot, as sentences. Nothing is said where a measure stands between two cases.

    `facts`: kind, item_seconds, and of its shot brightness, camera, motion, static and words (None: it has no shot).
    """
    if facts["brightness"] is None:
        return []
    told = []
    if facts["brightness"] < DARK or facts["brightness"] > BRIGHT:
        told.append(f"It is {word(LIGHT, facts['brightness'])}.")
    if facts["words"] > WORDS_SHOWN:
        told.append("Words are burned into the picture (subtitles or titles): ignore them.")
    return [*told, *_movement(facts)] if facts["kind"] == "clip" else told


def _movement(facts: Mapping[str, Any]) -> list[str]:
    told = [f"It lasts {facts['item_seconds']:.1f} s."]
    if facts["camera"] > CAMERA_MOVES:
        told.append("The camera moves: say how, and do not call it static.")
    elif facts["camera"] < CAMERA_STANDS:
        told.append("The camera does not move.")
    if facts["static"] > STANDS_STILL and facts["camera"] <= CAMERA_MOVES:
        told.append("Hardly anything moves.")
    return told


def when(times: list[float]) -> str:
    """The times (s) of the pictures that are shown, as a sentence for the model."""
    listed = ", ".join(f"{time:.2f}" for time in times)
    return f"The {len(times)} pictures are from these times, in seconds: {listed}."
