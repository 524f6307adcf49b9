"""Lint of captions: how often it agrees with labels, and how long 10,000 captions take.

    python benchmarks/lint.py [--captions 10000] [--unseen FILE]

Labels: tests/data/lint/first.jsonl, written beside the rules, and second.jsonl, written when the rules were there and
without a look at their words. `--unseen` keeps the figures of second.jsonl as they were before any rule was mended by it.
Captions to time are of four sentences each, drawn from the clean ones, 67 words in the mean: harder than films are, since
every sentence comes back in one of twenty.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from captions_labelled import TRIGGER, disagreements, read
from sakuga.core.lint.rule import Subject, Whole
from sakuga.core.lint.rules import lint


def timed(count: int) -> dict[str, float]:
    """Seconds of the clock and of the processor for `count` captions, in one process."""
    rng = random.Random(1)
    labelled = [*read("first"), *read("second")]
    clean = [
        e.subject.text.removeprefix(f"{TRIGGER}. ") for e in labelled if not e.rules and e.subject.trigger == TRIGGER
    ]
    texts = [f"{TRIGGER}. {' '.join(rng.sample(clean, 4))}" for _ in range(count)]
    subjects = tuple(
        Subject(f"i{n}", text, trigger=TRIGGER, camera=0.05, brightness=0.4) for n, text in enumerate(texts)
    )
    clock, processor = time.perf_counter(), time.process_time()
    found = sum(1 for _ in lint(Whole(subjects)))
    spent = {"clock_seconds": time.perf_counter() - clock, "processor_seconds": time.process_time() - processor}
    words = sum(len(text.split()) for text in texts) / count
    return {"captions": count, "words_each": round(words, 1), "findings": found} | {
        k: round(v, 2) for k, v in spent.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=10_000)
    parser.add_argument(
        "--unseen", type=Path, help="JSON of the figures of second.jsonl before rules were mended by it"
    )
    options = parser.parse_args()
    figures: dict[str, object] = {"speed": timed(options.captions)}
    if options.unseen:
        figures["second_unseen"] = json.loads(options.unseen.read_text(encoding="utf-8"))
    for name, files in (("first", ["first"]), ("second", ["second"]), ("all", ["first", "second"])):
        labelled = [entry for file in files for entry in read(file)]
        scores, _ = disagreements(labelled)
        figures[name] = {
            "captions": len(labelled),
            "clean": sum(not entry.rules for entry in labelled),
            "rules": {rule: [s.faults, round(s.precision, 3), round(s.recall, 3)] for rule, s in scores.items()},
        }
    sys.stdout.write(f"{figures['speed']}\n{machine.write('lint', figures)}\n")


if __name__ == "__main__":
    main()
