"""lora: files of LoRA made of other files. No project is needed, and nothing is recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..core.errors import SakugaError
from ..core.pairs import pair_of, without_expert
from ..nn.device import DTYPES
from ..nn.lora_convert import Made, combine, convert
from ..nn.lora_file import hashes, load_lora, write_state
from ..nn.lora_names import FORMS

ALL = ""  # the one file where there is no pair


@dataclass(frozen=True)
class Written:
    """A LoRA file that was made of others."""

    path: Path
    layers: int
    lost: dict[str, float]  # layer -> share of its norm, where any is lost
    dropped: list[str]
    autov2: str


def convert_files(
    file: Path, form: str, out: Path | None = None, *, rank: int | None = None, plain: bool = False,
    precision: str | None = None, alone: bool = False,
) -> list[Written]:  # fmt: skip
    """Write a file, or both of its pair, in another form; beside it with the form's name where no `out` is given."""
    _check(form, rank, precision)
    given = _by_expert([file], alone)
    made = {e: convert(load_lora(paths[0]), form, rank, plain, _dtype(precision)) for e, paths in given.items()}
    targets = {e: _target(out, e) if out else paths[0].with_name(_named(paths[0], form)) for e, paths in given.items()}
    return _write_all(made, targets, given)


def merge_files(
    files: Sequence[Path], out: Path, *, weights: Sequence[float] | None = None, rank: int | None = None,
    form: str = "comfy", precision: str | None = None, alone: bool = False,
) -> list[Written]:  # fmt: skip
    """Write the weighted sum of files; where one is of a pair, both sums. A file of no pair goes into both."""
    _check(form, rank, precision)
    if not files:
        raise SakugaError("there is nothing to merge; name two LoRA files or more")
    weights = weights or [1.0] * len(files)
    if len(weights) != len(files):
        raise SakugaError(f"there are {len(weights)} weights for {len(files)} files; give one for each, in their order")
    made, given = {}, _by_expert(files, alone)
    for expert, paths in given.items():
        loaded = [(load_lora(path), weight) for path, weight in zip(paths, weights, strict=True)]
        made[expert] = combine(loaded, rank, _dtype(precision), form)
    return _write_all(made, {expert: _target(out, expert) for expert in made}, given)


def _by_expert(files: Sequence[Path], alone: bool) -> dict[str, list[Path]]:
    """The files of each expert: two lists where any of them has a pair."""
    pairs = [{} if alone else pair_of(file) for file in files]
    if not any(len(pair) == 2 for pair in pairs):
        return {ALL: list(files)}
    return {e: [pair.get(e, file) for pair, file in zip(pairs, files, strict=True)] for e in ("high", "low")}


def _target(out: Path, expert: str) -> Path:
    return out.with_name(f"{without_expert(out)[0]}-{expert}{out.suffix}") if expert else out


def _named(file: Path, form: str) -> str:
    """The file's name with the form in it, before what tells its expert."""
    stem, ending = without_expert(file)
    return f"{stem}-{form}{ending}.safetensors"


def _check(form: str, rank: int | None, precision: str | None) -> None:
    for what, said, known in (("form", form, FORMS), ("precision", precision or "fp32", DTYPES)):
        if said not in known:
            raise SakugaError(f"'{said}' is no {what} of LoRA files that Sakuga writes; choose of {', '.join(known)}")
    if rank is not None and rank < 1:
        raise SakugaError(f"--rank is 1 or more, not {rank}")


def _dtype(precision: str | None) -> torch.dtype | None:
    return None if precision is None else DTYPES[precision]


def _write_all(made: dict[str, Made], targets: dict[str, Path], read: dict[str, list[Path]]) -> list[Written]:
    sources = {path.resolve() for paths in read.values() for path in paths}
    for target in targets.values():
        if target.suffix != ".safetensors":
            raise SakugaError(f"{target} must end in .safetensors, or no program takes it for a LoRA")
        if target.resolve() in sources:
            raise SakugaError(f"{target} is a file that is read; give --out another name")
    written = []
    for expert, one in made.items():
        path = targets[expert]
        write_state(path, one.state, one.metadata)
        written.append(Written(path, one.layers, one.lost, one.dropped, hashes(path).autov2))
    return written
