"""The claims of a caption, and the answers in whatever a model says."""

import pytest

from sakuga.core.coverage.claims import answers, claims, question
from sakuga.core.errors import SakugaError


def test_a_caption_is_split_into_claims() -> None:
    text = "MyStyle. A girl in a red coat sits on a bench, while a dog sleeps beside her. Rain falls; dusk. Medium shot, low angle."
    assert claims(text, "MyStyle") == [
        "A girl in a red coat sits on a bench", "a dog sleeps beside her", "Rain falls, dusk", "Medium shot", "low angle",
    ]  # fmt: skip
    assert claims("A boy with red hair and a cap runs, wearing boots") == [
        "A boy",
        "with red hair",
        "a cap runs",
        "wearing boots",
    ]
    assert claims("Lamp", "MyStyle") == ["Lamp"]
    assert claims("MyStyle.", "MyStyle") == []
    asked = question(["A lamp", "a gate"])
    assert "1. A lamp\n2. a gate" in asked and "{" not in asked


@pytest.mark.parametrize(
    "told",
    [
        "1: yes\n2: no\n3: unsure",
        "1. Yes\n2. No, it is a dog.\n3. Unsure",
        "**1**: Yes\n**2**: **No**\n**3**: unclear",
        '{"1": "yes", "2": "no", "3": "unsure"}',
        "Statement 1: true\nStatement 2: false\nStatement 3: uncertain",
        "1) yes, 2) no, 3) unsure",
        "yes\nno\nunsure",
        "1 - yes\n2 - no",
        "Here are my answers:\n\n1: YES\n2: NO\n3: UNSURE\n4: yes",
    ],
)
def test_answers_in_many_forms(told: str) -> None:
    assert answers(told, 3) == ["yes", "no", "unsure"]


def test_a_model_that_does_not_answer_is_told() -> None:
    for told in ("A girl sits on a bench.", "", "1: yes"):
        with pytest.raises(SakugaError, match="the model answers too few of the 3 claims"):
            answers(told, 3)
