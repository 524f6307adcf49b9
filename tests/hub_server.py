"""A server on this machine that speaks what the Hugging Face hub speaks where a file is got: HEAD and GET, with ranges."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """Files by their path, as `OWNER/NAME/resolve/main/PATH`. `cut` breaks the next answer off after so many bytes."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str | None]] = []  # method, path, range
        self.cut: int | None = None
        self.lie = False  # another sha256 than the file's
        self.url = ""


@contextmanager
def hub() -> Iterator[Hub]:
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            span = self.headers.get("Range")
            state.asked.append((self.command, self.path, span))
            data = state.files.get(self.path.partition("?")[0])
            if data is None:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            begin = int(found[1]) if span and (found := re.fullmatch(r"bytes=(\d+)-", span)) else 0
            self.send_response(206 if begin else 200)
            sha256 = hashlib.sha256(b"lie" if state.lie else data).hexdigest()
            self.send_header("ETag", f'"{sha256}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(data) - begin))
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if body:
                end = len(data) if state.cut is None else min(len(data), begin + state.cut)
                self.wfile.write(data[begin:end])
                if end < len(data):
                    self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
