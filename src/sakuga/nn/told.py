"""What was made otherwise than it was asked for, as sentences: sizes that were rounded, words that were not read."""

from collections.abc import Mapping
from pathlib import Path

from ..core.family import Member
from .text import Tokenize, clean
from .tokens import open_tokenizer

SHOWN = 40  # characters of where the reading ended

Size = tuple[int | None, int | None, int | None]  # width, height, frames; None was not asked for


def sizes_told(member: Member, asked: Size, made: tuple[int, int, int]) -> list[str]:
    """Of a size that the model does not take what was made in its place."""
    told = []
    for side, wanted, got in zip(("wide", "high"), asked, made, strict=False):
        if wanted not in (None, got):
            told.append(
                f"{wanted} pixels {side} were asked for and {got} made: "
                f"{member.title} takes multiples of {member.side_step}"
            )
    if asked[2] not in (None, made[2]):
        stride = member.vae.stride[0]
        told.append(
            f"{asked[2]} frames were asked for and {made[2]} made: {member.title} takes 1, {1 + stride}, {1 + 2 * stride} "
            "and so on"
        )
    return told


def cuts_told(tokenizer: Path, length: int, texts: Mapping[str, str]) -> list[str]:
    """Of texts, by what they are, those that are longer than the encoder reads, and where its reading ends."""
    long = {what: text for what, text in texts.items() if len(text) >= length}  # no token is shorter than a character
    tokenize = open_tokenizer(tokenizer)
    told = []
    for what, text in long.items():
        assert tokenize is not None
        part = read_of(tokenize, text, length)
        if part is not None:
            end = part if len(part) <= SHOWN else "…" + part[-SHOWN:].partition(" ")[2]
            told.append(
                f"{what} is longer than the text encoder reads ({length} tokens): it was read as far as '{end}', "
                f"and {len(clean(text)) - len(part)} of its {len(clean(text))} characters were not"
            )
    return told


def read_of(tokenize: Tokenize, text: str, length: int) -> str | None:
    """The part of a text, cleaned, that `length` tokens hold, up to the end of a word; None where that is all of it."""
    whole = clean(text)
    if len(tokenize(whole)) <= length:
        return None
    fits, beyond = 0, len(whole)
    while beyond - fits > 1:
        middle = (fits + beyond) // 2
        if len(tokenize(whole[:middle])) <= length:
            fits = middle
        else:
            beyond = middle
    part = whole[:fits]
    inside = not whole[fits].isspace() and " " in part
    return part.rpartition(" ")[0] if inside else part.rstrip()
