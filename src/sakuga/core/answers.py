"""From what a model answered to a caption: one line, without what stands around it, the trigger in front of it."""

import re

from .errors import SakugaError
from .server import without_thoughts

_FENCE = re.compile(r"^```\w*\s*|\s*```$")
_MARK = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+", re.MULTILINE)  # of a list
_HEADING = re.compile(r"^#+\s*.*$", re.MULTILINE)
_BOLD = re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1")
_LABEL = re.compile(
    r"^(?:(?:sure|certainly|of course|okay)[,.!:]*\s*)?"
    r"(?:(?:here is|here's|this is)\b[^.:]{0,60}:|(?:the )?(?:caption|description|prompt|answer|output|final answer)\s*:)\s*",
    re.IGNORECASE,
)
_QUOTES = (('"', '"'), ("'", "'"), ("“", "”"), ("«", "»"), ("`", "`"))
_REFUSAL = re.compile(
    r"^(?:i(?:['’]m| am) (?:very |really )?(?:sorry|unable|not able|afraid)|(?:i )?apologi[sz]e|sorry[,. ]|"
    r"i (?:can['’]?t|cannot|can not|won['’]t|will not|must decline)\b|as an? (?:ai|language model)|unfortunately, i\b|"
    r"i don['’]t (?:see|have) (?:any|an|access)\b)",
    re.IGNORECASE,
)


def clean(answer: str, trigger: str) -> str:
    """The caption that an answer holds: one line that begins with "TRIGGER. " to the letter, and has it there once.

    Raises SakugaError where the answer says nothing, or refuses.
    """
    text = _bare(answer)
    while trigger and (rest := _behind(text, trigger)) is not None:
        text = _bare(rest)
    if not text:
        raise SakugaError("the answer holds no words beside the trigger; look at the prompt, or take another model")
    if _REFUSAL.match(text):
        raise SakugaError(f"the model declines: {text[:100]!r}; write this caption yourself, or take another model")
    return f"{trigger.rstrip(' .,:;')}. {text}" if trigger.strip(" .,:;") else text


def _bare(text: str) -> str:
    """Without thoughts, headings, marks of lists, line breaks, labels, and quotes around the whole."""
    text = _FENCE.sub("", without_thoughts(text))
    text = _BOLD.sub(r"\2", _MARK.sub("", _HEADING.sub("", text)))
    text = " ".join(text.split())
    before = None
    while before != text:
        before = text
        text = _LABEL.sub("", text)
        for left, right in _QUOTES:
            inner = text[1:-1]
            if len(text) > 1 and text[0] == left and text[-1] == right and left not in inner and right not in inner:
                text = inner.strip()
    return text


def _behind(text: str, trigger: str) -> str | None:
    """What follows the trigger where a text begins with it, be it quoted or spelt in other letters; else None."""
    word = re.escape(trigger.strip(" .,:;"))
    quoted, plain = rf"[\"'“«*]+{word}(?!\w)[\s.,:;–—\-\"'”»*]*", rf"{word}(?!\w)[\s.,:;–—-]*"
    found = re.match(f"{quoted}|{plain}", text, re.IGNORECASE)
    return text[found.end() :] if found else None
