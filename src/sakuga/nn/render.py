"""From words to moving pictures: latents by the sampler, pictures by the VAE. Generation and previews both use it.

Shapes: T text tokens, D width of the text; B batch, C channels, F latent frames or frames, H W size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from ..core.errors import SakugaError
from ..core.family import Member
from ..core.media.fit import fit
from ..core.media.picture import read_picture
from . import samplers
from .condition import FREE, Condition, from_picture
from .denoise import Sampling, StepReport, Transformers, sample_all
from .flow import noise_for
from .guidance import PLAIN, Tricks
from .parts import Parts
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
    guidance: Mapping[str, float] | None = None  # by expert
    sampler: str = "unipc"
    split: int | None = None  # how many steps the first of two experts takes
    condition: Condition = FREE
    tricks: Tricks = PLAIN


def fit_size(member: Member, width: int, height: int, frames: int) -> tuple[int, int, int]:
    """Width, height and frames rounded down to what the model takes. Raises SakugaError when nothing is left."""
    step = member.side_step
    size = width // step * step, height // step * step, member.floor_frames(frames)
    if min(size) < 1:
        raise SakugaError(
            f"{width}x{height} with {frames} frames is too small: {member.title} needs {step}x{step} and 1 frame"
        )
    return size


Size = tuple[int, int, int]  # width, height, frames


def sized(
    parts: Parts, image: str | None, asked: tuple[int | None, int | None, int | None], otherwise: Size
) -> tuple[Size, Condition]:
    """The size of a video, what is not asked for as `otherwise` says, and what it starts from; a picture's shape goes
    before `otherwise`. Raises SakugaError where the picture cannot be read.
    """
    frames = asked[2] or otherwise[2]
    if image is None:
        return fit_size(parts.member, asked[0] or otherwise[0], asked[1] or otherwise[1], frames), FREE
    picture = read_picture(image)
    wide, high = size_for(parts.member, (picture.shape[1], picture.shape[0]), asked[:2], otherwise[0] * otherwise[1])
    size = width, height, frames = fit_size(parts.member, wide, high, frames)
    vae, clip = parts.pictures()
    # CLIP is shown the whole picture, the video starts from what of it has the video's shape
    seen = None if clip is None else clip.encode(_pixels(picture))
    pixels_BCFHW = _pixels(fit(picture, width, height))[:, :, None]
    return size, from_picture(parts.member, vae, pixels_BCFHW, frames, seen)


def _pixels(picture: np.ndarray) -> Tensor:
    """A picture (H x W x 3, uint8) as [1, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1


def size_for(
    member: Member, picture: tuple[int, int], asked: tuple[int | None, int | None], area: int
) -> tuple[int, int]:
    """Width and height of a video that starts from a picture of that width and height: as they are asked for, and what
    is not asked for follows the picture's shape. Where neither is, they are the largest of that shape within `area`.
    """
    aspect = picture[0] / picture[1]
    width, height = asked
    if width is not None:
        return width, height or round(width / aspect)
    if height is not None:
        return round(height * aspect), height
    return (rounded_down if member.given_channels else nearest_shape)(aspect, area, member.side_step)


def rounded_down(aspect: float, area: int, step: int) -> tuple[int, int]:
    """Both sides rounded down to the step, as official code does for image-to-video models."""
    width, height = sqrt(area * aspect) // step * step, sqrt(area / aspect) // step * step
    return max(step, int(width)), max(step, int(height))


def nearest_shape(aspect: float, area: int, step: int) -> tuple[int, int]:
    """One side rounded down, the other as long as the area lets it be: that of the two sizes whose shape is nearer, as
    official code does for text-and-image-to-video models."""
    width, height = rounded_down(aspect, area, step)
    sizes = (max(step, area // height // step * step), height), (width, max(step, area // width // step * step))
    return min(sizes, key=lambda size: max(aspect / (size[0] / size[1]), size[0] / size[1] / aspect))


def sampling_of(
    member: Member, request: Request, device: torch.device, on_step: Callable[[StepReport], None] | None = None
) -> Sampling:
    """The sampling of a request, ready for its first step. The same seed gives the same noise on every device."""
    shape = (1, *member.latent_shape(request.width, request.height, request.frames))
    texts = [pad_text([t.to(device)], member.text.length) for t in (request.text_TD, request.negative_TD)]
    steps = member.steps if request.steps is None else request.steps
    return Sampling(
        member, texts[0], texts[1], noise_BCFHW=noise_for(shape, "generate", request.seed).to(device),
        condition=request.condition if request.condition is FREE else request.condition.to(device),
        sampler=request.sampler, steps=steps, shift=request.shift, guidance=request.guidance,
        experts=None if request.split is None else samplers.by_hand(member, request.split, steps), tricks=request.tricks,
        fresh=lambda step: noise_for(shape, "step", request.seed, step).to(device), on_step=on_step,
    )  # fmt: skip


def latents_of(member: Member, transformers: Transformers, request: Request, device: torch.device) -> Tensor:
    """The clean latents [1, C, F, H, W] of a request."""
    sampling = sampling_of(member, request, device)
    sample_all([sampling], transformers)
    return sampling.x_BCFHW


@torch.no_grad()
def pictures_of(vae: VaeDoor, latents_BCFHW: Tensor) -> np.ndarray:
    """The frames [F, H, W, 3] uint8 of one video's latents."""
    pixels_BCFHW = vae.decode(latents_BCFHW)
    levels_FHWC = ((pixels_BCFHW[0].float() + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 3, 0)
    return levels_FHWC.to(torch.uint8).cpu().numpy()
