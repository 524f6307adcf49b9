"""What long work tells while it runs: names a person knows, and a sign of life where a step takes long."""

from sakuga import api
from sakuga.core import captions
from sakuga.core.project import Project


class Notes:
    """Keeps what a watcher was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, what: str, total: int | None, unit: str = "items", done: int = 0) -> None: ...

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.notes.append(note)

    def say(self, message: str) -> None: ...


def test_an_encoding_is_told_by_its_item_or_its_words(cached: Project) -> None:
    for file in (cached.folder / "cache").rglob("*.safetensors"):
        file.unlink()
    watched = Notes()
    api.cache(cached, progress=watched)
    items = {row["name"] for row in cached.rows("SELECT name FROM item")}
    words = {f"caption '{caption.text[:20]}" for caption in captions.current(cached).values()}
    assert {note for note in watched.notes if not note.startswith("caption")} == items | {"the negative prompt"}
    assert {note[: max(map(len, words))] for note in watched.notes if note.startswith("caption")} == words


def test_validation_and_previews_tell_how_far_they_are(cached: Project) -> None:
    watched = Notes()
    api.train(cached, name="r", steps=1, validate_every=1, preview_every=1, progress=watched)
    levels = [note for note in watched.notes if note.startswith("validating")]
    assert levels[0] == "validating, 0 of 8 noise levels" and levels[7] == "validating, 7 of 8 noise levels"
