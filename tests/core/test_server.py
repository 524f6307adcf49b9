"""A server that is asked: answers as they come, faults that pass and faults that do not, and a key that nobody sees."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from chat_server import CAPTION, KEY, Play, serving
from sakuga.core import server as module
from sakuga.core.errors import Halt, SakugaError
from sakuga.core.server import Address, Server, base_url, picture_part, text_part, video_part, without_thoughts

MODEL = "qwen2.5vl:7b"
QUESTION = [text_part("what is there?")]


@pytest.fixture
def play() -> Play:
    return Play()


@pytest.fixture
def address(play: Play) -> Iterator[Address]:
    with serving(play) as url:
        yield Address(url, MODEL, timeout=5)


def ask(address: Address, **options: Any) -> str:
    return Server(address, first_wait=0.01).ask(QUESTION, options)


def refused(address: Address) -> str:
    """The sentence with which a question is set aside."""
    with pytest.raises(SakugaError) as raised:
        ask(address)
    assert not isinstance(raised.value, Halt)
    return str(raised.value)


def halted(address: Address) -> str:
    """The sentence with which the whole command ends."""
    with pytest.raises(Halt) as raised:
        ask(address)
    return str(raised.value)


def test_a_question_and_its_answer(play: Play, address: Address) -> None:
    asked = Server(address)
    parts = [picture_part(b"\xff\xd8"), video_part(b"mp4"), text_part("what is there?")]
    assert asked.ask(parts, {"max_tokens": 50, "seed": 3}) == CAPTION
    assert play.bodies == [
        {
            "model": MODEL, "stream": False, "max_tokens": 50, "seed": 3,
            "messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9g="}},
                {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,bXA0"}},
                {"type": "text", "text": "what is there?"},
            ]}],
        }
    ]  # fmt: skip
    assert play.keys == [None]
    assert (asked.used.questions, asked.used.read, asked.used.written) == (1, 1000, 50)
    assert asked.used.cost(2.0, 10.0) == 0.0025 and asked.used.cost(None, None) is None


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/", "http://localhost:8000/v1"),
        ("http://localhost:11434/v1/", "http://localhost:11434/v1"),
        ("https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1"),
        (
            "https://generativelanguage.googleapis.com/v1beta/openai/",
            "https://generativelanguage.googleapis.com/v1beta/openai",
        ),
    ],
)
def test_every_usual_form_of_an_address_will_do(given: str, base: str) -> None:
    assert base_url(given) == base


@pytest.mark.parametrize(
    "fault", [429, 500, 502, 503, 408, "hang up", (200, {}, b"<html>busy</html>"), (200, {}, b"[]")]
)
def test_what_passes_is_asked_again(play: Play, address: Address, fault: Any) -> None:
    play.faults = [fault, fault]
    assert ask(address) == CAPTION
    assert len(play.bodies) == 3


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_server_bids_us_wait_and_all_threads_do(play: Play, address: Address, form: str) -> None:
    bidden = "0.5" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)  # dates know whole seconds
    play.faults = [(429, {"Retry-After": bidden}, b"{}")]
    asked = Server(address, first_wait=0.01)
    threads = [threading.Thread(target=asked.ask, args=(QUESTION, {})) for _ in range(2)]
    threads[0].start()
    time.sleep(0.2)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert len(play.at) == 3 and min(play.at[1:]) - play.at[0] >= 0.45


def test_retry_after_is_read_in_both_forms() -> None:
    assert module._bidden("7") == 7 and module._bidden(None) is None and module._bidden("soon") is None
    assert module._bidden("Wed, 21 Oct 2015 07:28:00 GMT", lambda: 1445412470.0) == 10


@pytest.mark.parametrize(
    ("body", "why"), [(b"<html>", "its answer is not JSON"), (b"[]", "its answer is JSON of another form")]
)
def test_an_answer_in_another_form_is_given_up(
    play: Play, address: Address, monkeypatch: pytest.MonkeyPatch, body: bytes, why: str
) -> None:
    monkeypatch.setattr(module, "TRIES", 2)
    play.faults = [(200, {}, body)] * 2
    assert refused(address) == f"the server gave no answer in 2 tries: {why}; run the same command again later"


def test_what_does_not_pass_is_given_up(play: Play, address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", 3)
    play.faults = [503] * 100
    asked = Server(address, first_wait=0.001)
    for _ in range(4):
        with pytest.raises(
            SakugaError, match="the server gave no answer in 3 tries: it answered 503 try again; run"
        ) as raised:
            asked.ask(QUESTION, {})
        assert not isinstance(raised.value, Halt)
    with pytest.raises(
        Halt, match=r"5 questions in a row came to nothing at http.*/v1, the last since it answered 503 try again"
    ):
        asked.ask(QUESTION, {})
    assert len(play.bodies) == 15


def test_waits_get_longer_and_are_not_all_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    asked = Server(Address("http://localhost", MODEL))
    for attempt in range(8):
        asked._wait(attempt, None)
    for attempt, seconds in enumerate(slept):
        assert min(30, 2**attempt) / 2 <= seconds <= min(30, 2**attempt)
    assert len(set(slept)) == 8


def test_an_answer_that_takes_too_long(play: Play, address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", 2)
    play.seconds = 1
    assert "it took longer than 0.2 s (caption.timeout)" in refused(replace(address, timeout=0.2))


def test_an_answer_that_never_ends(play: Play, address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", 1)
    play.trickle = True
    started = time.monotonic()
    assert "it took longer than 0.3 s" in refused(replace(address, timeout=0.3))
    assert time.monotonic() - started < 2


def test_nobody_takes_the_connection_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", 1)

    def slow(*_: Any, **__: Any) -> None:
        raise module.URLError(TimeoutError("timed out"))

    asked = Server(Address("http://localhost:1/v1", MODEL, timeout=0.2))
    monkeypatch.setattr(asked._opener, "open", slow)
    with pytest.raises(SakugaError, match=r"it took longer than 0.2 s to connect"):
        asked.ask(QUESTION, {})


def test_an_answer_without_bounds_is_not_kept(play: Play, address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", 1)
    monkeypatch.setattr(module, "MOST_BYTES", 2**20)
    play.raw = b" " * (2**20 + 1)
    assert "the connection failed (the answer is longer than 1 MB)" in refused(address)


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", 2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = Address(f"http://127.0.0.1:{free.getsockname()[1]}/v1", MODEL)
    assert "the connection failed (Connection refused)" in refused(gone)
    with pytest.raises(
        Halt, match=r"nothing answers at http://127.* \(Connection refused\); start the server, or correct its url"
    ):
        Server(gone).models()


def test_the_models_of_a_server(play: Play, address: Address) -> None:
    assert Server(address).models() == ["qwen2.5vl:7b", "joycaption"]
    play.models = None
    assert Server(address).models() is None


@pytest.mark.parametrize("body", [b"what?", b"[]", b'{"data": 3}', b'{"data": [{"name": "x"}, 3]}'])
def test_a_list_of_models_in_another_form_is_none(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Server(Address("http://localhost", MODEL))
    monkeypatch.setattr(asked, "_send", lambda *_: body)
    assert not asked.models()


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_ends_the_command_and_is_not_shown(
    play: Play, address: Address, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    play.faults = [(status, {}, f"your key {KEY} is not known".encode())]
    said = halted(replace(address, key_variable="MY_KEY"))
    assert said.endswith(
        f"lets nobody in with this key ({status}); put the right key into the environment variable MY_KEY"
    )
    assert KEY not in said and len(play.bodies) == 1
    play.faults = [(status, {}, b"")]
    assert "set caption.key_variable to the name of the environment variable that holds the key" in halted(address)
    play.key = "another"
    with pytest.raises(Halt, match="lets nobody in"):
        Server(replace(address, key_variable="MY_KEY")).models()


def test_the_right_key_goes_into_one_header(play: Play, address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")  # as a file read into a variable leaves it
    play.key = KEY
    assert ask(replace(address, key_variable="MY_KEY")) == CAPTION
    assert KEY not in json.dumps(play.bodies) and play.keys == [f"Bearer {KEY}"]


def test_what_a_server_says_is_shown_without_the_key(
    play: Play, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    play.faults = [(400, {}, json.dumps({"error": {"message": f"bad picture from {KEY}"}}).encode())]
    assert refused(replace(address, key_variable="MY_KEY")) == (
        "the server does not take this question (400): bad picture from ***"
    )


def test_a_variable_that_holds_no_key(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    assert halted(replace(address, key_variable="MY_KEY")) == (
        "the environment variable MY_KEY, which is to hold the server's key, is empty; set it in this shell"
    )
    for odd in (f"{KEY}\nX-Other: 1", f"{KEY} x", f"{KEY}é"):
        monkeypatch.setenv("MY_KEY", odd)
        said = halted(replace(address, key_variable="MY_KEY"))
        assert (
            said
            == "what the environment variable MY_KEY holds cannot be a key: it has a blank or an odd character in it"
        )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_is_not_followed(
    play: Play, address: Address, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    other = Play()
    with serving(other) as elsewhere:
        play.faults = [(status, {"Location": f"{elsewhere}/chat/completions"}, b"")]
        assert f"sends us elsewhere ({status}); give the address that it means as url" in halted(
            replace(address, key_variable="MY_KEY")
        )
    assert other.keys == []


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, b'{"error": {"message": "too many images"}}', "does not take this question (400): too many images"),
        (413, b"", "does not take this question (413): it does not say why"),
        (422, b'{"message": "no such key"}', "does not take this question (422): no such key"),
        (501, b"not built", "does not take this question (501): not built"),
    ],
)
def test_what_is_wrong_with_one_question_is_not_asked_again(
    play: Play, address: Address, status: int, body: bytes, said: str
) -> None:
    play.faults = [(status, {}, body)]
    assert said in refused(address)
    assert len(play.bodies) == 1


def test_a_fault_with_the_status_of_an_answer(play: Play, address: Address) -> None:
    play.faults = [(200, {}, b'{"error": {"message": "overloaded", "code": 503}}')]
    assert ask(address) == CAPTION and len(play.bodies) == 2
    play.faults = [(200, {}, b'{"error": {"message": "too long", "code": 400}}')]
    assert refused(address).endswith("(400): too long")


def test_money(play: Play, address: Address) -> None:
    play.faults = [402]
    assert "wants to be paid first (402); look at your account there" in halted(address)
    quota = b'{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}'
    for fault in ((429, {}, quota), (429, {"Retry-After": "86400"}, b'{"error": {"message": "tomorrow"}}')):
        play.faults = [fault]
        assert halted(address).startswith("the server's quota is used up: ")


def test_a_model_that_the_server_has_not(play: Play, address: Address) -> None:
    said = halted(replace(address, model="qwen2.5vl:72b"))
    assert said.startswith(
        "the server knows no model 'qwen2.5vl:72b', or not this address: The model `qwen2.5vl:72b` does not"
    )
    assert said.endswith("; it has qwen2.5vl:7b, joycaption; did you mean qwen2.5vl:7b?")
    assert len(play.bodies) == 1


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            b'data: {"choices": []}\n\n',
            "the server answers in pieces although it was asked not to; switch streaming off",
        ),
        (b'{"choices": []}', "the server's answer holds no message; is it OpenAI-compatible?"),
        (b'{"choices": [{"text": "a girl"}]}', "the server's answer holds no message; is it OpenAI-compatible?"),
        (b'{"choices": [{"message": {"content": null}}]}', "the model answered without a word; look at the prompt"),
        (b'{"choices": [{"message": {"content": "<think>hm"}}]}', "the model answered without a word"),
    ],
)
def test_answers_that_are_none(play: Play, address: Address, raw: bytes, said: str) -> None:
    play.raw = raw
    assert said in refused(address)


def test_refusals_of_the_server(play: Play, address: Address) -> None:
    play.refusal = "I cannot help with that"
    assert refused(address) == "the model refuses to answer: I cannot help with that"
    play.refusal, play.finish = None, "content_filter"
    assert refused(address) == "the model refuses to answer: its filter held the answer back"


def test_an_answer_that_is_cut_off(play: Play, address: Address) -> None:
    play.finish = "length"
    assert refused(address) == "the answer was cut off at its longest; raise caption.max_tokens, or ask for less"


def test_an_answer_in_parts_and_one_without_a_count(play: Play, address: Address) -> None:
    play.answer, play.usage = [{"type": "text", "text": "a girl "}, {"type": "text", "text": "runs"}, 3], None
    assert ask(address) == "a girl runs"


def test_what_a_model_thinks_aloud_is_left_out() -> None:
    assert without_thoughts("<think>let me\nsee</think>\n a girl") == "a girl"
    assert without_thoughts("let me see</think> a girl") == "a girl"
    assert without_thoughts("<THINKING>x</THINKING>a girl <think>more") == "a girl"


def test_questions_keep_their_pace(play: Play, address: Address) -> None:
    asked = Server(replace(address, per_minute=600))
    threads = [threading.Thread(target=asked.ask, args=(QUESTION, {})) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert play.at[-1] - play.at[0] >= 0.38


def test_a_proxy_is_not_asked_for_this_machine(play: Play, address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask(address) == CAPTION
    assert module._is_here("http://localhost:80") and not module._is_here("http://example.org")
