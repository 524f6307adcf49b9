"""Fixtures over `small`: import the ones that a folder of tests needs into its conftest."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import small
from sakuga.core.project import Project


@pytest.fixture(scope="session")
def exported_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small.one_thread()
    return small.make(tmp_path_factory.mktemp("exported") / "root")


@pytest.fixture(scope="session")
def cached_root(exported_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.make_cached(exported_root, tmp_path_factory.mktemp("cached") / "root")


@pytest.fixture(scope="session")
def empty_root(exported_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.make_empty(exported_root, tmp_path_factory.mktemp("empty") / "root")


@pytest.fixture(scope="session")
def experts_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small.one_thread()
    made = small.make(tmp_path_factory.mktemp("experts") / "made", "tiny-experts")
    return small.make_cached(made, tmp_path_factory.mktemp("experts") / "root")


@pytest.fixture
def empty(empty_root: Path, tmp_path: Path) -> Iterator[Project]:
    """A project without films."""
    with small.copy(empty_root, tmp_path / "root") as project:
        yield project


@pytest.fixture
def exported(exported_root: Path, tmp_path: Path) -> Iterator[Project]:
    """A project with clips, stills and captions, and its film beside it."""
    with small.copy(exported_root, tmp_path / "root") as project:
        yield project


@pytest.fixture
def cached(cached_root: Path, tmp_path: Path) -> Iterator[Project]:
    """The same with small samples, all of them encoded."""
    with small.copy(cached_root, tmp_path / "root") as project:
        yield project


@pytest.fixture
def experts(experts_root: Path, tmp_path: Path) -> Iterator[Project]:
    """The same for the tiny model with two experts."""
    with small.copy(experts_root, tmp_path / "root") as project:
        yield project
