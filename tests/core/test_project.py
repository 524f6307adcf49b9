"""A project folder: made, opened, its sakuga.toml read with every fault a sentence, and changed without losing a word."""

import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sakuga.core import store
from sakuga.core.errors import SakugaError
from sakuga.core.project import CONFIG, Project, change_config, read_config, relative_to

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / CONFIG
    path.write_text('# mine\nmodel = "tiny"\ntrigger = "T"  # the word\n\n[shots]\nmin_seconds = 1.0 # short\n')
    return path


def test_a_new_project_opens_with_what_it_was_made_with(tmp_path: Path) -> None:
    with Project.create(tmp_path / "my-style", "wan2.2-t2v-a14b", "MyStyle") as made:
        assert made.name == "my-style" and made.settings.trigger == "MyStyle"
    with Project(tmp_path / "my-style") as project:
        assert project.member.name == "wan2.2-t2v-a14b" and set(project.settings.sections) == {"stills", "clips"}
        assert "#" in (project.folder / CONFIG).read_text()
    with pytest.raises(SakugaError, match="holds a project already"):
        Project.create(tmp_path / "my-style", "tiny")


def test_what_is_no_project_is_said(tmp_path: Path) -> None:
    with pytest.raises(SakugaError, match="is not a Sakuga project"):
        Project(tmp_path)
    with pytest.raises(SakugaError, match="did you mean tiny"):
        Project.create(tmp_path / "a", "tinny")
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(SakugaError, match="cannot be written"):
        Project.create(tmp_path / "file" / "below", "tiny")


def test_a_folder_that_cannot_be_a_projects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SakugaError, match="is longer than a name can be"):
        Project.create(tmp_path / ("m" * 300), "tiny")
    with Project.create(tmp_path / ("映" * 85), "tiny") as longest:  # 255 bytes
        assert longest.name == "映" * 85
    if sys.platform == "linux":
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
        with pytest.raises(SakugaError, match=r"caf\\udce9 cannot hold a project: its name is not UTF-8; rename"):
            Project.create(folder, "tiny")
        (tmp_path / "p").mkdir()
        (tmp_path / "p" / CONFIG).write_text('model = "tiny"')
        (tmp_path / "p").rename(folder)
        with pytest.raises(SakugaError, match="cannot hold a project"):
            Project(folder)


def test_a_project_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    """In a process of its own, without root's right to write anywhere."""
    Project.create(tmp_path / "p", "tiny").close()
    (tmp_path / "p").chmod(0o555)
    code = f"from sakuga.core.project import Project; Project({str(tmp_path / 'p')!r})"
    command = [*without_rights(), sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr.splitlines()[-1]
    assert (
        f"{tmp_path / 'p'} is not yours to write (" in said
        and "change its rights, or copy the project to a folder" in said
    )
    (tmp_path / "p").chmod(0o755)
    with Project(tmp_path / "p") as project:
        assert project.rows("SELECT * FROM work") == []


def without_rights() -> list[str]:
    """What runs a command as one who may not write everywhere."""
    if os.name != "posix":
        pytest.skip("rights are another matter on Windows")
    if os.getuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv")
    return ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search,-fowner"]


def test_an_error_is_one_line_whatever_it_quotes(tmp_path: Path) -> None:
    assert str(SakugaError("a\nb\t\u2028\udce9 日本 🎬")) == "a\\nb\\t\\u2028\\udce9 日本 🎬"


@quick
@given(trigger=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_trigger_survives_the_file(trigger: str, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    (folder / CONFIG).unlink(missing_ok=True)
    with Project.create(folder, "tiny", trigger) as project:
        assert project.settings.trigger == trigger == tomllib.loads((folder / CONFIG).read_text("utf-8"))["trigger"]


def test_a_byte_order_mark_is_no_fault(config: Path) -> None:
    config.write_bytes(b"\xef\xbb\xbf" + config.read_bytes())
    assert read_config(config).trigger == "T"
    change_config(config, "trigger", "U")
    assert read_config(config).trigger == "U"


@pytest.mark.parametrize(
    "content, sentence",
    [
        ('model = "tiny"'.encode("utf-16"), "is not UTF-8 text; save it as UTF-8"),
        ('trigger = "é"'.encode("latin-1"), "is not UTF-8 text; save it as UTF-8"),
        (b'model = "tiny', "is not valid TOML"),
        (b'model = "tiny"\nmodel = "tiny"', "is not valid TOML"),
        ('model = "tiny"'.encode("utf-16-le"), "is not valid TOML"),
        (b"[shots]\nmin_secs = 1", "shots.min_secs is not a setting; did you mean min_seconds"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(config: Path, content: bytes, sentence: str) -> None:
    config.write_bytes(content)
    with pytest.raises(SakugaError) as caught:
        read_config(config)
    assert sentence in str(caught.value) and CONFIG in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(SakugaError):
        change_config(config, "trigger", "x")
    assert config.read_bytes() == content


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SakugaError, match="cannot be read"):
        read_config(tmp_path / CONFIG)


@quick
@given(content=st.binary(max_size=60) | st.text(alphabet='[]{}=".#\n ab1,-', max_size=40).map(str.encode))
def test_no_content_does_worse_than_a_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / CONFIG
    path.write_bytes(content)
    try:
        read_config(path)
    except SakugaError as error:
        assert CONFIG in str(error)


def test_a_change_keeps_comments_and_everything_else(config: Path) -> None:
    change_config(config, "shots.min_seconds", "2.5")
    change_config(config, "trigger", "Other")
    change_config(config, "sections.motion.resolution", "[384, 208]")
    change_config(config, "workers", "3")
    text = config.read_text()
    assert text.startswith("# mine\n") and '"Other"  # the word\n' in text and "min_seconds = 2.5 # short\n" in text
    read = read_config(config)
    assert (read.trigger, read.shots.min_seconds, read.workers) == ("Other", 2.5, 3)
    assert read.sections["motion"].resolution == (384, 208)


def test_a_change_keeps_line_ends(config: Path) -> None:
    config.write_bytes(config.read_bytes().replace(b"\n", b"\r\n"))
    change_config(config, "trigger", "U")
    lines = config.read_bytes().split(b"\n")
    assert all(line.endswith(b"\r") for line in lines[:-1]) and read_config(config).trigger == "U"


@pytest.mark.parametrize("word", ["MyStyle", "a b", "2024", "true", "2024-01-01", "", "[x", '"', "#1", "nan", "it's"])
def test_a_bare_word_is_text(config: Path, word: str) -> None:
    change_config(config, "trigger", word)
    assert read_config(config).trigger == word


@pytest.mark.parametrize(
    "key, value, sentence",
    [
        ("shots.min_secs", "1", "shots.min_secs is not a setting; did you mean min_seconds"),
        ("shots.min_seconds", "soon", "shots.min_seconds = 'soon'"),
        ("train.rank", "0", "train.rank = 0: input should be greater than or equal to 1"),
        ("train.learning_rate", "inf", "train.learning_rate = inf"),
        ("trigger.x", "1", "trigger is a setting, not a group"),
        ("shots", "5", "shots = 5: this is a group of settings"),
        ("train..rank", "5", "is not a setting"),
        ("", "5", "is not a setting"),
    ],
)
def test_a_change_that_is_wrong_is_not_written(config: Path, key: str, value: str, sentence: str) -> None:
    before = config.read_bytes()
    with pytest.raises(SakugaError) as caught:
        change_config(config, key, value)
    assert sentence in str(caught.value)
    assert config.read_bytes() == before and list(config.parent.iterdir()) == [config]


def test_a_hash_is_remembered_by_size_and_time(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p", "tiny")
    file = tmp_path / "clip.mp4"
    file.write_bytes(b"one")
    first = project.sha256(file)
    stat = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert project.sha256(file) == first  # looks the same, so it is not read again
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    second = project.sha256(file)
    assert second != first and len(second) == 64
    file.write_bytes(b"three")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert project.sha256(file) not in (first, second)
    for wrong in (tmp_path, tmp_path / "gone"):
        with pytest.raises(SakugaError, match="cannot be read"):
            project.sha256(wrong)


def test_a_film_is_found_beside_the_project_before_its_old_place(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "a" / "p", "tiny")
    row = {"name": "film", "path": "/gone/film.mkv", "relative": "../film.mkv", "added": time.time()}
    store.insert(project.db, "source_film", row)
    assert project.film_path("film") == Path("/gone/film.mkv")
    (tmp_path / "a" / "film.mkv").write_bytes(b"x")
    assert project.film_path("film").resolve() == tmp_path / "a" / "film.mkv"
    with pytest.raises(SakugaError, match="no film named 'other'"):
        project.film_path("other")
    assert relative_to(tmp_path / "a" / "film.mkv", project.folder) == "../film.mkv"
