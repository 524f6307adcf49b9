"""A real HTTP server that speaks the protocol of OpenAI-compatible servers, well or badly: what it does stands in `play`.

`python tests/chat_server.py 8123` serves until it is ended, and answers every question with a caption.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-test-4f9a1c77e2"
CAPTION = "a girl in a red coat runs along the sea wall. A harbour at dusk, soft light. Medium shot, camera pans left"


@dataclass
class Play:
    """What the server does. `faults` are given first, one a question: a status, or (status, headers, body)."""

    answer: Any = CAPTION
    finish: str = "stop"
    refusal: str | None = None
    raw: bytes | None = None  # in place of an answer, as it is
    faults: list[Any] = field(default_factory=list)
    models: list[str] | None = field(default_factory=lambda: ["qwen2.5vl:7b", "joycaption"])
    key: str | None = None
    seconds: float = 0.0  # that an answer takes
    trickle: bool = False  # a byte now and then, without an end
    usage: dict[str, int] | None = field(default_factory=lambda: {"prompt_tokens": 1000, "completion_tokens": 50})
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    at: list[float] = field(default_factory=list)  # when each question came
    under_way: int = 0
    most: int = 0  # questions under way at once
    lock: threading.Lock = field(default_factory=threading.Lock)


class Handler(BaseHTTPRequestHandler):
    play: Play
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def fault(self, status: int, message: str, code: str | None = None) -> None:
        self.reply(status, json.dumps({"error": {"message": message, "code": code}}).encode())

    def allowed(self) -> bool:
        play, given = self.play, self.headers.get("Authorization")
        play.keys.append(given)
        if play.key is None or given == f"Bearer {play.key}":
            return True
        self.fault(401, f"Incorrect API key provided: {given}", "invalid_api_key")
        return False

    def do_GET(self) -> None:
        if not self.allowed():
            return
        if self.path != "/v1/models" or self.play.models is None:
            self.fault(404, "no such page")
            return
        self.reply(200, json.dumps({"data": [{"id": name} for name in self.play.models]}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        play = self.play
        with play.lock:
            play.bodies.append(body)
            play.at.append(time.monotonic())
            play.under_way += 1
            play.most = max(play.most, play.under_way)
            fault = play.faults.pop(0) if play.faults else None
        try:
            self.answer(body, fault)
        except (BrokenPipeError, ConnectionResetError):  # who asked has not waited
            self.close_connection = True
        finally:
            with play.lock:
                play.under_way -= 1

    def answer(self, body: dict[str, Any], fault: Any) -> None:
        play = self.play
        if not self.allowed():
            return
        time.sleep(play.seconds)
        if fault == "hang up":
            self.close_connection = True
            return
        if fault is not None:
            status, headers, content = (
                (fault, {}, b'{"error": {"message": "try again"}}') if isinstance(fault, int) else fault
            )
            self.reply(status, content, headers)
        elif self.path != "/v1/chat/completions":
            self.fault(404, "no such page")
        elif play.models and body["model"] not in play.models:
            self.fault(404, f"The model `{body['model']}` does not exist.", "model_not_found")
        elif body["stream"]:
            self.fault(400, "streaming is not supported here")
        elif play.trickle:
            self.trickle()
        elif play.raw is not None:
            self.reply(200, play.raw)
        else:
            message = {"role": "assistant", "content": play.answer, "refusal": play.refusal}
            told = {"choices": [{"message": message, "finish_reason": play.finish}], "usage": play.usage}
            self.reply(200, json.dumps(told).encode())

    def trickle(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.05)


@contextmanager
def serving(play: Play, port: int = 0) -> Iterator[str]:
    """The address of a server that does what `play` says, while the block runs."""
    handler = type("Playing", (Handler,), {"play": play})
    http = ThreadingHTTPServer(("127.0.0.1", port), handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


if __name__ == "__main__":
    with serving(Play(seconds=float((sys.argv[2:] or ["0"])[0])), int(sys.argv[1])) as address:
        print(address, flush=True)
        threading.Event().wait()
