"""The text encoder layer by layer: each is read, every text goes through it, it is let go, the next comes.

A file is read once when it is loaded whole, too: so all texts together cost what loading costs, in the memory of a layer
or two. Of the embeddings only the rows of the tokens that occur are read.

Shapes: B batch, T text tokens, D width of the text.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.family import TextEncoder
from .weights import DoesNotFit, Entry, few, fill, read_rows, wanted

TABLE = "shared"  # the embeddings [vocabulary, D]
NORM = "encoder.final_layer_norm"
# Tokens that are worth a pass through the file: 32,768 are half a GB, and three hundred captions for ten seconds of reading.
# On a CPU, where reading is a small part, as few as make a group end within minutes: what is done is then kept.
TOGETHER_ON_CARD, TOGETHER_ON_CPU = 2**15, 2**12


class Layers:
    """`model` is a UMT5EncoderModel of `facts` on the meta device, `entries` its tensors by transformers' names, unread.

    `table` is what `path` calls the embeddings. What the file holds has been held against the model (`compare`).
    """

    def __init__(
        self, model: Any, entries: Sequence[Entry], table: str, path: Path, facts: TextEncoder, dtype: torch.dtype,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.reads, self.table, self.path, self.facts = dict(entries), table, path, facts
        self.dtype, self.device = dtype, device
        self.ahead = device.type != "cpu"  # the next layer is read while one computes; on a CPU memory is dearer
        self.stack, self.blocks, self.norm = model.encoder, model.encoder.block, model.encoder.final_layer_norm
        self.stack.final_layer_norm = nn.Identity()  # it comes after the last layer alone

    @property
    def together(self) -> int:
        """How many tokens are best given in one call."""
        return TOGETHER_ON_CPU if self.device.type == "cpu" else TOGETHER_ON_CARD

    @torch.no_grad()
    def encode(self, rows: Sequence[Sequence[int]], watch: Callable[[int], None]) -> list[Tensor]:
        """An embedding [T, D] in fp32 of each row of token ids; `watch` is told of each layer that a text went through.

        One text at a time, as in the whole model: the result is that of the whole model to the bit.
        """
        if not rows:
            return []
        with wanted(self.path, "text", self.facts):
            texts = self._looked_up(rows)
            for block in self._blocks():
                self.stack.block = nn.ModuleList([block])
                for n, text_BTD in enumerate(texts):
                    seen = torch.ones(text_BTD.shape[:2], dtype=torch.long, device=self.device)
                    texts[n] = self.stack(inputs_embeds=text_BTD, attention_mask=seen)[0]
                    watch(1)
            self._put(NORM, self.norm, self._read(NORM))
        for n, text_BTD in enumerate(texts):
            texts[n] = self.norm(text_BTD)[0].float()
        return texts

    def _looked_up(self, rows: Sequence[Sequence[int]]) -> list[Tensor]:
        """The embeddings [1, T, D] of tokens."""
        ids, places = torch.unique(torch.tensor([token for row in rows for token in row]), return_inverse=True)
        with torch.device("meta"):
            table = nn.Embedding(len(ids), self.facts.dim)
        self._put(TABLE, table, [(f"{TABLE}.weight", read_rows(self.path, self.table, ids.tolist()))])
        return [table(part[None]) for part in places.to(self.device).split([len(row) for row in rows])]

    def _blocks(self) -> Iterator[nn.Module]:
        """Every layer with its weights, as long as it is looked at."""
        names = [f"encoder.block.{number}" for number in range(len(self.blocks))]
        for name, block, tensors in zip(names, self.blocks, self._stored(names), strict=True):
            try:
                self._put(name, block, tensors)
                yield block
            finally:
                block.to("meta")  # its memory is free before the next takes it

    def _stored(self, names: Sequence[str]) -> Iterator[Iterable[tuple[str, Tensor]]]:
        """The tensors of each layer."""
        if not self.ahead:
            yield from map(self._read, names)
            return
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(lambda name: list(self._read(name)), names[0])
            for following in (*names[1:], None):
                stored = coming.result()
                if following:
                    coming = pool.submit(lambda name: list(self._read(name)), following)
                yield _let_go(stored)

    def _read(self, name: str) -> Iterator[tuple[str, Tensor]]:
        """The tensors of a module, read as they are asked for."""
        for key, read in self.reads.items():
            if key.startswith(f"{name}."):
                tensor = read()
                yield key, tensor.to(self.dtype) if tensor.dtype == torch.float32 else tensor

    def _put(self, name: str, module: nn.Module, tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Fill a module, which `name` says the place of, so that errors name a tensor by its whole name."""
        for part in reversed(name.split(".")):
            outer = nn.Module()
            outer.add_module(part, module)
            module = outer
        fill(module, iter(tensors), self.path, lambda _: self.dtype, self.device)


def _let_go(stored: list[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Each of `stored`, which then holds it no longer."""
    while stored:
        yield stored.pop()


def compare(found: Sequence[str], model: nn.Module, path: Path) -> None:
    """What `fill` says of the keys of a file, before anything is read. Raises DoesNotFit."""
    expected = dict(model.named_parameters())
    missing, unexpected = expected.keys() - set(found), set(found) - expected.keys()
    if missing or unexpected:
        parts = [f"missing {few(missing)}"] if missing else []
        parts += [f"not expected {few(unexpected)}"] if unexpected else []
        raise DoesNotFit(f"{path} does not fit this model: {'; '.join(parts)}; choose the file that belongs to it")
    if len(found) > len(expected):
        twice = {key for key in found if found.count(key) > 1}
        raise DoesNotFit(f"{path} holds {few(twice)} twice; give the file or folder of one model")
