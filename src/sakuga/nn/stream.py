"""Blocks whose weights live in host memory and pass through a few slots of device memory.

The large weights of a streamed block are views into one flat buffer of the host, pinned where there is a card. While the
block runs others stand in for them, views into a slot that the buffer was copied to: ahead of time, on a CUDA stream of its
own, while blocks before it compute. They are tensors of their own, since what the backward pass keeps is a tensor, wherever
its data may be put later. Nothing is copied back. Which blocks come next follows from the last ones: forward, or backward
where gradient checkpointing runs blocks again; at the turn they are in the slots still. Norms, modulation, biases, scales
and adapters stay on the device. On a CPU the same code runs with plain copies.
"""

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from ..core.cost import GB, SLOTS
from ..core.errors import SakugaError
from .quant import QuantLinear

ALIGNED = 256  # bytes: where a tensor may begin, as kernels like it
PAGE = 4096  # bytes: what is pinned at once


def spread(count: int, layers: int) -> list[int]:
    """The numbers of `count` blocks of so many, as far apart as can be: those between give copies time."""
    return [(2 * n + 1) * layers // (2 * count) for n in range(count)]


def ahead(now: int, before: int, count: int, depth: int, training: bool) -> list[int]:
    """Which of `count` streamed blocks are wanted after `now`, at most `depth`, nearest first; `before` ran last.

    Training turns round at the last block. Without gradients the first block of the next pass follows on it.
    """
    if training and now > 0 and (now == count - 1 or now < before):
        return list(range(now - 1, max(-1, now - 1 - depth), -1))
    following = range(now + 1, now + 1 + min(depth, count - 1))
    return [n for n in following if n < count] if training else [n % count for n in following]


class Packed:
    """The large weights of one block, in one flat buffer of host memory. What else the block has goes to the device."""

    def __init__(self, block: nn.Module, device: torch.device) -> None:
        self.owners = [module for module in block.modules() if isinstance(module, nn.Linear | QuantLinear)]
        self.weights = [cast(nn.Parameter, owner.weight) for owner in self.owners]
        self.likes = [weight.detach().to("meta") for weight in self.weights]
        self.begins, end = [], 0
        for like in self.likes:
            self.begins.append(end)
            end += -(-like.nbytes // ALIGNED) * ALIGNED
        self.buffer = host_bytes(end, device)
        for weight, view in zip(self.weights, self.views(self.buffer), strict=True):
            view.copy_(weight.detach())
            weight.data = view
        large = {id(weight) for weight in self.weights}
        for parameter in block.parameters():
            if id(parameter) not in large:
                parameter.data = parameter.data.to(device)

    def views(self, flat: Tensor) -> list[Tensor]:
        """The weights as they stand in a buffer."""
        return [
            flat[begin : begin + like.nbytes].view(like.dtype).view(like.shape)
            for begin, like in zip(self.begins, self.likes, strict=True)
        ]

    def put(self, weights: Sequence[nn.Parameter]) -> None:
        """Lets these be the weights of the block."""
        for owner, weight in zip(self.owners, weights, strict=True):
            owner._parameters["weight"] = weight

    def standing_in(self, slot: Tensor) -> list[nn.Parameter]:
        """Weights that are views into a slot."""
        return [nn.Parameter(view, requires_grad=False) for view in self.views(slot)]

    @property
    def version(self) -> int:
        """Grows when a weight is written to, as by a LoRA that is merged."""
        return sum(weight._version for weight in self.weights)


class Stream:
    """Brings the weights of streamed blocks to the device: `with stream(number)` around the run of block `number`.

    With gradients the blocks must be checkpointed: a slot holds a block only until others have run.
    """

    def __init__(self, blocks: Mapping[int, nn.Module], device: torch.device, slots: int = SLOTS) -> None:
        self.device, self.number_at = device, sorted(blocks)
        self.packed = [Packed(blocks[number], device) for number in self.number_at]
        room = max(packed.buffer.numel() for packed in self.packed)
        count = min(slots, len(self.packed))
        self.slots = [torch.empty(room, dtype=torch.uint8, device=device) for _ in range(count)]
        self.held: list[tuple[int, int]] = [(-1, -1)] * count  # position and version of what each slot holds
        self.before = 0
        self.copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.copied = [torch.cuda.Event() for _ in range(count)] if self.copies else []
        for slot in self.slots:
            if self.copies:  # a copy may be under way when the slots are let go
                slot.record_stream(self.copies)

    @contextmanager
    def __call__(self, number: int) -> Iterator[None]:
        if number not in self.number_at:
            yield
            return
        now = self.number_at.index(number)
        packed = self.packed[now]
        packed.put(packed.standing_in(self.slots[self._bring(now)]))
        try:
            yield
        finally:  # a block that is run again stops midway when all that is wanted is there
            packed.put(packed.weights)

    def _bring(self, now: int) -> int:
        """Copies what is not there yet of this block and those after it; the slot of this block, ready to be read."""
        training = torch.is_grad_enabled()
        positions = [now, *ahead(now, self.before, len(self.packed), len(self.slots) - 1, training)]
        self.before = now
        wanted = [(position, self.packed[position].version) for position in positions]
        for entry in wanted:
            if entry not in self.held:
                self._copy(entry, next(slot for slot, held in enumerate(self.held) if held not in wanted))
        found = self.held.index(wanted[0])
        if self.copies:
            torch.cuda.current_stream(self.device).wait_event(self.copied[found])
        return found

    def _copy(self, entry: tuple[int, int], slot: int) -> None:
        self.held[slot] = entry
        buffer = self.packed[entry[0]].buffer
        if self.copies:
            # what read the slot before has been issued: the block that runs next reads another
            self.copies.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.copies):  # nothing at all where it is None
            self.slots[slot][: buffer.numel()].copy_(buffer, non_blocking=True)
        if self.copies:
            self.copied[slot].record(self.copies)


def host_bytes(count: int, device: torch.device) -> Tensor:
    """A buffer of host memory, pinned where the device is a card.

    Pinned where it lies: torch's own allocator of pinned memory rounds up to powers of two.
    """
    if device.type != "cuda":
        return torch.empty(count, dtype=torch.uint8)
    pages = -(-count // PAGE) * PAGE
    whole = torch.empty(pages + PAGE, dtype=torch.uint8)
    skip = -whole.data_ptr() % PAGE
    address = whole.data_ptr() + skip
    if int(torch.cuda.cudart().cudaHostRegister(address, pages, 0)) != 0:
        raise SakugaError(
            f"the system pins no {count / GB:.2g} GB more of host memory for a streamed block; "
            "stream fewer blocks, or store them in fewer bytes (weights = 'fp8')"
        )
    weakref.finalize(whole.untyped_storage(), _unpin, address, device)
    return whole[skip : skip + count]


def _unpin(address: int, device: torch.device) -> None:
    torch.cuda.synchronize(device)  # a copy from it may be under way
    torch.cuda.cudart().cudaHostUnregister(address)
