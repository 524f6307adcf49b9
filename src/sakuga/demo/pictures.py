"""Pictures of the report: pairs that move together, sheets of stills, and the whole as one PNG.

Shapes: F frames, H W size; all pictures are uint8 RGB.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MAGNIFY = 3
GAP = 6  # pixels between pictures
PAPER, INK, FAINT, ACCENT, CALM = (250, 249, 246), (32, 33, 38), (120, 122, 130), (214, 78, 66), (150, 158, 172)
FRAME_MS = 62  # 16 frames a second


def enlarge(picture: np.ndarray, by: int = MAGNIFY) -> Image.Image:
    image = Image.fromarray(picture)
    return image.resize((image.width * by, image.height * by), Image.Resampling.BICUBIC)


def beside(pictures: Sequence[Image.Image], gap: int = GAP, paper: tuple[int, int, int] = PAPER) -> Image.Image:
    """Pictures of one height in a row."""
    width = sum(p.width for p in pictures) + gap * (len(pictures) - 1)
    row = Image.new("RGB", (width, pictures[0].height), paper)
    x = 0
    for picture in pictures:
        row.paste(picture, (x, 0))
        x += picture.width + gap
    return row


def moving_pair(left_FHWC: np.ndarray, right_FHWC: np.ndarray) -> bytes:
    """An animated WebP of two videos in step, side by side."""
    frames = [beside([enlarge(a), enlarge(b)]) for a, b in zip(left_FHWC, right_FHWC, strict=True)]
    out = io.BytesIO()
    frames[0].save(
        out, "WEBP", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0, quality=82, method=4
    )
    return out.getvalue()


def still(picture: np.ndarray, by: int = MAGNIFY) -> bytes:
    out = io.BytesIO()
    enlarge(picture, by).save(out, "WEBP", quality=84)
    return out.getvalue()


def poster(
    rows: Sequence[tuple[str, Sequence[np.ndarray]]], prompts: Sequence[str], title: str, figures: Sequence[str]
) -> Image.Image:
    """The report in one picture: a title, rows of stills (base above, LoRA below) under their prompts, the figures."""
    cells = [[enlarge(picture) for picture in pictures] for _, pictures in rows]
    wide, high = cells[0][0].size
    margin, label, line = 40, 92, 24
    columns = len(cells[0])
    width = 2 * margin + label + columns * wide + (columns - 1) * GAP
    top = margin + 56
    bottom = top + len(rows) * (high + GAP) + 3 * line
    image = Image.new("RGB", (width, bottom + margin + line * len(figures)), PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((margin, margin - 8), title, INK, _font(30))
    for number, (name, _) in enumerate(rows):
        y = top + number * (high + GAP)
        pen.text((margin, y + high // 2 - 12), name, ACCENT if number else FAINT, _font(22))
        image.paste(beside(cells[number]), (margin + label, y))
    for column, prompt in enumerate(prompts):
        x = margin + label + column * (wide + GAP)
        pen.multiline_text(
            (x, top + len(rows) * (high + GAP)), _wrapped(pen, prompt, wide), FAINT, _font(15), spacing=3
        )
    for number, figure in enumerate(figures):
        pen.text((margin + label, bottom + 12 + number * line), figure, INK, _font(18))
    return image


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _wrapped(pen: ImageDraw.ImageDraw, words: str, width: int, most: int = 2) -> str:
    """Words in lines no longer than `width` pixels, `most` lines of them."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if pen.textlength(longer, _font(15)) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines[:most]) + (" ..." if len(lines) > most else "")
