"""Several cards on one training, as `torchrun` starts them: one process a card, the first of which leads.

The leader alone decides, writes and applies steps. The others are hands: in each step every process computes the gradients
of its part of the draws, all are summed, the leader applies them and hands the adapters out. So there is one optimizer, one
store, and the same result as on one card but for the order of sums.
"""

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(days=7)  # hands wait while the leader encodes, validates and makes previews


class World:
    """The processes of a training: which of how many this one is."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def tell(self, what: Any = None) -> Any:
        """What the leader says, in every process: any picklable object of our own processes."""
        if self.size == 1:
            return what
        held = [what]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    @torch.no_grad()
    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Every tensor becomes the sum of those of all processes."""
        if self.size > 1:
            self._as_one(tensors, dist.all_reduce)

    @torch.no_grad()
    def hand_out(self, tensors: Sequence[Tensor]) -> None:
        """Every tensor becomes that of the leader."""
        if self.size > 1:
            self._as_one(tensors, lambda flat: dist.broadcast(flat, src=0))

    def _as_one(self, tensors: Sequence[Tensor], act: Any) -> None:
        """One message for all: each has its price."""
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        act(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def close(self) -> None:
        if self.size > 1:
            dist.destroy_process_group()


ALONE = World()


def join(device: str | None) -> tuple[World, str | None]:
    """The world that `torchrun` made for this process, and the device that it works on; alone where there is none."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE, device
    card = device != "cpu" and torch.cuda.is_available()
    if card:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if card else "gloo", timeout=PATIENCE)
    return World(dist.get_rank(), size), device


def shared_out(weights: Sequence[float], size: int) -> list[int]:
    """Who of `size` takes each piece of work, so that all are done at about the same time: the heaviest first, each to whom
    has least (Graham 1969)."""
    loads = [0.0] * size
    takers = [0] * len(weights)
    for piece in sorted(range(len(weights)), key=lambda n: (-weights[n], n)):
        taker = min(range(size), key=lambda n: (loads[n], n))
        takers[piece], loads[taker] = taker, loads[taker] + weights[piece]
    return takers
