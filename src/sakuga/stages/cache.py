"""cache: every planned sample and every caption is encoded once, and found again by what it was made of."""

import json
import multiprocessing
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core import captions, models
from ..core.counting import over_latent
from ..core.dataset import encoded_samples, latent_file, mask_file, text_file
from ..core.errors import SakugaError
from ..core.family import NEGATIVE_PROMPT, member
from ..core.media import film as media
from ..core.media.fit import fit
from ..core.media.mask import read_mask
from ..core.media.picture import read_picture
from ..core.media.timing import resample
from ..core.progress import Progress
from ..core.project import Project
from ..core.settings import CacheSettings
from ..core.stage import Item, Rows, Scratch, Stage, forget
from ..core.timeline import Timeline, unpack
from ..nn.condition import picture_latents
from ..nn.device import pick_device, pick_dtype
from ..nn.encodings import read_encoding, write_encoding
from ..nn.parts import Parts


def _items(project: Project, settings: CacheSettings) -> list[Item]:
    """Captions first, then latents, so that one encoder at a time is in memory."""
    if faults := captions.sync(project):  # words that changed in an editor count, also when only `train` is called
        raise SakugaError(next(iter(faults.values())))
    samples = encoded_samples(project)
    paths = {role: str(path) for role, path in models.of_project(project).items()}
    parts = (project.member.name, json.dumps(paths), settings.device)
    texts = {sample.text: sample.caption for sample in samples}
    texts |= {sample.negative: NEGATIVE_PROMPT for sample in samples}
    items = [
        Item(key, {"text": key}, {"kind": "text", "key": key, "caption": words, "parts": parts}, label=_label(words))
        for key, words in texts.items()
    ]
    latents = {sample.latent: sample for sample in samples}
    for key, sample in latents.items():
        facts = asdict(sample) | {"kind": "latent", "key": key, "still": sample.kind == "still"}
        facts |= {"fps_out": project.member.fps, "path": str(project.path(sample.file)), "parts": parts}
        items.append(Item(key, {"latent": key}, facts, label=sample.item))
    for key, sample in {sample.mask: sample for sample in samples if sample.mask}.items():
        facts = asdict(sample) | {"kind": "mask", "key": key, "own": sample.mask_file == sample.file}
        facts |= {"fps_out": project.member.fps, "path": str(project.path(sample.mask_file))}
        facts |= {"still": sample.kind == "still", "stride": project.member.vae.stride}
        items.append(Item(key, {"mask": key}, facts, label=f"mask of {sample.item}"))
    return items


def _label(words: str) -> str:
    """What progress calls an encoded text; cut by letters, for not every language has spaces."""
    if words == NEGATIVE_PROMPT:
        return "the negative prompt"
    return f"caption '{words if len(words) <= 40 else words[:39] + '…'}'"


def _work(facts: Mapping[str, Any], settings: CacheSettings, scratch: Scratch) -> Rows:
    if facts["kind"] == "text":
        file, tensors = text_file(facts["key"]), {"text": scratch.context.text(facts["caption"], scratch.report)}
    elif facts["kind"] == "mask":
        file, tensors = mask_file(facts["key"]), {"mask": _mask(facts)}
    else:
        parts = scratch.context.parts if scratch.context else _own_parts(*facts["parts"])
        tensors = _encoded(parts, pixels(facts).to(parts.device))
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise SakugaError(f"the VAE gave values of {facts['item']} that are not numbers; look at it, or replace it")
        file = latent_file(facts["key"])
    target = scratch.file(file)
    write_encoding(target, facts["key"], tensors)
    return {"cache_entry": [{"key": facts["key"], "kind": facts["kind"], "file": file, "bytes": target.stat().st_size}]}


class _Encoders:
    """The encoders, and the captions that are still to come: an encoder that is read layer by layer takes many at once."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.coming: list[str] = []
        self.found: dict[str, torch.Tensor | SakugaError] = {}

    def foresee(self, items: Sequence[Item]) -> None:
        self.coming = [item.facts["caption"] for item in items if item.facts["kind"] == "text"]

    def text(self, caption: str, report: Callable[[int], None]) -> torch.Tensor:
        """A caption's embedding; `report` is told of each caption that is encoded with it."""
        if caption not in self.found:
            self._encode(self._group(caption), report)
        found = self.found.pop(caption)
        if not self.coming and not self.found:  # it was the last: pictures need the room, in other processes too
            self.parts.release()
            torch.cuda.empty_cache()
        if isinstance(found, SakugaError):
            raise found
        return found

    def _group(self, caption: str) -> list[str]:
        """A caption and those after it, as many as the encoder takes at once."""
        at = self.coming.index(caption) if caption in self.coming else len(self.coming)
        self.coming = self.coming[at + 1 :]
        door = self.parts.text()
        group, tokens = [caption], len(door.tokens(caption))
        while self.coming and (tokens := tokens + len(door.tokens(self.coming[0]))) <= door.together:
            group.append(self.coming.pop(0))
        return group

    def _encode(self, group: Sequence[str], report: Callable[[int], None]) -> None:
        door, layers = self.parts.text(), 0

        def watch(done: int) -> None:
            nonlocal layers
            before, layers = layers // door.layers, layers + done
            if len(group) > 1 and (ended := layers // door.layers - before):
                report(ended)

        try:
            # an encoder that computes in bf16 says nothing that bf16 cannot hold
            texts = [text.to("cpu", self.parts.dtype) for text in door.encode(group, watch)]
        except SakugaError as error:  # of the encoder's file: it would be the same for each of them
            self.found |= dict.fromkeys(group, error)
        else:
            self.found |= zip(group, texts, strict=True)


def _encoded(parts: Parts, pixels_BCFHW: torch.Tensor) -> dict[str, torch.Tensor]:
    """A sample's latent, and for a model that is given the first frame beside it, what it sees of that frame."""
    vae, clip = parts.pictures()
    found = {"latent": vae.encode(pixels_BCFHW)[0]}
    if parts.member.given_channels:
        found["image"] = picture_latents(vae, pixels_BCFHW[:, :, :1], pixels_BCFHW.shape[2])[0]
    if clip is not None:
        found["clip"] = clip.encode(pixels_BCFHW[:, :, 0])[0]
    return {name: tensor.cpu().half() for name, tensor in found.items()}


def pixels(facts: Mapping[str, Any]) -> torch.Tensor:
    """The frames of a sample [1, 3, F, H, W] in [-1, 1]: its window at the model's rate, cut to its bucket."""
    path, size = Path(facts["path"]), (facts["width"], facts["height"])
    if facts["still"]:
        pictures = [fit(read_picture(path), *size)]
    else:
        wanted = _window(facts)
        decoded = {index: fit(rgb, *size) for index, rgb in media.frames(path, sorted(set(wanted)))}
        if len(decoded) < len(set(wanted)):
            raise SakugaError(f"{path} ends before frame {wanted[-1]}: it is damaged; replace it, or export it again")
        pictures = [decoded[index] for index in wanted]
    stacked_FHWC = torch.from_numpy(np.stack(pictures)).float()
    return stacked_FHWC.permute(3, 0, 1, 2)[None] / 127.5 - 1


def _mask(facts: Mapping[str, Any]) -> torch.Tensor:
    """How much each latent pixel of a sample counts, [1, F, H, W] in 0..1: the mask cut as the sample's pictures are."""
    path, size = Path(facts["path"]), (facts["width"], facts["height"])
    wanted = [0] if facts["still"] else _window(facts)
    found = read_mask(path, wanted, own=facts["own"])
    if len(found) < len(wanted):
        raise SakugaError(f"{path} ends before frame {wanted[-1]} of {facts['item']}; give a mask of as many frames")
    over = over_latent(np.stack([fit(mask, *size) for mask in found]), facts["stride"])
    return torch.from_numpy(over)[None].half()


def _window(facts: Mapping[str, Any]) -> list[int]:
    """Which frames of the file a sample shows: those at its own rate, or at the model's where the file has another."""
    first, after = facts["start"], facts["start"] + facts["frames"]
    rate, fps = Fraction(facts["fps"]), facts["fps_out"]
    if rate == fps and not facts.get("times"):
        return list(range(first, after))
    varying = facts.get("times")
    times = Timeline(unpack(varying), None).shown if varying else [n / rate for n in range(int(after * rate / fps) + 2)]
    return resample(times, Fraction(first, fps), fps, facts["frames"], Fraction(after, fps))


def _encoders(project: Project, settings: CacheSettings) -> _Encoders:
    device = pick_device(settings.device)
    return _Encoders(Parts(project.member, models.of_project(project), device, pick_dtype(None, device)))


@lru_cache(maxsize=1)
def _own_parts(model: str, paths: str, device: str | None) -> Parts:
    """The encoders of one of several processes: on a card of its own where there are several."""
    chosen = pick_device(device)
    if chosen.type == "cuda" and chosen.index is None:
        number = re.search(r"\d+$", multiprocessing.current_process().name)
        chosen = torch.device("cuda", (int(number.group()) - 1 if number else 0) % torch.cuda.device_count())
    if chosen.type == "cpu":
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return Parts(
        member(model), {role: Path(path) for role, path in json.loads(paths).items()}, chosen, pick_dtype(None, chosen)
    )


def _processes(settings: CacheSettings) -> int:
    """As many as a person says, or one for each card."""
    if settings.processes is not None:
        return settings.processes
    return max(1, torch.cuda.device_count()) if settings.device in (None, "cuda") else 1


STAGE = Stage(
    "cache", version=1, takes="sample", gives=("cache_entry",), settings=CacheSettings, items=_items, work=_work,
    context=_encoders, processes=_processes, unit="encodings", keeps=True, foresee=_Encoders.foresee,
    here=lambda item: item.facts["kind"] == "text",
)  # fmt: skip


FOLDERS = ("cache/latents", "cache/text", "cache/masks")


@dataclass(frozen=True)
class Unused:
    """Encodings that no planned sample and no caption asks for: how many files, and their bytes."""

    files: int
    bytes: int


def unused(project: Project, prune: bool = False) -> Unused:
    """What the cache holds beyond what is asked for now; with `prune` it is removed.

    An encoding outlives its caption or section, for those may come back: only a person has it removed.
    """
    asked = _asked(project)
    known = {row["file"]: row for row in project.rows("SELECT key, file, bytes FROM cache_entry")}
    spare = [row for file, row in known.items() if file not in asked]
    strays = [file for file in _files(project) if file not in known]
    sizes = [row["bytes"] for row in spare] + [project.path(file).stat().st_size for file in strays]
    found = Unused(len(sizes), sum(sizes))
    if prune:
        forget(STAGE, project, [row["key"] for row in spare])
        for file in strays:
            project.path(file).unlink(missing_ok=True)
    return found


def _asked(project: Project) -> set[str]:
    """The files of all that is planned."""
    samples = encoded_samples(project)
    texts = {key for sample in samples for key in (sample.text, sample.negative)}
    masks = {mask_file(sample.mask) for sample in samples if sample.mask}
    return {latent_file(sample.latent) for sample in samples} | {text_file(key) for key in texts} | masks


def _files(project: Project) -> list[str]:
    """The encodings that lie in the cache, known or not."""
    found = (path for folder in FOLDERS for path in project.path(folder).glob("*.safetensors"))
    return sorted(path.relative_to(project.folder).as_posix() for path in found)


def verify(project: Project, progress: Progress) -> list[str]:
    """Read every encoding of the cache; forget those that are damaged, and return their files.

    What is forgotten and still asked for is encoded anew by the next run of the stage.
    """
    rows = project.rows("SELECT key, kind, file FROM cache_entry ORDER BY key")
    progress.start("verify", len(rows), "encodings")
    damaged = []
    for row in rows:
        if not _sound(project, row):
            damaged.append(row)
        progress.advance(1, row["kind"])
    forget(STAGE, project, [row["key"] for row in damaged])
    state = f"{len(damaged)} of {len(rows)} encodings are damaged" if damaged else f"{len(rows)} encodings are sound"
    progress.say(state)
    return [row["file"] for row in damaged]


def _sound(project: Project, row: Mapping[str, Any]) -> bool:
    try:
        read_encoding(project.path(row["file"]), row["key"], row["kind"])
    except SakugaError:
        return False
    return True
