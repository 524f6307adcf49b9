"""What a video starts from, in the form in which each kind of member is given it.

Image-to-video members are given, joined to the noisy latents, the latents of a video that shows the picture and then
grey, and a mask of what is given; those of Wan 2.1 also what CLIP sees in the picture. Text-and-image-to-video members
are given the picture's latents in place of the first noisy frame, and timestep 0 there.

Shapes: B batch, C channels, F frames or latent frames, H W size, T image tokens, D width of CLIP.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..core.errors import SakugaError
from ..core.family import Member
from .vae import VaeDoor

GREY = 0.0  # of pixels in [-1, 1]


@dataclass(frozen=True)
class Condition:
    """What a model is given beside noise and words; a batch of one serves a batch of any size."""

    image_BCFHW: Tensor | None = None  # mask and latents, joined to the noisy latents
    clip_BTD: Tensor | None = None
    first_BCFHW: Tensor | None = None  # clean latents of the first latent frame

    def to(self, device: torch.device) -> "Condition":
        return Condition(
            *(x if x is None else x.to(device) for x in (self.image_BCFHW, self.clip_BTD, self.first_BCFHW))
        )

    def keep(self, x_BCFHW: Tensor) -> Tensor:
        """The latents with the frame that is given in its place."""
        if self.first_BCFHW is None:
            return x_BCFHW
        first = self.first_BCFHW.to(x_BCFHW).expand(len(x_BCFHW), -1, -1, -1, -1)
        return torch.cat((first, x_BCFHW[:, :, first.shape[2] :]), dim=2)

    def times(self, t_B: Tensor, frames: int) -> Tensor:
        """Timesteps: one a video as they are, or one a latent frame, 0 where it is given."""
        if self.first_BCFHW is None:
            return t_B
        t_BF = t_B[:, None].repeat(1, frames)
        t_BF[:, : self.first_BCFHW.shape[2]] = 0
        return t_BF


FREE = Condition()  # words alone


def conditioned(transformer: Callable[..., Tensor], condition: Condition) -> Callable[..., Tensor]:
    """The transformer as a function of latents, timestep [B] and text alone."""
    if condition is FREE:
        return transformer

    def velocity(x_BCFHW: Tensor, t_B: Tensor, text_BTD: Tensor, **how: Any) -> Tensor:
        x_BCFHW, t = condition.keep(x_BCFHW), condition.times(t_B, x_BCFHW.shape[2])
        beside = (_of_batch(given, len(x_BCFHW)) for given in (condition.image_BCFHW, condition.clip_BTD))
        return transformer(x_BCFHW, t, text_BTD, *beside, **how)

    return velocity


def _of_batch(given: Tensor | None, batch: int) -> Tensor | None:
    return given if given is None else given.expand(batch, *given.shape[1:])


def check_picture(member: Member, picture: str | None) -> None:
    """Raises SakugaError where a picture is missing, or given to a model that has no use for one."""
    if picture is None and member.needs_picture:
        raise SakugaError(
            f"{member.title} starts from a picture; give it as --image FILE, or as --i FILE behind a prompt in a file"
        )
    if picture is not None and not member.takes_picture:
        raise SakugaError(
            f"{member.title} makes videos from words alone and cannot start from {picture}; leave the picture out, "
            "or choose an image-to-video model"
        )


def from_picture(member: Member, vae: VaeDoor, pixels_BCFHW: Tensor, frames: int, clip_BTD: Tensor | None) -> Condition:
    """How a video of `frames` frames that starts with this one [B, 3, 1, H, W] in [-1, 1] is asked of a member."""
    if not member.given_channels:
        return Condition(first_BCFHW=vae.encode(pixels_BCFHW))
    return Condition(with_mask(picture_latents(vae, pixels_BCFHW, frames), member.vae.stride[0]), clip_BTD)


def picture_latents(vae: VaeDoor, pixels_BCFHW: Tensor, frames: int) -> Tensor:
    """The latents of a video that shows one frame [B, 3, 1, H, W] and then grey."""
    batch, channels, shown, height, width = pixels_BCFHW.shape
    grey = pixels_BCFHW.new_full((batch, channels, frames - shown, height, width), GREY)
    return vae.encode(torch.cat((pixels_BCFHW, grey), dim=2))


def with_mask(latents_BCFHW: Tensor, stride: int) -> Tensor:
    """The latents behind their mask: a channel for each of the `stride` frames of a latent frame, 1 where it is given.

    The first latent frame holds one frame alone, which counts for all of its channels.
    """
    batch, _, *size = latents_BCFHW.shape
    mask = latents_BCFHW.new_zeros(batch, stride, *size)
    mask[:, :, 0] = 1
    return torch.cat((mask, latents_BCFHW), dim=1)
