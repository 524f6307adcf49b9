"""Reading weight files into models: tensor by tensor, so that host memory never holds a second copy.

A path is a .safetensors file, a folder of them (one model in one or several shards), or a .pth file of tensors. Weights in
fp8, plain or with a scale, are multiplied out on the way. Nothing in a file is run as code. Files come from strangers:
whatever they hold, they load or are one sentence.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..core.errors import SakugaError
from ..core.family import PICKLED, Role, Transformer
from ..core.weight_files import TensorInfo, read_header, weight_files
from ..core.weight_files import brief as brief
from ..core.weight_files import few as few
from ..core.weight_files import read_bytes as read_bytes
from ..core.weight_files import read_object as read_object
from .keys import original_key
from .pickles import read_pickle
from .quant import KINDS, SCALE, Kind, quantise, quantise_blocks
from .recognise import Part, mistaken
from .stream import Stream, spread
from .transformer import WanTransformer, is_island

READABLE = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
SCALES = (".scale_weight", ".weight_scale")  # of a weight in fp8, beside it: what its numbers are multiplied by
SCALE_NOTES = (".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")  # for those who compute in fp8
BROKEN = (SafetensorError, OSError, RuntimeError)  # what safetensors raises of a damaged file
TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip

Entry = tuple[str, Callable[[], Tensor]]  # a key, and what reads its tensor


class DoesNotFit(SakugaError):
    """The tensors of a file are not those of the model."""


def read_tensors(path: Path, only: str | None = None) -> Iterator[tuple[str, Tensor]]:
    """(key, tensor on the CPU) of every tensor under `path`, or of one alone, read when it is asked for."""
    for key, read in _entries(path):
        if only in (None, key):
            yield key, read()


def read_weights(path: Path, device: torch.device | str = "cpu") -> Iterator[tuple[str, Tensor]]:
    """As `read_tensors`, with weights that have a scale multiplied by it in fp32, and without what belongs to scales.

    The multiplying is done on `device`; what has no scale is still on the CPU.
    """
    for key, read in open_weights(path, device):
        yield key, read()


def open_weights(path: Path, device: torch.device | str = "cpu") -> list[Entry]:
    """As `read_weights`, each to be read when it is wanted, in any order."""
    return [
        (key, read if scale is None else partial(_read_scaled, read, scale, device, key, path))
        for key, read, scale in _with_scales(path)
    ]


def _with_scales(path: Path) -> list[tuple[str, Callable[[], Tensor], Tensor | None]]:
    """Every tensor under `path` that is no scale nor a note of one, with its scale."""
    entries = list(_entries(path))
    keys = {key for key, _ in entries}
    scales = {weight: read() for key, read in entries if (weight := _scaled_by(key)) in keys}
    return [
        (key, read, scales.get(key)) for key, read in entries
        if not key.endswith(SCALE_NOTES) and _scaled_by(key) not in scales
    ]  # fmt: skip


def read_stored(
    path: Path, keys: Collection[str], kind: Kind, device: torch.device | str,
    place_of: Callable[[str], torch.device | str],
) -> Iterator[tuple[str, Tensor]]:  # fmt: skip
    """As `read_weights` under official names; the matrices that `keys` names stored as a kind says, with scales of rows.

    What is in fp8 already keeps its numbers. The work is done on `device`, a tensor then goes to its place.
    """
    for given, read, scale in _with_scales(path):
        key, tensor = original_key(given), read().to(device)
        scale = None if scale is None else scale.to(device)
        if key in keys and tensor.dim() == 2 and tensor.dtype in (*READABLE, *FP8):
            Q, rows = _in_rows(tensor, scale, kind, given, path)
            yield key, Q.to(place_of(key))
            if rows is not None:
                yield f"{key.removesuffix('weight')}{SCALE}", rows
        else:
            yield key, (tensor if scale is None else _multiplied(tensor, scale, given, path)).to(place_of(key))


def _in_rows(W: Tensor, scale: Tensor | None, kind: Kind, key: str, path: Path) -> tuple[Tensor, Tensor | None]:
    """A matrix of a file as a kind stores it."""
    if W.dtype in FP8 and kind.largest is not None:
        one = W.new_ones(1, dtype=torch.float32) if scale is None else _factor(W, scale, key, path).flatten()
        return W, one.expand(len(W)).clone()
    return quantise(W if scale is None else _multiplied(W, scale, key, path), kind)


def _read_scaled(read: Callable[[], Tensor], scale: Tensor, device: torch.device | str, key: str, path: Path) -> Tensor:
    return _multiplied(read().to(device), scale.to(device), key, path)


def read_rows(path: Path, key: str, rows: Sequence[int]) -> Tensor:
    """Some rows of a matrix under `path`, multiplied by its scale where it has one. No other row of it is read."""
    entries = dict(_entries(path))
    found = torch.stack(list(_rows(path, key, entries[key], rows)))
    scale = next((read() for name, read in entries.items() if _scaled_by(name) == key), None)
    if scale is None:
        return found
    each = scale.numel() > 1 and scale.dim() > 0
    return _multiplied(found, scale[list(rows)] if each else scale, key, path)


def _rows(path: Path, key: str, read: Callable[[], Tensor], rows: Sequence[int]) -> Iterator[Tensor]:
    for file in weight_files(path):
        if file.suffix == ".safetensors" and (info := read_header(file).get(key)):
            size = info.bytes // max(1, info.shape[0])
            for row in rows:
                yield _read(file, key, TensorInfo(info.dtype, info.shape[1:], info.begin + row * size, size))
            return
    whole = read()  # of a .pth it is a view of the file
    yield from (whole[row] for row in rows)


def _scaled_by(key: str) -> str:
    """The weight that the scale `key` belongs to; empty for what is no scale."""
    ending = next((ending for ending in SCALES if key.endswith(ending)), None)
    return f"{key.removesuffix(ending)}.weight" if ending else ""


def _multiplied(weight: Tensor, scale: Tensor, key: str, path: Path) -> Tensor:
    """w = q s in fp32; one scale for all, or one for each row."""
    return weight.float() * _factor(weight, scale, key, path)


def _factor(weight: Tensor, scale: Tensor, key: str, path: Path) -> Tensor:
    """The scale of a weight in fp32, in a shape to multiply it by."""
    if weight.dtype not in (*READABLE, *FP8):
        raise _quantised(path, key, weight.dtype)
    rows = (scale.numel(),) == weight.shape[:1]
    if scale.dtype not in READABLE or (scale.numel() != 1 and not rows):
        raise SakugaError(
            f"{path} holds a scale of {brief(key)} that Sakuga cannot read ({brief(str(list(scale.shape)))}); "
            "use the fp16 or bf16 file of the same model"
        )
    return scale.float().reshape((-1, *(1,) * (weight.dim() - 1)) if rows else ())


def _quantised(path: Path, key: str, dtype: object) -> SakugaError:
    return SakugaError(
        f"{path} holds quantised weights ({brief(key)}, {str(dtype).removeprefix('torch.')}), "
        "which Sakuga cannot read yet; use the fp16 or bf16 file of the same model"
    )


def _entries(path: Path) -> Iterator[Entry]:
    """Every tensor under `path`, to be read when it is wanted."""
    for file in weight_files(path):
        if file.suffix in PICKLED:
            for key, tensor in read_pickle(file):
                yield key, partial(_itself, tensor)
        elif file.suffix == ".safetensors":
            for key, info in read_header(file).items():
                yield key, partial(_read, file, key, info)
        else:
            raise SakugaError(f"{file} is not a kind of file Sakuga reads; give a .safetensors or .pth file")


def _itself(tensor: Tensor) -> Tensor:
    return tensor


def _read(path: Path, key: str, info: TensorInfo) -> Tensor:
    """A tensor of a .safetensors.

    Read, not mapped: a mapping of a file that is larger than the memory is refused by many a system.
    """
    if info.dtype not in TYPES:
        raise _quantised(path, key, info.dtype)
    buffer = torch.empty(info.bytes, dtype=torch.uint8)
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(info.begin)
            whole = buffer.numpy().data
            while len(whole) and (count := file.readinto(whole)):  # a system may give less than it is asked for
                whole = whole[count:]
    except OSError as error:
        raise SakugaError(f"{path} cannot be read: {error.strerror}; look whether it is there and yours") from error
    if len(whole):
        raise SakugaError(f"{path} became shorter while it was read; let its download end, then try again")
    return buffer.view(TYPES[info.dtype]).reshape(info.shape)


def fill(
    model: nn.Module, tensors: Iterator[tuple[str, Tensor]], path: Path, dtype_of: Callable[[str], torch.dtype | None],
    device: torch.device | str | None,
) -> None:  # fmt: skip
    """Put tensors into a model made on the meta device, each cast and moved on its own; frozen. None leaves as it is.

    Every parameter must come, once, in its shape, and nothing else may.
    """
    expected = dict(model.named_parameters())
    missing, unexpected = set(expected), []
    for key, tensor in tensors:
        if key not in expected:
            unexpected.append(key)
        elif tensor.dtype not in (*READABLE, *FP8):
            raise _quantised(path, key, tensor.dtype)
        elif key not in missing:
            raise SakugaError(f"{path} holds {brief(key)} twice; give the file or folder of one model")
        elif tensor.shape != expected[key].shape:
            raise DoesNotFit(
                f"{path} does not fit this model: {key} is {brief(str(list(tensor.shape)))}, "
                f"expected {list(expected[key].shape)}; "
                "choose the --model that the file belongs to"
            )
        else:
            missing.discard(key)
            _assign(model, key, _sound(tensor.to(device=device, dtype=dtype_of(key)), key, path))
    if missing or unexpected:
        parts = [f"missing {few(missing)}"] if missing else []
        parts += [f"not expected {few(unexpected)}"] if unexpected else []
        raise DoesNotFit(f"{path} does not fit this model: {'; '.join(parts)}; choose the file that belongs to it")


def _sound(tensor: Tensor, key: str, path: Path) -> Tensor:
    """`tensor`, if all of it are numbers."""
    # the least and the greatest are NaN where any is, and are found twenty times as fast as by isfinite of all
    numbers = tensor.float() if tensor.dtype in FP8 else tensor
    if not tensor.is_meta and tensor.numel() and not torch.isfinite(torch.stack(numbers.aminmax())).all():
        raise SakugaError(
            f"{path} holds what are no numbers (NaN or infinite) in {key} as {str(tensor.dtype).removeprefix('torch.')}; "
            "download it again, or take the bf16 file of the same model"
        )
    return tensor


def _assign(model: nn.Module, key: str, tensor: Tensor) -> None:
    owner, _, name = key.rpartition(".")
    setattr(model.get_submodule(owner), name, nn.Parameter(tensor, requires_grad=False))


@contextmanager
def wanted(path: Path, role: Role, facts: Part) -> Iterator[None]:
    """Where a file does not fit what it was given for, it is named as what it is."""
    try:
        yield
    except DoesNotFit as error:
        raise SakugaError(mistaken(path, role, facts) or str(error)) from error


def load_transformer(
    shape: Transformer, path: Path, dtype: torch.dtype = torch.bfloat16, device: torch.device | str = "cpu",
    kind: str | None = None, streamed: int = 0,
) -> WanTransformer:  # fmt: skip
    """The transformer of that shape from `path`, frozen, in eval mode; what `is_island` names is fp32.

    `kind` (of quant.KINDS) says how the large weights of the blocks are stored, otherwise in `dtype`; those of `streamed`
    blocks stay in host memory.
    """
    with torch.device("meta"):
        model = WanTransformer(shape)
    numbers = spread(streamed, shape.layers)
    hosted = {f"blocks.{n}.{key}" for n in numbers for key, p in model.blocks[n].named_parameters() if p.dim() == 2}
    stored = frozenset(quantise_blocks(model, KINDS[kind])) if kind else frozenset()

    def dtype_of(key: str) -> torch.dtype | None:
        return None if key in stored else torch.float32 if is_island(key) else dtype

    tensors = read_stored(path, stored, KINDS[kind or "bf16"], device, lambda key: "cpu" if key in hosted else device)
    with wanted(path, "transformer", shape):
        fill(model, tensors, path, dtype_of, None)
    if numbers:
        model.stream = Stream({n: model.blocks[n] for n in numbers}, torch.device(device))
    return model.eval()
