"""The embedded captioner: a small video classifier that tells the facts of a clip of the world it was trained on.

Its file says which facts it knows and in what words they are told, so that nothing of that world stands here.

Shapes: B batch, C channels, F frames, H W size.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..core.errors import SakugaError

WIDTHS = (24, 32, 64, 96)
GROUPS = 8
CHANGE_GAIN = 4  # a change from frame to frame is small beside the picture


class Network(nn.Module):
    """Each frame beside its change since the one before; four halvings; what is seen anywhere and on average."""

    def __init__(self, classes: Mapping[str, int]) -> None:
        super().__init__()
        a, b, c, d = WIDTHS
        self.convs = nn.ModuleList((
            nn.Conv3d(6, a, (1, 5, 5), (1, 2, 2), (0, 2, 2)),
            nn.Conv3d(a, b, (3, 3, 3), (1, 2, 2), (1, 1, 1)),
            nn.Conv3d(b, c, (3, 3, 3), (2, 2, 2), (1, 1, 1)),
            nn.Conv3d(c, d, (3, 3, 3), (2, 2, 2), (1, 1, 1)),
        ))  # fmt: skip
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, width) for width in WIDTHS)
        self.heads = nn.ModuleDict({fact: nn.Linear(2 * d, count) for fact, count in classes.items()})

    def forward(self, pixels_BCFHW: Tensor) -> dict[str, Tensor]:
        """Logits of each fact [B, classes], from pixels in [-1, 1]."""
        change = torch.diff(pixels_BCFHW, dim=2, prepend=pixels_BCFHW[:, :, :1])
        x = torch.cat((pixels_BCFHW, CHANGE_GAIN * change), dim=1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.silu(norm(conv(x)))
        x = torch.cat((x.mean((2, 3, 4)), x.amax((2, 3, 4))), dim=1)
        return {fact: head(x) for fact, head in self.heads.items()}


@dataclass(frozen=True)
class Knowledge:
    """What a describer knows: its input, the values of each fact, their words, and the sentence they are put into."""

    frames: int
    width: int
    height: int
    facts: dict[str, list[str]]
    words: dict[str, dict[str, str]]
    sentence: str

    def told(self, facts: Mapping[str, str]) -> str:
        return self.sentence.format(**{fact: self.words[fact][value] for fact, value in facts.items()})


class Describer:
    """A network with what it knows."""

    def __init__(self, network: Network, knowledge: Knowledge) -> None:
        self.network, self.knowledge = network, knowledge

    @torch.no_grad()
    def facts(self, frames_FHWC: np.ndarray) -> dict[str, str]:
        """The likeliest value of each fact of a clip of uint8 RGB frames of the known size; a still is held."""
        known = self.knowledge
        count = len(frames_FHWC)
        first = max(0, (count - known.frames) // 2)
        chosen = [min(first + n, count - 1) for n in range(known.frames)]
        pixels_BCFHW = torch.from_numpy(frames_FHWC[chosen]).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        logits = self.network(pixels_BCFHW)
        return {fact: known.facts[fact][int(values.argmax())] for fact, values in logits.items()}

    def caption(self, frames_FHWC: np.ndarray) -> str:
        return self.knowledge.told(self.facts(frames_FHWC))


def load_describer(path: Path) -> Describer:
    """Raises SakugaError where the file is not a describer."""
    try:
        with safe_open(path, framework="pt") as file:
            knowledge = Knowledge(**json.loads((file.metadata() or {})["knowledge"]))
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 (not a dict)
        network = Network({fact: len(values) for fact, values in knowledge.facts.items()})
        network.load_state_dict(tensors)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SakugaError(f"{path} is not a describer of this version; install Sakuga again") from error
    return Describer(network.eval(), knowledge)


def save_describer(path: Path, tensors: Mapping[str, Tensor], knowledge: Mapping[str, Any]) -> None:
    """Write a trained network in half precision, with what it knows."""
    from safetensors.torch import save_file

    halves = {key: tensor.half().contiguous() for key, tensor in tensors.items()}
    save_file(halves, path, {"knowledge": json.dumps(knowledge)})
