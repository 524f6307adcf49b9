"""From an answer to a caption: what models put around it goes, the trigger stands in front once, refusals are none."""

import pytest

from sakuga.core.answers import clean
from sakuga.core.errors import SakugaError

TRIGGER = "MyStyle"
CAPTION = "MyStyle. a girl runs. A harbour. Medium shot"


@pytest.mark.parametrize(
    "answer",
    [
        "MyStyle. a girl runs. A harbour. Medium shot",
        "a girl runs. A harbour. Medium shot\n",
        "MyStyle. MyStyle. a girl runs. A harbour. Medium shot",
        "mystyle, a girl runs. A harbour. Medium shot",
        "MyStyle: a girl runs. A harbour. Medium shot",
        "'MyStyle. ' a girl runs. A harbour. Medium shot",
        "**MyStyle**. a girl runs. A harbour. **Medium shot**",
        '"MyStyle. a girl runs. A harbour. Medium shot"',
        "“a girl runs. A harbour. Medium shot”",
        'MyStyle. "a girl runs. A harbour. Medium shot"',
        "Caption: MyStyle. a girl runs. A harbour. Medium shot",
        "Sure! Here is the caption:\n\nMyStyle. a girl runs. A harbour. Medium shot",
        "Certainly, here's a detailed description of the clip: MyStyle. a girl runs. A harbour. Medium shot",
        "MyStyle.\na girl runs.\n\nA harbour.\r\nMedium shot",
        "- a girl runs.\n- A harbour.\n- Medium shot",
        "1. a girl runs.\n2. A harbour.\n3. Medium shot",
        "# Caption\na girl runs. A harbour. Medium shot",
        "```text\nMyStyle. a girl runs. A harbour. Medium shot\n```",
        "<think>what is this?</think>MyStyle. a girl runs. A harbour. Medium shot",
    ],
)
def test_a_caption_is_one_line_after_its_trigger(answer: str) -> None:
    assert clean(answer, TRIGGER) == CAPTION
    assert clean(clean(answer, TRIGGER), TRIGGER) == CAPTION


def test_what_belongs_to_the_caption_stays() -> None:
    for text in (
        'a sign says "OPEN" and "CLOSED"', '"OPEN" stands on a sign, "CLOSED" on another', "a girl - in red - runs at 3.5 m",
        "here is where a girl runs", "a boy called MyStyle runs", "a caption: of a ship", "snake_case and 2 * 3 * 4",
    ):  # fmt: skip
        assert clean(text, TRIGGER) == f"MyStyle. {text}"
    assert clean("MyStylelessness reigns", TRIGGER) == "MyStyle. MyStylelessness reigns"
    assert clean("Caption: a girl", "") == "a girl"
    assert clean("Studio X style. a girl", "Studio X style. ") == "Studio X style. a girl"
    assert clean("夜の海。少女が走る", "絵柄") == "絵柄. 夜の海。少女が走る"


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I’m unable to describe the people in this image.",
        "MyStyle. I cannot assist with this request.",
        "Sorry, I can't describe that",
        "As an AI language model, I do not see pictures",
        "I don't see any image attached",
        "Unfortunately, I cannot view videos.",
        "I must decline.",
    ],
)
def test_a_refusal_is_no_caption(answer: str) -> None:
    with pytest.raises(SakugaError, match="the model declines: .*; write this caption yourself, or take another model"):
        clean(answer, TRIGGER)


def test_words_that_only_look_like_a_refusal_are_a_caption() -> None:
    for text in ("a man who cannot swim waves", "Sorrow in her eyes, a woman waits", "an AI robot walks"):
        assert clean(text, TRIGGER) == f"MyStyle. {text}"


@pytest.mark.parametrize("answer", ["", " \n", "MyStyle.", '"MyStyle"', "<think>hm", "Caption:"])
def test_an_answer_of_nothing_is_no_caption(answer: str) -> None:
    with pytest.raises(SakugaError, match="the answer holds no words beside the trigger; look at the prompt"):
        clean(answer, TRIGGER)
