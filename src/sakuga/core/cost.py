"""What training costs before anything runs: floating-point work and memory of a step, from the shape of the transformer.

L video tokens, T text tokens, width d, ffn width f; the base is frozen and its blocks are recomputed in the backward pass:

    P          = layers (6 d^2 + 2 d f)              the parameters that every video token meets
    matrices   = 2 P L + layers 4 d^2 T              one pass forward; the second term is k, v over the text
    attention  = layers (4 L^2 d + 4 L T d)
    a sample   = 3 matrices + 4 attention            forward, recompute, and backward: once for matrices (the gradient of
                                                     inputs alone), twice for attention
"""

from dataclasses import dataclass

from .family import Member, Transformer

GB = 1e9
# Bytes of a trained parameter: itself, its gradient and two moments of AdamW, all in fp32.
TRAINED_BYTES = 16
WEIGHT_BYTES = {"bf16": 2, "fp32": 4}
# Values a token that one block holds while its backward pass runs, in widths d and f: norms, q, k, v, outputs, gates and
# their gradients; the hidden layer before and after its activation, and its gradient.
WORKING_D, WORKING_F = 16, 3


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


def lora_parameters(shape: Transformer, rank: int) -> int:
    """The weights of a LoRA on every linear layer of every block."""
    d, f = shape.dim, shape.ffn_dim
    square = 10 if shape.clip_branch else 8
    return shape.layers * rank * (square * 2 * d + 2 * (d + f))


def sample_flop(member: Member, width: int, height: int, frames: int) -> float:
    """Floating-point operations to train on one sample, recompute counted."""
    shape = member.transformer
    tokens, text = member.tokens(width, height, frames), member.text.length
    d, f = shape.dim, shape.ffn_dim
    matrices = shape.layers * (2 * tokens * (6 * d * d + 2 * d * f) + 4 * d * d * text)
    attention = shape.layers * 4 * tokens * d * (tokens + text)
    return 3 * matrices + 4 * attention


def step_memory(member: Member, rank: int, tokens: int, *, weight_bytes: float, batch: int = 1) -> Memory:
    """The device memory of a step over `batch` samples of `tokens` each, weights resident and blocks recomputed."""
    shape = member.transformer
    kept = shape.layers * shape.dim  # the inputs of the blocks, in bf16
    working = WORKING_D * shape.dim + WORKING_F * shape.ffn_dim
    return Memory(
        parameters(shape) * weight_bytes / GB,
        lora_parameters(shape, rank) * TRAINED_BYTES / GB,
        2 * batch * tokens * (kept + working) / GB,
    )


def latent_bytes(member: Member, width: int, height: int, frames: int) -> int:
    """Bytes of a sample in the cache: its latent in half precision, and what an image-to-video model sees beside it."""
    channels, f, h, w = member.latent_shape(width, height, frames)
    latents = 2 if member.given_channels else 1
    clip = member.clip.tokens * member.clip.width if member.clip else 0
    return 2 * (latents * channels * f * h * w + clip)
