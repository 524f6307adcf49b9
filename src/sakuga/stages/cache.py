"""cache: every planned sample and every caption is encoded once, and found again by what it was made of."""

from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from ..core import captions, models
from ..core.dataset import encoded_samples, latent_file, text_file
from ..core.errors import SakugaError
from ..core.family import NEGATIVE_PROMPT
from ..core.media import film as media
from ..core.media.fit import fit
from ..core.media.picture import read_picture
from ..core.media.timing import resample
from ..core.project import Project
from ..core.settings import CacheSettings
from ..core.stage import Item, Rows, Scratch, Stage
from ..core.timeline import Timeline, unpack
from ..nn.device import pick_device, pick_dtype
from ..nn.parts import Parts


def _items(project: Project, settings: CacheSettings) -> list[Item]:
    """Captions first, then latents, so that one encoder at a time is in memory."""
    if faults := captions.sync(project):  # words that changed in an editor count, also when only `train` is called
        raise SakugaError(next(iter(faults.values())))
    samples = encoded_samples(project)
    texts = {sample.text: sample.caption for sample in samples}
    texts |= {sample.negative: NEGATIVE_PROMPT for sample in samples}
    items = [
        Item(key, {"text": key}, {"kind": "text", "key": key, "caption": words}, label=_label(words))
        for key, words in texts.items()
    ]
    latents = {sample.latent: sample for sample in samples}
    for key, sample in latents.items():
        facts = asdict(sample) | {"kind": "latent", "key": key, "still": sample.kind == "still"}
        facts |= {"fps_out": project.member.fps, "path": str(project.path(sample.file))}
        items.append(Item(key, {"latent": key}, facts, label=sample.item))
    return items


def _label(words: str) -> str:
    """What progress calls an encoded text; cut by letters, for not every language has spaces."""
    if words == NEGATIVE_PROMPT:
        return "the negative prompt"
    return f"caption '{words if len(words) <= 40 else words[:39] + '…'}'"


def _work(facts: Mapping[str, Any], settings: CacheSettings, scratch: Scratch) -> Rows:
    parts: Parts = scratch.context
    if facts["kind"] == "text":
        # an encoder that computes in bf16 says nothing that bf16 cannot hold
        text = parts.text().encode([facts["caption"]])[0].to("cpu", parts.dtype)
        file, tensors = text_file(facts["key"]), {"text": text.contiguous()}
    else:
        pixels_BCFHW = pixels(facts).to(parts.device)
        latent = parts.vae().encode(pixels_BCFHW)[0].cpu().half()
        if not torch.isfinite(latent).all():
            raise SakugaError(f"the VAE gave values of {facts['item']} that are not numbers; look at it, or replace it")
        file, tensors = latent_file(facts["key"]), {"latent": latent.contiguous()}
    target = scratch.file(file)
    target.write_bytes(save(tensors))  # not save_file: it reports a full disk as an error of its own
    return {"cache_entry": [{"key": facts["key"], "kind": facts["kind"], "file": file, "bytes": target.stat().st_size}]}


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


def _window(facts: Mapping[str, Any]) -> list[int]:
    """Which frames of the file a sample shows: those at its own rate, or at the model's where the file has another."""
    first, after = facts["start"], facts["start"] + facts["frames"]
    rate, fps = Fraction(facts["fps"]), facts["fps_out"]
    if rate == fps and not facts.get("times"):
        return list(range(first, after))
    varying = facts.get("times")
    times = Timeline(unpack(varying), None).shown if varying else [n / rate for n in range(int(after * rate / fps) + 2)]
    return resample(times, Fraction(first, fps), fps, facts["frames"], Fraction(after, fps))


def _parts(project: Project, settings: CacheSettings) -> Parts:
    device = pick_device(settings.device)
    return Parts(project.member, models.of_project(project), device, pick_dtype(None, device))


STAGE = Stage(
    "cache", version=1, takes="sample", gives=("cache_entry",), settings=CacheSettings, items=_items, work=_work,
    context=_parts, unit="encodings", keeps=True,
)  # fmt: skip
