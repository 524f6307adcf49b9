"""Further triggers, which tags bring: a character's name, in the captions of items that show this character alone."""

import re
from collections.abc import Iterable, Mapping


def extras(tags: Iterable[str], triggers: Mapping[str, str]) -> tuple[str, ...]:
    """The further triggers of an item with these tags, each once, in the order of the settings."""
    mine = set(tags)
    return tuple(dict.fromkeys(word for name, word in triggers.items() if name in mine and word.strip()))


def missing(text: str, words: Iterable[str]) -> list[str]:
    """Those of some triggers that a caption does not hold, to the letter."""
    return [word for word in words if not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)]


def behind(text: str, trigger: str) -> int:
    """The place in a caption behind its trigger and the marks after that; 0 where it does not begin with it."""
    found = re.match(rf"{re.escape(trigger)}(?!\w)[\s.,:;]*", text) if trigger else None
    return found.end() if found else 0


def with_extras(text: str, trigger: str, words: Iterable[str]) -> str:
    """A caption with the further triggers that it lacks behind its trigger: "MyStyle. Simon. a boy runs"."""
    more = "".join(f"{word}. " for word in missing(text, words))
    place = behind(text, trigger)
    lead = text[:place] if not more or text[:place].endswith(" ") or not place else f"{text[:place].rstrip('.')}. "
    return (lead + more + text[place:]).strip()
