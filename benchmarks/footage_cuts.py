"""How well shots are found: ours with and without the network, beside PySceneDetect and plain TransNetV2.

    python benchmarks/footage_cuts.py [--films FOLDER] [--seeds 100 101 102 103] [--keep FOLDER]

Films: the real ones (a folder with cuts.json), cartoons full of what is mistaken for a cut (`cartoon.py`), and episodes
of the drawn world, in two looks each. The weights in `signals/cuts.py` were fitted on the cartoons of seeds 0 to 7 and
on the real films; seeds from 100 on were not seen before.

A cut counts as found within one frame, a dissolve, fade or flash where a boundary lies in it or within one frame of it;
each once, and every other boundary is a false one. No method drops short shots here. PySceneDetect runs with its own
defaults but for the shortest scene (1 frame), in the whole picture; plain TransNetV2 takes the middle of each run of
probabilities above one half.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import machine
import numpy as np
import torch
from cartoon import Truth, write_cartoon

from sakuga.core.media import film as media
from sakuga.core.media.proxy import ProxyWriter, read_proxy
from sakuga.nn.transnet import BLOCK, block_probabilities, load_transnet
from sakuga.signals.cuts import asked_about, decide, find_candidates, spans
from sakuga.signals.look import Look, Watcher, look_size
from sakuga_world.films import write_film
from sakuga_world.look import CEL, WOODCUT

EPISODES = (11, 12)  # bars in the first
LONG = 34_560  # frames of 24 minutes
WITHIN = 1  # frames


class Film(NamedTuple):
    name: str
    kind: str
    path: Path
    truths: list[Truth]
    not_cuts: list[int]


class Seen(NamedTuple):
    """What the one pass over a film leaves."""

    look: Look
    proxy: Path


def real(folder: Path) -> list[Film]:
    known = json.loads((folder / "cuts.json").read_text("utf-8"))
    return [
        Film(name, "real", folder / name, [Truth(cut, cut, "cut") for cut in told["cuts"]], told["hard_negatives"])
        for name, told in known.items()
    ]


def rendered(folder: Path, seeds: Sequence[int], seconds: float) -> list[Film]:
    found = []
    for index, seed in enumerate(seeds):
        path = folder / f"cartoon-{seed}.mp4"
        found.append(
            Film(path.stem, "cartoon", path, write_cartoon(path, seed, (CEL, WOODCUT)[index % 2], seconds), [])
        )
    for episode, look in zip(EPISODES, (CEL, WOODCUT), strict=True):
        path = folder / f"episode-{episode}.mp4"
        shots = write_film(path, episode, look, seconds)[1:]
        truths = [Truth(s.first, s.first + s.fade, "dissolve" if s.fade else "cut") for s in shots]
        found.append(Film(path.stem, "episode", path, truths, []))
    return found


def watch(path: Path, folder: Path) -> Seen:
    info = media.probe(path)
    watcher = Watcher(look_size(info.width, info.height), 12)
    proxy = folder / f"{path.stem}.proxy.mp4"
    with ProxyWriter(proxy) as writer:
        for _, _, planes in media.look(path, watcher.size, on_error=sys.stderr.write):
            watcher.feed(planes.luma, planes.blue, planes.red)
            writer.write(planes)
    return Seen(watcher.look(), proxy)


def asked(network: torch.nn.Module, seen: Seen, blocks: Iterable[int]) -> np.ndarray:
    told = np.full(len(seen.look), np.nan, np.float32)
    for block, part in block_probabilities(network, read_proxy(seen.proxy, len(seen.look)), blocks, len(seen.look)):
        told[BLOCK * block :][: len(part)] = part
    return told


def all_told(network: torch.nn.Module, seen: Seen, kept: Path) -> np.ndarray:
    """The network's word on every frame, from an earlier run where it is kept."""
    if not kept.exists():
        np.save(kept, asked(network, seen, range(-(-len(seen.look) // BLOCK))))
    return np.load(kept)


def middles(told: np.ndarray) -> list[int]:
    """The first frames of shots by plain TransNetV2: after the middle of each run of high probabilities."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], told > 0.5, [0]])))
    return [int((first + after - 1) // 2) + 1 for first, after in zip(edges[::2], edges[1::2], strict=True)]


def detected(path: Path, detector: str) -> list[int]:
    import scenedetect

    make = {"adaptive": scenedetect.AdaptiveDetector, "content": scenedetect.ContentDetector}[detector]
    scenes = scenedetect.detect(str(path), make(min_scene_len=1))
    return [first.frame_num for first, _ in scenes[1:]]


def score(found: Sequence[int], truths: Sequence[Truth]) -> tuple[list[int], list[Truth]]:
    """The boundaries that are none, and the transitions that are missed."""
    free, missed = list(found), []
    for truth in truths:
        hits = [f for f in free if truth.first - WITHIN <= f <= truth.after + WITHIN]
        if hits:
            free.remove(hits[0])
        else:
            missed.append(truth)
    return free, missed


def f1(hits: int, wrong: int, missed: int) -> float:
    return round(2 * hits / max(1, 2 * hits + wrong + missed), 4)


def methods(film: Film, seen: Seen, network: torch.nn.Module, folder: Path) -> dict[str, list[int]]:
    count, some = len(seen.look), find_candidates(seen.look)
    whole = all_told(network, seen, folder / f"{film.name}.npy")
    blocks = {frame // BLOCK for c in some if c.doubtful for frame in asked_about(c, count)}
    told = np.where(np.isin(np.arange(count) // BLOCK, sorted(blocks)), whole, np.nan)
    ours: Callable[[Any], list[int]] = lambda judged: [s.first for s in spans(decide(some, 0.5, judged), count)[1:]]  # noqa: E731
    return {
        "ours": ours(told), "ours, signals alone": ours(None), "TransNetV2": middles(whole),
        "PySceneDetect adaptive": detected(film.path, "adaptive"),
        "PySceneDetect content": detected(film.path, "content"),
        "asked": sorted(blocks),
    }  # fmt: skip


def deriving_seconds(look: Look) -> float:
    """Seconds that finding the transitions of 24 minutes takes: this look again and again. The best of three."""
    times = -(-LONG // len(look))
    names = ("hashes", "tiny", "tint", "spread", "luma", "novel", "change")
    long = {name: np.concatenate([getattr(look, name)] * times)[:LONG] for name in names}
    film = Look(**{name: long.get(name, getattr(look, name)) for name in look.__dataclass_fields__})
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        spans(decide(find_candidates(film)), LONG, 12)
        taken.append(time.perf_counter() - started)
    return round(min(taken), 2)


def measure(films: list[Film], folder: Path) -> dict[str, Any]:
    network = load_transnet(torch.device("cpu"))
    totals: dict[str, dict[str, list[int]]] = {}
    notes: list[dict[str, Any]] = []
    asked_of: dict[str, list[int]] = {}
    looks = []
    for film in films:
        seen = watch(film.path, folder)
        looks.append(seen.look)
        told = methods(film, seen, network, folder)
        asked_of.setdefault(film.kind, []).extend((len(told.pop("asked")), -(-len(seen.look) // BLOCK)))
        for method, found in told.items():
            wrong, missed = score(found, film.truths)
            sums = totals.setdefault(film.kind, {}).setdefault(method, [0, 0, 0])
            for at, number in enumerate((len(film.truths) - len(missed), len(wrong), len(missed))):
                sums[at] += number
            note = {"film": film.name, "method": method, "wrong": wrong, "missed": [list(m) for m in missed]}
            near = [n for n in film.not_cuts if any(abs(n - f) <= WITHIN for f in found)]
            notes.append(note | ({"hard_negatives_called_cuts": near} if film.not_cuts else {}))
        sys.stdout.write(f"{film.name} done\n")
    return {
        "f1": {kind: {method: f1(*sums) for method, sums in told.items()} for kind, told in totals.items()},
        "hits_wrong_missed": totals,
        "share_of_film_shown_to_network": {k: round(sum(v[::2]) / sum(v[1::2]), 3) for k, v in asked_of.items()},
        "seconds_to_derive_24_minutes": deriving_seconds(looks[0]),
        "notes": [n for n in notes if n["wrong"] or n["missed"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=Path, help="folder of real films with cuts.json")
    parser.add_argument("--seeds", type=int, nargs="*", default=[100, 101, 102, 103], help="of the cartoons")
    parser.add_argument("--seconds", type=float, default=40, help="of each drawn film")
    parser.add_argument("--keep", type=Path, help="where films and the network's words are kept for another run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        films = real(options.films) if options.films else []
        films += rendered(folder, options.seeds, options.seconds)
        figures = {"seeds": options.seeds, "seconds": options.seconds} | measure(films, folder)
    sys.stdout.write(f"{json.dumps(figures, indent=1)}\n{machine.write('footage-cuts', figures)}\n")


if __name__ == "__main__":
    main()
