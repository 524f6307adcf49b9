"""masks: which places of an item count, from the file a person made to the loss; and the weights of items."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sakuga import api
from sakuga.core.counting import over_latent
from sakuga.core.dataset import encoded_samples, mask_file
from sakuga.core.errors import SakugaError
from sakuga.core.media.clip import write_clip
from sakuga.core.media.mask import is_transparent, read_mask
from sakuga.core.progress import Silent
from sakuga.core.project import Project
from sakuga.nn.encodings import read_encoding

SMALL: dict[str, Any] = {"rank": 4, "steps": 1, "accumulation": 4, "validate_every": 1}


def painted(path: Path, columns: slice, size: tuple[int, int]) -> Path:
    """A mask of that size, white in those columns."""
    grey = np.zeros((size[1], size[0]), np.uint8)
    grey[:, columns] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey).save(path)
    return path


def items(project: Project) -> list[dict[str, Any]]:
    return project.rows("SELECT * FROM item ORDER BY name")


def for_all(project: Project, folder: Path, columns: Callable[[int], slice]) -> Path:
    """A folder of masks, one for each item."""
    for item in items(project):
        width, height = item["width"], item["height"]
        painted(folder / f"{item['name']}.png", columns(width), (width, height))
    return folder


def losses(project: Project, name: str, **settings: Any) -> dict[tuple[str, float], float]:
    """The losses of a run's first step, by sample and noise level."""
    api.train(project, name=name, **SMALL | settings)
    query = "SELECT sample, t, item_loss.loss FROM item_loss JOIN run_expert ON run_expert.id = run_expert JOIN run ON "
    rows = project.rows(query + "run.id = run_expert.run WHERE run.name = ?", name)
    return {(row["sample"], row["t"]): row["loss"] for row in rows}


# Numbers


@given(
    st.integers(0, 3), st.integers(1, 3), st.integers(1, 3), st.sampled_from([(4, 8, 8), (4, 16, 16), (2, 4, 2)]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_a_latent_pixel_counts_as_the_mean_of_what_it_stands_for(
    later: int, rows: int, columns: int, stride: tuple[int, int, int], seed: int
) -> None:
    frames, down, across = stride
    F, H, W = 1 + later * frames, rows * down, columns * across
    mask = np.random.default_rng(seed).integers(0, 256, (F, H, W)).astype(np.uint8)
    over = over_latent(mask, stride)
    assert over.shape == (1 + later, rows, columns) and over.dtype == np.float32
    for f in range(1 + later):
        of = slice(0, 1) if f == 0 else slice(1 + (f - 1) * frames, 1 + f * frames)
        for y in range(rows):
            for x in range(columns):
                part = mask[of, y * down : (y + 1) * down, x * across : (x + 1) * across]
                assert over[f, y, x] == pytest.approx(part.mean() / 255, abs=1e-6)


# Files


def test_a_mask_is_read_by_its_brightness_or_where_it_is_transparent_by_that(tmp_path: Path) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    opaque = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    Image.fromarray(opaque).save(tmp_path / "opaque.png")
    Image.fromarray(np.dstack([255 - grey, grey, grey, grey])).save(tmp_path / "alpha.png")
    for name in ("grey.png", "deep.png", "opaque.png", "alpha.png"):
        found = read_mask(tmp_path / name, [0, 3], own=False)
        assert len(found) == 2 and all(np.array_equal(mask, grey) for mask in found), name
    assert np.array_equal(read_mask(tmp_path / "alpha.png", [0], own=True)[0], grey)
    assert is_transparent(tmp_path / "alpha.png") and not is_transparent(tmp_path / "opaque.png")
    assert not is_transparent(tmp_path / "grey.png")


def test_masks_are_found_by_the_names_of_their_items(exported: Project, tmp_path: Path) -> None:
    clip, still = (next(item for item in items(exported) if item["kind"] == kind) for kind in ("clip", "still"))
    other = [item for item in items(exported) if item["kind"] == "clip"][1]
    size = clip["width"], clip["height"]
    folder = tmp_path / "Masken für mich"
    painted(folder / f"{clip['name']}.png", slice(0, 4), size)  # with the folder of the item
    painted(folder / f"{Path(still['name']).name}_mask.png", slice(0, 4), size)  # by the last name alone
    write_clip(folder / f"{Path(other['name']).name}.mp4", _halves(other), 16)
    painted(folder / "stranger.png", slice(0, 4), size)
    taken = api.take_masks(exported, folder)
    share = 4 / size[0]
    assert taken.shares == {
        clip["name"]: pytest.approx(share), other["name"]: pytest.approx(0.5, abs=0.03), still["name"]: pytest.approx(share),
    }  # fmt: skip
    assert taken.faults == {str(folder / "stranger.png"): "no clip and no still bears its name"}
    kept = {row["item"]: row["file"] for row in api.masks(exported)}
    assert kept[clip["name"]] == f"masks/{clip['name']}.png" and exported.path(kept[other["name"]]).suffix == ".mp4"
    painted(folder / "other.webp", slice(0, 8), size)
    api.take_masks(exported, folder / "other.webp", of=clip["name"])  # another file, in the place of the first
    assert not exported.path(f"masks/{clip['name']}.png").exists()
    assert exported.path(f"masks/{clip['name']}.webp").is_file()
    assert api.remove_masks(exported, ["clips/*"]) == sorted([clip["name"], other["name"]])
    assert [row["item"] for row in api.masks(exported)] == [still["name"]]
    assert not exported.path(f"masks/{clip['name']}.webp").exists()


def _halves(item: dict[str, Any]) -> list[np.ndarray]:
    frame = np.zeros((item["height"], item["width"], 3), np.uint8)
    frame[:, : item["width"] // 2] = 255
    return [frame] * item["frames"]


def test_one_mask_serves_the_items_of_a_folder_that_have_none(exported: Project, tmp_path: Path) -> None:
    first, *rest = [item for item in items(exported) if item["kind"] == "clip"]
    size = first["width"], first["height"]
    api.take_masks(exported, painted(tmp_path / "own.png", slice(0, 8), size), of=first["name"])
    taken = api.take_masks(exported, painted(tmp_path / "all.png", slice(0, 16), size), of="clips")
    assert sorted(taken.shares) == [item["name"] for item in rest]


def test_what_cannot_be_a_mask_is_one_sentence(exported: Project, tmp_path: Path) -> None:
    clip, still = (next(item for item in items(exported) if item["kind"] == kind) for kind in ("clip", "still"))
    size = clip["width"], clip["height"]
    square = painted(tmp_path / "square.png", slice(0, 4), (30, 30))
    black = painted(tmp_path / "black.png", slice(0, 0), size)
    video = tmp_path / "short.mp4"
    write_clip(video, _halves(clip)[:3], 16)
    (tmp_path / "text.png").write_text("no picture")
    for path, of, sentence in (
        (square, clip["name"], "square.png is 30x30, another shape than .*; save it in that"),
        (black, clip["name"], "black.png is black: nothing of .* would count; paint white what is to be learnt"),
        (video, clip["name"], f"short.mp4 has 3 frames and .* has {clip['frames']}; give as many"),
        (video, still["name"], "short.mp4 is a video and .* a still; give a picture"),
        (tmp_path / "text.png", clip["name"], "is not a picture that can be read"),
        (tmp_path / "none.png", None, "none.png is not there; name a mask, or a folder of them"),
        (square, "clisp", "no item and no folder of items is called 'clisp'.*clips"),
        (square, None, "no mask was taken from .*: no clip and no still bears its name"),
    ):
        with pytest.raises(SakugaError, match=sentence):
            api.take_masks(exported, path, of)
    assert api.masks(exported) == [] and not exported.path("masks").exists()


def test_a_second_mask_and_a_name_that_two_items_bear(exported: Project, tmp_path: Path) -> None:
    clip = next(item for item in items(exported) if item["kind"] == "clip")
    size = clip["width"], clip["height"]
    painted(tmp_path / "m" / "a" / f"{clip['name']}.png", slice(0, 4), size)
    painted(tmp_path / "m" / "b" / f"{clip['name']}.png", slice(0, 8), size)
    exported.db.execute("UPDATE item SET name = 'stills/' || substr(?, 7) WHERE kind = 'still' AND name = ?",
                        (clip["name"], next(i["name"] for i in items(exported) if i["kind"] == "still")))  # fmt: skip
    painted(tmp_path / "m" / f"{Path(clip['name']).name}.png", slice(0, 4), size)
    taken = api.take_masks(exported, tmp_path / "m")
    assert list(taken.shares) == [clip["name"]]
    assert sorted(taken.faults.values()) == [
        f"{clip['name']} and stills/{Path(clip['name']).name} both bear its name; say --of which",
        f"{Path(clip['name']).name}.png is the mask of {clip['name']} already",
    ]


# To the loss


def test_the_loss_of_a_picture_is_that_of_its_halves(cached: Project, tmp_path: Path) -> None:
    whole = losses(cached, "whole")
    api.take_masks(cached, for_all(cached, tmp_path / "left", lambda width: slice(0, width // 2)))
    latents = {sample.latent for sample in encoded_samples(cached)}
    left = losses(cached, "left")
    assert losses(cached, "off", masks=False) == whole
    floored = losses(cached, "floor", mask_floor=0.5)
    api.take_masks(cached, for_all(cached, tmp_path / "right", lambda width: slice(width // 2, width)))
    right = losses(cached, "right")
    assert {sample.latent for sample in encoded_samples(cached)} == latents  # a mask is an encoding of its own
    assert left.keys() == right.keys() == whole.keys() == floored.keys() and len(whole) == 4
    for draw, loss in whole.items():
        assert left[draw] != pytest.approx(right[draw], rel=1e-3)
        assert (left[draw] + right[draw]) / 2 == pytest.approx(loss, rel=1e-5)
        assert (left[draw] + right[draw] / 2) / 1.5 == pytest.approx(floored[draw], rel=1e-5)
    api.remove_masks(cached, ["*"])
    assert losses(cached, "again") == whole


def test_items_without_a_mask_count_whole_beside_those_with_one(cached: Project, tmp_path: Path) -> None:
    whole = losses(cached, "whole", batch=4)
    masked = next(sample for sample in encoded_samples(cached) if sample.key in {key for key, _ in whole})
    size = cached.rows("SELECT width, height FROM item WHERE name = ?", masked.item)[0]
    mask = painted(tmp_path / "m.png", slice(0, 16), (size["width"], size["height"]))
    api.take_masks(cached, mask, of=masked.item)
    found = losses(cached, "masked", batch=4)
    of_item = {sample.key for sample in encoded_samples(cached) if sample.item == masked.item}
    for draw, loss in whole.items():
        assert (found[draw] == pytest.approx(loss, rel=1e-5)) == (draw[0] not in of_item)


def test_a_mask_of_moving_pictures_is_cut_as_the_clip_is(cached: Project, tmp_path: Path) -> None:
    sample = next(s for s in encoded_samples(cached) if s.kind == "clip")
    item = cached.rows("SELECT * FROM item WHERE name = ?", sample.item)[0]
    assert sample.start == 0
    levels = [np.full((item["height"], item["width"], 3), 255 if n else 0, np.uint8)
              for n in range(item["frames"])]  # fmt: skip
    write_clip(tmp_path / "m.mp4", levels, 16, lossless=False)
    api.take_masks(cached, tmp_path / "m.mp4", of=sample.item)
    api.cache(cached)
    sample = next(s for s in encoded_samples(cached) if s.key == sample.key)
    mask = read_encoding(cached.path(mask_file(sample.mask)), sample.mask, "mask")["mask"]
    t, h, w = cached.member.vae.stride
    assert mask.shape == (1, 1 + (sample.frames - 1) // t, sample.height // h, sample.width // w)
    assert float(mask[0, 0].max()) < 0.02 and float(mask[0, 1:].min()) > 0.98


def test_transparent_pictures_are_masks_of_themselves(cached: Project, tmp_path: Path) -> None:
    shown = np.random.default_rng(0).integers(0, 256, (64, 64, 4)).astype(np.uint8)
    shown[:, :32, 3], shown[:, 32:, 3] = 255, 0
    mine = tmp_path / "mine"
    mine.mkdir()
    Image.fromarray(shown).save(mine / "a.png")
    (mine / "a.txt").write_text("MyStyle. a cut-out figure")
    with av.open(str(mine / "b.mov"), "w") as out:  # png in mov keeps how opaque pixels are
        stream = out.add_stream("png", rate=16)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "rgba"
        for _ in range(9):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(shown, "rgba")))
        out.mux(stream.encode())
    (mine / "b.txt").write_text("MyStyle. a figure that stands")
    api.adopt(cached, [mine])
    assert {row["name"]: row["mask"] for row in items(cached) if row["folder"]} == {
        "mine/a": "alpha",
        "mine/b": "alpha",
    }
    api.plan(cached)
    api.cache(cached)
    found = [sample for sample in encoded_samples(cached) if sample.item.startswith("mine/")]
    assert {sample.item for sample in found} == {"mine/a", "mine/b"}
    for sample in found:
        mask = read_encoding(cached.path(mask_file(sample.mask)), sample.mask, "mask")["mask"]
        middle = mask.shape[-1] // 2
        assert float(mask[..., :middle].min()) == 1 and float(mask[..., middle:].max()) == 0
    size = {"width": 64, "height": 64}
    api.take_masks(cached, painted(tmp_path / "m.png", slice(0, 64), tuple(size.values())), of="mine/a")
    (own,) = [s for s in encoded_samples(cached) if s.item == "mine/a"]
    assert own.mask_file == "masks/mine/a.png"  # what a person says goes before


def test_a_damaged_mask_names_itself(cached: Project, tmp_path: Path) -> None:
    folder = for_all(cached, tmp_path / "m", lambda width: slice(0, width // 2))
    api.take_masks(cached, folder)
    item = items(cached)[0]
    cached.path(f"masks/{item['name']}.png").write_bytes(b"no picture any more")
    summary = api.cache(cached)
    assert any("is not a picture that can be read" in why for why in summary.failed.values())
    video = tmp_path / "short.mp4"
    clip = next(item for item in items(cached) if item["kind"] == "clip")
    write_clip(video, _halves(clip), 16)
    api.take_masks(cached, video, of=clip["name"])
    write_clip(cached.path(f"masks/{clip['name']}.mp4"), _halves(clip)[:1], 16)
    summary = api.cache(cached)
    assert any("ends before frame" in why and "give a mask of as many frames" in why for why in summary.failed.values())


def test_what_a_mask_no_longer_asks_for_is_pruned(cached: Project, tmp_path: Path) -> None:
    api.take_masks(cached, for_all(cached, tmp_path / "m", lambda width: slice(0, width // 2)))
    api.cache(cached)
    assert api.cache_unused(cached).files == 0
    masks = list(cached.path("cache/masks").iterdir())
    api.remove_masks(cached, ["*"])
    assert api.cache_unused(cached).files == len(masks) > 0
    api.cache_unused(cached, prune=True)
    assert not list(cached.path("cache/masks").iterdir())


# Weights


def test_the_weight_of_an_item_is_that_of_its_loss(cached: Project) -> None:
    names = [item["name"] for item in items(cached)]
    assert api.weigh(cached, 3, [names[0]]) == {names[0]: 3.0}
    assert {s.weight for s in encoded_samples(cached) if s.item == names[0]} == {3.0}
    assert {s.weight for s in encoded_samples(cached) if s.item != names[0]} == {1.0}
    assert api.weigh(cached, 0.5, ["*"]) == dict.fromkeys(names, 0.5)
    assert api.weigh(cached, 1, ["clips/*"]) == {name: 0.5 for name in names if name.startswith("stills/")}
    for weight, sentence in ((0, "0 is no weight; give a number above 0"), (float("nan"), "nan is no weight")):
        with pytest.raises(SakugaError, match=sentence):
            api.weigh(cached, weight, names)
    with pytest.raises(SakugaError, match="name the clips and stills that are to be weighed"):
        api.weigh(cached, 2, [])


def test_the_gradient_is_weighed(cached: Project) -> None:
    """All items twice as heavy: the gradient doubles, what is told of the loss stays."""
    plain = losses(cached, "plain")
    api.weigh(cached, 2, ["*"])
    assert losses(cached, "heavy") == plain
    first, second = (row["norm"] for row in cached.rows("SELECT norm FROM step ORDER BY run_expert"))
    assert second == pytest.approx(2 * first, rel=1e-4)


def test_other_masks_and_weights_are_told_when_a_run_goes_on(cached: Project, tmp_path: Path) -> None:
    class Said(Silent):
        words: list[str] = []

        def say(self, words: str) -> None:
            self.words.append(words)

    said = Said()
    train = {**SMALL, "name": "r", "steps": 3, "progress": said}
    api.train(cached, **train, should_stop=lambda: True)
    first, second, *_ = [item["name"] for item in items(cached) if item["kind"] == "clip"]
    size = cached.rows("SELECT width, height FROM item WHERE name = ?", first)[0]
    api.take_masks(cached, painted(tmp_path / "m.png", slice(0, 8), (size["width"], size["height"])), of=first)
    api.weigh(cached, 0.5, [second])
    api.train(cached, **train, should_stop=lambda: True)
    api.weigh(cached, 2, ["clips/*"])
    api.train(cached, **train)
    told = [words for words in said.words if "since it stopped" in words]
    assert told == [
        f"r: since it stopped, other masks: {first}", f"r: since it stopped, other weights: {second}",
        "r: since it stopped, other settings: weight of clips",
    ]  # fmt: skip
