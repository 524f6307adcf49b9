"""What is known of a model of pictures (CLIP, SigLIP, DINOv2) from its folder, without opening it."""

import json
from pathlib import Path

VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")  # the files of a tokenizer


def knows_words(folder: Path) -> bool:
    """Whether a folder as `save_pretrained` writes it has what texts need too: a part for them, and the vocabulary."""
    config = folder / "config.json"
    if not config.is_file() or not any((folder / name).is_file() for name in VOCABULARIES):
        return False
    return "text_config" in json.loads(config.read_text(encoding="utf-8"))
