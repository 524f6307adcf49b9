"""The causal 3D VAE of Wan 2.1 and 2.2, that of the official code to the last digits, in chunks of time and tiles of space.

A video is one first frame, then whole strides of frames; convolutions look back in time alone. So it is gone through
chunk by chunk, each convolution keeping the last frames it has seen: the result does not depend on the length of the
chunks. In space, attention in the middle, at the size of latents, is all that sees further than a few pixels. It is run
on whole frames, and the stages on its pixel side tile by tile, each with a margin as wide as its convolutions reach,
cropped from stage to stage: the result does not depend on the tiles either. Both are so up to rounding.

Everything is laid out with channels last (torch.channels_last_3d), which norms and convolutions are fastest with.

Shapes: B batch, C channels, F frames (of pixels, of latents or between), H W size.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.family import Vae
from .vae_tiles import Level, Span, cut, margins_down, margins_up, path

LAST = torch.channels_last_3d
LEAST_NORM = 1e-12  # what a norm is divided by at least, as in official code
WHOLE_COPIES = 8  # of the middle's features that live at once: those of attention, mostly


@dataclass
class Memory:
    """What the layers remember of the frames before, while one tile is gone through."""

    past: dict[nn.Module, Tensor] = field(default_factory=dict)
    _room: Tensor | None = None

    def room(self, x: Tensor, frames: int) -> Tensor:
        """Room for `frames` like those of `x`; the same that was given before, where it fits."""
        B, C, _, H, W = x.shape
        if self._room is None or self._room.shape != (B, C, frames, H, W):
            self._room = None  # before the next is taken
            self._room = torch.empty((B, C, frames, H, W), dtype=x.dtype, device=x.device, memory_format=LAST)
        return self._room


class Norm(nn.Module):
    """x / |x| sqrt(C) gamma: every pixel a vector over channels, its root mean square one."""

    def __init__(self, dim: int, axes: int = 3) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(dim, *(1,) * axes))

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_(min=LEAST_NORM)
        return torch.div(x, length, out=out).mul_(self.gamma * self.gamma.shape[0] ** 0.5)


class CausalConv(nn.Conv3d):
    """A convolution over the present frame and the two before it, zeros before the first."""

    def __init__(self, dim: int, out_dim: int, side: int = 3) -> None:
        super().__init__(dim, out_dim, (3, side, side), padding=(0, side // 2, side // 2))

    def forward(self, x: Tensor, memory: Memory, norm: Norm | None = None) -> Tensor:  # type: ignore[override]
        """Frames and what they become; with a norm, of silu(norm(x))."""
        past = memory.past.get(self)
        if past is None and x.shape[2] == 1:  # before it are zeros
            frame = x.clone(memory_format=LAST) if norm is None else F.silu(norm(x), inplace=True)
            memory.past[self] = frame
            weight, padding = self.weight[:, :, -1], self.padding[1:]
            return F.conv2d(frame[:, :, 0], weight, self.bias, padding=padding)[:, :, None].contiguous(
                memory_format=LAST
            )
        seen = memory.room(x, 2 + x.shape[2])
        known = 0 if past is None else past.shape[2]
        seen[:, :, : 2 - known] = 0
        if past is not None:
            seen[:, :, 2 - known : 2] = past
        if norm is None:
            seen[:, :, 2:] = x
        else:
            F.silu(norm(x, out=seen[:, :, 2:]), inplace=True)
        memory.past[self] = seen[:, :, -2:].clone(memory_format=LAST)
        return _convolved(seen, self).contiguous(memory_format=LAST)


def _convolved(x: Tensor, conv: nn.Conv3d) -> Tensor:
    """conv(x). Left to itself, torch takes small ones and those of few channels on a processor to a loop 3 times as slow."""
    weight, bias, padding, stride = conv.weight, conv.bias, conv.padding, conv.stride
    if x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        return torch.mkldnn_convolution(x, weight, bias, padding, stride, conv.dilation, 1)  # type: ignore[arg-type]
    return F.conv3d(x, weight, bias, stride, padding)


class Pointwise(nn.Conv3d):
    """A matrix over the channels of every pixel."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__(dim, out_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.residual = nn.ModuleDict({
            "0": Norm(dim), "2": CausalConv(dim, out_dim), "3": Norm(out_dim), "6": CausalConv(out_dim, out_dim),
        })  # fmt: skip
        self.shortcut = Pointwise(dim, out_dim) if dim != out_dim else nn.Identity()

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        part = self.residual
        y = part["2"](x, memory, part["0"])
        y = part["6"](y, memory, part["3"])
        y += self.shortcut(x)
        return y


class Attention(nn.Module):
    """Self-attention of one head between the pixels of a frame."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = Norm(dim, axes=2)
        self.to_qkv = nn.Conv2d(dim, 3 * dim, 1)
        self.proj = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        B, C, T, H, W = x.shape
        frames = x.transpose(1, 2).reshape(B * T, C, H, W)
        tokens = self.norm(frames).flatten(2).transpose(1, 2)[:, None]  # frames, heads, pixels, channels
        q, k, v = F.linear(tokens, self.to_qkv.weight.flatten(1), self.to_qkv.bias).chunk(3, dim=-1)
        tokens = F.scaled_dot_product_attention(q, k, v)
        tokens = F.linear(tokens, self.proj.weight.flatten(1), self.proj.bias)
        return x + tokens.view(B, T, H, W, C).movedim(-1, 1)


class Down(nn.Module):
    """Half the size, and half the frames where `time`."""

    def __init__(self, dim: int, time: bool) -> None:
        super().__init__()
        self.resample = nn.ModuleDict({"1": nn.Conv2d(dim, dim, 3, stride=2)})
        self.time_conv = nn.Conv3d(dim, dim, (3, 1, 1), stride=(2, 1, 1)) if time else None

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        x = _by_frame(self.resample["1"], F.pad(x, (0, 1, 0, 1)))
        if self.time_conv is None:
            return x
        past, memory.past[self] = memory.past.get(self), x[:, :, -1:].clone(memory_format=LAST)
        # The first frame stays as it is, and is looked back at by the next.
        return x if past is None else _convolved(torch.cat((past, x), dim=2), self.time_conv)


class Up(nn.Module):
    """Twice the size, and twice the frames where `time`; the first frame stays one."""

    def __init__(self, dim: int, out_dim: int, time: bool) -> None:
        super().__init__()
        self.resample = nn.ModuleDict({"1": nn.Conv2d(dim, out_dim, 3, padding=1)})
        self.time_conv = CausalConv(dim, 2 * dim, side=1) if time else None

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        if self.time_conv is not None and self in memory.past:
            B, C, T, H, W = x.shape
            halves = self.time_conv(x, memory).view(B, 2, C, T, H, W)
            x = halves.permute(0, 3, 1, 4, 5, 2).reshape(B, 2 * T, H, W, C).movedim(-1, 1)
        memory.past[self] = x.new_empty(0)  # the first frame has been; those after it do not look back at it
        return _by_frame(self._twice, x)

    def _twice(self, frames: Tensor) -> Tensor:
        """Every pixel four times, then the convolution of 3 x 3; in one step, as the transpose of one of 4 x 4.

        Along an axis, an even pixel sees w0 of the one before and w1 + w2 of its own, an odd one w0 + w1 and w2.
        """
        conv = cast(nn.Conv2d, self.resample["1"])
        w = conv.weight.transpose(0, 1)
        zero = F.pad(w, (1, 1, 1, 1))
        rows = zero[:, :, 1:] + zero[:, :, :-1]
        weight = (rows[..., 1:] + rows[..., :-1]).flip(2, 3)
        return F.conv_transpose2d(frames, weight, conv.bias, stride=2, padding=1)


def _by_frame(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A layer for pictures on every frame."""
    B, C, T, H, W = x.shape
    y = layer(x.transpose(1, 2).reshape(B * T, C, H, W)).contiguous(memory_format=torch.channels_last)
    return y.view(B, T, *y.shape[1:]).transpose(1, 2)


def mean_down(x: Tensor, out_dim: int, time: int, side: int) -> Tensor:
    """The shortcut of Wan 2.2 downwards: what `time` frames of `side` x `side` pixels hold, averaged in groups."""
    x = F.pad(x, (0, 0, 0, 0, x.shape[2] % time, 0))  # the first frame has zeros before it
    B, C, T, H, W = x.shape
    parts = x.reshape(B, C, T // time, time, H // side, side, W // side, side).permute(0, 2, 4, 6, 1, 3, 5, 7)
    return parts.reshape(B, T // time, H // side, W // side, out_dim, -1).mean(-1).movedim(-1, 1)


def add_up(y: Tensor, x: Tensor, time: int) -> Tensor:
    """The shortcut of Wan 2.2 upwards, added to `y`: channels of `x` become `time` frames of 2 x 2 pixels, repeated
    where they are too few. Of the first frame only the last is kept."""
    parts = 4 * time
    repeats = parts * y.shape[1] // x.shape[1]
    first = time - 1 if y.shape[2] == x.shape[2] else 0
    for part in range(4 * first, parts):
        frame, row, column = part // 4, part // 2 % 2, part % 2
        y[:, :, frame - first :: time, row::2, column::2] += x[:, part // repeats :: parts // repeats]
    return y


class DownStage(nn.Module):
    """Blocks, and the step to half the size."""

    def __init__(self, blocks: Sequence[Block], step: Down | None, out_dim: int, residual: bool) -> None:
        super().__init__()
        self.downsamples = nn.ModuleList([*blocks, *([step] if step else [])])
        self.out_dim, self.residual = out_dim, residual
        self.time, self.side = _factors(step)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        y = x
        for layer in self.downsamples:
            y = layer(y, memory)
        return y + mean_down(x, self.out_dim, self.time, self.side) if self.residual else y


class UpStage(nn.Module):
    """Blocks, and the step to twice the size."""

    def __init__(self, blocks: Sequence[Block], step: Up | None, residual: bool) -> None:
        super().__init__()
        self.upsamples = nn.ModuleList([*blocks, *([step] if step else [])])
        self.residual = residual and step is not None
        self.time, self.side = _factors(step)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        y = x
        for layer in self.upsamples:
            y = layer(y, memory)
        return add_up(y, x, self.time) if self.residual else y


def _factors(step: Down | Up | None) -> tuple[int, int]:
    """By how much a step changes the frames, and the sides."""
    return (1, 1) if step is None else (1 if step.time_conv is None else 2, 2)


def _level(parts: Sequence[nn.Module], scale: int, frames: int) -> Level:
    convs = [m for part in parts for m in part.modules() if isinstance(m, CausalConv)]
    return Level(
        scale, frames, reach=sum(conv.kernel_size[1] // 2 for conv in convs),
        width=max(conv.in_channels for conv in convs), kept=sum(2 * conv.in_channels for conv in convs),
    )  # fmt: skip


def _middle(dim: int) -> nn.ModuleList:
    return nn.ModuleList([Block(dim, dim), Attention(dim), Block(dim, dim)])


def _head(dim: int, out_dim: int) -> nn.ModuleDict:
    return nn.ModuleDict({"0": Norm(dim), "2": CausalConv(dim, out_dim)})


class Encoder(nn.Module):
    def __init__(self, facts: Vae) -> None:
        super().__init__()
        dims = [facts.base_dim * m for m in (1, *facts.dim_mult)]
        self.conv1 = CausalConv(facts.pixel_channels, dims[0])
        self.downsamples = nn.ModuleList()
        for level, (dim, out_dim) in enumerate(pairwise(dims)):
            blocks = [Block(dim if n == 0 else out_dim, out_dim) for n in range(facts.res_blocks)]
            last = level == len(facts.temporal_downsample)
            step = None if last else Down(out_dim, facts.temporal_downsample[level])
            self.downsamples.append(DownStage(blocks, step, out_dim, facts.residual))
        self.middle, self.head = _middle(dims[-1]), _head(dims[-1], 2 * facts.channels)
        self.dim = dims[-1]

    def levels(self) -> list[Level]:
        """The stages from pixels to the middle."""
        found: list[Level] = []
        scale = frames = 1
        for stage in reversed(cast(Sequence[DownStage], self.downsamples)):
            scale, frames = scale * stage.side, frames * stage.time
            found.insert(0, _level([stage] if stage is not self.downsamples[0] else [stage, self.conv1], scale, frames))
        return found

    margins = staticmethod(margins_down)

    def stage(self, number: int, x: Tensor, memory: Memory) -> Tensor:
        """One of the stages from pixels to the middle."""
        found: Tensor = self.downsamples[number](x if number else self.conv1(x, memory), memory)
        return found

    def whole(self, x: Tensor, memory: Memory) -> Tensor:
        """From there to latents; attention sees the whole frame."""
        x = self.middle[2](self.middle[1](self.middle[0](x, memory)), memory)
        found: Tensor = self.head["2"](x, memory, self.head["0"])
        return found


class Decoder(nn.Module):
    def __init__(self, facts: Vae) -> None:
        super().__init__()
        base = facts.decoder_base_dim or facts.base_dim
        dims = [base * m for m in (facts.dim_mult[-1], *reversed(facts.dim_mult))]
        self.conv1 = CausalConv(facts.channels, dims[0])
        self.middle, self.upsamples = _middle(dims[0]), nn.ModuleList()
        for level, (dim, out_dim) in enumerate(pairwise(dims)):
            if level and not facts.residual:
                dim //= 2  # the step before has halved them
            blocks = [Block(dim if n == 0 else out_dim, out_dim) for n in range(facts.res_blocks + 1)]
            last = level == len(facts.temporal_downsample)
            narrow = out_dim if facts.residual else out_dim // 2
            step = None if last else Up(out_dim, narrow, facts.temporal_downsample[-1 - level])
            self.upsamples.append(UpStage(blocks, step, facts.residual))
        self.head, self.dim = _head(dims[-1], facts.pixel_channels), dims[0]

    def levels(self) -> list[Level]:
        """The stages from the middle to pixels."""
        found: list[Level] = []
        scale = frames = 1
        for stage in cast(Sequence[UpStage], self.upsamples):
            found.append(_level([stage] if stage is not self.upsamples[-1] else [stage, self.head], scale, frames))
            scale, frames = scale * stage.side, frames * stage.time
        return found

    margins = staticmethod(margins_up)

    def whole(self, x: Tensor, memory: Memory) -> Tensor:
        """From latents through the middle; attention sees the whole frame."""
        x = self.middle[0](self.conv1(x, memory), memory)
        found: Tensor = self.middle[2](self.middle[1](x), memory)
        return found

    def stage(self, number: int, x: Tensor, memory: Memory) -> Tensor:
        """One of the stages from there to pixels."""
        x = self.upsamples[number](x, memory)
        return x if number + 1 < len(self.upsamples) else self.head["2"](x, memory, self.head["0"])


class VaeNetwork(nn.Module):
    """Encoder and decoder, and the matrices (conv1, conv2) between them and the latents."""

    def __init__(self, facts: Vae) -> None:
        super().__init__()
        self.facts, self.patch = facts, facts.patch or 1
        self.encoder, self.conv1 = Encoder(facts), Pointwise(2 * facts.channels, 2 * facts.channels)
        self.decoder, self.conv2 = Decoder(facts), Pointwise(facts.channels, facts.channels)

    def channels_last(self) -> None:
        """Lay the weights out as the features are."""
        for parameter in self.parameters():
            if parameter.dim() in (4, 5):
                form = LAST if parameter.dim() == 5 else torch.channels_last
                parameter.data = parameter.data.contiguous(memory_format=form)

    def encode(self, pixels_BCFHW: Tensor, budget: float) -> Tensor:
        """Pixels [B, 3, F, H, W] -> the means of the latents, with at most about `budget` bytes held on the way.

        F is one and a multiple of the stride, H and W are multiples of it. The pixels may be on another device.
        """
        time, *sides = self.facts.stride
        size = [n // side for n, side in zip(pixels_BCFHW.shape[3:], sides, strict=True)]
        frames = 1 + (pixels_BCFHW.shape[2] - 1) // time

        def pixels(chunk: Span, row: Span, column: Span) -> Tensor:
            seen = slice(max(0, 1 + (chunk[0] - 1) * time), 1 + (chunk[1] - 1) * time)
            inside = (slice(start * self.patch, stop * self.patch) for start, stop in (row, column))
            return fold(pixels_BCFHW[:, :, seen, *inside], self.patch)

        middle = self._room((len(pixels_BCFHW), self.encoder.dim, frames, *size))
        for (chunk, row, column), found in self._by_tile(self.encoder, pixels, middle, budget):
            middle[:, :, slice(*chunk), slice(*row), slice(*column)] = found
        latents = [self.conv1(x)[:, : self.facts.channels] for x in self._by_chunk(self.encoder, middle, budget)]
        return torch.cat(latents, dim=2)

    def decode(self, latents_BCFHW: Tensor, budget: float) -> Iterator[tuple[Any, Tensor]]:
        """Latents -> pieces of the pixels and where they belong in [B, 3, F, H, W], as they come.

        At most about `budget` bytes are held on the way. Frames come whole where that is enough for it.
        """
        middle = torch.cat(list(self._by_chunk(self.decoder, self.conv2(latents_BCFHW), budget)), dim=2)
        time, *sides = self.facts.stride

        def features(chunk: Span, row: Span, column: Span) -> Tensor:
            return middle[:, :, slice(*chunk), slice(*row), slice(*column)]

        for ((start, stop), *tile), found in self._by_tile(self.decoder, features, middle, budget):
            seen = slice(max(0, 1 + (start - 1) * time), 1 + (stop - 1) * time)
            inside = (slice(a * side, b * side) for (a, b), side in zip(tile, sides, strict=True))
            yield (..., seen, *inside), unfold(found, self.patch)

    def _by_tile(
        self, half: "Encoder | Decoder", source: Callable[[Span, Span, Span], Tensor], middle: Tensor, budget: float
    ) -> Iterator[tuple[tuple[Span, Span, Span], Tensor]]:
        """What comes of the stages for every tile and chunk, with that chunk, rows and columns in latent units."""
        weight, (B, _, frames, *size) = self.conv1.weight, middle.shape
        levels = half.levels()
        most = (budget / middle.element_size() - middle.numel()) / B
        plan = cut(levels, half.margins(levels), (size[0], size[1]), frames, most)
        for row, column in plan.tiles():
            memory = Memory()
            rows, kept_rows = path(row, size[0], levels, half.margins(levels))
            columns, kept_columns = path(column, size[1], levels, half.margins(levels))
            for chunk in plan.chunks:
                x = source(chunk, rows, columns).to(weight.device, weight.dtype, memory_format=LAST)
                for number, kept in enumerate(zip(kept_rows, kept_columns, strict=True)):
                    x = half.stage(number, x, memory)[..., *kept]
                yield (chunk, row, column), x

    def _by_chunk(self, half: "Encoder | Decoder", x: Tensor, budget: float) -> Iterator[Tensor]:
        """What comes of the part that sees whole frames, chunk by chunk."""
        one = WHOLE_COPIES * half.dim * x[:, :1, :1].numel() * x.element_size()
        memory, chunk = Memory(), max(1, int(budget / one))
        yield half.whole(x[:, :, :1], memory)
        for frames in x[:, :, 1:].split(chunk, dim=2) if x.shape[2] > 1 else ():
            yield half.whole(frames, memory)

    def _room(self, shape: tuple[int, ...]) -> Tensor:
        weight = self.conv1.weight
        return torch.empty(shape, dtype=weight.dtype, device=weight.device, memory_format=LAST)


def fold(pixels_BCFHW: Tensor, patch: int) -> Tensor:
    """Squares of patch x patch pixels become channels, in the order of the official code: column, then row."""
    B, C, T, H, W = pixels_BCFHW.shape
    parts = pixels_BCFHW.reshape(B, C, T, H // patch, patch, W // patch, patch)
    return parts.permute(0, 1, 6, 4, 2, 3, 5).reshape(B, C * patch * patch, T, H // patch, W // patch)


def unfold(x: Tensor, patch: int) -> Tensor:
    """The inverse of `fold`."""
    B, _, T, H, W = x.shape
    parts = x.reshape(B, -1, patch, patch, T, H, W).permute(0, 1, 4, 5, 3, 6, 2)
    return parts.reshape(B, -1, T, H * patch, W * patch)
