"""What was made otherwise than it was asked for: the sentence, and where the reading of a long text ends."""

from pathlib import Path

import pytest

from random_model import make_tiny
from sakuga.core.family import FAMILY
from sakuga.nn.text import load_tokenizer
from sakuga.nn.told import cuts_told, read_of, sizes_told

TINY, FIVE = FAMILY["tiny"], FAMILY["wan2.2-ti2v-5b"]


def words(text: str) -> list[int]:
    """A token a word, and the end mark."""
    return [*map(len, text.split()), 1]


@pytest.mark.parametrize(
    ("text", "length", "part"),
    [
        ("a cat sits", 4, None),
        ("a cat sits", 3, "a cat"),
        ("  a &amp; cat\n\nsits  there", 4, "a & cat"),
        ("a cat " * 2500, 512, ("a cat " * 255 + "a").strip()),
    ],
)
def test_where_reading_ends(text: str, length: int, part: str | None) -> None:
    assert read_of(words, text, length) == part


def test_a_text_without_spaces_ends_at_a_character() -> None:
    assert read_of(lambda text: [*map(ord, text), 1], "漫画アニメ", 4) == "漫画ア"


def test_what_is_read_is_what_the_tokens_say(tmp_path: Path) -> None:
    make_tiny(TINY, tmp_path)
    tokenize = load_tokenizer(tmp_path / "tokenizer")
    text = "a girl runs along the sea wall, " * 800
    part = read_of(tokenize, text, 32)
    assert part is not None and text.startswith(part) and len(tokenize(part)) <= 32
    following = text[len(part) :].split()[0]
    assert len(tokenize(f"{part} {following}")) > 32
    (told,) = cuts_told(tmp_path / "tokenizer", 32, {"the prompt": text, "the negative prompt": "blurry"})
    assert told.startswith("the prompt is longer than the text encoder reads (32 tokens): it was read as far as '…")
    assert f"{part[-12:]}', and {len(text) - 1 - len(part)} of its {len(text) - 1} characters were not" in told


def test_no_tokenizer_is_opened_for_short_texts(tmp_path: Path) -> None:
    assert cuts_told(tmp_path / "nowhere", 512, {"the prompt": "a cat"}) == []


def test_sizes() -> None:
    assert sizes_told(FIVE, (1280, 704, 121), (1280, 704, 121)) == sizes_told(FIVE, (None,) * 3, (640, 352, 5)) == []
    assert sizes_told(FIVE, (1280, 720, 82), (1280, 704, 81)) == [
        "720 pixels high were asked for and 704 made: Wan 2.2 TI2V 5B takes multiples of 32",
        "82 frames were asked for and 81 made: Wan 2.2 TI2V 5B takes 1, 5, 9 and so on",
    ]
    assert sizes_told(FIVE, (100, None, None), (96, 64, 5)) == [
        "100 pixels wide were asked for and 96 made: Wan 2.2 TI2V 5B takes multiples of 32"
    ]
