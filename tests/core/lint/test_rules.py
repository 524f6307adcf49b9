"""What a finding says: its place, its words, its remedy; and what switches it off."""

import time
from collections.abc import Iterator

import pytest

from captions_labelled import MENDED, Labelled, read
from sakuga.core.errors import SakugaError
from sakuga.core.lint import form, wording
from sakuga.core.lint.fixing import fixed
from sakuga.core.lint.rule import Finding, Subject, Whole
from sakuga.core.lint.rules import NAMES, chosen, lint


def labelled() -> Iterator[Labelled]:
    return (entry for name in MENDED for entry in read(name))


def found(text: str, *rules: str, trigger: str = "MyStyle", **known: object) -> list[Finding]:
    whole = Whole((Subject("a", text, trigger=trigger),), **known)  # type: ignore[arg-type]
    return list(lint(whole, chosen(rules)))


def mended(text: str, *rules: str, trigger: str = "MyStyle") -> str:
    return fixed(text, found(text, *rules, trigger=trigger))


def test_a_finding_names_its_place_in_characters() -> None:
    text = "MyStyle. Ein Schild “Gasse”. A male in a suit 🙂 seems to wait for İpek."
    man, guess = found(text, "male-female", "hedge")
    assert (text[man.start : man.end], man.found, man.fix) == ("male", "male", "man")
    assert (text[guess.start : guess.end], guess.fix) == ("seems to wait", "waits")
    assert "is an adjective" in man.why and "is a guess; say what is there" in guess.why


def test_every_span_is_within_its_caption_and_says_what_stands_there() -> None:
    for entry in labelled():
        for finding in lint(Whole((entry.subject,))):
            assert entry.subject.text[finding.start : finding.end] == finding.found
            assert finding.why and 0 <= finding.start <= finding.end <= len(entry.subject.text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("MyStyle. An anime girl waves.", "MyStyle. A girl waves."),
        ("MyStyle. A cartoon owl blinks.", "MyStyle. An owl blinks."),
        ("MyStyle. A street, drawn in a retro 90s anime style. Rain.", "MyStyle. A street. Rain."),
        ("MyStyle. This image shows a cat on a wall.", "MyStyle. A cat on a wall."),
        ("MyStyle. A man holds some kind of instrument.", "MyStyle. A man holds an instrument."),
        ("MyStyle. The girl appears to be asleep.", "MyStyle. The girl is asleep."),
        ("MyStyle. Perhaps tired, a boy sits down.", "MyStyle. Tired, a boy sits down."),
        ("MyStyle.\n- a red house\n- a green door", "MyStyle. a red house, a green door"),
        ("MyStyle. A **tall** man.\n\nHe waits.", "MyStyle. A tall man. He waits."),
        ("MyStyle. A boy in the the garden.", "MyStyle. A boy in the garden."),
        ("mystyle. A boy runs.", "MyStyle. A boy runs."),
        ("A boy runs. MyStyle. Wide shot.", "MyStyle. A boy runs. Wide shot."),
        ("A boy at a window in MyStyle. Wide shot.", "MyStyle. A boy at a window. Wide shot."),
        ("MyStyle. A dancer bows in mystyle. Wide shot.", "MyStyle. A dancer bows. Wide shot."),
        ("Sure! Here is a caption: MyStyle. A boy runs.", "MyStyle. A boy runs."),
        ("A boy runs.", "MyStyle. A boy runs."),
        ("MyStyle. Red leaves, a gate,", "MyStyle. Red leaves, a gate."),
        ("MyStyle. A male and a female in a boat.", "MyStyle. A man and a woman in a boat."),
        ("MyStyle. A tug &amp; a barge.</s>", "MyStyle. A tug & a barge."),
        ("MyStyle. What we see here is a tug on a canal.", "MyStyle. A tug on a canal."),
    ],
)
def test_fixes_leave_a_sentence(before: str, after: str) -> None:
    assert mended(before) == after


def test_a_fix_leaves_nothing_that_it_could_fix() -> None:
    once_is_enough = {"trigger-moved", "trigger-changed", "repetition", "list"}  # which may uncover another
    for entry in labelled():
        subject = entry.subject
        told = [f for f in lint(Whole((subject,))) if f.fix is not None]
        if not told or entry.rules & once_is_enough:
            continue
        again = Subject("a", fixed(subject.text, told), subject.kind, subject.trigger)
        left = {f.rule for f in lint(Whole((again,))) if f.fix is not None}
        assert not left & {f.rule for f in told}, (subject.text, again.text)


def test_rules_by_name_and_rules_that_are_off() -> None:
    assert [rule.name for rule in chosen()] == list(NAMES)
    assert [rule.name for rule in chosen(["hedge"], off=["hedge"])] == ["hedge"]
    assert "hedge" not in [rule.name for rule in chosen(off=["hedge"])]
    with pytest.raises(SakugaError, match="'hedges' is not a rule of lint.*hedge"):
        chosen(["hedges"])
    with pytest.raises(SakugaError, match="'hedges' is not a rule of lint.*hedge"):
        chosen(off=["hedges"])


def test_words_of_the_project_and_words_that_are_allowed() -> None:
    text = "MyStyle. A woodcut forest and an anime poster, an anime girl."
    whole = Whole((Subject("a", text, trigger="MyStyle"),), words=("Woodcut",))
    assert [f.found for f in lint(whole, chosen(["style-word"]))] == ["woodcut", "anime"]
    assert [f.found for f in lint(whole, chosen(["style-word"]), allow=["an anime girl"])] == ["woodcut"]


def test_a_tokenizer_counts_and_knows_words() -> None:
    def by_letters(text: str) -> list[int]:
        return [1] if text.lower() == "qorx" else [2] * (len(text) + 1)

    text = "MyStyle. " + "A lamp, a gate, an owl. " * 3
    (measured,) = found(text, "too-long", tokenize=by_letters, length=60)
    assert f"it has {len(text) + 1} tokens" in measured.why and measured.start == text.rfind(" ", 0, 60) + 1
    (guessed,) = found("MyStyle. " + " ".join(f"gate {n}." for n in range(300)), "too-long")
    assert "by an estimate: no tokenizer is at hand" in guessed.why
    assert found("Qorx. A lamp.", "trigger-common", trigger="Qorx") == []
    (known,) = found("Qorx. A lamp.", "trigger-common", trigger="Qorx", tokenize=by_letters)
    assert "words that the model knows (Qorx)" in known.why
    assert found("Qorx. A lamp.", "trigger-common", trigger="Qorx", tokenize=by_letters, pieces_are_words=False) == []


def test_beside_a_refusal_and_an_empty_caption_nothing_else_is_told() -> None:
    assert [f.rule for f in found("I'm sorry, I can't describe the image.\n")] == ["refusal"]
    assert [f.rule for f in found("MyStyle.")] == ["empty"]
    assert [f.why for f in found("")] == ["it is empty"]


def test_a_project_without_a_trigger() -> None:
    assert found("A girl runs along the wall. Wide shot.", trigger="") == []


@pytest.mark.parametrize(
    "text",
    [
        "MyStyle. A male swan hisses at two females on the ice. A woman in a coat laughs.",
        "MyStyle. A watermark of rust on the white plaster, a tap below it.",
        "MyStyle. Rain, rain, nothing else. Wide shot.",
        "MyStyle, 1boy, tower, stairs, from below",
        "MyStyle. The pictures are set on the shelf, the letter under the photograph is unread.",
    ],
)
def test_what_only_sounds_like_a_fault_is_left_alone(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("MyStyle. A watermark is in the lower corner, and a man leans on a wall.", "overlay-text"),
        ("MyStyle. A dog sleeps in the yard. Snow falls. A male rings the bell.", "male-female"),
        ("MyStyle. a) a tug b) a barge c) a lock", "list"),
        ("MyStyle. i. A tug. ii. A barge.", "list"),
        ("MyStyle. Rain rain on the roof.", "repetition"),
        ("MyStyle. Sorry, there is nothing I could tell.", "refusal"),
    ],
)
def test_what_sounds_harmless_is_told(text: str, rule: str) -> None:
    assert [f.rule for f in found(text)][:1] == [rule]


def test_a_handheld_thing_is_no_handheld_camera() -> None:
    def told(text: str) -> list[str]:
        subject = Subject("a", text, trigger="MyStyle", camera=0.0)
        return [f.found for f in lint(Whole((subject,)), chosen(["contradiction"]))]

    assert told("MyStyle. A boy with a handheld radio listens.") == []
    assert told("MyStyle. A boy listens. Handheld medium shot.") == ["Handheld"]


def test_no_pattern_finds_what_its_stems_do_not_announce() -> None:
    patterns = (
        (form._REFUSAL, form._REFUSAL_STEMS),
        (wording._style(()), wording._STYLE_STEMS),
        (wording._MEDIA_WORDS, wording._MEDIA_STEMS),
        (wording._MARKS, wording._MARK_STEMS),
    )
    for text in (entry.subject.plain for entry in labelled()):
        for pattern, stems in patterns:
            match = pattern.search(text)
            around = text[match.start() : match.end() + 1] if match else ""
            assert match is None or any(stem in around for stem in stems), around


def test_a_caption_in_a_loop_of_thousands_of_words_is_told_once_and_soon() -> None:
    started = time.perf_counter()
    (loop,) = found("MyStyle. A gate " + "and a gate " * 4000, "repetition")
    assert loop.end - loop.start > 40000
    assert time.perf_counter() - started < 5


def test_a_set_of_the_same_words_is_told_in_no_time() -> None:
    same = tuple(
        Subject(f"i{n}", "MyStyle. A grey cat sleeps on a wide stone wall at noon.", trigger="MyStyle")
        for n in range(3000)
    )
    started = time.perf_counter()
    told = list(lint(Whole(same), chosen(["near-identical", "stock-phrase"])))
    assert {f.rule for f in told} == {"near-identical", "stock-phrase"} and len({f.item for f in told}) == 3000
    assert time.perf_counter() - started < 10
