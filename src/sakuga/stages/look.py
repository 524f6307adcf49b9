"""look: one decoding pass over a film, which keeps all that is told of it later: the time of every frame, numbers of
each, small pictures, and a film of 48x27 pixels."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2

from ..core import files
from ..core.errors import SakugaError
from ..core.media import film as media
from ..core.media.proxy import ProxyWriter
from ..core.media.sound import mono
from ..core.media.timing import snap_rate
from ..core.project import Project
from ..core.settings import Settings
from ..core.stage import Item, Rows, Scratch, Stage
from ..core.timeline import pack
from ..signals.look import Watcher, look_size
from ..signals.sound import RATE, sound_prints

KEEP_SECONDS = 0.5  # from one kept picture to the next
REPORT_EVERY = 24


def _items(project: Project, settings: Settings) -> list[Item]:
    items = []
    for film in project.rows("SELECT * FROM film ORDER BY name"):
        facts = {"name": film["name"], "path": str(project.film_path(film["name"]))}
        size = max(1, round((film["seconds"] or 0) * Fraction(film["rate"] or 24)))
        items.append(Item(film["name"], {"sha256": film["sha256"]}, facts, size))
    return items


def _work(facts: Mapping[str, Any], settings: Settings, scratch: Scratch) -> Rows:
    cv2.setNumThreads(1)  # pictures are small: more threads cost more than they give, and decoding has need of them
    path, name = Path(facts["path"]), facts["name"]
    info = media.probe(path)
    stamps: list[Fraction] = []
    faults: list[str] = []
    watcher = Watcher(look_size(info.width, info.height), max(1, round(KEEP_SECONDS * (info.declared or 24))))
    kept = {kind: f"cache/looks/{name}.{kind}" for kind in ("npz", "zip", "mp4")}
    with ProxyWriter(scratch.file(kept["mp4"])) as proxy:
        for index, time, planes in media.look(path, watcher.size, on_error=faults.append):
            stamps.append(time)
            watcher.feed(planes.luma, planes.blue, planes.red)
            proxy.write(planes)
            if index % watcher.keep_every == 0:
                watcher.keep(index, planes.rgb(), planes.whole())
            if (index + 1) % REPORT_EVERY == 0:
                scratch.report(REPORT_EVERY)
    if not stamps:
        raise SakugaError(f"no frame of {path} can be decoded; leave it out or convert it with another program")
    look = watcher.look()
    look.save(scratch.file(kept["npz"]))
    watcher.save_pictures(scratch.file(kept["zip"]))
    rate = snap_rate(stamps, info.tick, info.declared)
    row = {"film": name, "frames": len(stamps), "rate": str(rate) if rate else None, "times": pack(stamps)}
    row |= {"note": "; ".join(faults), "hashes": look.hashes.tobytes()}
    row |= {"look": kept["npz"], "pictures": kept["zip"], "proxy": kept["mp4"]}
    row |= {"sound": sound_prints(mono(path, RATE, stamps[0])).tobytes() or None}
    return {"timeline": [row | {"look_sha256": files.file_sha256(scratch.files[kept["npz"]])}]}


STAGE = Stage(
    "look", version=4, takes="film", gives=("timeline",), settings=Settings, items=_items, work=_work, unit="frames"
)
