"""LoRA files: the form written is the one that ComfyUI and diffusers both read; every form known to be about is read.

Files come from strangers. What could not be used is named; what cannot be numbers of a LoRA is refused.

Shapes: A [rank, in], B [out, rank].
"""

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from ..core.errors import SakugaError
from ..core.files import move_into_place
from .weights import BROKEN, READABLE, brief

_SELF = tuple(f"self_attn.{p}" for p in "qkvo")
_CROSS = tuple(f"cross_attn.{p}" for p in ("q", "k", "v", "o", "k_img", "v_img"))
TARGETS = (*_SELF, *_CROSS, "ffn.0", "ffn.2")  # of every block, where the block has them
FLOATS = (*READABLE, torch.float8_e4m3fn, torch.float8_e5m2)
ALPHAS = (*FLOATS, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
HEADER_LIMIT = 2**20  # bytes; viewers ignore the metadata of a file with a longer header


class LoraTensors(NamedTuple):
    """The adapter of one layer: its effect is x -> alpha / rank * B A x."""

    A: Tensor
    B: Tensor
    alpha: float


# Out


def lora_state_dict(tensors: Mapping[str, LoraTensors], dtype: torch.dtype = torch.bfloat16) -> dict[str, Tensor]:
    """The keys that ComfyUI and diffusers both read; alpha stays fp32."""
    state: dict[str, Tensor] = {}
    for name, (A, B, alpha) in tensors.items():
        state[f"diffusion_model.{name}.lora_A.weight"] = A.to("cpu", dtype).contiguous()
        state[f"diffusion_model.{name}.lora_B.weight"] = B.to("cpu", dtype).contiguous()
        state[f"diffusion_model.{name}.alpha"] = torch.tensor(float(alpha))
    return state


def save_lora(
    path: Path | str,
    tensors: Mapping[str, LoraTensors],
    metadata: Mapping[str, str],
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Writes a safetensors file, whole or not at all. The same LoRA and metadata give the same bytes.

    safetensors' own writer puts the metadata in a random order, so the header is written here. Raises SakugaError when
    it would be longer than viewers read.
    """
    path = Path(path)
    state = lora_state_dict(tensors, dtype)
    order = sorted(state, key=lambda key: (-state[key].element_size(), key))  # wide types first: every tensor aligned
    header = _header({key: state[key] for key in order}, metadata, path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.tmp")
    with part.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for key in order:
            file.write(_bytes(state[key]))
    move_into_place(part, path)


_TYPE_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


def _header(state: Mapping[str, Tensor], metadata: Mapping[str, str], name: str) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    for key, tensor in state.items():
        end = begin + tensor.nbytes
        entries[key] = {"dtype": _TYPE_NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(entries, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_LIMIT:
        longest = max(metadata, key=lambda key: len(metadata[key]), default="")
        raise SakugaError(
            f"the metadata of {name} makes a header of {len(text):,} bytes where viewers read {HEADER_LIMIT:,}; "
            f"shorten '{longest}'"
        )
    return text


def _bytes(tensor: Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


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
    tensors: dict[str, LoraTensors]
    metadata: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)


_PREFIXES = (
    "base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.", "transformer_2.", "lora_unet_",
)  # fmt: skip
_ENDINGS = {
    ".lora_A.weight": "A", ".lora_A.default.weight": "A", ".lora_down.weight": "A", ".lora.down.weight": "A",
    ".lora_B.weight": "B", ".lora_B.default.weight": "B", ".lora_up.weight": "B", ".lora.up.weight": "B",
    ".alpha": "alpha",
}  # fmt: skip
_OUTER = (
    "time_embedding.0", "time_embedding.2", "time_projection.1", "text_embedding.0", "text_embedding.2", "head.head",
    "img_emb.proj.1", "img_emb.proj.3",
)  # fmt: skip
_KOHYA = {name.replace(".", "_"): name for name in (*TARGETS, *_OUTER)}
_DIFFUSERS = {
    "attn1.to_q": "self_attn.q",
    "attn1.to_k": "self_attn.k",
    "attn1.to_v": "self_attn.v",
    "attn1.to_out.0": "self_attn.o",
    "attn2.to_q": "cross_attn.q",
    "attn2.to_k": "cross_attn.k",
    "attn2.to_v": "cross_attn.v",
    "attn2.to_out.0": "cross_attn.o",
    "attn2.add_k_proj": "cross_attn.k_img",
    "attn2.add_v_proj": "cross_attn.v_img",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
    "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
    "proj_out": "head.head",
}
_DORA = re.compile(r"(.+)\.(?:dora_scale|lora_magnitude_vector.*)")
_IN_BLOCK = re.compile(r"blocks[._](\d+)[._](.+)")


def load_lora(path: Path | str) -> LoraFile:
    """Reads a LoRA of any of the known forms (ours, kohya/musubi, bare or prefixed original names, diffusers' names).

    A layer without alpha has alpha = rank. A layer is used only when the file has both halves of it and nothing that
    changes their meaning (DoRA); all other keys are listed in `unused`.
    """
    path = Path(path)
    state, metadata = _read(path)
    found: dict[str, dict[str, str]] = {}  # layer -> part -> key
    unused = []
    for key in sorted(state):
        name, part = _parse(key)
        if part is None or part in found.setdefault(name, {}):
            unused.append(key)
        else:
            found[name][part] = key
    spoiled = {_layer(match[1]) for key in unused if (match := _DORA.fullmatch(key))}
    tensors = {}
    for name, keys in found.items():
        made = None if name in spoiled else _adapter(name, {part: state[key] for part, key in keys.items()}, path)
        if made is None:
            unused.extend(keys.values())
        else:
            tensors[name] = made
    return LoraFile(path, tensors, metadata, sorted(map(brief, unused)))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise SakugaError(f"{path} is not there; check the path of the LoRA") from None
    except BROKEN as error:
        why = brief(str(error))
        raise SakugaError(f"{path} is not a whole safetensors file ({why}); copy or download it again") from None


def _parse(key: str) -> tuple[str, str | None]:
    """(original layer name, "A", "B" or "alpha"); the part is None when the key's ending is not known."""
    for ending, part in _ENDINGS.items():
        if key.endswith(ending):
            return _layer(key.removesuffix(ending)), part
    return key, None


def _layer(name: str) -> str:
    """The original name of a layer, from its name in any of the forms."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    block, rest = "", name
    if match := _IN_BLOCK.fullmatch(name):
        block, rest = f"blocks.{match[1]}.", match[2]
    return block + (_DIFFUSERS.get(rest) or _KOHYA.get(rest) or rest)


def _adapter(name: str, parts: dict[str, Tensor], path: Path) -> LoraTensors | None:
    """The adapter that these parts make, or None when a half is missing or is not a matrix."""
    if not {"A", "B"} <= parts.keys() or parts["A"].ndim != 2 or parts["B"].ndim != 2:
        return None
    A, B, alpha = parts["A"], parts["B"], parts.get("alpha", torch.tensor(float(parts["A"].shape[0])))
    if A.shape[0] != B.shape[1]:
        raise SakugaError(
            f"{path}: the halves of {brief(name)} have ranks {A.shape[0]} and {B.shape[1]}; "
            "the file is damaged, take another"
        )
    if not (_are_numbers(A, FLOATS) and _are_numbers(B, FLOATS) and alpha.numel() == 1 and _are_numbers(alpha, ALPHAS)):
        raise SakugaError(
            f"{path}: {brief(name)} is not made of numbers that a LoRA can have; the file is damaged or quantised, "
            "take another"
        )
    return LoraTensors(A, B, float(alpha))


def _are_numbers(tensor: Tensor, kinds: tuple[torch.dtype, ...]) -> bool:
    return tensor.numel() > 0 and tensor.dtype in kinds and bool(tensor.float().isfinite().all())
