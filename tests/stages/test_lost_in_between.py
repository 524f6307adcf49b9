"""Files that are lost, damaged or replaced after they were known: each stage sets the item aside with a whole sentence."""

import os
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from films import numbered_film
from sakuga import api
from sakuga.core.errors import SakugaError
from sakuga.core.media import film as media
from sakuga.core.media.clip import write_clip
from sakuga.core.project import Project
from sakuga.core.settings import Settings
from sakuga.core.stage import Scratch
from sakuga.stages import adopt, export, look
from sakuga.stages.generate import find_loras

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no such names")
CLIP = "clips/film_000024"


def frameless(path: Path) -> Path:
    """A film whose header is whole and that holds no frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    return path


# films


def test_a_film_that_could_not_be_read_and_now_is_gone(empty: Project, tmp_path: Path) -> None:
    film, other = tmp_path / "a.mkv", numbered_film(tmp_path / "other.mp4", 12, 24)
    film.write_text("no film", "utf-8")
    assert list(api.add(empty, [film, other]).failed) == ["a"]
    film.unlink()
    gone = f"{film} is not there any more; bring it back, or `sakuga add` it from where it is now"
    assert api.add(empty, [other]).failed == {"a": gone}
    numbered_film(film, 12, 24)
    assert api.add(empty, [other]).done == ["a"]


def test_a_film_of_which_nothing_can_be_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = numbered_film(tmp_path / "a.avi", 12, 24)
    monkeypatch.setattr(media, "look", lambda *given, **named: iter(()))
    with pytest.raises(SakugaError) as caught:
        look.STAGE.work({"name": "a", "path": str(film)}, Settings(), Scratch(tmp_path / "scratch"))
    assert str(caught.value) == f"no frame of {film} can be decoded; leave it out or convert it with another program"


def test_a_clip_that_is_replaced_while_it_is_adopted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = numbered_film(tmp_path / "a.avi", 12, 24)
    none = frameless(tmp_path / "none.avi")
    probe = media.probe

    def replaced(path: Path) -> media.FilmInfo:
        info = probe(path)
        shutil.copy(none, clip)
        return info

    monkeypatch.setattr(media, "probe", replaced)
    with pytest.raises(SakugaError) as caught:
        adopt._clip(clip, None)  # type: ignore[arg-type]
    assert str(caught.value) == f"no frame of {clip} can be decoded; leave it out or convert it with another program"


def test_a_film_that_is_damaged_while_it_is_exported(exported: Project, tmp_path: Path) -> None:
    item = export.STAGE.items(exported, exported.settings.export)[-1]
    short = numbered_film(tmp_path / "short.mp4", 80, 24)  # the last shot runs from frame 72 to 95
    with pytest.raises(SakugaError) as caught:
        export.STAGE.work(item.facts | {"path": str(short)}, exported.settings.export, Scratch(tmp_path / "scratch"))
    assert str(caught.value).startswith("frame 8")
    assert str(caught.value).endswith(f" of {short} cannot be decoded; the file may be damaged there")


def test_a_clip_that_the_disk_did_not_keep(exported: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(path: Path, pictures: Any, *more: Any, **named: Any) -> Any:
        write_clip(path, list(pictures)[:-4], *more, **named)
        return None

    item = export.STAGE.items(exported, exported.settings.export)[0]
    monkeypatch.setattr(export, "write_clip", lossy)
    with pytest.raises(SakugaError) as caught:
        export.STAGE.work(item.facts, exported.settings.export, Scratch(tmp_path / "scratch"))
    assert str(caught.value) == ("film_000000: 13 frames were written and 9 can be read back; is film.mp4 damaged?")


# the dataset


def check(project: Project) -> dict[str, str]:
    found = (f for f in api.check(project) if f["severity"] != "advice")
    return {f"{f['item']} {f['rule']}": f["reason"] for f in found}


def test_check_says_what_to_do_about_lost_words_and_unused_items(exported: Project) -> None:
    (exported.folder / "dataset" / f"{CLIP}.txt").write_text("", "utf-8")
    wanted = "it has no caption; run `sakuga caption`, or write one beside it"
    assert check(exported) == {f"{CLIP} caption-missing": wanted}
    config = exported.folder / "sakuga.toml"
    text = config.read_text("utf-8")
    config.write_text(text[: text.index("[sections")] if "[sections" in text else text, "utf-8")
    with Project(exported.folder) as project:
        assert project.settings.sections == {}
        assert check(project)[f"{CLIP} unused"] == "no section of sakuga.toml takes it"
        plan = api.plan(project)
        assert plan.samples == 0
        assert {d["reason"] for d in plan.dropped} == {"no section of sakuga.toml takes it"}


def test_check_says_what_to_do_about_adopted_files(empty: Project, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    write_clip(mine / "a.mp4", [np.full((64, 96, 3), n, np.uint8) for n in range(9)], 16)
    shutil.copy(mine / "a.mp4", mine / "b.mp4")
    api.adopt(empty, [mine])
    write_clip(mine / "a.mp4", [np.full((64, 96, 3), 9 * n, np.uint8) for n in range(9)], 16)
    (mine / "b.mp4").unlink()
    found = {f["rule"]: f["reason"] for f in api.check(empty)}
    assert found["changed"] == f"{mine / 'a.mp4'} is another file since it was adopted; run `sakuga adopt`"
    assert found["missing"] == f"{mine / 'b.mp4'} is not there; bring it back, or run `sakuga adopt`"


@posix
def test_a_folder_whose_name_is_no_text(empty: Project, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    shutil.copy(numbered_film(tmp_path / "a.mp4", 5, 16), folder)
    with pytest.raises(SakugaError, match=r"^the name of .*caf.* is not UTF-8; rename the folder$"):
        api.adopt(empty, [folder])


@posix
def test_a_folder_that_cannot_be_listed(empty: Project, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(numbered_film(tmp_path / "a.mp4", 5, 16), mine)
    at = os.open(mine, os.O_RDONLY)
    for _ in range(20):  # deeper than a path can say
        os.mkdir("d" * 250, dir_fd=at)
        above, at = at, os.open("d" * 250, os.O_RDONLY, dir_fd=at)
        os.close(above)
    os.close(at)
    summary = api.adopt(empty, [mine])
    assert len(summary.done) == 1
    [reason] = summary.failed.values()
    assert reason.startswith(f"{mine}/{'d' * 250}/")
    assert reason.endswith(" cannot be read: File name too long; mend its permissions")


# encodings, trainings


def test_a_clip_that_ends_too_early(cached: Project) -> None:
    path = cached.folder / "dataset" / f"{CLIP}.mp4"
    write_clip(path, [np.full((96, 128, 3), 90, np.uint8)] * 2, 16)
    reason = f"{path} ends before frame 4: it is damaged; replace it, or export it again"
    assert list(api.cache(cached).failed.values()) == [reason]


def test_a_vae_that_gives_no_numbers(cached: Project) -> None:
    file = cached.folder / "models" / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["quant_conv.bias"] = torch.full_like(tensors["quant_conv.bias"], 1e30)  # more than the cache's halves hold
    file.unlink()  # shared with the project this one was copied from
    save_file(tensors, file)
    failed = set(api.cache(cached).failed.values())
    assert f"the VAE gave values of {CLIP} that are not numbers; look at it, or replace it" in failed
    with pytest.raises(SakugaError) as caught:
        api.train(cached, steps=1)
    sentence = str(caught.value)
    assert sentence.startswith(
        "8 of the samples and captions cannot be encoded, the first since the VAE gave values of "
    )


def test_a_checkpoint_that_is_no_whole_lora(cached: Project) -> None:
    run = api.train(cached, steps=1, rank=1)
    [path] = run.checkpoints.values()
    tensors = load_file(path)
    tensors.pop(next(key for key in tensors if "lora_B" in key))
    save_file(tensors, path)
    cached.db.execute("UPDATE checkpoint SET sha256 = ?", (cached.sha256(path),))
    with pytest.raises(SakugaError) as caught:
        api.publish(cached)
    assert str(caught.value) == f"{path} is not a whole LoRA (2 keys make no layer); name another step"


def test_a_lora_that_is_neither_a_file_nor_a_run(empty: Project) -> None:
    with pytest.raises(SakugaError) as caught:
        find_loras(empty, "run-9")
    assert str(caught.value) == (
        "'run-9' is neither a LoRA file nor a run of this project; give the path of a .safetensors file"
    )
