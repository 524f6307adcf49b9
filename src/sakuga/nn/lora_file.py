"""LoRA files: the form written is the one that ComfyUI and diffusers both read; every form known to be about is read.

Files come from strangers. What could not be used is named; what cannot be numbers of a LoRA is refused.

Shapes: A [rank, in], B [out, rank].
"""

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ..core.adapters import MAGNITUDE
from ..core.errors import SakugaError
from ..core.files import move_into_place
from .lora_changes import Change, Dora, Full, LoraTensors, Misfit, from_parts, make_one, scaled, with_magnitude
from .lora_names import FORMS, diffusers_name, form_of, parse
from .weights import BROKEN, READABLE, brief, read_bytes

FLOATS = (*READABLE, torch.float8_e4m3fn, torch.float8_e5m2)
ALPHAS = (*FLOATS, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
HEADER_LIMIT = 2**20  # bytes; viewers ignore the metadata of a file with a longer header
EXACT = ("alpha", MAGNITUDE)  # parts that keep their type
SHIFTED = {
    "weight": "diff",
    "bias": "diff_b",
    "modulation": "diff_m",
}  # parameter -> the part of a file that is added to it
NONE: Mapping[str, Tensor] = {}


# Out


def lora_state_dict(
    layers: Mapping[str, Change | Dora],
    dtype: torch.dtype | None = torch.bfloat16,
    form: str = "comfy",
    shifts: Mapping[str, Tensor] = NONE,
) -> dict[str, Tensor]:
    """The keys of a form of `lora_names.FORMS`, by default those that ComfyUI and diffusers both read.

    alpha stays as it is, in fp32, and so do the lengths of DoRA: what it learns is how far they are from those of the
    weight, which bf16 would round away. `dtype` None leaves the other tensors as they are, too.
    """
    names = FORMS[form]
    state: dict[str, Tensor] = {}
    for name, change in layers.items():
        parts = change.parts() if not names.plain else folded(change)
        for part, tensor in parts.items():
            kept = tensor.to("cpu") if part in EXACT else tensor.to("cpu", dtype)
            state[names.key(name, part)] = kept.contiguous()
    for parameter, tensor in shifts.items():
        name, _, kind = parameter.rpartition(".")
        state[names.key(name, SHIFTED[kind])] = tensor.to("cpu", dtype).contiguous()
    return state


def folded(change: Change | Dora) -> dict[str, Tensor]:
    """A and B of a plain LoRA with its scale in B, in fp32 where the type of B cannot hold that exactly."""
    assert isinstance(change, LoraTensors)
    scaled = change.B.float() * change.scale
    held = scaled.to(change.B.dtype)
    return {"A": change.A, "B": held if torch.equal(held.float(), scaled) else scaled}


def save_lora(
    path: Path | str,
    tensors: Mapping[str, Change | Dora],
    metadata: Mapping[str, str],
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Writes a LoRA in the form that ComfyUI and diffusers both read, as `write_state` does."""
    write_state(path, lora_state_dict(tensors, dtype), metadata)


def write_state(
    path: Path | str, state: Mapping[str, Tensor], metadata: Mapping[str, str], limit: int | None = HEADER_LIMIT
) -> None:
    """Writes a safetensors file, whole or not at all. The same tensors and metadata give the same bytes.

    safetensors' own writer puts the metadata in a random order, so the header is written here. Raises SakugaError when
    it would be longer than `limit`, which is what viewers read.
    """
    path = Path(path)
    order = sorted(state, key=lambda key: (-state[key].element_size(), key))  # wide types first: every tensor aligned
    header = _header({key: state[key] for key in order}, metadata, path.name, limit)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.tmp")
    try:
        with part.open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            for key in order:
                file.write(tensor_bytes(state[key]))
        move_into_place(part, path)
    except BaseException:
        part.unlink(missing_ok=True)  # on a full disk it would stand in its own way
        raise


_TYPE_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.bool: "BOOL", torch.uint8: "U8",
    torch.int8: "I8", torch.int16: "I16", torch.int32: "I32", torch.int64: "I64",
}  # fmt: skip


def _header(state: Mapping[str, Tensor], metadata: Mapping[str, str], name: str, limit: int | None) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    for key, tensor in state.items():
        end = begin + tensor.nbytes
        entries[key] = {"dtype": _TYPE_NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(entries, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if limit is not None and len(text) > limit:
        longest = max(metadata, key=lambda key: len(metadata[key]), default="")
        raise SakugaError(
            f"the metadata of {name} makes a header of {len(text):,} bytes where viewers read {limit:,}; "
            f"shorten '{longest}'"
        )
    return text


def tensor_bytes(tensor: Tensor) -> memoryview:
    """What a tensor of the CPU is in memory, as files hold it."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data


@dataclass(frozen=True)
class Hashes:
    """The names that a LoRA file goes by."""

    autov2: str  # of the whole file
    autov3: str  # of what follows the header: the same after a change of metadata
    sshs_model_hash: str  # the whole of autov3


def hashes(path: Path | str) -> Hashes:
    """The hashes by which Civitai and viewers know a LoRA file."""
    whole, data = hashlib.sha256(), hashlib.sha256()
    with Path(path).open("rb") as file:
        length = file.read(8)
        header = file.read(struct.unpack("<Q", length)[0])
        whole.update(length + header)
        while chunk := file.read(2**20):
            whole.update(chunk)
            data.update(chunk)
    return Hashes(whole.hexdigest()[:10], data.hexdigest()[:12], data.hexdigest())


# In


@dataclass(frozen=True)
class LoraFile:
    """A LoRA as read from a file: layers by their original names, and the keys that no layer could be made of."""

    path: Path
    tensors: dict[str, LoraTensors]  # plain LoRA
    metadata: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    others: dict[str, Change | Dora] = field(default_factory=dict)  # of other kinds
    shifts: dict[str, Tensor] = field(default_factory=dict)  # of biases, norms and modulations, by parameter
    form: str = ""

    @property
    def layers(self) -> dict[str, Change | Dora]:
        """Plain and others, by the name of the layer."""
        return {**self.tensors, **self.others}


def load_lora(path: Path | str, expert: str | None = None) -> LoraFile:
    """Reads a LoRA of any of the known forms (`lora_names`) and kinds (`lora_changes`).

    A layer without alpha has alpha = rank, unless the file's own configuration says otherwise. All keys that no layer can
    be made of are listed in `unused`. `expert` "high" or "low" takes that one's part of a file that holds both.
    """
    path = Path(path)
    state, metadata = _read(path)
    if not state:
        raise SakugaError(f"{path} holds no tensors; it is no LoRA, or its download failed")
    alphas = _configured(path, metadata)
    form = form_of(sorted(state))
    found, unused = _sorted_out(state, expert)
    tensors: dict[str, LoraTensors] = {}
    others: dict[str, Change | Dora] = {}
    shifts: dict[str, Tensor] = {}
    for name, keys in found.items():
        parts = {part: state[key] for part, key in keys.items()}
        change = _change(name, parts, alphas, path)
        if isinstance(change, LoraTensors):
            tensors[name] = change
        elif change is not None:
            others[name] = change
        moved = _shifts(name, parts, change, path)
        shifts |= dict(moved.values())
        used = {*moved} | ({*parts} - _SHIFTING.keys() if change else set()) | ({"diff"} if _is_full(change) else set())
        unused += [key for part, key in keys.items() if part not in used]
    return LoraFile(path, tensors, metadata, sorted(map(brief, unused)), others, shifts, form)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise SakugaError(f"{path} is not there; check the path of the LoRA") from None
    except BROKEN as error:
        why = brief(str(error))
        raise SakugaError(f"{path} is not a whole safetensors file ({why}); copy or download it again") from None


def _sorted_out(state: Mapping[str, Tensor], expert: str | None) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Layer -> part -> key, and the keys that are of no part or of one that is there already."""
    parsed = {key: parse(key) for key in sorted(state)}
    both = any(key.second for key in parsed.values()) and not all(key.second for key in parsed.values() if key.part)
    found: dict[str, dict[str, str]] = {}
    unused = []
    for key, (name, part, second) in parsed.items():
        if both and expert and second != (expert == "low"):
            continue  # the other expert takes it
        if part is None or part in found.setdefault(name, {}):
            unused.append(key)
        else:
            found[name][part] = key
    return found, unused


def _change(name: str, parts: Mapping[str, Tensor], alphas: "_Alphas", path: Path) -> Change | Dora | None:
    """The change that these parts of a layer make, or None when they make none."""
    core = {part: tensor for part, tensor in parts.items() if part not in (*_BESIDE, *_SHIFTING)}
    if not core and "diff" in parts:
        core = {"diff": parts["diff"]}
    if not make_one(core):
        return None
    numbers = [*core.values(), *(parts[part] for part in ("magnitude",) if part in parts)]
    if not all(_are_numbers(tensor, FLOATS) for tensor in numbers):
        raise _no_numbers(name, path)
    alpha = alphas(name, core)
    if "alpha" in parts and scaled(core):  # the alpha of others says nothing, and LyCORIS writes what it likes there
        if parts["alpha"].numel() != 1 or not _are_numbers(parts["alpha"], ALPHAS):
            raise _no_numbers(name, path)
        alpha = float(parts["alpha"])
    try:
        change = from_parts(core, alpha)
        return with_magnitude(change, parts["magnitude"]) if "magnitude" in parts else change
    except Misfit as error:
        raise SakugaError(f"{path}: the halves of {brief(name)} {error}; the file is damaged, take another") from None


def _is_full(change: Change | Dora | None) -> bool:
    return isinstance(change, Full) or (isinstance(change, Dora) and isinstance(change.change, Full))


def _no_numbers(name: str, path: Path) -> SakugaError:
    return SakugaError(
        f"{path}: {brief(name)} is not made of numbers that a LoRA can have; the file is damaged or quantised, take another"
    )


_BESIDE = ("alpha", "magnitude")
_SHIFTING = {"diff": "weight", "diff_b": "bias", "B_bias": "bias", "diff_m": "modulation"}


def _shifts(
    name: str, parts: Mapping[str, Tensor], change: Change | Dora | None, path: Path
) -> dict[str, tuple[str, Tensor]]:
    """Part -> the parameter that it is added to, and what is added."""
    made: dict[str, tuple[str, Tensor]] = {}
    for part in parts.keys() & _SHIFTING.keys():
        tensor = parts[part]
        if part == "diff" and _is_full(change):
            continue
        if not _are_numbers(tensor, FLOATS):
            raise _no_numbers(name, path)
        if part == "B_bias":
            if not isinstance(change, LoraTensors):
                continue
            tensor = tensor * change.scale
        whole = part == "diff" and name.endswith((".bias", ".modulation"))  # ComfyUI names such parameters themselves
        parameter = name if whole else f"{name}.{_SHIFTING[part]}"
        if parameter not in (there for there, _ in made.values()):
            made[part] = parameter, tensor
    return made


class _Alphas:
    """The alpha of layers that have none in the file, from the configuration that peft and diffusers write: {} is rank."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def __call__(self, name: str, parts: Mapping[str, Tensor]) -> float | None:
        if "A" not in parts or not self.config:
            return None
        alpha = self._of(name, "alpha_pattern", self.config.get("lora_alpha"))
        rank = parts["A"].shape[0]
        if not isinstance(alpha, int | float) or not math.isfinite(alpha):
            return None
        return float(alpha) * math.sqrt(rank) if self.config.get("use_rslora") is True else float(alpha)

    def _of(self, name: str, patterns: str, otherwise: Any) -> Any:
        """What the first pattern says whose name is the end of the layer's, in the original's or in diffusers' names."""
        given = self.config.get(patterns)
        for ending, value in given.items() if isinstance(given, dict) else ():
            if f".{name}".endswith(f".{ending}") or f".{diffusers_name(name)}".endswith(f".{ending}"):
                return value
        return otherwise


def _configured(path: Path, metadata: Mapping[str, str]) -> _Alphas:
    """peft writes adapter_config.json beside adapter_model.safetensors, diffusers the same into the metadata."""
    beside = path.with_name("adapter_config.json")
    text = metadata.get("lora_adapter_metadata", "")
    if not text and path.name == "adapter_model.safetensors" and beside.is_file():
        text = read_bytes(beside).decode("utf-8", "replace")
    try:
        read = json.loads(text or "{}")
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise SakugaError(
            f"the configuration of {path} is no JSON object, and without it nobody knows its alpha; mend it"
        )
    return _Alphas({key.removeprefix("transformer."): value for key, value in read.items()})


def _are_numbers(tensor: Tensor, kinds: tuple[torch.dtype, ...]) -> bool:
    return tensor.numel() > 0 and tensor.dtype in kinds and bool(tensor.float().isfinite().all())
