"""LoRA: adapters on the Linears of a transformer, and the files they are kept in.

An adapter wraps a Linear where it stands in the model (`LoraLinear`), in training and for files alike; adapters stack.
The model's state_dict stays that of the base: the original keys, nothing of the adapters, loadable with adapters in
place. The form written is the one that ComfyUI and diffusers both read; every form known to be about is read, and what
could not be used is named.

Shapes: A [rank, in], B [out, rank]; x [..., in].
"""

import hashlib
import json
import math
import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..core.errors import SakugaError, nearest
from ..core.files import move_into_place
from .flow import key_seed

_SELF = tuple(f"self_attn.{p}" for p in "qkvo")
_CROSS = tuple(f"cross_attn.{p}" for p in ("q", "k", "v", "o", "k_img", "v_img"))
TARGETS = (*_SELF, *_CROSS, "ffn.0", "ffn.2")  # of every block, where the block has them
HEADER_LIMIT = 2**20  # bytes; viewers ignore the metadata of a file with a longer header


class LoraTensors(NamedTuple):
    """The adapter of one layer: its effect is x -> alpha / rank * B A x."""

    A: Tensor
    B: Tensor
    alpha: float


# In the model


class LoraLinear(nn.Module):
    """base(x) + strength * alpha / rank * B A x. The base is frozen; A and B are fp32 and compute in the type of x."""

    def __init__(self, base: nn.Module, A: Tensor, B: Tensor, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A, self.B = nn.Parameter(A.float()), nn.Parameter(B.float())
        self.alpha, self.strength = alpha, 1.0

    @property
    def scale(self) -> float:
        return self.strength * self.alpha / self.A.shape[0]

    def forward(self, x: Tensor) -> Tensor:
        delta = F.linear(F.linear(x, self.A.to(x.dtype)), self.B.to(x.dtype))
        return self.base(x) + self.scale * delta

    @property
    def weight(self) -> Tensor:
        """The base's weight: code that asks a Linear for it goes on working."""
        return self.base.weight  # type: ignore[return-value]

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias  # type: ignore[return-value]

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        return self.base.state_dict(destination=destination, prefix=prefix, keep_vars=keep_vars)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        """Hands the keys that stand at this name on to the base, which torch loads next."""
        for key in [k for k in state_dict if k.startswith(prefix) and not k.startswith(f"{prefix}base.")]:
            state_dict[f"{prefix}base.{key[len(prefix) :]}"] = state_dict.pop(key)


class LoraSet:
    """The adapters that one LoRA has in a model, by the name of the layer."""

    def __init__(self, layers: dict[str, LoraLinear]) -> None:
        self.layers = layers

    def parameters(self) -> list[nn.Parameter]:
        """A and B of every layer, in the order of the model."""
        return [p for layer in self.layers.values() for p in (layer.A, layer.B)]

    def tensors(self) -> dict[str, LoraTensors]:
        """The values, as `save_lora` takes them."""
        return {n: LoraTensors(x.A.detach(), x.B.detach(), x.alpha) for n, x in self.layers.items()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, LoraTensors]) -> None:
        """Takes over saved values, of exactly these layers and ranks."""
        if tensors.keys() != self.layers.keys():
            odd = sorted(tensors.keys() ^ self.layers.keys())
            raise SakugaError(f"the saved LoRA has other layers than this one ({_few(odd)}); train with its settings")
        for name, layer in self.layers.items():
            saved = tensors[name]
            if saved.A.shape != layer.A.shape or saved.B.shape != layer.B.shape:
                ranks = f"rank {saved.A.shape[0]} at {name}, this one {layer.A.shape[0]}"
                raise SakugaError(f"the saved LoRA has {ranks}; set the same rank")
            layer.A.copy_(saved.A)
            layer.B.copy_(saved.B)
            layer.alpha = saved.alpha

    def set_strength(self, strength: float) -> None:
        """How strongly the LoRA acts from the next step on; 0 is off, 1 as trained."""
        for layer in self.layers.values():
            layer.strength = strength

    def remove(self, model: nn.Module) -> None:
        """Takes these adapters out of the model; others stay."""
        for name, layer in self.layers.items():
            parent, leaf = _parent(model, name)
            while getattr(parent, leaf) is not layer:
                parent, leaf = getattr(parent, leaf), "base"
            setattr(parent, leaf, layer.base)

    @torch.no_grad()
    def merge(self, model: nn.Module, strength: float = 1.0) -> None:
        """Folds the adapters into the base's weights at `strength`, and takes them out."""
        for name, layer in self.layers.items():
            weight = _innermost(layer).weight
            if not isinstance(weight, Tensor) or weight.dtype not in (torch.float32, torch.bfloat16, torch.float16):
                raise SakugaError(f"{name} is quantised and a LoRA cannot be merged into it; load the model in bf16")
            delta = strength * layer.alpha / layer.A.shape[0] * (layer.B @ layer.A)
            weight.copy_((weight.float() + delta.to(weight.device)).to(weight.dtype))
        self.remove(model)


def inject(model: nn.Module, rank: int, alpha: float, seed: int, include: Collection[str] = TARGETS) -> LoraSet:
    """New adapters for training on the Linears of every block that `include` names; all else is frozen.

    A is drawn by seed and layer name, uniform in +-1/sqrt(in) (kaiming_uniform, a = sqrt 5); B is zero, so that the
    model begins unchanged. Raises SakugaError for a target that is none, or when the model has none of them.
    """
    for target in include:
        if target not in TARGETS:
            raise SakugaError(f"'{target}' is not a layer a LoRA can train{nearest(target, TARGETS)}")
    if rank < 1:
        raise SakugaError(f"a LoRA's rank is at least 1, not {rank}")
    model.requires_grad_(False)
    pattern = re.compile(rf"blocks\.\d+\.({'|'.join(map(re.escape, include))})")
    found = [name for name, _ in model.named_modules() if pattern.fullmatch(name)]
    if not found:
        raise SakugaError("the model has none of the layers that the LoRA is to train; name others in `include`")
    return LoraSet({name: _wrap(model, name, *_fresh(model, name, rank, seed), alpha) for name in found})


def _fresh(model: nn.Module, name: str, rank: int, seed: int) -> tuple[Tensor, Tensor]:
    layer: Any = model.get_submodule(name)
    base = _innermost(layer)
    generator = torch.Generator("cpu").manual_seed(key_seed("lora", seed, name))
    bound = 1 / math.sqrt(base.in_features)
    A = torch.empty(rank, base.in_features).uniform_(-bound, bound, generator=generator)
    return A, torch.zeros(base.out_features, rank)


def _wrap(model: nn.Module, name: str, A: Tensor, B: Tensor, alpha: float) -> LoraLinear:
    parent, leaf = _parent(model, name)
    base = getattr(parent, leaf)
    held = next((t for t in (*base.parameters(), *base.buffers())), A)
    layer = LoraLinear(base, A.to(held.device), B.to(held.device), alpha)
    setattr(parent, leaf, layer)
    return layer


def _parent(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf


def _innermost(layer: Any) -> Any:
    """The Linear under any adapters."""
    while isinstance(layer, LoraLinear):
        layer = layer.base
    return layer


# Files, out


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


# Files, in


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
    return LoraFile(path, tensors, metadata, sorted(unused))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise SakugaError(f"{path} is not there; check the path of the LoRA") from None
    except SafetensorError as error:
        raise SakugaError(f"{path} is not a whole safetensors file ({error}); copy or download it again") from None


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
    A, B = parts["A"], parts["B"]
    if A.shape[0] != B.shape[1]:
        raise SakugaError(
            f"{path}: the halves of {name} have ranks {A.shape[0]} and {B.shape[1]}; the file is damaged, take another"
        )
    return LoraTensors(A, B, parts["alpha"].item() if "alpha" in parts else float(A.shape[0]))


@dataclass(frozen=True)
class Applied:
    """A LoRA from a file, in a model: its adapters, and what of the file was used and what was not."""

    lora: LoraSet
    used: list[str]  # layers
    unused: list[str]  # layers that the model lacks, and keys that no layer could be made of


def apply(model: nn.Module, file: LoraFile, strength: float = 1.0) -> Applied:
    """Wraps the layers that the file names; the adapters are not trained. `applied.lora` sets the strength and removes.

    Raises SakugaError when no layer fits, or one has another width: a LoRA of another model must not pass in silence.
    """
    modules = {re.sub(r"\.base(?=\.|$)", "", name): _innermost(module) for name, module in model.named_modules()}
    used = [name for name in file.tensors if hasattr(modules.get(name), "in_features")]
    if not used:
        keys = _few([*file.tensors, *file.unused])
        raise SakugaError(f"{file.path} has nothing that fits this model ({keys}); is it a LoRA for Wan?")
    for name in used:
        A, B, _ = file.tensors[name]
        if (A.shape[1], B.shape[0]) != (modules[name].in_features, modules[name].out_features):
            raise SakugaError(
                f"{file.path} was made for another model: its {name} is {B.shape[0]} x {A.shape[1]}, this model's is "
                f"{modules[name].out_features} x {modules[name].in_features}; choose the model it was trained on"
            )
    lora = LoraSet({name: _wrap(model, name, *file.tensors[name]) for name in used})
    for parameter in lora.parameters():
        parameter.requires_grad_(False)
    lora.set_strength(strength)
    return Applied(lora, used, sorted({*file.tensors} - {*used}) + file.unused)


def merge(model: nn.Module, file: LoraFile, strength: float = 1.0) -> Applied:
    """Folds a LoRA into the weights of the model; says what was used, as `apply` does."""
    applied = apply(model, file)
    applied.lora.merge(model, strength)
    return applied


def _few(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
