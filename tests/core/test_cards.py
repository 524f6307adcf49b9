"""Cards: found by the names that people and drivers use."""

import os
import sys
from pathlib import Path

import pytest

from sakuga.core.cards import CARDS, card, card_here, named
from sakuga.core.errors import SakugaError


@pytest.mark.parametrize("name", ["RTX 3090", "rtx-3090", "rtx3090", "RTX_3090"])
def test_a_card_is_known_in_any_spelling(name: str) -> None:
    assert card(name).name == "RTX 3090" and card(name).teraflops == 71


def test_a_card_that_is_not_known_is_a_sentence() -> None:
    with pytest.raises(SakugaError, match=r"'RTX 3091' is no card that plans know; did you mean RTX 3090"):
        card("RTX 3091")


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        ("NVIDIA GeForce RTX 4090", "RTX 4090"), ("NVIDIA GeForce RTX 4070 Ti SUPER", "RTX 4070 Ti SUPER"),
        ("NVIDIA GeForce RTX 4070", "RTX 4070"), ("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA RTX A6000", "RTX A6000"), ("Tesla K80", None),
    ],
)  # fmt: skip
def test_what_drivers_call_a_card(driver: str, name: str | None) -> None:
    found = named(driver)
    assert (found.name if found else None) == name


def test_every_name_is_its_own() -> None:
    assert [card(known.name) for known in CARDS] == list(CARDS)


@pytest.mark.skipif(sys.platform == "win32", reason="a program without a suffix is a thing of POSIX")
@pytest.mark.parametrize(("told", "name"), [("echo 'NVIDIA GeForce RTX 3090'", "RTX 3090"), ("exit 9", None)])
def test_the_driver_is_asked_for_the_card_of_this_machine(
    told: str, name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{told}\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = card_here()
    assert (found.name if found else None) == name
