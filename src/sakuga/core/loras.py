"""Which LoRA files a person means: a file, a run of the project, or the pair that two experts have.

A choice is written FILE, FILE:STRENGTH or FILE:STRENGTH:EXPERT (also FILE:EXPERT), and FILE may be the name of a run.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import runs
from .errors import SakugaError, nearest
from .pairs import pair_of
from .project import Project

NONE = "none"
_STRENGTH = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")
_WITH_CHECKPOINT = """
SELECT run.name FROM checkpoint JOIN run_expert ON run_expert.id = run_expert JOIN run ON run.id = run
ORDER BY run.id DESC LIMIT 1
"""


@dataclass(frozen=True)
class Choice:
    """What a person asked for; None is the setting's strength, and every expert that the file is for."""

    name: str
    strength: float | None = None
    expert: str | None = None


@dataclass(frozen=True)
class Worn:
    """A LoRA file that an expert wears."""

    path: Path
    strength: float


def parse_choice(text: str, experts: Sequence[str]) -> Choice:
    """Reads FILE:STRENGTH:EXPERT. A file that is there under the whole text is meant as it stands.

    Raises SakugaError for a strength that is no number and an expert that the model has not.
    """
    name, said = text, list[str]()
    while not Path(name).is_file() and ":" in name and len(said) < 2:
        head, _, tail = name.rpartition(":")
        if len(head) == 1 and tail[:1] in ("\\", "/"):  # a drive of Windows
            break
        name, said = head, [tail, *said]
    strength, expert = None, None
    for word in said:
        if _STRENGTH.fullmatch(word) and strength is None and math.isfinite(float(word)):
            strength = float(word)
        elif word in experts and expert is None:
            expert = word
        else:
            raise SakugaError(
                f"'{word}' in '{text}' is neither a strength nor an expert of this model ({', '.join(experts)})"
                f"{nearest(word, list(experts))}; write FILE:0.8 or FILE:0.8:{experts[0]}"
            )
    return Choice(name, strength, expert)


def find_loras(project: Project, wanted: Sequence[str] | str | None, strength: float = 1.0) -> dict[str, list[Worn]]:
    """The LoRA files that each expert wears, in the order they were asked for; experts without one are left out.

    None is the newest of the last run. A file of a pair brings the other; any other file serves every expert.
    """
    names = [expert.name for expert in project.member.experts]
    worn: dict[str, list[Worn]] = {}
    if wanted is None:
        trained = project.rows(_WITH_CHECKPOINT)
        files = _of_run(project, trained[0]["name"]) if trained else {}
        return {expert: [Worn(path, strength)] for expert, path in files.items()}
    for text in (wanted,) if isinstance(wanted, str) else wanted:
        if text == NONE:
            continue
        choice = parse_choice(text, names)
        files = _files(project, choice, names)
        for expert in files.keys() & {choice.expert or expert for expert in names}:
            worn.setdefault(expert, []).append(
                Worn(files[expert], strength if choice.strength is None else choice.strength)
            )
    return {name: worn[name] for name in names if name in worn}


def _files(project: Project, choice: Choice, names: list[str]) -> dict[str, Path]:
    path = Path(choice.name)
    if path.is_file():
        return dict.fromkeys(names, path) if choice.expert or len(names) == 1 else of_experts(path, names)
    if any(row["name"] == choice.name for row in project.rows("SELECT name FROM run")):
        return _of_run(project, choice.name)
    raise SakugaError(
        f"'{choice.name}' is neither a LoRA file nor a run of this project; give the path of a .safetensors file"
    )


def _of_run(project: Project, name: str) -> dict[str, Path]:
    return {checkpoint.expert: checkpoint.path for checkpoint in runs.checkpoints(project, name)}


def of_experts(path: Path, names: Sequence[str]) -> dict[str, Path]:
    """The file of each expert when this one is asked for: the pair, as far as it is there, or this one for all."""
    return pair_of(path) or dict.fromkeys(names, path)
