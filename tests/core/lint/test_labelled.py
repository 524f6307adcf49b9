"""Lint against captions that were labelled by hand, and against captions that other trainers were happy with."""

from captions_labelled import MENDED, UNSEEN, disagreements, read
from sakuga.core.lint.rule import Subject, Whole
from sakuga.core.lint.rules import NAMES, lint

LEAST = 0.95  # of precision and of recall, of every rule
FAULTS = 20  # captions with the fault of each rule, at least
CLEAN = 300
UNSEEN_FAULTS = 4


def test_the_labelled_set_is_large_and_knows_every_rule() -> None:
    labelled = [entry for name in MENDED for entry in read(name)]
    assert len(labelled) >= 1000
    assert sum(not entry.rules for entry in labelled) >= CLEAN
    for name in NAMES:
        assert sum(name in entry.rules for entry in labelled) >= FAULTS, name


def test_every_rule_finds_its_faults_and_no_others() -> None:
    scores, lines = disagreements([entry for name in MENDED for entry in read(name)])
    assert set(scores) == set(NAMES)
    assert {n: s for n, s in scores.items() if min(s.precision, s.recall) < LEAST} == {}, "\n".join(lines)


def test_the_set_that_no_rule_is_mended_by_knows_every_rule() -> None:
    labelled = list(read(UNSEEN))
    assert sum(not entry.rules for entry in labelled) >= 40
    for name in NAMES:
        assert sum(name in entry.rules for entry in labelled) >= UNSEEN_FAULTS, name


# In the manner of captions that others trained on with success: long, full of commas, of one sentence or of ten.
GOOD = (
    "BlockStyle. five old friends crowd round a small stove in a mountain hut, one of them with a bandaged thumb ladles soup "
    "into tin cups while another with a red beard tells a story, boots and wet socks hang from a line above them, a dog with a "
    "torn ear sleeps across two pairs of feet, the camera holds a static frontal shot, lit by the open stove door.",
    "BlockStyle. Interior setting with a bare, pale green wall in the background. From left to right: a woman with a shaved head "
    "in a raincoat, hands in her pockets; a woman with a grey plait and a walking stick, frowning; a woman with freckles, a yellow "
    "dress and work gloves. Medium shot, capturing the three side by side.",
    'BlockStyle. A square station clock with an iron frame is depicted. It is approximately ten past four. The brand name "NORDA" '
    'and "MADE IN BERGEN" are printed on the face. Close-up shot, centered on the hands.',
    "BlockStyle. A flooded quarry at first light. A boy slowly lowers his palm onto the snout of a huge, blind fish. The camera "
    "slowly zooms in, emphasizing how still both of them are.",
)


def test_good_captions_are_left_alone() -> None:
    whole = Whole(tuple(Subject(f"c{n}", text, trigger="BlockStyle") for n, text in enumerate(GOOD)))
    assert list(lint(whole)) == []
