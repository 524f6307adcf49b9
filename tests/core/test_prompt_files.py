"""What is said of a prompt file that cannot be used."""

from pathlib import Path

import pytest

from sakuga.core.errors import SakugaError
from sakuga.core.prompts import read_prompts


def said(path: Path) -> str:
    with pytest.raises(SakugaError) as caught:
        read_prompts(path)
    return str(caught.value)


def test_a_prompt_file_that_cannot_be_read(tmp_path: Path) -> None:
    sentence = said(tmp_path)
    assert sentence.startswith(f"the prompt file {tmp_path} cannot be read: ")
    assert sentence.endswith("; correct its path")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("caf\xe9".encode("latin-1"), "the prompt file {} is not UTF-8 text; save it as UTF-8 in an editor"),
        (b"# only a remark\n\n", "the prompt file {} holds no prompt; write one to a line"),
        (b"a boat\n--w 64\n", "{}: line 2 has settings but no prompt; write the prompt before the first --"),
        (b"a boat --s many\n", "{}: line 1: --s (steps) takes a whole number from 1 to 1000, not 'many'"),
    ],
)
def test_a_prompt_file_that_makes_no_sense(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    assert said(path) == sentence.format(path)
