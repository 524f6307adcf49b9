"""Lint of captions: how often it agrees with labels, and how long 10,000 captions take.

    python benchmarks/lint.py [--captions 10000] [--unseen NAME]

Labels: tests/data/lint/first.jsonl, written beside the rules; second.jsonl and third.jsonl, written when the rules were
there and without a look at their words, by which rules were mended afterwards; fourth.jsonl, written after all mending,
by which none may be mended: its figures are the estimate of how lint does on captions that it has not seen. `--unseen`
keeps the figures of a set as they are now, for the day on which rules are mended by it; what was kept stays.
Captions to time are of four sentences each, drawn from the clean ones: harder than films are, since every sentence comes
back in one of twenty.
"""

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from captions_labelled import MENDED, TRIGGER, UNSEEN, disagreements, read
from sakuga.core.lint.rule import Subject, Whole
from sakuga.core.lint.rules import lint


def agreement(names: Iterable[str]) -> dict[str, object]:
    """Faults, precision and recall of each rule over the sets of these names, and of all findings together."""
    labelled = [entry for name in names for entry in read(name)]
    scores, _ = disagreements(labelled)
    faults = sum(s.faults for s in scores.values())
    found = sum(s.faults * s.recall for s in scores.values())
    told = sum(s.faults * s.recall / s.precision for s in scores.values() if s.precision)
    return {
        "captions": len(labelled),
        "clean": sum(not entry.rules for entry in labelled),
        "together": [faults, round(found / told, 3), round(found / faults, 3)],
        "rules": {rule: [s.faults, round(s.precision, 3), round(s.recall, 3)] for rule, s in scores.items()},
    }


def kept() -> dict[str, object]:
    """Figures of sets as they were before any rule was mended by them."""
    path = machine.RESULTS / "lint.json"
    return dict(json.loads(path.read_text(encoding="utf-8")).get("unseen", {})) if path.exists() else {}


def timed(count: int) -> dict[str, float]:
    """Seconds of the clock and of the processor for `count` captions, in one process."""
    rng = random.Random(1)
    labelled = [entry for name in MENDED for entry in read(name)]
    clean = [
        e.subject.text.removeprefix(f"{TRIGGER}. ") for e in labelled if not e.rules and e.subject.trigger == TRIGGER
    ]
    texts = [f"{TRIGGER}. {' '.join(rng.sample(clean, 4))}" for _ in range(count)]
    subjects = tuple(
        Subject(f"i{n}", text, trigger=TRIGGER, camera=0.05, brightness=0.4) for n, text in enumerate(texts)
    )
    load = os.getloadavg()[0]  # the clock says little of a machine with more to do than it has cores
    clock, processor = time.perf_counter(), time.process_time()
    found = sum(1 for _ in lint(Whole(subjects)))
    spent = {"clock_seconds": time.perf_counter() - clock, "processor_seconds": time.process_time() - processor}
    words = sum(len(text.split()) for text in texts) / count
    known = {"captions": count, "words_each": round(words, 1), "findings": found, "load_before": round(load, 1)}
    return known | {k: round(v, 2) for k, v in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=10_000)
    parser.add_argument("--unseen", choices=[*MENDED, UNSEEN], help="keep the figures of this set as they are now")
    options = parser.parse_args()
    unseen = kept()
    if options.unseen and options.unseen not in unseen:
        unseen[options.unseen] = agreement([options.unseen])
    figures = {"speed": timed(options.captions), "unseen": unseen}
    figures |= {name: agreement([name]) for name in (*MENDED, UNSEEN)}
    figures["mended_by"] = agreement(MENDED)
    sys.stdout.write(f"{figures['speed']}\n{machine.write('lint', figures)}\n")


if __name__ == "__main__":
    main()
