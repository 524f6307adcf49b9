"""The parts of a model, opened when they are needed and let go when another needs the memory."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch

from ..core.family import Member
from .clip import ClipDoor, load_clip
from .text import TextDoor, load_text
from .transformer import WanTransformer
from .vae import VaeDoor, load_vae
from .weights import load_transformer

T = TypeVar("T")


class Parts:
    """Opens the files that `paths` (by role) names, on one device and in one precision; one part is held at a time."""

    def __init__(self, member: Member, paths: Mapping[str, Path], device: torch.device, dtype: torch.dtype) -> None:
        self.member, self.paths, self.device, self.dtype = member, paths, device, dtype
        self._role = ""
        self._part: object = None

    def vae(self) -> VaeDoor:
        return self._hold("vae", self._vae)

    def pictures(self) -> tuple[VaeDoor, ClipDoor | None]:
        """What sees a picture that a video starts from. Both are small, and are held together."""
        facts = self.member.clip
        if facts is None:
            return self.vae(), None
        return self._hold(
            "pictures", lambda: (self._vae(), load_clip(self.paths["clip"], self.dtype, self.device, facts))
        )

    def text(self) -> TextDoor:
        paths = self.paths["text"], self.paths["tokenizer"]
        return self._hold("text", lambda: load_text(self.member.text, *paths, self.dtype, self.device))

    def transformer(self, expert: str) -> WanTransformer:
        """The transformer of an expert, frozen."""
        role = expert if expert in self.paths else "transformer"
        return self._hold(
            role, lambda: load_transformer(self.member.transformer, self.paths[role], self.dtype, self.device)
        )

    def _vae(self) -> VaeDoor:
        return load_vae(self.member.vae, self.paths["vae"], self.dtype, self.device)

    def release(self) -> None:
        """Let go of what is held."""
        self._role, self._part = "", None

    def _hold(self, role: str, load: Callable[[], T]) -> T:
        if self._role != role:
            self.release()  # before the next is loaded: there may be room for one
            self._part, self._role = load(), role
        return self._part  # type: ignore[return-value]
