"""pack and unpack: a project is trained elsewhere without its clips, and its run comes home as if it had never left."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import small
from sakuga import api, cli
from sakuga.core import archive, store
from sakuga.core.archive import Member
from sakuga.core.dataset import encoded_samples
from sakuga.core.errors import SakugaError
from sakuga.core.models import of_project
from sakuga.core.progress import Silent
from sakuga.core.project import CONFIG, Project, change_config
from sakuga.stages.pack import pack
from sakuga.stages.pack.leave import unlocated
from sakuga.stages.pack.relocate import Relocation
from sakuga.stages.train import Run, measure

SETTINGS: dict[str, Any] = {
    "name": "r", "rank": 4, "learning_rate": 1e-2, "steps": 6, "accumulation": 2, "save_every": 2, "validate_every": 3,
}  # fmt: skip
ROWS = "SELECT expert, step, {} FROM {} JOIN run_expert ON run_expert.id = run_expert ORDER BY 1, 2, 3, 4"


@pytest.fixture(scope="module", autouse=True)
def few_levels() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "LEVELS", 2)
        yield


def train(project: Project, until: int | None = None, **more: Any) -> Run:
    """Train, and stop after step `until`."""
    seen: list[int] = []
    return api.train(
        project, **SETTINGS | more, on_step=lambda report: seen.append(report.step),
        should_stop=lambda: until is not None and seen[-1] >= until,
    )  # fmt: skip


def left(project: Project) -> dict[str, Any]:
    """All that a training leaves behind but times."""
    folder = project.folder / "runs" / "r"
    files = {path.name: path.read_bytes() for path in folder.rglob("*.safetensors")}
    return {
        "steps": project.rows(ROWS.format("loss, norm, learning_rate", "step")),
        "items": project.rows(ROWS.format("part, sample, t, loss", "item_loss")),
        "validation": project.rows(ROWS.format("t, loss", "validation")),
        "checkpoints": project.rows(ROWS.format("sha256, file", "checkpoint")),
        "runs": project.rows("SELECT name, state, steps_done FROM run JOIN run_expert ON run = run.id"),
        "files": files,
    }


def everything_else(project: Project) -> dict[str, Any]:
    """What a run that comes home may not touch."""
    tables = ("item", "caption", "sample", "film", "shot", "cache_entry", "source_film", "decision", "pick")
    rows = {table: project.rows(f"SELECT * FROM {table} ORDER BY 1") for table in tables}
    files = {
        str(path): path.read_bytes()
        for path in project.folder.rglob("*")
        if path.is_file() and "runs" not in path.parts and not path.name.startswith("sakuga.db")
    }
    return rows | files


def unpacked(gone: Path, folder: Path, home: Project) -> Project:
    """The project on the other machine, which has the models elsewhere."""
    weights = folder.parent / "weights"
    if not weights.exists():
        shutil.copytree(home.folder / "models", weights)
    found = api.unpack(gone, folder, models=weights)
    assert {model.state for model in found.models} == {"here"} and found.run is None
    return Project(folder)


def test_a_run_that_left_and_came_home_is_one_that_never_left(cached: Project, tmp_path: Path) -> None:
    with small.copy(cached.folder.parent, tmp_path / "never") as stayed:
        train(stayed)
        expected = left(stayed)
    assert [row["step"] for row in expected["steps"]] == [1, 2, 3, 4, 5, 6]
    train(cached, until=1)
    gone = tmp_path / "there" / "p.tar"
    api.pack(cached, gone)
    before = everything_else(cached)

    away = unpacked(gone, tmp_path / "there" / "card" / "q", cached)
    assert not list(away.folder.rglob("*.mp4")) and not list(away.folder.rglob("*.png"))
    assert train(away, until=4).stopped
    assert [row["step"] for row in away.rows("SELECT step FROM step")] == [1, 2, 3, 4]
    home = tmp_path / "there" / "r.tar"
    api.pack(away, home, run="r")
    away.close()

    came = api.unpack(home, cached.folder)
    assert (came.run, came.taken, came.models) == ("r", True, [])
    assert everything_else(cached) == before
    assert [row["step"] for row in cached.rows("SELECT step FROM step")] == [1, 2, 3, 4]
    once = left(cached)
    assert api.unpack(home, cached.folder).taken and left(cached) == once  # twice does no harm
    train(cached)
    done = left(cached)
    for kind in ("steps", "items", "validation", "runs"):
        assert done[kind] == expected[kind], kind
    assert expected["files"].items() <= done["files"].items()  # bit for bit; it saved where it was stopped too
    assert not api.unpack(home, cached.folder).taken and left(cached) == done  # nor later, when it is further here


@pytest.mark.parametrize("with_clips", [False, True])
def test_masks_and_weights_go_along(cached: Project, tmp_path: Path, with_clips: bool) -> None:
    item = cached.rows("SELECT * FROM item WHERE kind = 'clip' ORDER BY name")[0]
    grey = np.zeros((item["height"], item["width"]), np.uint8)
    grey[: item["height"] // 2] = 255
    Image.fromarray(grey).save(tmp_path / "m.png")
    api.take_masks(cached, tmp_path / "m.png", of="clips")
    api.weigh(cached, 2, [item["name"]])
    api.cache(cached)
    gone = tmp_path / "there" / "p.tar"
    api.pack(cached, gone, with_clips=with_clips)
    away = unpacked(gone, tmp_path / "there" / "q", cached)
    assert away.path(f"masks/{item['name']}.png").exists() == with_clips
    assert encoded_samples(away) == encoded_samples(cached)
    assert any(sample.mask for sample in encoded_samples(away))
    train(away, until=2)
    train(cached, until=2)
    assert left(away)["items"] == left(cached)["items"]
    away.close()


def test_nothing_in_an_archive_tells_of_this_machine(cached: Project, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "clips").mkdir(parents=True)
    shutil.copy(next(cached.folder.rglob("*.png")), outside / "clips" / "mine.png")
    (outside / "clips" / "mine.txt").write_text("MyStyle. a boat", "utf-8")
    (outside / "looks.txt").write_text("MyStyle. a boat --w 32 --h 32 --f 1 --s 2", "utf-8")
    (cached.folder / "models").rename(outside / "weights")
    config = cached.folder / CONFIG
    config.write_text(f'{config.read_text("utf-8")}\n[models]\nfolder = "{outside / "weights"}"\n', "utf-8")
    change_config(config, "train.prompts", str(outside / "looks.txt"))
    with Project(cached.folder) as project:
        api.adopt(project, [outside / "clips"])
        api.train(project, name="old", rank=4, steps=1)
        train(project, until=1, start_from=None)
        project.db.execute("UPDATE work SET reason = ?, traceback = ?", (f"{tmp_path}/x is bad", str(tmp_path)))
        packed = api.pack(project, tmp_path / "p.tar")
        assert "clips-2/mine" in {row["item"] for row in project.rows("SELECT item FROM sample")}
    raw = packed.path.read_bytes()
    assert [raw[n - 200 : n + 100] for n in (raw.find(str(tmp_path).encode()),) if n >= 0] == []
    shutil.rmtree(outside)
    found = api.unpack(packed.path, tmp_path / "there")
    assert {model.state for model in found.models} <= {"missing", "another"}
    with Project(tmp_path / "there") as away:
        assert (away.folder / str(away.settings.train.prompts)).is_file()
        assert away.settings.models.folder == "models"
        assert away.rows("SELECT name, state FROM run") == [
            {"name": "old", "state": "done"},
            {"name": "r", "state": "stopped"},
        ]
        assert not (away.folder / "runs" / "old").exists() and (away.folder / "runs" / "r" / "recipe.json").is_file()


def test_models_and_clips_go_along_when_asked(cached: Project, tmp_path: Path) -> None:
    packed = api.pack(cached, tmp_path / "p.tar", with_models=True, with_clips=True)
    shutil.rmtree(cached.folder / "models")
    found = api.unpack(packed.path, tmp_path / "there")
    assert {model.state for model in found.models} == {"here"}
    with Project(found.folder) as away:
        assert away.rows("SELECT * FROM away") == [] and len(list((away.folder / "dataset").rglob("*.mp4"))) == 4
        assert all(path.is_relative_to(away.folder) for path in of_project(away).values())
        assert len(train(away, steps=1).losses["full"]) == 1


def test_a_clip_that_is_missing_and_was_not_left_behind_is_missed(cached: Project, tmp_path: Path) -> None:
    packed = api.pack(cached, tmp_path / "p.tar")
    away = unpacked(packed.path, tmp_path / "there", cached)
    for path in (away.folder / "cache" / "latents").iterdir():
        path.unlink()
    with pytest.raises(SakugaError, match="of the samples and captions cannot be encoded, the first since"):
        train(away)
    away.close()
    next((cached.folder / "dataset" / "clips").glob("*.mp4")).unlink()
    with pytest.raises(SakugaError, match="cannot be read: No such file"):
        train(cached)


def test_what_is_in_the_way_of_a_project_stays(cached: Project, tmp_path: Path) -> None:
    packed = api.pack(cached, tmp_path / "p.tar").path
    with pytest.raises(SakugaError, match="holds a project already; unpack into another folder, or bring a run home"):
        api.unpack(packed, cached.folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(SakugaError, match="full is there and not empty; name a folder that is to be made"):
        api.unpack(packed, tmp_path / "full")
    packed.write_bytes(packed.read_bytes()[:-20_000])
    with pytest.raises(SakugaError, match=r"p\.tar is damaged or ends too early; fetch or pack it again"):
        api.unpack(packed, tmp_path / "new")
    assert not list(tmp_path.glob("*new*")) and not list(tmp_path.glob(".*"))
    archive.write(packed, {"kind": "studio"}, [], Silent())
    with pytest.raises(SakugaError, match="holds a 'studio', which this version does not know; update Sakuga here"):
        api.unpack(packed, tmp_path / "new")
    cached.path(cached.rows("SELECT file FROM cache_entry")[0]["file"]).unlink()
    with pytest.raises(SakugaError, match="1 of .* encodings are not there; `sakuga cache`, then pack again"):
        pack(cached, packed, False, False, Silent())


def test_a_run_that_is_another_does_not_come_home(cached_root: Path, cached: Project, tmp_path: Path) -> None:
    train(cached, until=1)
    gone = api.pack(cached, tmp_path / "r.tar", run="r").path
    with small.copy(cached_root, tmp_path / "other") as other:
        train(other, until=1)
        before = left(other)
        with pytest.raises(SakugaError, match=r"this project has another run r \(its started differ\); unpack into"):
            api.unpack(gone, other.folder)
        assert left(other) == before
    cached.db.execute("UPDATE step SET loss = loss + 1")
    with pytest.raises(
        SakugaError, match=r"run r went another way here \(full differs from step 1 on\); it was trained"
    ):
        api.unpack(gone, cached.folder)
    cached.db.execute("DELETE FROM run_expert WHERE 0")
    cached.db.execute("UPDATE run SET name = 'q'")
    assert api.unpack(gone, cached.folder).taken  # one that is not known is new
    assert cached.rows("SELECT name, steps_done FROM run JOIN run_expert ON run = run.id ORDER BY name") == [
        {"name": "q", "steps_done": 1}, {"name": "r", "steps_done": 1}
    ]  # fmt: skip


def test_two_experts_of_which_each_is_further_elsewhere(experts: Project, tmp_path: Path) -> None:
    train(experts, until=1)
    gone = api.pack(experts, tmp_path / "r.tar", run="r").path
    first = experts.rows("SELECT id, run FROM run_expert")[0]
    experts.db.execute("UPDATE run_expert SET steps_done = 0")
    row = {
        "run": first["run"],
        "expert": "low",
        "rank": 4,
        "alpha": 4,
        "steps": 6,
        "steps_done": 5,
        "t_min": 0,
        "t_max": 1,
    }
    assert api.unpack(gone, experts.folder).taken  # what only one side has is in nobody's way
    store.insert(experts.db, "run_expert", row)
    twice = api.pack(experts, tmp_path / "s.tar", run="r").path
    experts.db.execute("UPDATE run_expert SET steps_done = 3 WHERE expert = 'low'")
    experts.db.execute("UPDATE run_expert SET steps_done = 2 WHERE expert = 'high'")
    with pytest.raises(
        SakugaError, match=r"run r was trained on both here and there \(high is further here\); keep one"
    ):
        api.unpack(twice, experts.folder)


def test_an_archive_of_a_run_holds_that_run_alone(cached: Project, tmp_path: Path) -> None:
    train(cached, until=1)
    path = api.pack(cached, tmp_path / "r.tar", run="r").path
    with archive.opened(path) as opened:
        opened.extract(tmp_path / "x", Silent())
    rows = Member("run.db", tmp_path / "x" / "run.db")
    told = {"kind": "run", "run": "r"}
    archive.write(path, told, [rows, Member("sakuga.toml", b"")], Silent())
    with pytest.raises(SakugaError, match=r"the archive of run r holds more than a run \(\['sakuga.toml'\]\)"):
        api.unpack(path, cached.folder)
    archive.write(path, told | {"run": "s"}, [rows], Silent())
    with pytest.raises(SakugaError, match="the archive says nothing of run s; pack it again where"):
        api.unpack(path, cached.folder)
    with closing(store.connect(tmp_path / "x" / "run.db")) as db:
        db.execute("UPDATE run SET model = 'other'")
        db.execute("PRAGMA journal_mode = DELETE")
    archive.write(path, told, [rows], Silent())
    with pytest.raises(SakugaError, match="run r is of other and this project is for tiny; open the project it left"):
        api.unpack(path, cached.folder)
    with pytest.raises(SakugaError, match="there is no run 's'"):
        api.pack(cached, tmp_path / "s.tar", run="s")


def test_paths_are_told_so_that_they_mean_something_elsewhere(tmp_path: Path) -> None:
    tell = Relocation(Path("/home/u/p"))
    same = ["models", "looks.txt", "runs/r/a", "a boat: 1/2", "", "http://x/y", "run-1"]
    assert [tell(text) for text in same] == same
    assert tell("/home/u/p/looks.txt") == "looks.txt" and tell("/home/u/p") == "."
    told = [tell(text) for text in ("/data/a.txt", "../../../data/a.txt", "/other/a.txt", "C:\\data\\a.txt", "~/a.txt")]
    assert told[0] == told[1] and len(set(told)) == 4
    assert all(text.startswith("elsewhere/") and text.endswith("/a.txt") for text in told)
    assert unlocated("/home/u/p/x.mp4: C:\\films\\y.mkv and/or 1/2 of /a/b/c is bad", ["/home/u/p"]) == (
        "x.mp4: y.mkv and/or 1/2 of c is bad"
    )


def test_the_commands_say_what_came_of_it(cached: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--project", str(cached.folder)]
    assert cli.run(["pack", "--out", str(tmp_path / "p.tar"), *at]) == 0
    said = capsys.readouterr().out
    assert "p.tar (" in said and "the other machine needs transformer.safetensors" in said
    assert cli.run(["unpack", str(tmp_path / "p.tar"), str(tmp_path / "there")]) == 0
    said = capsys.readouterr().out
    assert (
        "there is ready to train" in said and "is another file here: put the one of" in said
    )  # the tiny one that comes with it
    assert (
        cli.run(
            [
                "unpack",
                str(tmp_path / "p.tar"),
                str(tmp_path / "two"),
                "--models",
                str(cached.folder / "models"),
                "--json",
            ]
        )
        == 0
    )
    assert {model["state"] for model in json.loads(capsys.readouterr().out)["models"]} == {"here"}
    train(cached, until=1)
    assert cli.run(["pack", "--run", "r", "--json", "--out", str(tmp_path / "r.tar"), *at]) == 0
    assert json.loads(capsys.readouterr().out)["models"] == []
    assert cli.run(["unpack", str(tmp_path / "r.tar"), str(cached.folder)]) == 0
    assert "r came home to" in capsys.readouterr().out
