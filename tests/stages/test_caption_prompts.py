"""What a model is asked: our instructions, a person's own, and the hints that measures give."""

from pathlib import Path
from typing import Any

import pytest

from sakuga import api
from sakuga.core import vocabulary
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project
from sakuga.stages.caption.prompts import DEFAULT, hints, instruct, read_prompt, when

FACTS: dict[str, Any] = {
    "kind": "clip", "item_seconds": 3.0, "brightness": 0.5, "camera": 0.05, "motion": 0.01, "static": 0.1, "words": 0.0,
}  # fmt: skip


def told(**changed: Any) -> str:
    return " ".join(hints(FACTS | changed))


def test_our_instructions_ask_for_what_made_good_captions() -> None:
    clip = instruct(DEFAULT["clip"], "clip", "MyStyle", ["It lasts 3.0 s."])
    still = instruct(DEFAULT["still"], "still", "MyStyle", [])
    for text in (clip, still):
        assert 'Begin with exactly "MyStyle. ", unaltered' in text and "No lists" in text and "anime" in text
        assert "{" not in text and all(
            word in text for word in (*vocabulary.SHOTS, *vocabulary.ANGLES, *vocabulary.LIGHT)
        )
    assert all(word in clip for word in vocabulary.CAMERA) and "camera pans left" not in still
    assert clip.endswith("Measured: It lasts 3.0 s.") and "Measured" not in still


def test_without_a_trigger_none_is_asked_for() -> None:
    text = instruct(DEFAULT["clip"], "clip", "", [])
    assert "Begin with" not in text and "Follow this plan: <who or what" in text


def test_a_persons_own_braces_are_left_alone() -> None:
    own = 'Say "{trigger}. {subject}" {shots}. {}{'
    assert instruct(own, "still", "T", []).startswith('Say "T. {subject}" extreme close-up, close-up') and "{}{" in own


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "It lasts 3.0 s."),
        ({"camera": 0.2}, "It lasts 3.0 s. The camera moves: say how, and do not call it static."),
        ({"camera": 0.0}, "It lasts 3.0 s. The camera does not move."),
        ({"camera": 0.0, "static": 0.9}, "It lasts 3.0 s. The camera does not move. Hardly anything moves."),
        ({"camera": 0.2, "static": 0.9}, "It lasts 3.0 s. The camera moves: say how, and do not call it static."),
        ({"brightness": 0.1}, "It is a very dark scene. It lasts 3.0 s."),
        ({"brightness": 0.9}, "It is a bright scene. It lasts 3.0 s."),
        ({"words": 0.5}, "Words are burned into the picture (subtitles or titles): ignore them. It lasts 3.0 s."),
        ({"kind": "still", "camera": 0.2, "static": 0.9}, ""),
        ({"brightness": None}, ""),
    ],
)
def test_measures_become_hints_where_they_are_clear(changed: dict[str, Any], words: str) -> None:
    assert told(**changed) == words


def test_the_times_of_pictures() -> None:
    assert when([0.0, 1.25]) == "The 2 pictures are from these times, in seconds: 0.00, 1.25."


def test_a_persons_own_instruction_is_used(exported: Project) -> None:
    files = api.caption_prompts(exported)
    assert files == [exported.folder / "prompts" / name for name in ("clip.txt", "still.txt")]
    assert (
        files[0].read_text("utf-8") == DEFAULT["clip"]
        and read_prompt(exported.folder, "still") == DEFAULT["still"].strip()
    )
    files[0].write_text("\ufeffTell it.\n", "utf-8")
    assert read_prompt(exported.folder, "clip") == "Tell it."
    assert api.caption_prompts(exported) == files and files[0].read_text("utf-8-sig") == "Tell it.\n"


def test_an_instruction_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    file = tmp_path / "prompts" / "clip.txt"
    file.write_bytes(b"caf\xe9")
    with pytest.raises(SakugaError, match="clip.txt is not UTF-8 text; save it as UTF-8 in an editor"):
        read_prompt(tmp_path, "clip")
    file.write_text(" \n")
    with pytest.raises(SakugaError, match="clip.txt is empty; write one, or remove the file to have ours"):
        read_prompt(tmp_path, "clip")
    file.unlink()
    file.mkdir()
    with pytest.raises(SakugaError, match="clip.txt cannot be read: Is a directory; mend that, or remove it"):
        read_prompt(tmp_path, "clip")
