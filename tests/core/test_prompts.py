"""Prompt files as other trainers write them, and the prompts that look as if they had flags."""

from pathlib import Path

import pytest

from sakuga.core.errors import SakugaError
from sakuga.core.prompts import FLAGS, PromptLine, parse_prompts, read_prompts


def test_the_file_that_the_ghibli_lora_was_watched_with() -> None:
    settings = "--w 384 --h 384 --f 45 --d 7 --s 20"
    text = f"""# prompt 1
Studio Ghibli style. Woman with blonde hair is walking on the beach, camera zoom out. {settings}

# prompt 2
Studio Ghibli style. Woman dancing in the bar. {settings}
"""
    first, second = parse_prompts(text)
    assert first == PromptLine(
        "Studio Ghibli style. Woman with blonde hair is walking on the beach, camera zoom out.", 384, 384, 45, 7, 20
    )
    assert second.text == "Studio Ghibli style. Woman dancing in the bar."


def test_every_flag() -> None:
    [line] = parse_prompts("a cat --w 64 --h 32 --f 9 --d 0 --s 3 --g 4.5 --fs 8 --n blurry, low-res -- ugly")
    assert line == PromptLine("a cat", 64, 32, 9, 0, 3, 4.5, 8.0, "blurry, low-res -- ugly")
    assert parse_prompts("a cat --n dog --l 6") == [PromptLine("a cat", guidance=6.0, negative="dog")]
    assert {f.field for f in FLAGS.values()} == set(PromptLine.__dataclass_fields__) - {"text"}


@pytest.mark.parametrize(
    "prompt",
    [
        "a sign that says --hello",
        "she stops -- and turns",
        "a terminal shows rm --x 3",
        "a terminal shows ls --w wide --x 3",
        "film--h 20",
        "# of things",
        "a well-known --s-curve",
    ],
)
def test_other_dashes_belong_to_the_prompt(prompt: str) -> None:
    if prompt.startswith("#"):
        assert parse_prompts(prompt) == []
        return
    assert parse_prompts(f"  {prompt}  ") == [PromptLine(prompt)]
    assert parse_prompts(f"{prompt} --s 20") == [PromptLine(prompt, steps=20)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a cat --w wide", "line 2: --w (width) takes a whole number from 1 to 16384, not 'wide'"),
        ("a cat --w", "line 2: --w (width) takes a whole number from 1 to 16384, not ''"),
        ("a cat --f 0", "line 2: --f (frames) takes a whole number from 1 to 10000, not '0'"),
        ("a cat --h 1000000", "line 2: --h (height) takes a whole number from 1 to 16384, not '1000000'"),
        ("a cat --s 1001", "line 2: --s (steps) takes a whole number from 1 to 1000, not '1001'"),
        ("a cat --fs 0", "line 2: --fs (shift) takes a number above 0, not '0'"),
        ("a cat --l -1", "line 2: --l (guidance) takes a number from 0, not '-1'"),
        ("a cat --d -1", "line 2: --d (seed) takes a whole number from 0 to 9223372036854775807, not '-1'"),
        ("a cat --i", "line 2: --i (image) takes a picture's file, not ''"),
        ("a cat --g nan", "line 2: --g (guidance) takes a number from 0, not 'nan'"),
        ("a cat --s 3 --s 4", "line 2: --s sets the steps a second time; leave one of the two"),
        ("--w 384", "line 2 has settings but no prompt; write the prompt before the first --"),
    ],
)
def test_mistakes_are_named_with_their_line(line: str, message: str) -> None:
    with pytest.raises(SakugaError) as error:
        parse_prompts(f"# first\n{line}")
    assert str(error.value) == message


def test_windows_files() -> None:
    assert parse_prompts("\ufeffa cat --s 3\r\n\r\na dog\r\n") == [PromptLine("a cat", steps=3), PromptLine("a dog")]


def test_a_picture_is_looked_for_beside_the_file(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text(f"a cat --i start one.png --s 3\na dog --i {tmp_path / 'x.png'}\na bird\n", "utf-8")
    assert parse_prompts(file.read_text("utf-8"))[0] == PromptLine("a cat", image="start one.png", steps=3)
    images = [line.image for line in read_prompts(file)]
    assert images == [str(tmp_path / "start one.png"), str(tmp_path / "x.png"), None]
