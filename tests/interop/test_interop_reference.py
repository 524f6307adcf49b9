"""The page about other trainers' files is what the code says."""

from pathlib import Path

from sakuga.interop import diffusion_pipe_keys, musubi_keys
from sakuga.interop.reference import page

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_current() -> None:
    assert (DOCS / "interop.md").read_text(encoding="utf-8") == page(), "run: python scripts/reference.py"


def test_every_key_stands_on_it() -> None:
    known = [
        *musubi_keys.TRAIN,
        *musubi_keys.CACHE,
        *musubi_keys.DATASET_OWN,
        *diffusion_pipe_keys.TOP,
        *diffusion_pipe_keys.DATASET,
    ]
    assert len(known) > 180
    assert [key for key in known if f"`{key}`" not in page()] == []
