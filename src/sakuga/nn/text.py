"""The door to the text encoder: prompts to UMT5 embeddings. The network itself is transformers' UMT5EncoderModel.

Shapes: B batch, T text tokens, D width of the text.
"""

import html
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.errors import SakugaError
from ..core.family import TextEncoder
from .device import free_memory
from .text_layers import TABLE, Layers, compare
from .weights import brief, fill, open_weights, read_bytes, read_tensors, wanted

Tokenize = Callable[[str], list[int]]  # the end mark included, however long the text

EMBEDDED_TOKENIZER = "spiece_model"  # a tensor of bytes in ComfyUI's files
TIED = "encoder.embed_tokens.weight"  # the same weights as `shared`
HEADROOM = 1.25  # what a whole encoder must leave, as a factor of its size: others have the memory too
_KEYS = (
    (r"^token_embedding\.", "shared."),
    (r"^norm\.", "encoder.final_layer_norm."),
    (r"^blocks\.(\d+)\.norm1\.", r"encoder.block.\1.layer.0.layer_norm."),
    (r"^blocks\.(\d+)\.attn\.", r"encoder.block.\1.layer.0.SelfAttention."),
    (r"^blocks\.(\d+)\.pos_embedding\.embedding\.", r"encoder.block.\1.layer.0.SelfAttention.relative_attention_bias."),
    (r"^blocks\.(\d+)\.norm2\.", r"encoder.block.\1.layer.1.layer_norm."),
    (r"^blocks\.(\d+)\.ffn\.gate\.0\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_0."),
    (r"^blocks\.(\d+)\.ffn\.fc1\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_1."),
    (r"^blocks\.(\d+)\.ffn\.fc2\.", r"encoder.block.\1.layer.1.DenseReluDense.wo."),
)


def transformers_key(key: str) -> str:
    """The transformers name of a weight of the official file; transformers' own names come back as they are."""
    for pattern, name in _KEYS:
        key = re.sub(pattern, name, key)
    return key


def text_config(facts: TextEncoder) -> dict[str, Any]:
    """The settings of UMT5Config for a row of the family table."""
    return {
        "vocab_size": facts.vocabulary,
        "d_model": facts.dim,
        "d_kv": facts.head_dim,
        "d_ff": facts.ffn_dim,
        "num_layers": facts.layers,
        "num_heads": facts.heads,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,
    }


def make_text(config: dict[str, Any]) -> Any:
    """A UMT5EncoderModel without weights, on the meta device."""
    from transformers import UMT5Config, UMT5EncoderModel

    with torch.device("meta"):
        return UMT5EncoderModel(UMT5Config(**config))


def clean(prompt: str) -> str:
    """As official code cleans a prompt: entities unescaped twice, runs of white space to one space."""
    return " ".join(html.unescape(html.unescape(prompt)).split())


class TextDoor:
    """`model` is the UMT5EncoderModel, `length` the most tokens of a prompt.

    `together` says how many tokens are best given to `encode` in one call; 1: it makes no difference.
    """

    together = 1

    def __init__(self, model: Any, tokenize: Tokenize, length: int) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenize, self.length = tokenize, length

    @property
    def layers(self) -> int:
        """What a prompt goes through: the units of `encode`'s `watch`."""
        return int(self.model.config.num_layers)

    def tokens(self, prompt: str) -> list[int]:
        """Token ids, cut to `length`; a text that was cut keeps its end mark."""
        ids, known = self.tokenize(clean(prompt)), self.model.config.vocab_size
        if not ids or min(ids) < 0 or max(ids) >= known:
            raise SakugaError(
                f"the tokenizer gives tokens that the text encoder does not know ({brief(str(ids))} of {known}); "
                "take the tokenizer that belongs to the encoder"
            )
        return ids if len(ids) <= self.length else [*ids[: self.length - 1], ids[-1]]

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], watch: Callable[[int], None] = lambda layers: None) -> list[Tensor]:
        """An embedding [T, D] in fp32 of each prompt, T its number of tokens; `watch` is told of layers (`work`) done.

        One prompt at a time: a cached embedding must not depend on what stood beside it in a batch.
        """
        device, found = self.model.device, []
        for ids in map(self.tokens, prompts):
            row = torch.tensor([ids], device=device)
            found.append(self.model(input_ids=row, attention_mask=torch.ones_like(row))[0][0].float())
            watch(self.layers)
        return found


class LayeredDoor(TextDoor):
    """The same door where the encoder does not fit into memory: it is read layer by layer, in every call anew."""

    def __init__(self, model: Any, layers: Layers, tokenize: Tokenize, length: int) -> None:
        super().__init__(model, tokenize, length)
        self._layers, self.together = layers, layers.together

    def encode(self, prompts: Sequence[str], watch: Callable[[int], None] = lambda layers: None) -> list[Tensor]:
        return self._layers.encode([self.tokens(prompt) for prompt in prompts], watch)


def pad_text(texts: list[Tensor], length: int) -> Tensor:
    """Embeddings [T, D] of any T <= `length` -> [B, length, D], zeros after the text."""
    return torch.stack([torch.cat((u, u.new_zeros(length - u.shape[0], u.shape[1]))) for u in texts])


def load_text(
    facts: TextEncoder,
    path: Path,
    tokenizer_path: Path | None,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cpu",
    *,
    layered: bool | None = None,
) -> TextDoor:
    """The encoder of that row from a transformers folder, the official .pth, or a .safetensors in either's names.

    `tokenizer_path` is a folder with tokenizer.json or spiece.model, one of these files, or a file of ComfyUI's that
    carries a tokenizer; None takes the one that `path` carries. `layered` has the encoder read layer by layer whenever
    texts are encoded; None does so where it does not fit well into the memory that is free.
    """
    device, model = torch.device(device), make_text(text_config(facts))
    entries = open_weights(path, device)
    weights = {key: transformers_key(key) for key, _ in entries}
    carried = next((read() for key, read in entries if key == EMBEDDED_TOKENIZER), None)
    if carried is not None and carried.dtype == torch.uint8:
        del weights[EMBEDDED_TOKENIZER]
    named = [(weights[key], read) for key, read in entries if key in weights and key != TIED]
    with wanted(path, "text", facts):
        compare([key for key, _ in named], model, path)
    tokenize = _tokenizer_of(path, tokenizer_path, None if EMBEDDED_TOKENIZER in weights else carried)
    if not fits_well(model, dtype, device) if layered is None else layered:
        table = next((key for key, name in weights.items() if name == f"{TABLE}.weight"), "")
        layers = Layers(model, named, table, path, facts, dtype, device)
        return LayeredDoor(model, layers, tokenize, facts.length)
    with wanted(path, "text", facts):
        fill(model, ((key, read()) for key, read in named), path, lambda _: dtype, device)
    model.encoder.embed_tokens.weight = model.shared.weight
    return TextDoor(model, tokenize, facts.length)


def fits_well(model: Any, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether there is room for the weights of a model, with what computing takes besides."""
    bytes_ = sum(weight.numel() for weight in model.parameters()) * dtype.itemsize
    return bytes_ * HEADROOM <= free_memory(device)


def _tokenizer_of(path: Path, tokenizer_path: Path | None, carried: Tensor | None) -> Tokenize:
    if tokenizer_path is not None:
        return load_tokenizer(tokenizer_path)
    if carried is None:
        raise _no_tokenizer(path)
    return _sentencepiece(carried.numpy().tobytes(), path)


def load_tokenizer(path: Path) -> Tokenize:
    files = [path / name for name in ("tokenizer.json", "spiece.model")] if path.is_dir() else [path]
    file = next((f for f in files if f.is_file()), None)
    if file is None:
        raise SakugaError(f"{path} holds no tokenizer; give the folder with tokenizer.json or spiece.model")
    if file.suffix == ".model":
        return _sentencepiece(read_bytes(file), file)
    if file.suffix == ".safetensors":
        return _sentencepiece(_carried(file), file)
    from tokenizers import Tokenizer

    with _one_sentence(file):
        tokenizer = Tokenizer.from_buffer(read_bytes(file))
        tokenizer.no_truncation()  # what the file was saved with is not our length
        tokenizer.no_padding()

    def tokenize(text: str) -> list[int]:
        with _one_sentence(file):
            return list(tokenizer.encode(text).ids)

    return tokenize


def _carried(file: Path) -> bytes:
    """The tokenizer that a file of weights carries as a tensor."""
    for _, tensor in read_tensors(file, only=EMBEDDED_TOKENIZER):
        if tensor.dtype == torch.uint8:
            return tensor.numpy().tobytes()
    raise _no_tokenizer(file)


def _no_tokenizer(path: Path) -> SakugaError:
    return SakugaError(f"{path} carries no tokenizer; give the folder with tokenizer.json or spiece.model")


def _sentencepiece(model: bytes, file: Path) -> Tokenize:
    from sentencepiece import SentencePieceProcessor

    with _one_sentence(file):
        processor = SentencePieceProcessor(model_proto=model)

    def tokenize(text: str) -> list[int]:
        with _one_sentence(file):
            return [*processor.encode(text), processor.eos_id()]

    return tokenize


@contextmanager
def _one_sentence(file: Path) -> Iterator[None]:
    """For what tokenizers do with a file: they raise Exception itself, or Rust's panic, which no `except` can name."""
    try:
        yield
    except BaseException as error:
        if type(error) in (Exception, RuntimeError, ValueError) or type(error).__name__ == "PanicException":
            raise SakugaError(
                f"{file} holds no tokenizer that can be used ({brief(str(error))}); take the one that belongs to the model"
            ) from error
        raise
