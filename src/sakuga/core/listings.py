"""Captions as other trainers keep them, many to a file: the captions.json of diffusion-pipe, and the *.jsonl of others."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .captions import read_text
from .errors import SakugaError

_FILES = ("file_name", "image_path", "video_path")
_WORDS = ("caption", "text")
LONGEST_QUOTE = 80


@dataclass
class Listing:
    """The first caption of each file, by its name as it is written there; how many more there are; what is wrong."""

    captions: dict[str, str] = field(default_factory=dict)
    further: int = 0
    faults: list[str] = field(default_factory=list)


def is_listing(path: Path) -> bool:
    """Whether a file is named as one that holds captions."""
    return path.name.lower() == "captions.json" or path.suffix.lower() == ".jsonl"


def read_listing(path: Path) -> Listing:
    """What a list of captions says. Entries that make no sense are among the faults; the others count."""
    found = Listing()
    try:
        text = read_text(path)
    except SakugaError as error:
        return Listing(faults=[str(error)])
    except OSError as error:
        return Listing(faults=[f"{path.name} cannot be read: {error.strerror}"])
    entries = _lines if path.suffix.lower() == ".jsonl" else _whole
    for given, words in entries(text, path.name, found.faults):
        name = _clean(given)
        texts = [words] if isinstance(words, str) else words
        if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
            found.faults.append(f"{path.name}: the caption of {name[:LONGEST_QUOTE]} is no text; mend it")
            continue
        said = [clean for text in texts if (clean := _clean(text).strip())]
        if said:
            found.further += len(said) - (name not in found.captions)
            found.captions.setdefault(name, said[0])
    return found


def _whole(text: str, file: str, faults: list[str]) -> Iterator[tuple[str, Any]]:
    """{"a.mp4": ["a caption", ...]}, or {"a.mp4": "a caption"}."""
    entries = _parsed(text, file, faults)
    if isinstance(entries, dict):
        yield from entries.items()
    elif entries is not None:
        faults.append(f'{file} is not of the form {{"file name": ["a caption"]}}; mend it')


def _lines(text: str, file: str, faults: list[str]) -> Iterator[tuple[str, Any]]:
    """{"file_name": "a.mp4", "caption": "a caption"} and the like, one to a line; other objects are not for us."""
    for number, line in enumerate(text.split("\n"), start=1):
        entry = _parsed(line, f"{file}, line {number}", faults) if line.strip() else None
        if not isinstance(entry, dict):
            continue
        name = next((entry[key] for key in _FILES if isinstance(entry.get(key), str)), None)
        words = next((entry[key] for key in _WORDS if entry.get(key) is not None), None)
        if name is not None and words is not None:
            yield name, words


def _clean(text: str) -> str:
    """JSON can spell what is no text (half of a surrogate pair)."""
    return text.encode("utf-8", "replace").decode()


def _parsed(text: str, what: str, faults: list[str]) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        faults.append(f"{what} is not JSON; mend it, or write a .txt beside each file")
        return None
