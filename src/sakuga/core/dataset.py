"""The dataset as rows: items as the enumeration wants them, and the keys that their encodings are stored under."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from . import captions, models
from .errors import SakugaError
from .family import NEGATIVE_PROMPT, Member
from .files import fingerprint
from .media.timing import count_at
from .project import Project
from .samples.enumeration import ItemFacts
from .tags import tags_of


def item_facts(project: Project) -> list[ItemFacts]:
    """Every item of the dataset, its frames counted at the model's rate."""
    fps = project.member.fps
    same, facts = str(fps), []
    tags = tags_of(project)
    for row in project.rows("SELECT name, kind, width, height, frames, fps, folder FROM item ORDER BY name"):
        frames = row["frames"]
        if row["kind"] == "clip" and row["fps"] != same and Fraction(row["fps"]) != fps:
            frames = count_at(Fraction(0), frames / Fraction(row["fps"]), fps)
        size = row["width"], row["height"]
        facts.append(ItemFacts(row["name"], row["name"], row["kind"], *size, frames, tags[row["name"]], row["folder"]))
    return facts


ENCODING = 2  # rises when the same sample or caption would be encoded to other values, or kept in another form


@dataclass(frozen=True)
class Encoded:
    """A planned sample, and where its latent and its text are stored. Times and sizes as in the plan."""

    key: str
    item: str
    file: str
    kind: str
    fps: str
    times: bytes | None  # of the frames, packed, where the rate varies
    start: int
    frames: int
    width: int
    height: int
    repeats: int
    held_out: bool
    caption: str
    latent: str
    text: str
    negative: str  # what stands for the caption where training drops it
    section: str = ""
    weight: float = 1.0  # of its loss
    mask: str = ""  # which of its places count; all without
    mask_file: str = ""
    caption_dropout: float | None = None  # of its section; None is that of the training, as with
    batch: int | None = None


PLANNED = """
SELECT sample.*, item.file, item.kind, item.fps, item.times,
  coalesce(item_mask.file, CASE item.mask WHEN 'alpha' THEN item.file ELSE item.mask END) AS mask_file,
  coalesce(item_weight.weight, 1.0) AS item_weight
FROM sample JOIN item ON item.name = sample.item LEFT JOIN item_mask ON item_mask.item = item.name
  LEFT JOIN item_weight ON item_weight.item = item.name
ORDER BY sample.key
"""


def encoded_samples(project: Project) -> list[Encoded]:
    """Every planned sample with the keys of its encodings: by content, so that an edited caption is a new key alone.

    Raises SakugaError when nothing is planned, or an item has no caption.
    """
    paths = models.of_project(project)
    vae, beside = models.content_hash(project, paths["vae"]), _beside(project)
    encoder = models.content_hash(project, paths["text"]) + models.content_hash(project, paths["tokenizer"])
    words = captions.current(project)
    rows = project.rows(PLANNED)
    if not rows:
        raise SakugaError(
            "no sample is planned: export clips or stills that a section of sakuga.toml takes, then `sakuga plan`"
        )
    missing = sorted({row["item"] for row in rows if not words.get(row["item"]) or not words[row["item"]].text})
    if missing:
        raise SakugaError(f"{missing[0]} has no caption ({len(missing)} without one); run `sakuga caption`")
    negative = text_key(NEGATIVE_PROMPT, encoder, project.member.text.length)
    found = []
    for row in rows:
        text = words[row["item"]].text
        # of the file as it is now, not as it was exported: a clip that was replaced by hand is another clip
        content = project.sha256(project.path(row["file"]))
        latent = latent_key(row, content, project.member.fps, vae, beside)
        keys: dict[str, Any] = {
            "caption": text,
            "latent": latent,
            "text": text_key(text, encoder, project.member.text.length),
            "negative": negative,
        }
        section = project.settings.sections.get(row["section"])
        if section is not None:
            told = {"weight", "caption_dropout", "batch"}
            keys |= section.model_dump(include=told)
        keys["weight"] = keys.get("weight", 1.0) * row["item_weight"]
        if row["mask_file"]:
            masking = project.sha256(project.path(row["mask_file"]))
            keys["mask"] = mask_key(row, masking, row["mask_file"] == row["file"], project.member)
        taken = (
            "key",
            "item",
            "file",
            "kind",
            "fps",
            "times",
            "start",
            "frames",
            "width",
            "height",
            "repeats",
            "section",
            "mask_file",
        )
        columns = {column: row[column] for column in taken}
        found.append(Encoded(**columns, **keys, held_out=bool(row["held_out"])))
    return found


def _beside(project: Project) -> dict[str, Any]:
    """What tells how the first frame is kept beside a latent, for models that are given it so; else nothing."""
    member = project.member
    if not member.given_channels:
        return {}
    clip = models.content_hash(project, models.of_project(project)["clip"]) if member.clip else None
    return {"given": member.given_channels, "clip": clip}


def latent_key(row: Mapping[str, Any], content: str, fps: int, vae: str, beside: Mapping[str, Any]) -> str:
    """The name of a sample's latent: the file's content, the window, the frame rule, the bucket and the encoders."""
    window = [row["start"], row["frames"], row["fps"], fps]
    size = [row["width"], row["height"]]
    return fingerprint({"file": content, "window": window, "size": size, "vae": vae, "version": ENCODING, **beside})


def text_key(caption: str, encoder: str, length: int) -> str:
    """The name of a caption's embedding: its words, the encoder and the length."""
    return fingerprint({"caption": caption, "encoder": encoder, "length": length, "version": ENCODING})


def mask_key(row: Mapping[str, Any], content: str, own: bool, member: Member) -> str:
    """The name of a sample's mask: the file's content, how it is read, the window, the frame rule, the bucket and what
    a latent pixel covers."""
    window = [row["start"], row["frames"], row["fps"], member.fps]
    told = {"mask": content, "own": own, "window": window, "size": [row["width"], row["height"]]}
    return fingerprint(told | {"stride": member.vae.stride, "version": ENCODING})


def latent_file(key: str) -> str:
    return f"cache/latents/{key}.safetensors"


def text_file(key: str) -> str:
    return f"cache/text/{key}.safetensors"


def mask_file(key: str) -> str:
    return f"cache/masks/{key}.safetensors"


def held_out(groups: Iterable[str], share: float) -> set[str]:
    """Which groups of items (those of one shot) are kept out of training.

    Decided by the names alone, so that a dataset that grows keeps its split. Where there are two groups or more, at
    least one is kept out, and at least one is not.
    """
    places = {name: int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8], "big") / 2**64 for name in groups}
    if share == 0 or len(places) < 2:
        return set()
    first, *between, _ = sorted(places, key=lambda name: places[name])
    return {first} | {name for name in between if places[name] < share}
