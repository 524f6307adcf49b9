"""The review of captions: states, batches, undo; and the history of an item's words."""

import pytest

from sakuga import api
from sakuga.core import captions
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project, change_config, read_config
from sakuga.core.review import Progress
from small_fixtures import exported, exported_root

__all__ = ["exported", "exported_root"]

A, B, STILL = "clips/film_000000", "clips/film_000024", "stills/film_000012"
FINE = (
    "A woman waters tulips on a balcony.", "Two cats chase a ball of wool.", "Rain drums on an empty bus.", "A baker lifts bread.",
    "The tide fills a rock pool.", "A cyclist leans into a bend.", "Snow covers a row of carts.", "Smoke rises from a chimney.",
)  # fmt: skip


def states(project: Project) -> dict[str, int]:
    found: dict[str, int] = api.review(project)["states"]
    return found


def far(project: Project) -> str:
    told = api.review(project)
    return str(Progress(told["done"], told["total"], told["passing"]))


def write(project: Project, item: str, text: str) -> None:
    project.path(f"dataset/{item}.txt").write_text(text, "utf-8")


def words(project: Project, item: str) -> str:
    return project.path(f"dataset/{item}.txt").read_text("utf-8")


def test_drafts_edits_and_what_was_seen(exported: Project) -> None:
    write(exported, A, "MyStyle. A yard.")
    assert states(exported) == {"draft": 7, "edited": 1}
    assert api.review_seen(exported, [A, "stills/*"]) == ([A, *sorted(s for s in _names(exported) if "still" in s)], [])
    assert states(exported) == {"draft": 3, "seen once": 5}
    api.review_seen(exported, [A])
    assert states(exported) == {"draft": 3, "seen once": 4, "seen twice": 1}
    write(exported, A, "MyStyle. A yard with a gate.")  # other words have not been seen
    assert states(exported) == {"draft": 3, "seen once": 4, "edited": 1}
    change_config(exported.folder / "sakuga.toml", "caption.template", "{trigger}. {film}")
    exported.settings = read_config(exported.folder / "sakuga.toml")
    api.caption(exported)
    assert states(exported) == {"draft": 7, "edited": 1}


def _names(project: Project) -> list[str]:
    return [row["name"] for row in project.rows("SELECT name FROM item ORDER BY name")]


def test_progress_is_of_the_pass_under_way(exported: Project) -> None:
    assert far(exported) == "0 of 8, first pass"
    api.review_seen(exported, ["clips/*"])
    assert far(exported) == "4 of 8, first pass"
    api.review_seen(exported, ["stills/*"])
    assert far(exported) == "0 of 8, second pass"
    api.review_seen(exported, ["*"])
    assert far(exported) == "all 8 seen twice"
    assert api.review_next(exported, 100) == []


def test_the_least_seen_come_first_and_of_those_the_worst(exported: Project) -> None:
    for item, text in zip(_names(exported), FINE, strict=True):
        write(exported, item, f"MyStyle. {text}")
    write(exported, STILL, "I'm sorry, I can't describe the image.")
    write(exported, B, "MyStyle. An anime girl waits at a gate.")
    first, second, third = api.review_next(exported, 3)
    assert (first["item"], first["faults"]) == (STILL, ["refusal"])
    assert (second["item"], "style-word" in second["faults"], second["state"]) == (B, True, "edited")
    api.review_seen(exported, [STILL, B])
    assert third["item"] == api.review_next(exported, 1)[0]["item"]
    assert [one["item"] for one in api.review_next(exported, 100)][-2:] == [STILL, B]


def test_a_batch_is_what_was_shown(exported: Project) -> None:
    with pytest.raises(SakugaError, match="no batch was shown yet"):
        api.review_seen(exported)
    shown = [one["item"] for one in api.review_next(exported, 4)]
    write(exported, shown[1], "MyStyle. A yard.")
    seen, changed = api.review_seen(exported)
    assert (sorted(seen), changed) == (sorted({*shown} - {shown[1]}), [shown[1]])
    with pytest.raises(SakugaError, match="this batch was marked as seen already"):
        api.review_seen(exported)
    assert states(exported)["seen once"] == 3


def test_marks_are_taken_back_call_by_call(exported: Project) -> None:
    with pytest.raises(SakugaError, match="there is nothing to take back"):
        api.review_undo(exported)
    api.review_seen(exported, [A])
    api.review_seen(exported, [A, B])
    assert api.review_undo(exported) == [A, B]
    assert states(exported)["seen once"] == 1
    assert api.review_undo(exported) == [A]
    assert states(exported) == {"draft": 8}
    assert len(exported.rows("SELECT id FROM review WHERE undone IS NOT NULL")) == 3  # nothing is taken out


def test_what_has_no_caption_cannot_be_seen(exported: Project) -> None:
    exported.db.execute("DELETE FROM caption WHERE item = ?", (A,))
    exported.path(f"dataset/{A}.txt").unlink()
    with pytest.raises(SakugaError, match="has no caption that could be reviewed"):
        api.review_seen(exported, [A])
    assert sum(states(exported).values()) == 7


def test_words_are_set_and_put_back(exported: Project) -> None:
    draft = words(exported, A).strip()
    api.caption_set(exported, A, " MyStyle. One. ")
    api.caption_set(exported, A, "MyStyle. Two.")
    assert words(exported, A) == "MyStyle. Two.\n"
    assert captions.current(exported)[A] == captions.Caption("MyStyle. Two.", captions.PERSON)
    assert api.caption_undo(exported, A) == "MyStyle. One."
    assert words(exported, A) == "MyStyle. One.\n"
    assert api.caption_undo(exported, A) == draft
    with pytest.raises(SakugaError, match="has had no other words"):
        api.caption_undo(exported, A)
    api.caption_set(exported, A, "MyStyle. Three.")
    assert api.caption_undo(exported, A) == draft
    told = [(row["text"], row["by"], row["source"]) for row in api.caption_history(exported, A)]
    assert told[0] == (draft, "template", A)
    assert [text for text, _, _ in told[1:]] == \
        ["MyStyle. One.", "MyStyle. Two.", "MyStyle. One.", draft, "MyStyle. Three.", draft]  # fmt: skip
    assert [source for _, _, source in told[1:]] == ["set", "set", "undo", "undo", "set", "undo"]
    api.caption(exported, template="{trigger}. again")
    assert words(exported, A).strip() == draft  # what a person chose stays


def test_words_from_an_editor_are_in_the_history(exported: Project) -> None:
    write(exported, A, "MyStyle. From an editor.")
    assert api.caption_history(exported, A)[-1]["text"] == "MyStyle. From an editor."
    api.caption_undo(exported, A)
    assert words(exported, A).strip() == api.caption_history(exported, A)[0]["text"]


def test_words_that_cannot_be_put_there(exported: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(SakugaError, match="a caption needs words; to have it written anew"):
        api.caption_set(exported, A, " ")
    with pytest.raises(SakugaError, match="no item is named 'clips/nothing'"):
        api.caption_set(exported, "clips/nothing", "words")
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "a.mp4").write_bytes(exported.path(f"dataset/{A}.mp4").read_bytes())
    (folder / "a.txt").write_text("MyStyle. A gate.", "utf-8")
    api.adopt(exported, [folder])
    (item,) = [row["name"] for row in exported.rows("SELECT name FROM item WHERE folder IS NOT NULL")]
    with pytest.raises(SakugaError, match="stand in a folder of yours, which is only read; edit them there"):
        api.caption_set(exported, item, "MyStyle. A lamp.")
    assert (folder / "a.txt").read_text("utf-8") == "MyStyle. A gate."
