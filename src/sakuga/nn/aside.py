"""Inputs of blocks that wait in host memory for the backward pass, where a card does not hold those of all blocks.

Gradient checkpointing keeps the input of every block, in fp32: 4 d bytes a token and block, 27 GB of the 14B at 832x480x81,
more than its weights in fp8. Here an input goes to the host as soon as its block begins, on a CUDA stream of its own, and comes
back while the block after it (the one before in the backward pass) computes. What comes back are the same bytes, so that
gradients are the same to the bit. On a CPU the same code runs with plain copies.
"""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .stream import host_bytes


class Aside:
    """Runs blocks as `checkpoint` does, with their first input in host memory: `aside(layer, number, x, ...)`.

    Buffers are used again from step to step. All copies are on one stream, so that one is never written before it was read.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.free: list[Tensor] = []
        self.last: weakref.ref[_Kept] | None = None

    def __call__(self, layer: Callable[..., Tensor], number: int, x: Tensor, *others: Any) -> Tensor:
        kept = _Kept(self, x, self.last)
        self.last = weakref.ref(kept)
        del x  # nothing here may hold it: it is to go once its block has run

        def again(*given: Any) -> Tensor:
            return layer(number, kept(), *given)

        y: Tensor = checkpoint(again, *others, use_reentrant=False)
        return y

    def take(self, count: int) -> Tensor:
        """A buffer of at least so many bytes, the smallest there is."""
        fitting = [buffer for buffer in self.free if buffer.numel() >= count]
        if not fitting:
            return host_bytes(count, self.device)
        found = min(fitting, key=Tensor.numel)
        self.free = [buffer for buffer in self.free if buffer is not found]
        return found

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Copies behind all that was issued before, while what is issued after goes on."""
        if self.copies is None:
            target.copy_(source)
            return
        for each in (target, source):
            if each.device.type == "cuda":  # it may be let go while the copy is under way
                each.record_stream(self.copies)
        self.copies.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.copies):
            target.copy_(source, non_blocking=True)


class _Kept:
    """One block's input: given as it is when the block first runs, from the host when it runs again."""

    def __init__(self, aside: Aside, x: Tensor, before: "weakref.ref[_Kept] | None") -> None:
        self.aside, self.before = aside, before
        self.first: Tensor | None = x
        self.shape, self.dtype, self.learns = x.shape, x.dtype, x.requires_grad
        self.buffer: Tensor | None = aside.take(x.nbytes)
        self.back: Tensor | None = None
        self.arrived = torch.cuda.Event() if aside.copies else None
        aside.copy(self._host(self.buffer), x.detach())

    def __call__(self) -> Tensor:
        if self.first is not None:
            x, self.first = self.first, None
            return x
        self.aside.last = None  # the way back has begun: what comes next is another pass
        self.bring()
        assert self.back is not None, "a block's input comes back once: its gradient cannot be taken twice"
        if self.arrived:
            torch.cuda.current_stream(self.aside.device).wait_event(self.arrived)
        x, self.back = self.back, None
        before = self.before() if self.before else None
        if before is not None:
            before.bring()
        return x.requires_grad_(self.learns)

    def bring(self) -> None:
        """Begins the way back, where there is something to bring."""
        if self.back is not None or self.first is not None or self.buffer is None:
            return
        self.back = torch.empty(self.shape, dtype=self.dtype, device=self.aside.device)
        self.aside.copy(self.back, self._host(self.buffer))
        if self.arrived and self.aside.copies:
            self.arrived.record(self.aside.copies)
        self._give_back()

    def _host(self, buffer: Tensor) -> Tensor:
        return buffer[: self.shape.numel() * self.dtype.itemsize].view(self.dtype).view(self.shape)

    def _give_back(self) -> None:
        """The buffer may be filled by the next pass: behind this one's copies, on the same stream."""
        if self.buffer is not None:
            self.aside.free.append(self.buffer)
            self.buffer = None

    def __del__(self) -> None:
        self._give_back()  # of a pass that was broken off
