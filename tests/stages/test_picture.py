"""Models that start from a picture, from the dataset to the video: what is kept, what is learnt, what is refused."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import small
from random_model import KINDS, make_tiny
from sakuga import api
from sakuga.core.dataset import encoded_samples, latent_file
from sakuga.core.errors import SakugaError
from sakuga.core.family import FAMILY
from sakuga.core.media.film import frames, probe
from sakuga.core.media.fit import fit
from sakuga.core.media.picture import read_picture, write_png
from sakuga.core.models import of_project
from sakuga.core.project import CONFIG, Project
from sakuga.core.settings import TrainSettings
from sakuga.nn.clip import load_clip
from sakuga.nn.flow import noise_for
from sakuga.nn.lora import load_lora
from sakuga.nn.text import pad_text
from sakuga.nn.vae import load_vae
from sakuga.nn.weights import load_transformer
from sakuga.stages.cache import pixels
from sakuga.stages.train.data import Schedule, load

CLIP, TWO, TI2V = KINDS
SMALL = {"width": 32, "height": 32, "frames": 5, "steps": 2}
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def kinds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, row in KINDS.items():
            patch.setitem(FAMILY, name, row)
        yield


@dataclass(frozen=True)
class Roots:
    """The projects of each kind, made when they are first asked for."""

    exported: Path
    folder: Path

    def __call__(self, kind: str) -> Path:
        root = self.folder / kind
        if not root.exists():
            shutil.copytree(self.exported, root, ignore=shutil.ignore_patterns("models"))
            config = root / "p" / CONFIG
            text = config.read_text("utf-8").replace('model = "tiny"', f'model = "{kind}"')
            for old, new in small.LEAN.items():
                text = text.replace(old, new.replace("48, 32", "64, 32"))
            config.write_text(text, "utf-8")
            make_tiny(KINDS[kind], root / "p" / "models")
            with Project(root / "p") as project:
                assert project.member is KINDS[kind]
                api.cache(project)
        return root


@pytest.fixture(scope="module")
def roots(exported_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Roots:
    return Roots(exported_root, tmp_path_factory.mktemp("kinds"))


Opened = Callable[[str], Project]


@pytest.fixture
def opened(roots: Roots, tmp_path: Path) -> Iterator[Opened]:
    """A copy of the project of a kind."""
    projects: list[Project] = []

    def open_copy(kind: str) -> Project:
        projects.append(small.copy(roots(kind), tmp_path / kind))
        return projects[-1]

    yield open_copy
    for project in projects:
        project.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    y, x = np.mgrid[:60, :120]
    path = tmp_path / "start.png"
    write_png(path, np.stack([2 * x, 4 * y, 255 - x - y], axis=-1).astype(np.uint8))
    return path


def shown(path: Path) -> bytes:
    """The pictures of a video, without what its file says besides."""
    return b"".join(rgb.tobytes() for _, rgb in frames(path))


def train(project: Project, **settings: Any) -> Any:
    return api.train(project, **{"name": "r", "rank": 4, "learning_rate": 1e-2} | settings)


# what is kept


def test_the_cache_holds_what_the_model_is_given_of_the_first_frame(opened: Opened) -> None:
    project = opened(CLIP)
    member, paths = project.member, of_project(project)
    samples = encoded_samples(project)
    assert samples and all(sample.kind == "clip" for sample in samples)
    sample = samples[0]
    kept = load_file(project.path(latent_file(sample.latent)))
    assert set(kept) == {"latent", "image", "clip"}

    size = sample.width, sample.height
    shown = [fit(rgb, *size) for _, rgb in frames(project.path(sample.file), range(sample.start, sample.start + 5))]
    video = torch.from_numpy(np.stack(shown)).float().permute(3, 0, 1, 2)[None] / 127.5 - 1
    vae = load_vae(member.vae, paths["vae"])
    assert torch.equal(kept["latent"], vae.encode(video)[0].half())
    grey = torch.cat((video[:, :, :1], torch.zeros_like(video[:, :, 1:])), dim=2)
    assert torch.equal(kept["image"], vae.encode(grey)[0].half())
    assert member.clip is not None and kept["clip"].shape == (member.clip.tokens, 1280)
    assert torch.equal(kept["clip"], load_clip(paths["clip"], facts=member.clip).encode(video[:, :, 0])[0].half())


def test_another_clip_file_is_another_encoding(opened: Opened) -> None:
    project = opened(CLIP)
    before = {sample.latent for sample in encoded_samples(project)}
    path = of_project(project)["clip"]
    path.unlink()  # shared with the project this one was copied from
    path.with_suffix(".new").write_bytes(b"other")
    path.with_suffix(".new").rename(path)
    assert before.isdisjoint(sample.latent for sample in encoded_samples(project))


def test_an_encoding_without_the_first_frame_is_damaged(opened: Opened) -> None:
    from sakuga.nn.encodings import read_encoding, write_encoding

    project = opened(TWO)
    sample = encoded_samples(project)[0]
    path = project.path(latent_file(sample.latent))
    write_encoding(path, sample.latent, {"latent": read_encoding(path, sample.latent)["latent"]})
    with pytest.raises(SakugaError, match="is missing from the cache or damaged; `sakuga cache --verify`"):
        train(project, epochs=1)


# what is planned


def test_stills_are_left_out_of_image_to_video_with_the_reason(opened: Opened) -> None:
    plan = api.plan(opened(TWO))
    assert plan.buckets.keys() == {"32x32x5"}
    stills = [drop for drop in plan.dropped if drop["section"] == "stills"]
    assert stills and {drop["reason"] for drop in stills} == {
        "Tiny I2V with two experts is given the first frame of all it learns, and a single frame has nothing after it"
    }
    assert (
        plan.cache["latents"] == plan.samples * 2 * (2 * 32) * 2 * 4 * 4
    )  # the clip's latents, and those of its first frame
    both = api.plan(opened(TI2V))
    assert both.buckets.keys() == {"32x32x1", "32x32x5"}
    assert not [drop for drop in both.dropped if drop["section"] == "stills"]


def test_sizes_are_those_of_the_members_own_stride(opened: Opened) -> None:
    """A resolution of 80 x 80: multiples of 32 or of 16 fit it."""
    for kind, size in ((TI2V, 64), (TWO, 80)):
        project = opened(kind)
        config = project.folder / CONFIG
        config.write_text(config.read_text("utf-8").replace("[64, 32]", "[80, 80]"), "utf-8")
        with Project(project.folder) as again:
            plan = api.plan(again)
        step = project.member.side_step
        sizes = [(bucket.width, bucket.height) for bucket in plan.bucket_costs]
        assert sizes and all(side % step == 0 for each in sizes for side in each)
        assert max(max(each) for each in sizes) >= size


def test_the_rate_is_the_members_own(opened: Opened) -> None:
    """A clip of 16 frames a second, as 24 frames of it: every second picture is shown twice."""
    project = opened(TI2V)
    sample = next(s for s in encoded_samples(project) if s.kind == "clip")
    facts = {"still": False, "path": str(project.path(sample.file)), "fps": sample.fps, "fps_out": project.member.fps}
    shown = pixels(facts | {"width": 64, "height": 32, "start": 0, "frames": 5, "times": None})
    assert shown.shape == (1, 3, 5, 32, 64) and project.member.fps == 24 and sample.fps == "16"
    repeated = [bool(torch.equal(shown[:, :, n], shown[:, :, n + 1])) for n in range(4)]
    assert any(repeated) and not all(repeated)


# what is learnt


@pytest.mark.parametrize("kind", [CLIP, TI2V])
def test_the_loss_falls(opened: Opened, kind: str) -> None:
    project = opened(kind)
    run = train(project, epochs=6)
    losses = run.losses["full"]
    share = len(losses) // 3
    assert sum(losses[-share:]) < 0.9 * sum(losses[:share])
    assert run.validation["full"][len(losses)] < 0.9 * run.validation["full"][0]
    layers = load_lora(run.checkpoints["full"]).tensors
    of_picture = {name.rsplit(".", 1)[-1] for name in layers} & {"k_img", "v_img"}
    assert of_picture == ({"k_img", "v_img"} if kind == CLIP else set())
    if kind == CLIP:
        assert all(layer.B.abs().max() > 0 for name, layer in layers.items() if name.endswith("_img"))


def test_both_experts_learn_from_a_picture(opened: Opened) -> None:
    run = train(opened(TWO), steps=2)
    assert list(run.checkpoints) == ["high", "low"]


def test_a_step_is_given_the_mask_the_latents_and_what_clip_saw(opened: Opened) -> None:
    project = opened(CLIP)
    train(project, steps=1)
    member, settings = project.member, TrainSettings(name="r", rank=4, learning_rate=1e-2, steps=1)
    (draw,) = Schedule(encoded_samples(project), settings, member.experts[0], member).step(1)
    kept = {k: v.float()[None] for k, v in load_file(project.path(latent_file(draw.sample.latent))).items()}
    x, t = kept["latent"], draw.t
    e = noise_for(x.shape, *draw.noise)
    mask = torch.zeros(1, 4, *x.shape[2:])
    mask[:, :, 0] = 1
    batch = load([draw], member, project.folder, CPU)
    model = load_transformer(member.transformer, of_project(project)["transformer"], torch.float32, "cpu")
    text = pad_text(batch.texts, member.text.length)
    with torch.no_grad():
        velocity = model(
            (1 - t) * x + t * e, torch.tensor([1000 * t]), text, torch.cat((mask, kept["image"]), dim=1), kept["clip"]
        )
    (row,) = project.rows("SELECT loss FROM step")
    assert row["loss"] == pytest.approx(float((velocity - (e - x)).square().mean()), rel=1e-5)


@pytest.mark.parametrize(("kind", "more"), [(CLIP, {}), (TI2V, {"first_frame": 0.5})], ids=["i2v", "ti2v"])
def test_a_training_that_was_stopped_goes_on_bit_for_bit(opened: Opened, kind: str, more: dict[str, Any]) -> None:
    project = opened(kind)
    how = {"steps": 4, "accumulation": 2, "batch": 2, "save_every": 1, "validate_every": 4, **more}
    whole = train(project, name="whole", **how)
    for _ in range(3):
        assert train(project, name="parts", should_stop=lambda: True, **how).stopped
    parts = train(project, name="parts", **how)
    assert parts.checkpoints["full"].read_bytes() == whole.checkpoints["full"].read_bytes()
    losses = [row["loss"] for row in project.rows("SELECT loss FROM step ORDER BY run_expert, step")]
    assert losses[:4] == losses[4:]


def test_a_share_of_the_draws_sees_its_first_frame_clean(opened: Opened) -> None:
    project = opened(TI2V)
    samples, member = encoded_samples(project), project.member
    settings = TrainSettings(steps=100, accumulation=6, first_frame=0.5)
    schedule = Schedule(samples, settings, member.experts[0], member)
    draws = [draw for n in range(1, 101) for draw in schedule.step(n)]
    clips = [draw for draw in draws if draw.sample.frames > 1]
    assert not any(draw.first for draw in draws if draw.sample.frames == 1)
    assert 0.4 < sum(draw.first for draw in clips) / len(clips) < 0.6

    draw = next(draw for draw in clips if draw.first)
    other = next(draw for draw in clips if not draw.first)
    both = load([draw, other], member, project.folder, CPU)
    assert both.t[0].tolist() == pytest.approx([0, draw.t]) and both.t[1].tolist() == pytest.approx([other.t] * 2)
    assert load([other], member, project.folder, CPU).t.ndim == 1


def test_what_is_given_clean_has_timestep_0_and_no_part_in_the_loss(opened: Opened) -> None:
    project = opened(TI2V)
    member, how = project.member, {"steps": 1, "accumulation": 6, "first_frame": 1.0}
    train(project, **how)
    rows = project.rows("SELECT sample, loss FROM item_loss ORDER BY part")
    draws = Schedule(encoded_samples(project), TrainSettings(**how), member.experts[0], member).step(1)
    assert [row["sample"] for row in rows] == [draw.sample.key for draw in draws]
    assert {draw.first for draw in draws} == {True, False}
    model = load_transformer(member.transformer, of_project(project)["transformer"], torch.float32, "cpu")
    for row, draw in zip(rows, draws, strict=True):
        batch = load([draw], member, project.folder, CPU)
        noised = (1 - draw.t) * batch.latent + draw.t * batch.noise
        tokens = member.tokens(draw.sample.width, draw.sample.height, draw.sample.frames)
        t_BL = torch.full((1, tokens), 1000 * draw.t)
        if draw.first:
            noised[:, :, 0], t_BL[:, : tokens // 2] = batch.latent[:, :, 0], 0
        with torch.no_grad():
            velocity = model(noised, t_BL, pad_text(batch.texts, member.text.length))
        error = (velocity - (batch.noise - batch.latent)).square()[:, :, 1 if draw.first else 0 :]
        assert row["loss"] == pytest.approx(float(error.mean()), rel=1e-5)


@pytest.mark.parametrize("kind", [CLIP, "tiny"])
def test_a_clean_first_frame_is_for_models_that_take_both(opened: Opened, cached: Project, kind: str) -> None:
    project = cached if kind == "tiny" else opened(kind)
    words = f"train.first_frame is for models that take words or a picture, and {project.member.title} is none"
    with pytest.raises(SakugaError, match=words):
        train(project, steps=1, first_frame=0.5)
    assert project.rows("SELECT * FROM run") == []


# what is made


@pytest.mark.parametrize("kind", [CLIP, TWO, TI2V])
def test_a_video_starts_from_a_picture(opened: Opened, picture: Path, kind: str) -> None:
    project = opened(kind)
    video = api.generate(project, "MyStyle. waves", **SMALL | {"steps": 6}, image=str(picture))
    again = api.generate(project, "MyStyle. waves", **SMALL | {"steps": 6}, image=str(picture))
    assert shown(video.path) == shown(again.path)
    flipped = picture.with_name("flipped.png")
    write_png(flipped, read_picture(picture)[::-1].copy())
    other = api.generate(project, "MyStyle. waves", **SMALL | {"steps": 6}, image=str(flipped))
    assert shown(other.path) != shown(video.path)
    assert len(set(video.experts)) == len(project.member.experts)
    assert probe(video.path).declared == project.member.fps


def test_the_size_follows_the_picture(opened: Opened, picture: Path) -> None:
    project = opened(TWO)
    size = {"frames": 5, "steps": 1, "image": str(picture)}
    plain = api.generate(project, "waves", **size)  # 120 x 60, and the member's 96 x 64 pixels
    assert (plain.width, plain.height) == (96, 48)
    wide = api.generate(project, "waves", **size, width=64)
    assert (wide.width, wide.height) == (64, 32)


def test_ti2v_makes_videos_of_words_too(opened: Opened, picture: Path) -> None:
    project = opened(TI2V)
    plain = api.generate(project, "MyStyle. waves", **SMALL)
    given = api.generate(project, "MyStyle. waves", **SMALL, image=str(picture))
    assert shown(plain.path) != shown(given.path)
    # the first frame is that of the picture, whatever follows
    other = api.generate(project, "MyStyle. waves", **SMALL, image=str(picture), seed=2)
    one, two = ([rgb.astype(float) for _, rgb in frames(video.path, [0, 4])] for video in (given, other))
    assert np.abs(one[0] - two[0]).mean() < 0.3 * np.abs(one[1] - two[1]).mean()


def test_pictures_of_a_prompt_file_lie_beside_it(opened: Opened, picture: Path) -> None:
    project = opened(TWO)
    file = picture.with_name("prompts.txt")
    file.write_text("MyStyle. waves --i start.png --w 32 --h 32 --f 5 --s 2\n", "utf-8")
    (video,) = api.generate_all(project, api.read_prompts(file))
    same = api.generate(project, "MyStyle. waves", **SMALL, image=str(picture))
    assert shown(video.path) == shown(same.path)


def test_previews_start_from_their_pictures(opened: Opened, picture: Path) -> None:
    project = opened(CLIP)
    shutil.copy(picture, project.folder / "start.png")
    (project.folder / "looks.txt").write_text("MyStyle. waves --i start.png --f 5 --s 2\n", "utf-8")
    run = train(project, steps=1, prompts="looks.txt")
    (row,) = project.rows("SELECT file FROM preview WHERE step > 0")
    size = probe(project.path(row["file"]))
    assert (size.width, size.height) == (32, 16)  # the area of what is trained, in the picture's shape
    video = api.generate(
        project, "MyStyle. waves", image=str(picture), width=32, height=16, frames=5, steps=2, lora=run.name
    )
    assert shown(project.path(row["file"])) == shown(video.path)


def test_a_picture_too_few_or_too_many_is_told_before_anything_is_opened(
    opened: Opened, cached: Project, picture: Path
) -> None:
    project = opened(TWO)
    with pytest.raises(SakugaError, match="Tiny I2V with two experts starts from a picture; give it as --image FILE"):
        api.generate(project, "waves", **SMALL)
    with pytest.raises(SakugaError, match=r"Tiny Wan makes videos from words alone and cannot start from .*start.png"):
        api.generate(cached, "waves", **SMALL, image=str(picture))
    with pytest.raises(SakugaError, match=r"nowhere.png is not there; check its name"):
        api.generate(project, "waves", **SMALL, image=str(picture.with_name("nowhere.png")))
    (project.folder / "looks.txt").write_text("MyStyle. waves\n", "utf-8")
    with pytest.raises(SakugaError, match="starts from a picture"):
        train(project, steps=1, prompts="looks.txt")
    assert project.rows("SELECT * FROM run") == [] and json.dumps(project.rows("SELECT * FROM preview")) == "[]"
