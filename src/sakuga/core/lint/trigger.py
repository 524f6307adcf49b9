"""Rules about the trigger: it begins every caption, to the letter, once, and is no word that the model knows already."""

import re
from difflib import SequenceMatcher
from functools import cache
from importlib.resources import files

from ..triggers import behind
from ..triggers import missing as missing_words
from .rule import Hit, Hits, Subject, Whole
from .wording import lead_ins

NEAR = 0.75  # of the letters alike: a misspelt trigger, at its place
CALM = re.compile(r"[^\w]+|_")
_TOKEN = re.compile(r"[^\W_][\w'’-]*")
_MARKS_AFTER = re.compile(r"^[\s.,:;·-]+")
PART = 4  # letters: parts of a compound that are words by themselves
LIST = ("symspellpy", "frequency_dictionary_en_82_765.txt")  # English words, the frequent ones first


_QUOTES = ('"', "“", "”", "'", "(", ")")
_LINKING = re.compile(r"[\s,]*(?:(?:(?<=\s)|^)(?:in|of|with|the|this is)\s+)*$", re.IGNORECASE)
NOT_FIRST = "the trigger does not stand at the start"


def _bare(words: str) -> str:
    """Letters and digits alone, in small ones."""
    return CALM.sub("", words.casefold())


def _telling(trigger: str) -> bool:
    """Whether a trigger is written so that no other words are meant by it, in whatever case: MyStyle, my style, m4x."""
    return (
        " " in trigger
        or any(c.isdigit() for c in trigger)
        or sum(c.isupper() for c in trigger) in range(2, len(trigger))
    )


def _within(subject: Subject) -> int:
    """Where the trigger stands, to the letter, but not at the start; -1 where it does not."""
    found = re.search(rf"(?<!\w){re.escape(subject.trigger)}(?!\w)", subject.text)
    return found.start() if found else -1


def _changed(subject: Subject) -> tuple[int, int] | None:
    """The place of what should be the trigger."""
    words = list(_TOKEN.finditer(subject.text))
    goal, count = _bare(subject.trigger), len(subject.trigger.split())
    sizes = sorted({max(1, count - 1), count, count + 1, len(re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", subject.trigger))})
    best: tuple[float, int, int] = (0.0, 0, 0)
    for place in range(min(len(words), 400)):
        if place and not _telling(subject.trigger):
            break
        for size in sizes:
            group = words[place : place + size]
            if len(group) < size:
                continue
            start, end = group[0].start(), group[-1].end()
            if not goal or abs(len(_bare(subject.text[start:end])) - len(goal)) > max(1, len(goal) // 6):
                continue
            like = SequenceMatcher(None, _bare(subject.text[start:end]), goal, autojunk=False).ratio()
            enough = NEAR if place == 0 else (1.0 if len(goal) < 6 else 0.9)
            if _bare(subject.text[start])[:1] == goal[0] and like >= enough and like > best[0]:
                best = (like, start, end)
    return best[1:] if best[0] else None


def missing(subject: Subject, whole: Whole) -> Hits:
    """The trigger does not stand in the caption."""
    if (
        subject.trigger
        and subject.text.strip()
        and not subject.begun
        and _within(subject) < 0
        and not _changed(subject)
    ):
        yield Hit(0, 0, f"the trigger '{subject.trigger}' is missing", f"{subject.trigger}. ")


def extra(subject: Subject, whole: Whole) -> Hits:
    """A further trigger, which a tag of the item brings, does not stand in the caption."""
    lacking = missing_words(subject.text, subject.extras) if subject.text.strip() else []
    if lacking:
        named = " and ".join(f"'{word}'" for word in lacking)
        place = behind(subject.text, subject.trigger)
        gap = "" if not place or subject.text[place - 1] == " " else " "
        # what follows a trigger that is missing too is put in with it, at the same place
        fix = None if subject.trigger and not place else gap + "".join(f"{word}. " for word in lacking)
        yield Hit(place, place, f"{named} is missing, which a tag of the item asks for", fix)


def changed(subject: Subject, whole: Whole) -> Hits:
    """The trigger in another spelling: small letters, a plural, a slip."""
    if not subject.trigger or subject.begun or _within(subject) >= 0:
        return
    place = _changed(subject)
    if place is not None:
        yield Hit(*place, f"the trigger is spelt '{subject.trigger}'", subject.trigger)


def moved(subject: Subject, whole: Whole) -> Hits:
    """The trigger, but not at the start."""
    if not subject.trigger or subject.begun:
        return
    start = _within(subject)
    if start < 0:
        return
    text, end = subject.text, start + len(subject.trigger)
    if text[max(0, start - 1) : start] in _QUOTES and text[end : end + 1] in _QUOTES:
        end += 1
    before = _LINKING.sub("", text[:start].rstrip("\"'“("))
    if not before.strip(" .,*#-") or any(hit.end >= len(before.rstrip(" :")) for hit in lead_ins(subject, whole)):
        yield Hit(0, end, NOT_FIRST, subject.trigger)
        return
    if before.endswith((".", "!", "?")) and text[end : end + 1] in (".", ",", ";", ":"):
        end += 1
    yield Hit(0, end, NOT_FIRST, f"{subject.trigger}. {before}")


def twice(subject: Subject, whole: Whole) -> Hits:
    """The trigger more than once."""
    if not subject.begun:
        return
    again = re.compile(rf"(?<!\w){re.escape(subject.trigger)}(?!\w)", re.IGNORECASE if _telling(subject.trigger) else 0)
    for found in again.finditer(subject.text, len(subject.trigger)):
        left, end = subject.text[: found.start()], found.end()
        alone = left.rstrip().endswith((".", "!", "?", subject.trigger)) and subject.text[end : end + 1] in tuple(
            ".,:;"
        )
        start = found.start() if alone else len(_LINKING.sub("", left))
        start = max(start, len(subject.trigger))
        yield Hit(start, end + alone, "the trigger stands there already", "")


@cache
def _english() -> frozenset[str]:
    """The words of a frequency list of English, in small letters."""
    lines = files(LIST[0]).joinpath(LIST[1]).read_text(encoding="utf-8-sig").splitlines()
    return frozenset(line.split(" ")[0] for line in lines)


def known_words(trigger: str, whole: Whole) -> list[str]:
    """The words of a trigger, where each of them is one that the model knows; else none.

    A word is known where the list of English words has it, or where the encoder's vocabulary has it in one piece.
    """
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)*", trigger)
    return words if words and all(_known(word, whole) for word in words) else []


def _known(word: str, whole: Whole) -> bool:
    low = word.casefold()
    if low in _english() or (len(word) > 4 and low.removesuffix("s") in _english()):
        return True
    written_as_one = word[1:] == word[1:].lower()  # watercolor is read as its parts are; MyStyle is meant to be none
    if written_as_one and any({low[:i], low[i:]} <= _english() for i in range(PART, len(word) - PART + 1)):
        return True
    if whole.tokenize is None or not whole.pieces_are_words or len(word) < 3:
        return False
    return any(len(whole.tokenize(form)) <= 2 for form in (word, word.lower(), word.capitalize()))  # with the end mark


def common(subject: Subject, whole: Whole) -> Hits:
    """A trigger that is a word: what it means comes along with the style (RAVEN brings birds)."""
    # said of one item for each trigger: it is the set's fault, not the caption's
    if "common" not in whole.memo:
        first: dict[str, str] = {}
        for other in whole.subjects:
            if other.trigger and other.trigger not in first:
                first[other.trigger] = other.item
        whole.memo["common"] = {item: known_words(trigger, whole) for trigger, item in first.items()}
    words = whole.memo["common"].get(subject.item) if isinstance(whole.memo["common"], dict) else None
    if words:
        why = f"the trigger is of words that the model knows ({', '.join(words)}): what they mean comes along with the style"
        yield Hit(0, len(subject.trigger) if subject.begun else 0, why)
