"""doctor looks at the servers that are to write captions."""

from pathlib import Path

from chat_server import Play, serving
from sakuga import doctor
from sakuga.core.project import Project, change_config


def found(folder: Path) -> list[tuple[str, str, str]]:
    with Project(folder) as project:
        return [(f.state, f.found, f.remedy) for f in doctor.examine(project) if f.check.startswith("captions")]


def test_a_server_for_captions_is_asked_for_its_models(tmp_path: Path) -> None:
    Project.create(tmp_path / "p", "tiny").close()
    config = tmp_path / "p" / "sakuga.toml"
    assert found(tmp_path / "p") == []
    with serving(Play(models=["qwen2.5vl:7b", "models/gemini-flash"])) as url:
        for key, value in {
            "backend": "server",
            "url": url,
            "model": "qwen2.5vl:7b",
            "stills.model": "gemini-flash",
        }.items():
            change_config(config, f"caption.{key}", value)
        assert found(tmp_path / "p") == [("ok", "answers, qwen2.5vl:7b", ""), ("ok", "answers, gemini-flash", "")]
        change_config(config, "caption.model", "other")
        assert found(tmp_path / "p")[0] == (
            "warning", "has no other", "set caption.model to one of qwen2.5vl:7b, models/gemini-flash"
        )  # fmt: skip
    (gone, *_) = found(tmp_path / "p")
    assert gone[0] == "warning" and gone[1].startswith("nothing answers at http://127.0.0.1")
    assert gone[2] == "start the server, or correct its url"
