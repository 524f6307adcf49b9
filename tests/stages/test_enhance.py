"""enhance: a wish goes to a real server with the project's words, and what comes back begins with the trigger."""

import json
from collections.abc import Iterator

import pytest

from chat_server import Play, serving
from sakuga import api, cli
from sakuga.core.errors import Halt, SakugaError
from sakuga.core.made import read_made
from sakuga.core.project import Project
from sakuga.stages.enhance import question


@pytest.fixture
def server() -> Iterator[tuple[Play, str]]:
    play = Play()
    with serving(play) as url:
        yield play, url


def test_a_wish_becomes_a_prompt_with_the_trigger_first(empty: Project, server: tuple[Play, str]) -> None:
    play, url = server
    play.answer = 'Prompt: "A girl in a red coat\nruns along the sea wall. Medium shot."'
    made = api.enhance(
        empty, ["a girl   runs", "a boat"], url=url, model="joycaption", style="soft light", temperature=0.5
    )
    assert [each.wish for each in made] == ["a girl   runs", "a boat"]
    assert (
        made[0].prompt == "MyStyle. A girl in a red coat runs along the sea wall. Medium shot." and made[0].words == 14
    )
    body = play.bodies[0]
    said = json.dumps(body["messages"])
    assert body["model"] == "joycaption" and body["temperature"] == 0.5
    assert (
        "The wish: a girl runs" in said and "MyStyle. " in said and "soft light" in said and "80 to 100 words" in said
    )


def test_without_a_trigger_none_is_asked_for() -> None:
    assert "Begin with exactly" not in question("a boat", "", "") and "belongs to the style" not in question(
        "a", "X", ""
    )


def test_no_model_is_a_sentence_that_names_those_there(empty: Project, server: tuple[Play, str]) -> None:
    with pytest.raises(
        Halt, match=r"set enhance.model to the name of a model of the server at http\S+; it has qwen2.5vl:7b"
    ):
        api.enhance(empty, ["a boat"], url=server[1])
    server[0].models = None
    with pytest.raises(Halt, match="it does not tell which it has"):
        api.enhance(empty, ["a boat"], url=server[1])


def test_a_refusal_is_a_sentence(empty: Project, server: tuple[Play, str]) -> None:
    server[0].answer = "I'm sorry, I can't help with that."
    with pytest.raises(SakugaError, match="the model declines"):
        api.enhance(empty, ["a boat"], url=server[1], model="joycaption")


def test_the_command(empty: Project, server: tuple[Play, str], capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--project", str(empty.folder), "--url", server[1], "--model", "joycaption"]
    assert cli.run(["enhance", "a girl runs", *at, "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)
    assert made["wish"] == "a girl runs" and made["prompt"].startswith("MyStyle. a girl in a red coat")
    assert cli.run(["enhance", *at]) == 1
    assert 'give a wish in a few words: `sakuga enhance "a girl runs along the sea wall"`' in capsys.readouterr().err


def test_generate_makes_the_prompt_first_when_it_is_asked_to(
    cached: Project, server: tuple[Play, str], capsys: pytest.CaptureFixture[str]
) -> None:
    server[0].answer = "A boat lies still. Long shot."
    with (cached.folder / "sakuga.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[enhance]\nurl = "{server[1]}"\nmodel = "joycaption"\n')
    size = ["--width", "32", "--height", "32", "--frames", "1", "--steps", "1", "--lora", "none"]
    assert cli.run(["generate", "a boat", "--enhance", *size, "--project", str(cached.folder)]) == 0
    said = capsys.readouterr().out
    assert "MyStyle. A boat lies still. Long shot." in said
    (made,) = (cached.folder / "generated").iterdir()
    assert read_made(made).prompt == "MyStyle. A boat lies still. Long shot."
