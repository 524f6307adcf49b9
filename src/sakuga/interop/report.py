"""What became of every key of another trainer's file: taken exactly, with a stated difference, refused, or ignored there."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Kind = Literal["exact", "differs", "refused", "ignored there"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SECRET = "(not copied)"  # stands for keys of accounts, which are neither kept nor shown


@dataclass(frozen=True)
class Translation:
    """One key: its value there, what became of it here, and why it differs or is refused."""

    key: str
    value: Any
    became: str
    note: str
    kind: Kind


@dataclass
class Report:
    """All translations of one import or export, in the order of the file."""

    entries: list[Translation] = field(default_factory=list)

    def __iter__(self) -> Iterator[Translation]:
        return iter(self.entries)

    def add(self, kind: Kind, key: str, value: Any, became: str = "", note: str = "") -> None:
        self.entries.append(Translation(key, value, became, note, kind))

    def of(self, key: str) -> list[Translation]:
        """The entries of one key, `train: learning_rate` for instance."""
        return [entry for entry in self.entries if entry.key == key]

    def tells(self, where: str, name: str) -> bool:
        """Whether an entry below `where` ("train: ", "model.") is of this key."""
        return any(e.key.startswith(where) and name in re.findall(r"\w+", e.key[len(where) :]) for e in self.entries)

    def as_rows(self) -> list[dict[str, Any]]:
        return [asdict(entry) for entry in self.entries]

    def summary(self) -> str:
        """`31 exact, 4 differ, 2 refused, 1 ignored there`."""
        count = Counter(entry.kind for entry in self.entries)
        words = {"differs": "differ"}
        return ", ".join(f"{count[kind]} {words.get(kind, kind)}" for kind in KINDS if count[kind])

    def as_text(self, title: str) -> str:
        """The report as a person reads it: what is refused first, what came over exactly last."""
        lines = [title, self.summary(), ""]
        for kind in ("refused", "ignored there", "differs", "exact"):
            chosen = [entry for entry in self.entries if entry.kind == kind]
            lines += [f"{kind}:"] if chosen else []
            for entry in chosen:
                became = f" -> {entry.became}" if entry.became else ""
                note = f"\n      {entry.note}" if entry.note else ""
                lines.append(f"  {entry.key} = {plain(entry.value)}{became}{note}")
            lines += [""] if chosen else []
        return "\n".join(lines)


def plain(value: Any) -> str:
    """A value as TOML and JSON have it."""
    return json.dumps(value, ensure_ascii=False, default=str)
