"""cache: everything is encoded once, and only what has changed again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sakuga import api
from sakuga.core.dataset import encoded_samples, latent_file, text_file
from sakuga.core.errors import SakugaError
from sakuga.core.family import NEGATIVE_PROMPT
from sakuga.core.media.film import frames
from sakuga.core.media.fit import fit
from sakuga.core.models import of_project
from sakuga.core.project import Project
from sakuga.nn.text import load_text
from sakuga.nn.vae import load_vae
from sakuga.stages.cache import pixels


def written(project: Project) -> dict[str, tuple[int, bytes]]:
    """Every file of the cache, with when it was written and what it holds."""
    paths = list((project.folder / "cache").rglob("*.safetensors"))
    return {path.relative_to(project.folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def test_every_sample_and_every_different_caption_is_encoded(cached: Project) -> None:
    samples = encoded_samples(cached)
    assert len(samples) == 8 and len({s.text for s in samples}) == len({s.caption for s in samples})
    expected = {latent_file(s.latent) for s in samples} | {text_file(s.text) for s in samples}
    expected.add(text_file(samples[0].negative))  # for captions that training drops
    assert written(cached).keys() == expected
    rows = cached.rows("SELECT file, bytes FROM cache_entry")
    assert {row["file"]: row["bytes"] for row in rows} == {
        name: len(data) for name, (_, data) in written(cached).items()
    }


def test_a_latent_and_a_text_are_what_the_encoders_give(cached: Project) -> None:
    sample = next(s for s in encoded_samples(cached) if s.kind == "clip")
    shown = [fit(rgb, 48, 32) for _, rgb in frames(cached.path(sample.file), range(5))]
    pixels_BCFHW = torch.from_numpy(np.stack(shown)).float().permute(3, 0, 1, 2)[None] / 127.5 - 1
    member, paths = cached.member, of_project(cached)
    latent = load_file(cached.path(latent_file(sample.latent)))["latent"]
    assert latent.shape == member.latent_shape(48, 32, 5)
    assert torch.equal(latent, load_vae(member.vae, paths["vae"]).encode(pixels_BCFHW)[0].half())
    text = load_file(cached.path(text_file(sample.text)))["text"]
    (words,) = load_text(member.text, paths["text"], paths["tokenizer"], torch.float32).encode([sample.caption])
    assert torch.equal(text, words)


def test_the_negative_prompt_is_encoded_once_for_captions_that_training_drops(cached: Project) -> None:
    (negative,) = {sample.negative for sample in encoded_samples(cached)}
    member, paths = cached.member, of_project(cached)
    (words,) = load_text(member.text, paths["text"], paths["tokenizer"], torch.float32).encode([NEGATIVE_PROMPT])
    assert torch.equal(load_file(cached.path(text_file(negative)))["text"], words)


@pytest.mark.parametrize(("fps", "wanted"), [("16", [2, 3, 4, 5, 6]), ("24", [3, 4, 6, 7, 9]), ("8", [1, 1, 2, 2, 3])])
def test_a_window_is_read_at_the_models_rate(exported_root: Path, fps: str, wanted: list[int]) -> None:
    facts = {"still": False, "path": str(exported_root / "film.mp4"), "fps": fps, "fps_out": 16}
    read = pixels(facts | {"width": 128, "height": 96, "start": 2, "frames": 5})
    film = dict(frames(exported_root / "film.mp4", range(10)))
    expected = [film[n] for n in wanted]
    got = ((read[0].permute(1, 2, 3, 0) + 1) * 127.5).round().byte()
    assert all((frame.numpy() == rgb).all() for frame, rgb in zip(got, expected, strict=True))


def test_a_second_run_encodes_nothing(cached: Project) -> None:
    before = written(cached)
    summary = api.cache(cached)
    assert summary.done == [] and len(summary.unchanged) == len(before)
    assert written(cached) == before


def test_an_edited_caption_encodes_that_caption_alone(cached: Project) -> None:
    before = written(cached)
    (cached.folder / "dataset" / "clips" / "film_000000.txt").write_text("MyStyle. a girl runs", "utf-8")
    summary = api.cache(cached)
    assert len(summary.done) == 1 and summary.failed == {}
    after = written(cached)
    assert before.items() <= after.items()
    (new,) = after.keys() - before.keys()
    assert new.startswith("cache/text/")
    assert {s.caption for s in encoded_samples(cached) if s.item == "clips/film_000000"} == {"MyStyle. a girl runs"}


def test_a_file_that_is_gone_is_made_again_with_the_same_bytes(cached: Project) -> None:
    before = written(cached)
    for name in sorted(before)[:2] + sorted(before)[-1:]:
        cached.path(name).unlink()
    assert len(api.cache(cached).done) == 3
    assert {name: data for name, (_, data) in written(cached).items()} == {n: data for n, (_, data) in before.items()}


def test_a_damaged_clip_is_set_aside_and_the_rest_goes_on(cached: Project) -> None:
    before = written(cached)
    clip = cached.folder / "dataset" / "clips" / "film_000024.mp4"
    clip.write_bytes(clip.read_bytes()[:1500])
    summary = api.cache(cached)
    assert len(summary.failed) == 1 and summary.done == []
    assert all("film_000024.mp4" in reason and "\n" not in reason for reason in summary.failed.values())
    assert written(cached) == before
    with pytest.raises(SakugaError, match=r"1 of the samples .* cannot be encoded, the first since .*film_000024.mp4"):
        api.train(cached, steps=1)
    assert cached.rows("SELECT * FROM run") == []


def test_an_item_without_words_is_named(exported: Project) -> None:
    exported.db.execute("DELETE FROM caption WHERE item = 'clips/film_000048'")
    (exported.folder / "dataset" / "clips" / "film_000048.txt").unlink()
    with pytest.raises(SakugaError, match=r"clips/film_000048 has no caption \(1 without one\); run `sakuga caption`"):
        api.cache(exported)


def test_a_caption_that_cannot_be_read_is_named(cached: Project) -> None:
    (cached.folder / "dataset" / "clips" / "film_000000.txt").write_bytes(b"caf\xe9")
    with pytest.raises(SakugaError, match="film_000000.txt is not UTF-8 text"):
        api.cache(cached)


def test_other_weights_are_another_cache(cached: Project, tmp_path: Path) -> None:
    vae = cached.folder / "models" / "vae" / "config.json"
    text = vae.read_text("utf-8")
    vae.unlink()  # shared with the project this one was copied from
    vae.write_text(text.replace('"z_dim": 32', '"z_dim": 32 '), "utf-8")
    summary = api.cache(cached)
    assert len(summary.done) == 8 and len(summary.unchanged) == len({s.text for s in encoded_samples(cached)}) + 1
