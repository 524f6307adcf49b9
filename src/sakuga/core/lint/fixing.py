"""Putting fixes into a caption, and mending what is left at the seam: spaces, marks, a or an, a capital."""

import re
from collections.abc import Iterable

from .rule import Finding

_ARTICLE = re.compile(r"(?<!\w)(an?|An?)(\s*)$")
_SOUNDS_VOWEL = re.compile(
    r"(?:[aeiou](?!ni[^nmd]|ne\b|ne-|ser|se\b|sed|su|tili|rop|u)|hour|honest|heir|1[18]\b|8)", re.IGNORECASE
)
_SENTENCE_ENDS = (".", "!", "?", ":")


def fixed(text: str, findings: Iterable[Finding]) -> str:
    """The caption with all fixes that do not overlap put in, the wider before the narrower."""
    wide_first = sorted((f for f in findings if f.fix is not None), key=lambda f: (f.start - f.end, f.start))
    taken: list[Finding] = []
    for finding in wide_first:
        if not any(_overlap(finding, other) for other in taken):
            taken.append(finding)
    for finding in sorted(taken, key=lambda f: (f.start, f.end), reverse=True):
        text = _replaced(text, finding.start, finding.end, finding.fix or "")
    return text.strip()


def _overlap(one: Finding, other: Finding) -> bool:
    return (one.start < other.end and other.start < one.end) or (one.start, one.end) == (other.start, other.end)


def _replaced(text: str, start: int, end: int, fix: str) -> str:
    left, gone, right = text[:start], text[start:end], text[end:]
    if not fix:
        left, right = _closed(left, right)
        if gone.lstrip(" ,.*-#")[:1].isupper() and _begins(left):
            right = _capital(right)
    whole = left + fix
    return _articled(whole, right) if fix in ("a", "an") else _articled(left, fix + right)


def _articled(left: str, right: str) -> str:
    """The two sides joined, with a or an at the end of the left one as the right one sounds."""
    article = _ARTICLE.search(left)
    if article and right.strip():
        proper = "an" if _SOUNDS_VOWEL.match(right.lstrip()) else "a"
        proper = proper.capitalize() if article[1][0] == "A" else proper
        left = left[: article.start()] + proper + article[2]
    return left + right


def _closed(left: str, right: str) -> tuple[str, str]:
    """The two sides of what was taken out, with neither two spaces nor two marks between them."""
    left = left.rstrip(" ") if not right[:1].strip() or right[:1] in ",.;:!?" else left
    bare = right.lstrip(" ")
    if bare[:1] in (",", ".", ";", ":", "!", "?") and (not left.strip() or left.rstrip()[-1] in ".,;:!?"):
        if bare[0] in ".!?" and left.rstrip()[-1:] in (",", ";", ":"):
            left = left.rstrip()[:-1]
        else:
            bare = bare[1:].lstrip(" ")
    elif not bare and left.rstrip()[-1:] in (",", ";", ":"):
        left = left.rstrip()[:-1] + "."
    if not left.strip():
        return "", bare
    if bare and bare[0] not in ",.;:!?)" and left[-1:] not in (" ", "\n", "(", "“", '"') and right[:1] != bare[:1]:
        return left, " " + bare
    if bare and bare[0] not in ",.;:!?)\n" and left[-1:].strip() and left[-1] in ".,;:!?":
        return left, " " + bare
    return left, bare


def _begins(left: str) -> bool:
    """Whether a sentence begins after `left`."""
    bare = left.rstrip(" \n\"'“")
    return not bare or bare.endswith(_SENTENCE_ENDS)


def _capital(text: str) -> str:
    at = len(text) - len(text.lstrip(" "))
    return text[:at] + text[at : at + 1].upper() + text[at + 1 :]
