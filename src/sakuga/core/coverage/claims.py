"""The claims of a caption, the question that puts them to another model, and the answers in what it says."""

import re

from ..errors import SakugaError

SHORTEST = 2  # words of a claim
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
# Where a clause may end: at a comma or a joining word before another action, person or thing.
_CLAUSE = re.compile(
    r",?\s+(?:while|as|and then|where|whose|who|but)\s+|,?\s+(?=(?:with|wearing)\s)"
    r"|,\s+(?:and\s+)?|\s+and\s+(?=(?:the|a|an|his|her|their)\s)",
    re.IGNORECASE,
)
_WORDS = {"yes": "yes", "true": "yes", "correct": "yes", "y": "yes", "no": "no", "false": "no", "incorrect": "no", "n": "no",
          "wrong": "no", "unsure": "unsure", "unclear": "unsure", "unknown": "unsure", "maybe": "unsure", "partially": "unsure",
          "partly": "unsure", "uncertain": "unsure"}  # fmt: skip
_ANSWER = "|".join(sorted(_WORDS, key=len, reverse=True))
_NUMBERED = re.compile(
    rf"(?:^|[\n,;{{\[(.])\s*[\"'*\-#(]*(?:claim|statement)?\s*(\d{{1,2}})[\"'*)\].:\-–—\s]+(?:is\s+)?[\"'*]*({_ANSWER})\b",
    re.IGNORECASE,
)
_BARE = re.compile(rf"\b({_ANSWER})\b", re.IGNORECASE)

QUESTION = """\
Look at the pictures. Below are numbered statements about them. Judge each by itself: answer yes if it is so, no if it is not,
unsure if the pictures do not show it. One line for each statement, its number and one word, as in "1: yes". Nothing else.

{claims}
"""


def claims(text: str, trigger: str = "") -> list[str]:
    """The sentences and clauses of a caption, each a claim that holds or does not; the trigger is none."""
    bare = text.removeprefix(trigger).lstrip(" .,:;") if trigger else text.strip()
    found: list[str] = []
    for sentence in _SENTENCE.split(bare):
        for clause in _CLAUSE.split(sentence):
            words = clause.strip(" .,:;!?")
            if len(words.split()) >= SHORTEST:
                found.append(words)
            elif words and found:
                found[-1] += f", {words}"
    return found or ([bare] if bare else [])


def question(found: list[str]) -> str:
    return QUESTION.format(claims="\n".join(f"{number}. {claim}" for number, claim in enumerate(found, 1)))


def answers(told: str, count: int) -> list[str]:
    """yes, no or unsure of each of `count` claims; unsure where the model passes one over.

    Raises SakugaError where it answers fewer than half of them.
    """
    numbered = {int(number): _WORDS[word.lower()] for number, word in _NUMBERED.findall(told)}
    found = [numbered.get(number) for number in range(1, count + 1)]
    if not any(found):
        bare = [_WORDS[word.lower()] for word in _BARE.findall(told)]
        found = list(bare) if len(bare) == count else found
    if sum(answer is not None for answer in found) * 2 < count:
        raise SakugaError(f"the model answers too few of the {count} claims: {told[:100]!r}; take a larger one")
    return [answer or "unsure" for answer in found]
