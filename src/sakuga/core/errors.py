"""The one error that is meant for people: a sentence that names what is wrong and how to mend it."""

import re

# A name that is quoted may hold line ends, or what is no text: neither may break the sentence, or the row it is kept in.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class SakugaError(Exception):
    """Something a person can mend. The message is one sentence with the remedy; surfaces print it as it is."""

    def __init__(self, message: str = "") -> None:
        super().__init__(_UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), message))


class Halt(SakugaError):
    """A fault that is no item's own, as a server that is not there: the whole command ends instead of every item failing."""


def nearest(word: str, candidates: "list[str] | tuple[str, ...]") -> str:
    """`; did you mean X?` for the candidate most like `word`, or an empty string when none is alike."""
    import difflib

    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
