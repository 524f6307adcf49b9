"""From words to moving pictures: latents by the sampler, pictures by the VAE. Generation and previews both use it.

Shapes: T text tokens, D width of the text; B batch, C channels, F latent frames or frames, H W size.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.errors import SakugaError
from ..core.family import Member
from .denoise import StepReport, Transformers, generate_latents
from .flow import noise_for
from .text import pad_text
from .vae import VaeDoor


@dataclass(frozen=True)
class Request:
    """One video to make: encoded words, size in pixels and frames, and how to sample. None is the member's own."""

    text_TD: Tensor
    negative_TD: Tensor
    width: int
    height: int
    frames: int
    seed: int
    steps: int | None = None
    shift: float | None = None
    guidance: float | None = None
    sampler: str = "unipc"


def fit_size(member: Member, width: int, height: int, frames: int) -> tuple[int, int, int]:
    """Width, height and frames rounded down to what the model takes. Raises SakugaError when nothing is left."""
    step = member.side_step
    size = width // step * step, height // step * step, member.floor_frames(frames)
    if min(size) < 1:
        raise SakugaError(
            f"{width}x{height} with {frames} frames is too small: {member.title} needs {step}x{step} and 1 frame"
        )
    return size


def latents_of(
    member: Member, transformers: Transformers, request: Request, device: torch.device,
    on_step: Callable[[StepReport], None] | None = None,
) -> Tensor:  # fmt: skip
    """The clean latents [1, C, F, H, W] of a request."""
    shape = (1, *member.latent_shape(request.width, request.height, request.frames))
    texts = [pad_text([t.to(device)], member.text.length) for t in (request.text_TD, request.negative_TD)]
    guidance = None if request.guidance is None else {e.name: request.guidance for e in member.experts}
    return generate_latents(
        transformers, member, texts[0], texts[1], noise_BCFHW=noise_for(shape, "generate", request.seed).to(device),
        sampler=request.sampler, steps=request.steps, shift=request.shift, guidance=guidance, on_step=on_step,
    )  # fmt: skip


@torch.no_grad()
def pictures_of(vae: VaeDoor, latents_BCFHW: Tensor) -> np.ndarray:
    """The frames [F, H, W, 3] uint8 of one video's latents."""
    pixels_BCFHW = vae.decode(latents_BCFHW)
    levels_FHWC = ((pixels_BCFHW[0].float() + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 3, 0)
    return levels_FHWC.to(torch.uint8).cpu().numpy()
