"""What a caption names, whatever its wording."""

import pytest

from sakuga.core.coverage.phrases import phrases, things
from sakuga.core.coverage.words import base, fold, part_of


@pytest.mark.parametrize(
    "text",
    [
        "A girl with red hair.", "A red-haired girl.", "She has red hair.", "Her hair is red.", "A redhead waits.",
        "A girl with long, curly red hair.", "The girl's hair is long and red.", "a long-haired girl, her hair is very red",
    ],
)  # fmt: skip
def test_one_attribute_in_many_wordings(text: str) -> None:
    assert {"hair", "red hair"} <= phrases(text)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Two women in black boots hold red cups.", {"woman", "boot", "black boot", "cup", "red cup"}),
        ("A woman wearing a black studded belt sits on a wooden bench",
         {"woman", "belt", "black belt", "studded belt", "bench", "wooden bench"}),
        ("The man dressed in a cloak runs along the sea wall, laughing.", {"man", "cloak", "wall", "sea wall"}),
        ("Women gather around a low table.", {"woman", "table", "low table"}),
        ("A burning house. Rain falls on wet asphalt.", {"house", "burning house", "rain", "asphalt", "wet asphalt"}),
        ("A grey wolf and a gray cat", {"wolf", "gray wolf", "cat", "gray cat"}),
        ('A sign that reads "OLD TAVERN" hangs there', {"sign"}),
        ("Medium shot. The camera pans slowly to the left.", set()),
        ("", set()),
    ],
)  # fmt: skip
def test_things_and_their_attributes(text: str, named: set[str]) -> None:
    assert phrases(text) == named


def test_the_trigger_is_no_thing() -> None:
    assert phrases("MyStyle. A lamp.", "MyStyle") == {"lamp"}
    assert "mystyle" in phrases("MyStyle. A lamp.")


def test_words_are_folded() -> None:
    folded = {"boots": "boot", "grey": "gray", "women": "woman", "dresses": "dress", "glasses": "glasses", "berries": "berry",
              "dishes": "dish", "boxes": "box", "shoes": "shoe", "grass": "grass", "cactus": "cactus"}  # fmt: skip
    assert {word: fold(word) for word in folded} == folded
    assert [base(word) for word in ("watches", "carries", "held", "runs")] == ["watch", "carry", "hold", "run"]
    assert [part_of(word) for word in ("haired", "eyed", "legged", "collared", "bed", "red")] == \
        ["hair", "eye", "leg", "collar", None, None]  # fmt: skip
    assert things(frozenset({"red hair", "hair"})) == {"hair"}
