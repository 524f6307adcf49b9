import pytest
from card import pretended
from sakuga import api
from sakuga.core.project import Project

def test_a_training(cached: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (cached.folder / "prompts.txt").write_text("MyStyle. a red ball\n", "utf-8")
    with pretended(monkeypatch) as card:
        run = api.train(cached, steps=3, rank=4, prompts="prompts.txt", preview_every=2, validate_every=2, accumulation=2)
    print(run)
