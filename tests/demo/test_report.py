"""The report: one file with everything in it, that says what was measured."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sakuga.demo import effect, pictures
from sakuga.demo.chart import loss_chart
from sakuga.demo.report import Pair, Report, Shown, write_report
from sakuga.demo.style import make_scale
from sakuga_world.draw import draw_clip
from sakuga_world.look import BASE, CEL
from sakuga_world.scene import random_scene
from sakuga_world.words import caption


@pytest.fixture(scope="session")
def report() -> Report:
    rng = np.random.default_rng(1)
    scenes = [random_scene(rng) for _ in range(6)]
    bases, films = ([draw_clip(scene, look) for scene in scenes] for look in (BASE, CEL))
    stills = [[frame for clip in clips for frame in clip] for clips in (bases, films, films)]
    seen = [{"subject": True, "colour": number != 2} for number in range(6)]
    found = effect.compare({"base": bases, "lora": films}, {"base": seen, "lora": seen}, films, make_scale(*stills))
    near = effect.nearest(films, {f"clip {n}": clip for n, clip in enumerate(films)})
    prompts = [f"DemoStyle. {caption(scene, rng)} <b>" for scene in scenes]
    pairs = [Pair(*each) for each in zip(prompts, bases, films, seen, near, strict=True)]
    shots = [
        Shown(pictures.still(clip[0], 1), f"{n} s", "an opening" if n == 0 else "") for n, clip in enumerate(films)
    ]
    losses = (0.6 * np.exp(-np.arange(300) / 80) + 0.2 + 0.05 * rng.standard_normal(300)).tolist()
    return Report(
        "A film became a style", "2 cores", 312.4, "DemoStyle", found, pairs, {"episode-1": shots}, shots[1:],
        {"full": losses}, {"full": {100: 0.4, 200: 0.3, 300: 0.25}}, [Path("my-style/DemoStyle.safetensors")],
    )  # fmt: skip


def test_the_page_stands_alone_and_says_what_was_measured(report: Report, tmp_path: Path) -> None:
    page, poster = write_report(report, tmp_path)
    text = page.read_text("utf-8")
    assert not re.search(r"(src|href)=\"(?!data:)", text) and "$" not in re.sub(r"base64,[^\"]*", "", text)
    assert text.count("data:image/webp") == len(report.pairs) * 2 + 6 + 5
    assert "5 min 12 s" in text and "1.00 ±" in text and "not seen: colour" in text
    assert "&lt;b&gt;" in text and "an opening" in text and "DemoStyle.safetensors" in text
    width, height = Image.open(poster).size
    assert width > 1500 and height > 500


def test_a_pair_moves_in_step(report: Report, tmp_path: Path) -> None:
    pair = report.pairs[0]
    (tmp_path / "pair.webp").write_bytes(pictures.moving_pair(pair.base_FHWC, pair.lora_FHWC))
    moving = Image.open(tmp_path / "pair.webp")
    assert (moving.n_frames, moving.size) == (9, (2 * 288 + pictures.GAP, 192))  # type: ignore[attr-defined]


def test_the_chart_falls_as_the_losses_do() -> None:
    drawn = loss_chart([1.0] * 50 + [0.1] * 50, {50: 1.0, 100: 0.1})
    heights = [float(point.split(",")[1]) for point in re.search(r'class="mean" points="([^"]*)', drawn)[1].split()]  # type: ignore[index]
    assert heights[0] < 30 and heights[-1] > 180 and len(heights) == 100
    assert drawn.count("<circle") == 2 and loss_chart([], {}) == ""
