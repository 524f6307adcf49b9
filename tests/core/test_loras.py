"""Which LoRA files a person means: strengths, experts, pairs, and names that are no such thing."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sakuga.core.errors import SakugaError
from sakuga.core.loras import Choice, parse_choice
from sakuga.core.pairs import expert_of, pair_of, without_expert

TWO = ("high", "low")


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("a.safetensors", Choice("a.safetensors")),
        ("a.safetensors:0.8", Choice("a.safetensors", 0.8)),
        ("a.safetensors:1:high", Choice("a.safetensors", 1.0, "high")),
        ("a.safetensors:low", Choice("a.safetensors", None, "low")),
        ("a.safetensors:low:.5", Choice("a.safetensors", 0.5, "low")),
        ("run-3:-1", Choice("run-3", -1.0)),
        (r"C:\loras\a.safetensors", Choice(r"C:\loras\a.safetensors")),
        (r"C:\loras\a.safetensors:0.5", Choice(r"C:\loras\a.safetensors", 0.5)),
        ("none", Choice("none")),
    ],
)
def test_a_choice_says_file_strength_and_expert(text: str, choice: Choice) -> None:
    assert parse_choice(text, TWO) == choice


@given(
    st.text("abc -_./", min_size=1), st.floats(-9, 9).map(lambda x: round(x, 3)), st.sampled_from([None, *TWO])
)  # fmt: skip
def test_what_is_said_is_read(name: str, strength: float, expert: str | None) -> None:
    said = f"{name}:{strength:.3f}" + (f":{expert}" if expert else "")
    assert parse_choice(said, TWO) == Choice(name, strength, expert)


def test_a_file_with_a_colon_in_its_name_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "style:2"
    path.touch()
    assert parse_choice(str(path), TWO) == Choice(str(path))
    assert parse_choice(f"{path}:0.5", TWO) == Choice(str(path), 0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "a.safetensors:hihg",
            "'hihg' in 'a.safetensors:hihg' is neither a strength nor an expert of this model (high, low)",
        ),
        ("a.safetensors:1:2", "write FILE:0.8 or FILE:0.8:high"),
        ("a.safetensors:nan", "'nan' in 'a.safetensors:nan' is neither a strength"),
        ("a.safetensors:high:low", "is neither a strength nor an expert"),
    ],
)
def test_what_is_neither_strength_nor_expert(text: str, words: str) -> None:
    with pytest.raises(SakugaError) as error:
        parse_choice(text, TWO)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("high", "low"),
    [
        ("style-high", "style-low"),
        ("style_high_noise", "style_low_noise"),
        ("Wan22_HIGH", "Wan22_LOW"),
        ("a-high.noise", "a-low.noise"),
    ],
)
def test_the_pairs_that_are_about(tmp_path: Path, high: str, low: str) -> None:
    one, other = tmp_path / f"{high}.safetensors", tmp_path / f"{low}.safetensors"
    one.touch()
    assert pair_of(one) == {"high": one}
    other.touch()
    assert pair_of(one) == pair_of(other) == {"high": one, "low": other}
    assert (expert_of(one), expert_of(other)) == TWO
    assert without_expert(one)[0] == without_expert(other)[0]


@pytest.mark.parametrize("name", ["style", "highlight", "high", "style-higher", "slow"])
def test_names_that_tell_no_expert(name: str) -> None:
    assert expert_of(Path(f"{name}.safetensors")) == "" and without_expert(Path(f"{name}.safetensors")) == (name, "")
