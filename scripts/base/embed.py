"""Puts the trained files where Sakuga finds them (src/sakuga/embedded), and writes their hashes into the model card."""

import argparse
import hashlib
import shutil
from pathlib import Path

from names import TEXT_FOLDER, TOKENIZER_FOLDER, TRANSFORMER_FILES, VAE_FOLDER
from safetensors.torch import load_file

from data import CLASSES, FACTS, FRAMES, HEIGHT, WIDTH
from sakuga.core.models import EMBEDDED
from sakuga.nn.describer import save_describer

MOST_BYTES = 45 * 2**20
WORDS = {
    "subject": {"ball": "ball rolls", "car": "car drives", "robot": "robot walks", "bird": "bird flies",
                "balloon": "balloon floats"},
    "colour": {colour: colour for colour in FACTS["colour"]},
    "time": {"day": "on a sunny day", "sunset": "at sunset", "night": "at night"},
    "place": {"meadow": "across the meadow", "desert": "through the desert", "town": "through the town",
              "snow": "across the snow"},
    "direction": {"left": "to the left", "right": "to the right"},
}  # fmt: skip
KNOWLEDGE = {
    "frames": FRAMES, "width": WIDTH, "height": HEIGHT,
    "facts": {fact: list(FACTS[fact]) for fact in CLASSES}, "words": WORDS,
    "sentence": "a {colour} {subject} {direction} {place} {time}",
}  # fmt: skip
CARD = Path(__file__).parent / "card.md"


def _line(path: Path, folder: Path) -> str:
    content = path.read_bytes()
    name = path.relative_to(folder).as_posix()
    return f"| {name} | {len(content):,} | `{hashlib.sha256(content).hexdigest()}` |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="the folder that the training wrote to")
    parser.add_argument("--to", type=Path, default=EMBEDDED)
    args = parser.parse_args()
    args.to.mkdir(parents=True, exist_ok=True)
    for name in TRANSFORMER_FILES.values():
        shutil.copyfile(args.weights / name, args.to / name)
    for name in (VAE_FOLDER, TEXT_FOLDER, TOKENIZER_FOLDER):
        shutil.copytree(args.weights / name, args.to / name, dirs_exist_ok=True)
    for seed, name in ((1, "describer"), (2, "judge")):
        tensors = load_file(args.weights / f"describer-{seed}.safetensors")
        save_describer(args.to / f"{name}.safetensors", tensors, KNOWLEDGE)
    shutil.copyfile(args.weights / "looks.json", args.to / "looks.json")
    files = sorted(path for path in args.to.rglob("*") if path.is_file() and path.name != "README.md")
    total = sum(path.stat().st_size for path in files)
    assert total <= MOST_BYTES, f"{total} bytes are more than {MOST_BYTES}"
    hashes = "".join(_line(path, args.to) for path in files)
    table = f"## Files\n\n| file | bytes | SHA-256 |\n|---|---|---|\n{hashes}"
    (args.to / "README.md").write_text((CARD.read_text("utf-8") if CARD.exists() else "") + "\n" + table, "utf-8")
    print(f"{len(files)} files, {total / 2**20:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
