"""What training and generating cost before anything runs: floating-point work and memory, from the shape of the transformer.

L video tokens, T text tokens, width d, ffn width f; the base is frozen and its blocks are recomputed in the backward pass:

    P          = layers (6 d^2 + 2 d f)              the parameters that every video token meets
    matrices   = 2 P L + layers 4 d^2 T              one pass forward; the second term is k, v over the text
    attention  = layers (4 L^2 d + 4 L T d)
    a sample   = 3 matrices + 4 attention            forward, recompute, and backward: once for matrices (the gradient of
                                                     inputs alone), twice for attention

Bytes a token in bf16, counted while our blocks run in shapes of several widths:

    forward    = max(32 d, 18 d + 4 f)               while attention runs, or the feed-forward
    training   = 4 d layers + 49 d + 8 f             the fp32 input of each block; a block that runs again, and backward
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .adapters import LORA, Kind
from .errors import SakugaError
from .family import Member, Transformer

GB = 1e9
# Bytes of a trained parameter: itself, its gradient and two moments of AdamW, all in fp32.
TRAINED_BYTES = 16
WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1}
SLOTS = 2  # blocks in device memory for those that are streamed: one computes while the other is filled
ON_THE_WAY = 3  # inputs of blocks on the device while the others wait aside: in use, going, and coming
USABLE = 0.9  # share of what is free: allocators leave gaps, libraries take workspaces


@dataclass(frozen=True)
class Memory:
    """Gigabytes (10^9) of device memory that a training step takes at most, by what takes them. An estimate."""

    weights: float
    lora: float
    activations: float

    @property
    def total(self) -> float:
        return self.weights + self.lora + self.activations


def parameters(shape: Transformer) -> int:
    """The weights of a transformer's blocks, which are nearly all it has."""
    d, f = shape.dim, shape.ffn_dim
    return shape.layers * (8 * d * d + 2 * d * f + (2 * d * d if shape.clip_branch else 0))


def lora_parameters(shape: Transformer, rank: int, kind: Kind = LORA) -> int:
    """The numbers that adapters of a kind learn on every linear layer of every block."""
    d, f = shape.dim, shape.ffn_dim
    square = 10 if shape.clip_branch else 8
    return shape.layers * (square * kind.numbers(d, d, rank) + kind.numbers(f, d, rank) + kind.numbers(d, f, rank))


def sample_flop(member: Member, width: int, height: int, frames: int) -> float:
    """Floating-point operations to train on one sample, recompute counted."""
    shape = member.transformer
    tokens, text = member.tokens(width, height, frames), member.text.length
    d, f = shape.dim, shape.ffn_dim
    matrices = shape.layers * (2 * tokens * (6 * d * d + 2 * d * f) + 4 * d * d * text)
    attention = shape.layers * 4 * tokens * d * (tokens + text)
    return 3 * matrices + 4 * attention


def step_memory(
    member: Member, rank: int, tokens: int, *, weight_bytes: float, batch: int = 1, kind: Kind = LORA
) -> Memory:
    """The device memory of a step over `batch` samples of `tokens` each, weights resident and blocks recomputed."""
    shape = member.transformer
    a_token = 4 * shape.dim * shape.layers + 49 * shape.dim + 8 * shape.ffn_dim
    if kind.keeps_outputs:
        a_token += 2 * (7 * shape.dim + shape.ffn_dim)
    return Memory(
        parameters(shape) * weight_bytes / GB,
        lora_parameters(shape, rank, kind) * TRAINED_BYTES / GB,
        batch * tokens * a_token / GB,
    )


def forward_bytes(shape: Transformer, tokens: int, batch: int = 1) -> int:
    """What a forward pass without gradients takes beside the weights."""
    return batch * tokens * max(32 * shape.dim, 18 * shape.dim + 4 * shape.ffn_dim)


def outer_bytes(shape: Transformer) -> int:
    """The weights outside the blocks: time in fp32, text in bf16."""
    d = shape.dim
    return 4 * d * (7 * d + shape.freq_dim) + 2 * d * (d + shape.text_dim)


def input_bytes(shape: Transformer, tokens: int, batch: int = 1) -> int:
    """The inputs of all blocks, in fp32: what recomputing them keeps."""
    return batch * tokens * 4 * shape.dim * shape.layers


@dataclass(frozen=True)
class Held:
    """How the weights of a transformer's blocks are held: stored as a kind of `WEIGHT_BYTES`, so many blocks streamed; and
    whether the inputs of blocks that run again wait `aside`, in host memory."""

    kind: str
    streamed: int = 0
    aside: bool = False


def plan_weights(
    shape: Transformer, beside: float, free: float, kinds: Sequence[str], stream: int | None = None, inputs: float = 0
) -> Held:
    """The first of `kinds` that leaves `beside` of `free` bytes for the work, all blocks resident; else the last of them, with
    as few blocks streamed as will do, or all. `stream` says how many instead. Raises SakugaError where there are not so many.

    Of `beside`, `inputs` are bytes that may wait in host memory instead. That comes before streaming: they are fewer bytes
    than weights for short samples, and for long ones there is time enough.
    """
    if (stream or 0) > shape.layers:
        raise SakugaError(
            f"stream = {stream} is more than the {shape.layers} blocks that the transformer has; set fewer"
        )
    most = USABLE * free - outer_bytes(shape) - beside
    choices = [Held(kind, stream or 0) for kind in kinds]
    aside = inputs > 0
    if aside:
        choices.append(Held(kinds[-1], stream or 0, aside))
    if stream is None:
        choices += [Held(kinds[-1], count, aside) for count in range(1, shape.layers + 1)]
    spared = (1 - ON_THE_WAY / shape.layers) * inputs
    return next((held for held in choices if blocks_bytes(shape, held) <= most + held.aside * spared), choices[-1])


def blocks_bytes(shape: Transformer, held: Held) -> float:
    """Device memory of the blocks' weights: those that stay, and the slots that the others pass through."""
    on_device = shape.layers - held.streamed + min(SLOTS, held.streamed)
    return parameters(shape) / shape.layers * WEIGHT_BYTES[held.kind] * on_device


def latent_bytes(member: Member, width: int, height: int, frames: int) -> int:
    """Bytes of a sample in the cache: its latent in half precision, and what an image-to-video model sees beside it."""
    channels, f, h, w = member.latent_shape(width, height, frames)
    latents = 2 if member.given_channels else 1
    clip = member.clip.tokens * member.clip.width if member.clip else 0
    return 2 * (latents * channels * f * h * w + clip)
