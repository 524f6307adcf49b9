"""A pretended CUDA card, on which the real code runs with real numbers: for machines, and a torch, that have none.

A tensor "on the card" is a wrapper around one of the host (`OnCard`) that says `cuda:0`. Every operation of torch passes
through `Card`, which does what a card does, and complains as a card does:

- tensors of two devices in one operation are an error (numbers of no dimension, copies and indices excepted);
- `.numpy()` of what is on the card is an error, `pin_memory` of it too;
- what one stream writes while another reads or writes it, with nothing that has either wait for the other, is an error
  (`Race`), and so is memory that is used on another stream than its own without `record_stream`. Streams, events and the
  host are agents with vector clocks (Lamport 1978, Mattern 1989): an access must have happened before the next one.
  A copy out of pinned memory belongs to its stream, so that the host may not write there until it has waited.

Operations are computed at once, and on the processor: what is found are devices and orders, not the arithmetic of CUDA's
kernels, nor what inductor or triton make. Only torch's own edge is replaced: functions of `torch._C` and `torch.cuda`
that would call the driver. Their Python halves, which look at arguments, run as they are.
"""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch._dynamo  # before a card seems to be there: it looks
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from sakuga.nn.transformer import rope_tables

HOST, CARD = torch.device("cpu"), torch.device("cuda:0")
aten = torch.ops.aten
MOVES = {aten._to_copy.default, aten.copy_.default, aten.set_data.default if hasattr(aten, "set_data") else None}
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
ALIKE = {"mm", "bmm", "addmm", "baddbmm", "cat", "stack", "convolution", "embedding", "native_layer_norm"}
READS = {"_local_scalar_dense", "equal", "nonzero", "is_nonzero"}  # the host waits for their result


class Race(AssertionError):
    """Two accesses to one memory that nothing puts in order."""


class Stream:
    """Work of the card in the order of its issue; or, as `host`, the program itself."""

    def __init__(self, device: Any = None, name: str = "stream") -> None:
        self.name, self.device = name, CARD
        self.clock: dict[Stream, int] = {}

    def __repr__(self) -> str:
        return self.name

    def sees(self, clock: dict["Stream", int]) -> None:
        for agent, count in clock.items():
            self.clock[agent] = max(count, self.clock.get(agent, 0))

    def wait_stream(self, other: "Stream") -> None:
        self.sees(other.clock)

    def wait_event(self, event: "Event") -> None:
        self.sees(event.clock)

    def synchronize(self) -> None:
        _now().host.sees(self.clock)


class Event:
    def __init__(self, *_: Any, **__: Any) -> None:
        self.clock: dict[Stream, int] = {}

    def record(self, stream: Stream | None = None) -> None:
        self.clock = dict((stream or _now().current).clock)

    def synchronize(self) -> None:
        _now().host.sees(self.clock)


class OnCard(Tensor):
    """`inner` is the tensor of the host that holds the values, `place` where it is said to be."""

    inner: Tensor
    place: torch.device

    @staticmethod
    def __new__(cls, inner: Tensor, place: torch.device) -> "OnCard":
        made: OnCard = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            layout=inner.layout, device=HOST,
        )  # fmt: skip
        made.place, made.inner = place, inner
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnCard({self.place}, {list(self.shape)}, {self.dtype})"

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.place

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return self.place.type == "cuda"

    @property
    def data(self) -> Tensor:  # type: ignore[override]
        return self.detach()

    @data.setter
    def data(self, other: Tensor) -> None:
        self.inner, self.place = inner_of(other), other.device

    def record_stream(self, stream: Stream) -> None:  # type: ignore[override]
        _now().memory(self.inner).streams.add(stream)

    def pin_memory(self, device: Any = None) -> Tensor:
        if self.is_cuda:
            raise RuntimeError(f"cannot pin '{self.type()}' only dense CPU tensors can be pinned")
        return _pinned(self.inner)

    def numpy(self, *, force: bool = False) -> Any:
        if self.is_cuda and not force:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        return self.inner.numpy(force=force)

    def tolist(self) -> Any:
        _now().wait()
        return self.inner.tolist()

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def untyped_storage(self) -> Any:
        return self.inner.untyped_storage()

    def new_tensor(self, data: Any, **how: Any) -> Tensor:
        return torch.tensor(data, dtype=how.get("dtype", self.dtype)).to(how.get("device", self.place))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _now().run(func, args, kwargs or {})


def _to(self: Tensor, *how: Any, copy: bool = False, **named: Any) -> Tensor:
    """Tensor.to, which asks C++ where a tensor is, and C++ knows of no card."""
    like = how[0] if how and isinstance(how[0], Tensor) else None
    if like is not None:
        how = (like.device, like.dtype, *how[1:])
    device, dtype, non_blocking, form = torch._C._nn._parse_to(*how, **named)
    place = self.device if device is None else CARD if device.type == "cuda" else device
    laid = form is not None and not self.is_contiguous(memory_format=form)
    if (place, dtype or self.dtype) == (self.device, self.dtype) and not copy and not laid:
        return self
    moved: Tensor = aten._to_copy(
        self, dtype=dtype or self.dtype, device=place, non_blocking=non_blocking, memory_format=form
    )
    return moved


def inner_of(value: Any) -> Any:
    return value.inner if isinstance(value, OnCard) else value


class Memory:
    """One allocation: who wrote it last, who has read it since, and the streams that it is known to be used on."""

    def __init__(self, home: Stream) -> None:
        self.home, self.streams = home, {home}
        self.written: tuple[Stream, int] | None = None
        self.read: dict[Stream, int] = {}


class Card(TorchDispatchMode):
    """The card and the host, as agents; `total` bytes of memory, `cap` the share that this process may take."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self.host, self.default = Stream(name="host"), Stream(name="the default stream")
        self.total, self.cap = total, 1.0
        self.streams: list[Stream] = []
        self.issued: list[tuple[Stream, str]] = []
        self.thread = threading.local()
        self.memories: dict[int, Memory] = {}
        self.pinned: list[tuple[int, int]] = []  # from, to

    @property
    def current(self) -> Stream:
        return getattr(self.thread, "stream", self.default)

    # Memory

    def memory(self, inner: Tensor) -> Memory:
        storage = inner.untyped_storage()
        key = storage.data_ptr()
        if key not in self.memories:
            self.memories[key] = Memory(self.current)
            weakref.finalize(storage, self.memories.pop, key, None)
        return self.memories[key]

    def is_pinned(self, tensor: Tensor) -> bool:
        at = tensor.data_ptr()
        return any(begin <= at < end for begin, end in self.pinned)

    def wait(self) -> None:
        """The host waits for what it reads."""
        self.host.sees(self.current.clock)

    def access(self, agent: Stream, reads: list[Tensor], writes: list[Tensor], what: str) -> None:
        agent.sees(self.host.clock)  # nothing begins before it was issued
        agent.clock[agent] = agent.clock.get(agent, 0) + 1
        for tensor in (*reads, *writes):
            memory = self.memory(tensor)
            self.ordered(agent, memory.written, f"{what} on {agent}, what was written")
            if agent not in (*memory.streams, self.host) and not self.is_pinned(tensor):
                raise Race(f"{what}: memory of {memory.home} is used on {agent} without record_stream")
        for tensor in writes:
            memory = self.memory(tensor)
            for reader in memory.read.items():
                self.ordered(agent, reader, f"{what} on {agent}, over what is being read")
            memory.written, memory.read = (agent, agent.clock[agent]), {}
        for tensor in reads:
            self.memory(tensor).read[agent] = agent.clock[agent]

    def ordered(self, agent: Stream, before: tuple[Stream, int] | None, what: str) -> None:
        if before and before[0] is not agent and agent.clock.get(before[0], 0) < before[1]:
            raise Race(f"{what} on {before[0]}, with nothing to wait for it")

    # Operations

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        asked = kwargs.get("device")
        there = torch.device(asked) if asked is not None else None
        cards = [leaf for leaf in leaves if leaf.device.type == "cuda"]
        if there == HOST and len(cards) == len(leaves) and torch._C._current_graph_task_id() != -1:
            there = CARD  # a formula of autograd, in C++, which asks for the device of its input
        if not any(isinstance(leaf, OnCard) for leaf in leaves) and (there is None or there.type != "cuda"):
            self.host_wrote(func, args, kwargs)
            return func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if cards and func not in MOVES:
            self.check(name, leaves)
        if there is not None and there.type == "cuda":
            kwargs = {**kwargs, "device": HOST}
        outer = {id(leaf.inner): leaf for leaf in leaves if isinstance(leaf, OnCard)}
        found = func(*tree_map(inner_of, args), **tree_map(inner_of, kwargs))
        place = CARD if (there.type == "cuda" if there is not None else bool(cards)) else there or HOST
        if name in ("copy_", "set_"):
            place = args[0].device
        self.note(func, name, args, kwargs, found, place)

        def wrapped(value: Any) -> Any:
            if not isinstance(value, Tensor) or value.is_meta:
                return value
            return outer.get(id(value)) if id(value) in outer else self.out(value, place, leaves)

        return tree_map(wrapped, found)

    def out(self, value: Tensor, place: torch.device, leaves: list[Tensor]) -> Tensor:
        return value if any(value is leaf for leaf in leaves) else OnCard(value, place)

    def check(self, name: str, leaves: list[Tensor]) -> None:
        if name in INDEXED:
            return
        odd = [leaf for leaf in leaves if leaf.device.type != "cuda" and not (leaf.dim() == 0 and name not in ALIKE)]
        if odd:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but {name} got {[str(leaf.device) for leaf in leaves]}"
            )

    def written(self, func: Any, args: Any, kwargs: dict[str, Any]) -> list[Tensor]:
        found: list[Tensor] = []
        for number, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = args[number] if number < len(args) else kwargs.get(argument.name)
                found += [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
        return found

    def host_wrote(self, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """The host may not write where a copy still reads."""
        for tensor in self.written(func, args, kwargs):
            if not tensor.is_meta and self.is_pinned(tensor):
                self.access(self.host, [], [tensor], func.overloadpacket.__name__)

    def note(self, func: Any, name: str, args: Any, kwargs: Any, found: Any, place: torch.device) -> None:
        """Who read and wrote what, and in what order."""
        writes = self.written(func, args, kwargs)
        held = {id(each) for each in writes}
        reads = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and id(leaf) not in held]
        fresh = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor) and not leaf.is_meta]
        if func.is_view or name in ("detach", "alias", "lift_fresh", "empty_like", "empty", "new_empty"):
            return
        non_blocking = bool(kwargs.get("non_blocking") or (name == "copy_" and args[2:] and args[2]))
        agent = self.current
        hosts = [t for t in (*reads, *writes) if t.device.type == "cpu"] + fresh * (place.type == "cpu")
        if all(t.device.type != "cuda" for t in (*reads, *writes)) and place.type != "cuda":
            agent = self.host
        self.issued.append((agent, name))
        real = [[inner_of(t) for t in group if not t.is_meta] for group in (reads, writes)]
        self.access(agent, real[0], [*real[1], *[f for f in fresh if all(f is not w for w in real[1])]], name)
        moved = name in ("copy_", "_to_copy") and hosts
        if name in READS or (moved and not (non_blocking and all(self.is_pinned(inner_of(t)) for t in hosts))):
            self.host.sees(agent.clock)


_CARDS: list[Card] = []


def _now() -> Card:
    return _CARDS[-1]


def _pinned(tensor: Tensor) -> Tensor:
    card = _now()
    held = torch.empty_like(tensor)
    held.copy_(tensor)
    begin = held.untyped_storage().data_ptr()
    card.pinned.append((begin, begin + max(1, held.untyped_storage().nbytes())))
    return held


class Runtime:
    """The parts of the CUDA runtime that are called by name."""

    def cudaHostRegister(self, address: int, count: int, flags: int) -> int:
        _now().pinned.append((address, address + count))
        return 0

    def cudaHostUnregister(self, address: int) -> int:
        if _CARDS:
            _now().pinned = [span for span in _now().pinned if span[0] != address]
        return 0

    def cudaMemGetInfo(self, device: int) -> tuple[int, int]:
        assert isinstance(device, int)
        return _now().total, _now().total


@contextmanager
def _on(stream: Stream | None) -> Iterator[None]:
    card = _now()
    before = card.current
    card.thread.stream = stream or before
    try:
        yield
    finally:
        card.thread.stream = before


@contextmanager
def pretended(patch: pytest.MonkeyPatch, total: float = 24e9) -> Iterator[Card]:
    """A machine with one card of so many bytes."""
    card = Card(int(total))

    def edge(module: Any, **functions: Callable[..., Any]) -> None:
        for name, function in functions.items():
            patch.setattr(module, name, function, raising=False)

    def synchronize(device: Any = None) -> None:
        for stream in (card.default, *card.streams):
            card.host.sees(stream.clock)

    def made(device: Any = None, **_: Any) -> Stream:
        card.streams.append(Stream(name=f"stream {len(card.streams) + 1}"))
        return card.streams[-1]

    def set_fraction(fraction: float, device: int) -> None:
        assert isinstance(device, int)
        card.cap = fraction

    properties = SimpleNamespace(total_memory=int(total), name="Pretended", multi_processor_count=1, major=9, minor=0)
    edge(
        torch._C, _cuda_getDevice=lambda: 0, _cuda_setMemoryFraction=set_fraction, _cuda_emptyCache=lambda: None,
        _cuda_getMemoryFraction=lambda device: card.cap, _cuda_getDeviceCount=lambda: 1,
        _cuda_memoryStats=lambda device: {}, _cuda_resetPeakMemoryStats=lambda device: None,
    )  # fmt: skip
    edge(
        torch.cuda, _lazy_init=lambda: None, is_available=lambda: True, device_count=lambda: 1, cudart=lambda: Runtime(),
        _get_device_properties=lambda device: properties, synchronize=synchronize, current_stream=lambda d=None: card.current,
        Stream=made, Event=Event, stream=_on, is_initialized=lambda: True, manual_seed_all=lambda seed: None,
        get_device_properties=lambda device=None: properties, current_device=lambda: 0,
    )  # fmt: skip
    make = torch.tensor

    def tensor(data: Any, *, device: Any = None, **how: Any) -> Tensor:
        made = make(data, **how)
        return made if device is None else made.to(device)

    patch.setattr(torch, "tensor", tensor)
    patch.setattr(torch.Tensor, "to", _to)
    patch.setattr(torch.Tensor, "cpu", lambda self, **how: _to(self, HOST))
    patch.setattr(torch.Tensor, "cuda", lambda self, **how: _to(self, CARD))
    patch.setattr(torch.Tensor, "pin_memory", lambda self, device=None: _pinned(self))
    patch.setattr(torch.Tensor, "is_pinned", lambda self, device=None: card.is_pinned(self))
    rope_tables.cache_clear()  # a table of this card is of no use to others
    _CARDS.append(card)
    try:
        with card:
            yield card
    finally:
        _CARDS.pop()
        rope_tables.cache_clear()
