"""The parts of a model, opened when they are needed and let go when another needs the memory."""

import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch

from ..core.cost import USABLE, Held, blocks_bytes, forward_bytes, outer_bytes, plan_weights
from ..core.family import Member
from .clip import ClipDoor, load_clip
from .compiled import check_compiler, compile_blocks
from .device import DTYPES, cap_memory, free_memory, room_for_weights
from .text import TextDoor, load_text
from .transformer import WanTransformer
from .vae import VaeDoor, load_vae
from .weights import load_transformer

T = TypeVar("T")
NAMES = {dtype: name for name, dtype in DTYPES.items()}
HOST_SHARE = 0.6  # of the host's free memory, for inputs of blocks: streamed weights and the page cache want some too
# By the compute precision: how weights may be stored instead, where there is no room for them as they are.
SMALLER = {"fp32": ("bf16", "fp8"), "bf16": ("fp8",), "fp16": ("fp8",)}


class Parts:
    """Opens the files that `paths` (by role) names, on one device and in one precision; one part is held at a time.

    How the transformer's weights are held follows from the memory there is, unless `weights` (bf16, fp8) and `stream` (so
    many blocks in host memory) say; `vram` caps a card, in gigabytes. `compile` compiles the blocks when they first run.
    """

    def __init__(
        self, member: Member, paths: Mapping[str, Path], device: torch.device, dtype: torch.dtype, *,
        weights: str | None = None, stream: int | None = None, vram: float | None = None, compile: bool = False,
    ) -> None:  # fmt: skip
        self.member, self.paths, self.device, self.dtype = member, paths, device, dtype
        self.weights, self.stream, self.vram, self.compile = weights, stream, vram, compile
        self.held: Held | None = None  # how the weights of transformers are held, once one was opened
        # bytes of the device that must be left beside the transformer's weights
        self.beside: float = forward_bytes(member.transformer, member.tokens(*member.sizes[0], member.frames))
        self.inputs: float = (
            0  # bytes of these that are inputs of blocks, kept for a backward pass: they may wait aside
        )
        self._role = ""
        self._part: object = None
        cap_memory(device, vram)
        if compile:
            check_compiler(device)

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
        """The transformer of an expert, frozen, with `beside` bytes left where that can be."""
        role = expert if expert in self.paths else "transformer"
        return self._hold(role, lambda: self._transformer(self.paths[role]))

    def plan(self) -> Held:
        """How the weights of transformers are held: decided once for all experts, since a recipe names one kind."""
        if self.held is None:
            own = NAMES[self.dtype]
            kinds = (self.weights,) if self.weights else (own, *SMALLER[own])
            free = room_for_weights(self.device, self.vram)
            inputs = self.inputs if self.host_holds_inputs else 0
            self.held = plan_weights(self.member.transformer, self.beside, free, kinds, self.stream, inputs)
        return self.held

    @property
    def host_holds_inputs(self) -> bool:
        """Whether there is host memory for the inputs of all blocks; where the system does not say, it is tried."""
        free = free_memory(torch.device("cpu"))
        return free == 0 or self.inputs <= HOST_SHARE * free

    @property
    def room_for_another(self) -> bool:
        """Whether a transformer fits beside what lies on the device now, with its work."""
        shape = self.member.transformer
        needed = blocks_bytes(shape, self.plan()) + outer_bytes(shape) + self.beside
        return needed <= USABLE * room_for_weights(self.device, self.vram)

    def _transformer(self, path: Path) -> WanTransformer:
        held, shape = self.plan(), self.member.transformer
        model = load_transformer(shape, path, self.dtype, self.device, self.stored.get("weights"), held.streamed)
        if self.compile:
            compile_blocks(model)
        return model

    @property
    def told(self) -> str:
        """In words, what of the transformer is not on the device as it computes; nothing where all is."""
        if self.held is None:
            return ""
        layers, kind = self.member.transformer.layers, self.held.kind
        said = [f"weights in {kind}"] if self.stored else []
        said += [f"the weights of {self.held.streamed} of {layers} blocks in host memory"] if self.held.streamed else []
        said += ["the inputs of blocks in host memory until the backward pass"] if self.held.aside else []
        return ", ".join(said)

    @property
    def stored(self) -> dict[str, str]:
        """{"weights": kind} where the large weights are not stored as they compute: what a recipe must say."""
        return {} if self.held is None or self.held.kind == NAMES[self.dtype] else {"weights": self.held.kind}

    @property
    def derived(self) -> dict[str, str]:
        """The settings of precision and weights as they are here, to be kept by what must go on as it began."""
        kind = self.plan().kind
        return {"precision": NAMES[self.dtype]} | ({"weights": kind} if kind != "fp32" else {})

    def _vae(self) -> VaeDoor:
        return load_vae(self.member.vae, self.paths["vae"], self.dtype, self.device)

    def release(self) -> None:
        """Let go of what is held."""
        held, self._role, self._part = self._part is not None, "", None
        if held:
            gc.collect()  # a compiled block and what it was compiled to hold each other

    def _hold(self, role: str, load: Callable[[], T]) -> T:
        if self._role != role:
            self.release()  # before the next is loaded: there may be room for one
            self._part, self._role = load(), role
        return self._part  # type: ignore[return-value]
