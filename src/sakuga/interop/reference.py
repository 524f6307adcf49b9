"""The page about other trainers' files, made from the keys themselves so that it cannot be out of date."""

from collections.abc import Mapping

from . import diffusion_pipe_keys as pipe
from . import musubi_keys as musubi
from .musubi_keys import Key

_NOTE = "Written by `python scripts/reference.py`; change the code, not this page."
_HEAD = """
    sakuga import musubi dataset.toml train.cmd --map H:/datasets=/mnt/h
    sakuga import musubi dataset.toml -- --task t2v-14B --network_dim 32 ...
    sakuga import diffusion-pipe config.toml [dataset.toml]
    sakuga export-config musubi | diffusion-pipe | ai-toolkit [--out FOLDER]

| | read | written |
|---|---|---|
| musubi-tuner | dataset file (TOML, JSON), commands or arguments, TOML of arguments | dataset.toml, train.sh, train.bat |
| diffusion-pipe | main configuration and its dataset file, or a part of one | dataset.toml, a config.toml for each expert |
| ai-toolkit | not read | job.yaml |

An import makes a project (`--into` says where, or which one to fill), adopts the folders that are on this machine,
each once, and writes sections and settings with every value that holds there, also where the file leaves it out.
Paths of another machine are found with `--map`; without it the sections are written all the same and the report names
the folder to adopt. Files of commands may be those of any shell: `^`, `\\` and backtick at the end of a line, Windows
paths, quotes, comments, variables that are set in them.

What became of every key is shown, written to `import-report.txt` in the project, and printed by `--json`:

- **exact**: it means the same here, or changes no result.
- **differs**: it came over, and the report says what will not be the same.
- **refused**: it did not come over, and the report says why.
- **ignored there**: the other trainer passes over it, whatever it says.

A key that the other trainer does not know either stops the import and names the nearest. Keys of accounts are neither
kept nor shown. Caches and trainings of other trainers are not read. Sizes are written out as theirs (`sizes`), with
their rule of choice (`nearest`).

An export links the files of the dataset (it copies none where the disk knows links), writes their captions beside
them, and says what the other trainer cannot express.
"""


def page() -> str:
    """docs/interop.md."""
    parts = ["# Other trainers' files", "", _NOTE, _HEAD]
    tables: dict[str, Mapping[str, Key]] = {
        "musubi-tuner: `[general]` and `[[datasets]]`": musubi.DATASET_COMMON,
        "musubi-tuner: `[[datasets]]` alone": musubi.DATASET_OWN,
        "musubi-tuner: arguments of the training": musubi.TRAIN,
        "musubi-tuner: arguments of the two cache commands": musubi.CACHE,
        "diffusion-pipe: main configuration": pipe.TOP,
        **{f"diffusion-pipe: `[{name}]`": known for name, known in pipe.TABLES.items()},
        "diffusion-pipe: dataset file": pipe.DATASET,
        "diffusion-pipe: `[[directory]]` alone": pipe.DIRECTORY,
    }
    for title, known in tables.items():
        parts += [f"## {title}", "", "| key | what becomes of it |", "|---|---|", *_rows(known), ""]
    return "\n".join(parts).rstrip() + "\n"


def _rows(known: Mapping[str, Key]) -> list[str]:
    """A row for each fate; keys that share one share the row."""
    fates: dict[str, list[str]] = {}
    for name, key in known.items():
        fate = f"{key.kind}: {key.about}" if key.kind else key.about
        fates.setdefault(fate, []).append(f"`{name}`")
    return [f"| {', '.join(names)} | {fate} |" for fate, names in fates.items()]
