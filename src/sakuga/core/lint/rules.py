"""The table of rules, and the one loop that applies them."""

from collections.abc import Collection, Iterable, Iterator

from ..errors import SakugaError, nearest
from . import form, measures, together, trigger, wording
from .rule import Finding, Hit, Rule, Subject, Whole

RULES = (
    Rule("empty", "error", "A caption without words but the trigger", form.empty),
    Rule("refusal", "error", "What a model says instead of a caption: sorry, as an AI, please provide", form.refusals),
    Rule("trigger-missing", "warning", "The trigger does not stand in the caption", trigger.missing),
    Rule("trigger-changed", "warning", "The trigger in another case, spelling or number", trigger.changed),
    Rule("trigger-moved", "warning", "The trigger does not stand at the start", trigger.moved),
    Rule("trigger-twice", "warning", "The trigger stands there more than once", trigger.twice),
    Rule("tag-trigger-missing", "warning", "The further trigger of one of the item's tags does not stand there", trigger.extra),
    Rule("trigger-common", "warning", "The trigger is a word that the text encoder knows", trigger.common),
    Rule("style-word", "warning", "Words that name the style: anime, cartoon, cel-shaded, Ghibli", wording.style_words),
    Rule("male-female", "warning", "Male and female as nouns, for man and woman", wording.male_female),
    Rule("hedge", "warning", "Guesses: seems to, possibly, either upset or sad", wording.hedges),
    Rule("lead-in", "warning", "Talk before the caption: this image shows, in this scene we see", wording.lead_ins),
    Rule("medium", "warning", "Words about the picture: in the frame, the image, a screenshot", wording.medium_words),
    Rule("overlay-text", "warning", "Mention of a watermark, subtitles, credits, words over the picture", wording.overlay_text),
    Rule("list", "warning", "Numbered and bulleted lists", form.lists),
    Rule("line-break", "warning", "Line breaks", form.line_breaks),
    Rule("markdown", "warning", "Marks of markdown or HTML", form.markdown),
    Rule("unfinished", "warning", "A caption that stops in the middle of a sentence", form.unfinished),
    Rule("unbalanced", "warning", "A quotation mark or bracket without its other", form.unbalanced),
    Rule("repetition", "warning", "A sentence said twice, a phrase in a loop", form.repetition),
    Rule("language", "warning", "Another language than that of most captions", form.language),
    Rule("too-long", "warning", "More tokens than the text encoder takes", form.too_long),
    Rule("contradiction", "warning", "Camera or light said otherwise than was measured", measures.contradiction),
    Rule("stock-phrase", "warning", "A phrase that stands in most captions of a kind", together.stock_phrases),
    Rule("near-identical", "warning", "Nearly the same words for items of different shots", together.near_identical),
)  # fmt: skip
LONE = {"empty": form.empty, "refusal": form.refusals}  # beside which all other faults are noise
NAMES = tuple(rule.name for rule in RULES)


def chosen(names: Iterable[str] = (), off: Collection[str] = ()) -> list[Rule]:
    """The rules of these names, all without any; without those that are off, unless they are named."""
    asked = list(names)
    for name in (*asked, *off):
        if name not in NAMES:
            raise SakugaError(
                f"'{name}' is not a rule of lint{nearest(name, list(NAMES)) or ' (' + ', '.join(NAMES) + ')'}"
            )
    return [rule for rule in RULES if (rule.name in asked if asked else rule.name not in off)]


def lint(
    whole: Whole, rules: Iterable[Rule] = RULES, allow: Iterable[str] = (), items: Collection[str] | None = None
) -> Iterator[Finding]:
    """What the rules find in the captions of `whole`, caption by caption; of `items` alone where they are given.

    `allow`: words that are well as they are. What is found within them is not told.
    """
    table, allowed = list(rules), [words.lower() for words in allow]
    for subject in whole.subjects:
        if items is not None and subject.item not in items:
            continue
        fine = _places(subject.lowered, allowed)
        lone = next((name for name, find in LONE.items() if any(find(subject, whole))), "")
        for rule in table:
            if rule.name != lone if lone else rule.find in LONE.values():  # those have been asked
                continue
            for hit in rule.find(subject, whole):
                if not any(a <= hit.start and hit.end <= b and hit.end > hit.start for a, b in fine):
                    yield _finding(subject, rule, hit)


def _places(text: str, allowed: list[str]) -> list[tuple[int, int]]:
    found = []
    for words in allowed:
        at = text.find(words) if words else -1
        while at >= 0:
            found.append((at, at + len(words)))
            at = text.find(words, at + 1)
    return found


def _finding(subject: Subject, rule: Rule, hit: Hit) -> Finding:
    found = subject.text[hit.start : hit.end]
    return Finding(subject.item, rule.name, rule.severity, hit.start, hit.end, found, hit.why, hit.fix)
