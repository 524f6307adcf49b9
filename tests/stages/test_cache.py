"""cache: everything is encoded once, and only what has changed again."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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
from sakuga.core.media.picture import write_png
from sakuga.core.models import of_project
from sakuga.core.progress import Silent
from sakuga.core.project import CONFIG, Project, change_config, read_config
from sakuga.nn.text import load_text
from sakuga.nn.text_layers import Layers
from sakuga.nn.vae import load_vae
from sakuga.stages.cache import Unused, pixels


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


def test_what_was_damaged_or_swapped_on_the_disk_is_found_and_made_again(cached: Project) -> None:
    before = written(cached)
    latents = sorted(name for name in before if "latents" in name)
    bent = bytearray(cached.path(latents[0]).read_bytes())
    bent[-1] ^= 1  # the last byte of the last value
    cached.path(latents[0]).write_bytes(bent)
    cached.path(latents[1]).write_bytes(cached.path(latents[2]).read_bytes())  # another's, and sound in itself
    assert api.cache(cached).done == []  # a name says nothing
    told = Told()
    summary = api.cache(cached, verify=True, progress=told)
    assert told.lines == [f"2 of {len(before)} encodings are damaged"]
    assert sorted(map(latent_file, summary.done)) == latents[:2]
    assert {name: data for name, (_, data) in written(cached).items()} == {n: data for n, (_, data) in before.items()}
    told = Told()
    assert api.cache(cached, verify=True, progress=told).done == []
    assert told.lines == [f"{len(before)} encodings are sound"]


class Told(Silent):
    """What progress said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_several_processes_fill_it_with_the_same_bytes(cached: Project) -> None:
    before = {name: data for name, (_, data) in written(cached).items()}
    remove_all(cached.folder)
    clip = cached.folder / "dataset" / "clips" / "film_000024.mp4"
    whole = clip.read_bytes()
    clip.write_bytes(whole[:1500])
    summary = api.cache(cached, processes=2)
    assert len(summary.done) == len(before) - 1 and len(summary.failed) == 1
    clip.write_bytes(whole)
    assert api.cache(cached, processes=2).failed == {}
    assert {name: data for name, (_, data) in written(cached).items()} == before


def test_what_is_not_asked_for_stays_until_it_is_pruned(cached: Project) -> None:
    words = cached.folder / "dataset" / "clips" / "film_000000.txt"
    words.write_text("MyStyle. a girl runs", "utf-8")
    (old,) = api.cache(cached).done
    words.write_text("MyStyle. a girl walks", "utf-8")
    api.cache(cached)
    stray = cached.folder / "cache" / "latents" / "stray.safetensors"
    stray.write_bytes(b"x" * 100)
    expected = Unused(2, 100 + cached.path(text_file(old)).stat().st_size)
    assert api.cache_unused(cached) == expected and cached.path(text_file(old)).exists()
    assert api.cache_unused(cached, prune=True) == expected
    assert not cached.path(text_file(old)).exists() and not stray.exists()
    assert api.cache_unused(cached) == Unused(0, 0)
    assert api.cache(cached).done == []  # nothing that is asked for went
    words.write_text("MyStyle. a girl runs", "utf-8")
    assert api.cache(cached).done == [old]


def test_a_fill_that_is_killed_anywhere_leaves_no_wrong_entry(cached: Project) -> None:
    """Killed at different moments, and once more to the end: the same bytes as without."""
    folder = cached.folder
    cached.close()
    wanted = files(folder)
    command = [sys.executable, "-m", "sakuga", "cache", "--project", str(folder)]
    remove_all(folder)
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    whole = time.monotonic() - started
    for part in (0.6, 0.75, 0.9, 0.97):
        remove_all(folder)
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(whole * part)
        running.kill()
        running.wait()
        assert files(folder).items() <= wanted.items()
    subprocess.run(command, check=True, capture_output=True)
    assert files(folder) == wanted


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "cache").rglob("*.safetensors")}


def remove_all(folder: Path) -> None:
    for path in (folder / "cache").rglob("*.safetensors"):
        path.unlink()


def test_of_360_captions_an_edited_one_is_one_embedding_and_no_latent(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for n in range(360):
        picture = np.full((32, 48, 3), n % 256, np.uint8)
        write_png(folder / f"{n:03}.png", picture)
        (folder / f"{n:03}.txt").write_text(f"MyStyle. picture number {n}", "utf-8")
    with api.new(tmp_path / "p", "tiny", "MyStyle") as project:
        change_config(project.folder / CONFIG, "sections.stills.resolution", "[32, 32]")
        project.settings = read_config(project.folder / CONFIG)
        api.adopt(project, [folder])
        assert len(api.cache(project).done) == 256 + 360 + 1  # pictures of one content are encoded once
        (folder / "137.txt").write_text("MyStyle. a girl runs", "utf-8")
        (key,) = api.cache(project).done
        assert text_file(key) == project.rows("SELECT file FROM cache_entry WHERE key = ?", key)[0]["file"]


def by_layers(monkeypatch: pytest.MonkeyPatch, together: int) -> list[int]:
    """No room for a whole encoder, and `together` tokens at once; returns how many texts each pass takes, to be filled."""
    passes: list[int] = []
    encode = Layers.encode

    def counted(self: Layers, rows: Any, watch: Any) -> Any:
        passes.append(len(rows))
        return encode(self, rows, watch)

    monkeypatch.setattr("sakuga.nn.text.free_memory", lambda device: 0)
    monkeypatch.setattr("sakuga.nn.text_layers.TOGETHER_ON_CPU", together)
    monkeypatch.setattr(Layers, "encode", counted)
    return passes


class Units(Silent):
    """What progress was told is done."""

    def __init__(self) -> None:
        self.total, self.done = 0, [0]

    def start(self, what: str, total: int | None, unit: str = "items", done: int = 0) -> None:
        self.total = total or 0

    def advance(self, amount: int = 1, note: str = "") -> None:
        assert amount >= 0
        self.done.append(self.done[-1] + amount)


@pytest.mark.parametrize(("together", "processes"), [(100_000, 1), (60, 1), (1, 1), (100_000, 2)])
def test_captions_are_encoded_in_groups_where_the_encoder_does_not_fit(
    cached: Project, monkeypatch: pytest.MonkeyPatch, together: int, processes: int
) -> None:
    before = {name: data for name, (_, data) in written(cached).items()}
    remove_all(cached.folder)
    passes, units = by_layers(monkeypatch, together), Units()
    api.cache(cached, progress=units, processes=processes)
    assert {name: data for name, (_, data) in written(cached).items()} == before
    texts = sum(name.startswith("cache/text") for name in before)
    assert sum(passes) == texts and (len(passes) == {100_000: 1, 1: texts}.get(together, len(passes)))
    assert len(passes) in (1, texts) or 1 < len(passes) < texts
    assert units.done[-1] == units.total == len(before)
    if together > 60:
        assert units.done[1:texts] == list(range(1, texts))  # told one by one though they end together


def test_captions_that_are_there_are_not_encoded_with_the_others(
    cached: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: data for name, (_, data) in written(cached).items()}
    gone = sorted(name for name in before if name.startswith("cache/text"))[1:4]
    for name in gone:
        cached.path(name).unlink()
    passes = by_layers(monkeypatch, 100_000)
    assert len(api.cache(cached).done) == 3 and passes == [3]
    assert {name: data for name, (_, data) in written(cached).items()} == before


def test_an_encoder_that_is_damaged_is_read_once_for_all_captions(
    cached: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove_all(cached.folder)
    passes, units = by_layers(monkeypatch, 100_000), Units()

    def broken(self: Layers, name: str) -> Any:
        raise SakugaError("it became shorter while it was read")

    monkeypatch.setattr(Layers, "_read", broken)
    summary = api.cache(cached, progress=units)
    assert len(passes) == 1 and set(summary.failed.values()) == {"it became shorter while it was read"}
    assert len(summary.failed) == len({s.text for s in encoded_samples(cached)}) + 1 and len(summary.done) == 8
    assert units.done[-1] == units.total
