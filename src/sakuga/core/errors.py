"""The one error that is meant for people: a sentence that names what is wrong and how to mend it."""


class SakugaError(Exception):
    """Something a person can mend. The message is one sentence with the remedy; surfaces print it as it is."""


def nearest(word: str, candidates: "list[str] | tuple[str, ...]") -> str:
    """`; did you mean X?` for the candidate most like `word`, or an empty string when none is alike."""
    import difflib

    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
