"""Talking to an OpenAI-compatible server (vLLM, Ollama, llama.cpp, LM Studio, Gemini's endpoint, OpenAI and others).

One call: `Server.ask` posts parts of a message to /chat/completions and returns the words. What may pass is tried again,
what cannot pass ends the command (`Halt`), what is the fault of one question is a SakugaError. Threads may share a Server.

The key comes from the environment and goes into one header. It stands in no setting, row, log or sentence: what a server
says is shown with the key blotted out, and a redirection, which would carry the header elsewhere, is not followed.
"""

import base64
import http.client
import ipaddress
import json
import os
import random
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from textwrap import shorten
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from .errors import Halt, SakugaError, nearest
from .settings import ServerWay

Part = dict[str, Any]

TRIES = 6  # of a question; with the waits below about a minute in all
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # s
LONGEST_BIDDEN = 300.0  # s that a server may bid us wait; one that wants more has no quota left today
LOST = 5  # questions in a row that came to nothing: then the server is at fault, not the question
MOST_BYTES = 2**24  # of an answer
CHUNK = 2**16
LOOK_SECONDS = 10.0  # to ask which models there are
QUOTE = 200  # characters of what a server says

_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_AGAIN = frozenset({408, 409, 425, 429})  # and every fault of the server's own


def text_part(text: str) -> Part:
    return {"type": "text", "text": text}


def picture_part(jpeg: bytes) -> Part:
    return {"type": "image_url", "image_url": {"url": _data("image/jpeg", jpeg)}}


def video_part(mp4: bytes) -> Part:
    """As vLLM and those after it take a video."""
    return {"type": "video_url", "video_url": {"url": _data("video/mp4", mp4)}}


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


@dataclass(frozen=True)
class Address:
    """Where a server is, which of its models is asked, and the environment variable that holds its key ("" for none)."""

    url: str
    model: str
    key_variable: str = ""
    timeout: float = 180.0  # s
    per_minute: float | None = None

    def path(self, name: str) -> str:
        return f"{base_url(self.url)}/{name}"


def address_of(way: ServerWay) -> Address:
    """The server that settings name."""
    return Address(way.url, way.model, way.key_variable, way.timeout, way.per_minute)


def options_of(way: ServerWay) -> dict[str, Any]:
    """The keys of a request's body that settings give; what a person names in `extra` goes before."""
    own = {"max_tokens": way.max_tokens, "temperature": way.temperature, "seed": way.seed}
    given = {name: value for name, value in own.items() if value is not None} | way.extra
    # newer models of OpenAI know the one name alone, all others the other
    return {
        name: value for name, value in given.items() if not (name == "max_tokens" and "max_completion_tokens" in given)
    }


def base_url(url: str) -> str:
    """The address that /chat/completions is appended to, whichever of the usual forms a person gives."""
    bare = url.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    return bare if urlsplit(bare).path else f"{bare}/v1"


@dataclass
class Used:
    """Tokens read and written, and questions asked, over all threads."""

    questions: int = 0
    read: int = 0
    written: int = 0

    def cost(self, price_in: float | None, price_out: float | None) -> float | None:
        """In the currency of the prices, which are for a million tokens; None without any."""
        if price_in is None and price_out is None:
            return None
        return (self.read * (price_in or 0) + self.written * (price_out or 0)) / 1e6


@dataclass
class _Pace:
    """Gives every question its turn: `gap` seconds between two, and none before `next`."""

    gap: float
    next: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def turn(self) -> None:
        with self.lock:
            now = time.monotonic()
            mine = max(now, self.next)
            self.next = mine + self.gap
        time.sleep(mine - now)

    def hold(self, seconds: float) -> None:
        """Nobody goes on before `seconds` are over: the server has told one what is meant for all."""
        with self.lock:
            self.next = max(self.next, time.monotonic() + seconds)


class _Passing(Exception):
    """A fault that may be over when the question is put again. `wait`: the seconds the server bids us wait."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Server:
    """A server, with what has been used of it."""

    def __init__(self, address: Address, first_wait: float = FIRST_WAIT) -> None:
        """Raises Halt where the key is not in the environment, or cannot be one."""
        self.address, self.first_wait, self.used = address, first_wait, Used()
        self._key = _key(address.key_variable)
        self._pace = _Pace(60 / address.per_minute if address.per_minute else 0.0)
        self._lock = threading.Lock()
        self._lost = 0
        proxies: dict[str, str] | None = (
            {} if _is_here(address.url) else None
        )  # a proxy knows nothing of this machine's own servers
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _Stay)

    def models(self) -> list[str] | None:
        """The names of the server's models; None where it does not tell. Raises Halt where nothing answers, or not to us."""
        try:
            told = json.loads(self._send("models", None, LOOK_SECONDS))
        except HTTPError as error:
            self._refused_us(error.code)
            return None
        except ValueError:
            return None
        except (OSError, http.client.HTTPException) as error:
            raise Halt(
                f"nothing answers at {base_url(self.address.url)} ({_reason(error)}); start the server, or correct its url"
            ) from None
        listed = told.get("data") if isinstance(told, dict) else None
        names = [entry.get("id") for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        return [name for name in names if isinstance(name, str)]

    def ask(self, parts: Sequence[Part], options: Mapping[str, Any]) -> str:
        """The words that the model answers to one message of `parts`; `options` are more keys of the body (max_tokens ...).

        Raises SakugaError where this question gets no whole answer, Halt where no question would.
        """
        message = {"role": "user", "content": list(parts)}
        body = {"model": self.address.model, "messages": [message], "stream": False} | dict(options)
        content = json.dumps(body).encode("utf-8")
        why = ""
        for attempt in range(TRIES):
            self._pace.turn()
            try:
                answer = self._answer(content)
            except _Passing as passing:
                why = str(passing)
                if attempt + 1 < TRIES:
                    self._wait(attempt, passing.wait)
                continue
            with self._lock:
                self._lost = 0
            return self._words(answer)
        with self._lock:
            self._lost += 1
            lost = self._lost
        if lost >= LOST:
            raise Halt(f"{lost} questions in a row came to nothing at {base_url(self.address.url)}, the last since {why}; "
                       "look at the server, then run the same command again")  # fmt: skip
        raise SakugaError(f"the server gave no answer in {TRIES} tries: {why}; run the same command again later")

    def _wait(self, attempt: int, bidden: float | None) -> None:
        """As long as the server bids, or twice as long as before; a random part of it, so that threads do not return as one."""
        if bidden:
            self._pace.hold(min(bidden, LONGEST_BIDDEN))
            return
        time.sleep(min(LONGEST_WAIT, self.first_wait * 2**attempt) * random.uniform(0.5, 1))

    def _answer(self, content: bytes) -> dict[str, Any]:
        """What the server answers, as JSON. Raises _Passing for what may pass."""
        try:
            raw = self._send("chat/completions", content, self.address.timeout)
        except HTTPError as error:
            self._fault(error.code, self._said(error), _bidden(error.headers.get("Retry-After")))
        except TimeoutError:
            raise _Passing(f"it took longer than {self.address.timeout:g} s (caption.timeout)") from None
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, URLError) and isinstance(error.reason, TimeoutError):
                raise _Passing(f"it took longer than {self.address.timeout:g} s to connect") from None
            raise _Passing(f"the connection failed ({_reason(error)})") from None
        if raw.lstrip().startswith(b"data:"):
            raise SakugaError("the server answers in pieces although it was asked not to; switch streaming off there")
        try:
            answer = json.loads(raw)
        except ValueError:
            raise _Passing("its answer is not JSON") from None
        if not isinstance(answer, dict):
            raise _Passing("its answer is JSON of another form")
        if isinstance(fault := answer.get("error"), dict):  # some give their faults the status of an answer
            status = fault.get("code")
            self._fault(status if isinstance(status, int) else 500, str(fault.get("message", "")), None)
        return answer

    def _send(self, path: str, content: bytes | None, timeout: float) -> bytes:
        """The body of an answer, whole within `timeout` (s). Raises HTTPError, OSError, http.client.HTTPException."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "sakuga"}
        headers |= {"Authorization": f"Bearer {self._key}"} if self._key else {}
        request = urllib.request.Request(self.address.path(path), content, headers)
        until = time.monotonic() + timeout
        parts, size = [], 0
        with self._opener.open(request, timeout=timeout) as response:
            while chunk := response.read1(CHUNK):
                parts.append(chunk)
                size += len(chunk)
                if size > MOST_BYTES:
                    raise OSError(f"the answer is longer than {MOST_BYTES >> 20} MB")
                if time.monotonic() > until:
                    raise TimeoutError
        return b"".join(parts)

    def _fault(self, status: int, said: str, bidden: float | None) -> None:
        """Say what a status of the server's means; what it is to be asked again for is _Passing."""
        self._refused_us(status)
        spent = "insufficient_quota" in said
        said = self._shown(said)
        if status == 429 and (spent or (bidden or 0) > LONGEST_BIDDEN):
            raise Halt(f"the server's quota is used up: {said}; wait for a new one, or pay for more")
        if status in _AGAIN or (status >= 500 and status != 501):
            raise _Passing(f"it answered {status} {said}".rstrip(), bidden)
        if status == 404:
            raise Halt(f"the server knows no model '{self.address.model}', or not this address: {said}{self._known()}")
        raise SakugaError(f"the server does not take this question ({status}): {said or 'it does not say why'}")

    def _known(self) -> str:
        """The models that there are, for one who misspelt the name of one."""
        try:
            names = self.models()
        except Halt:
            return ""
        few = ", ".join((names or [])[:8])
        return f"; it has {few}{nearest(self.address.model, names)}" if names else ""

    def _refused_us(self, status: int) -> None:
        """Faults that no other question would mend. What the server says of a key may hold parts of it: not shown."""
        variable = self.address.key_variable
        if status in (401, 403):
            remedy = f"put the right key into the environment variable {variable}" if variable else (
                "set caption.key_variable to the name of the environment variable that holds the key")  # fmt: skip
            raise Halt(f"the server at {base_url(self.address.url)} lets nobody in with this key ({status}); {remedy}")
        if status == 402:
            raise Halt(
                f"the server at {base_url(self.address.url)} wants to be paid first (402); look at your account there"
            )
        if 300 <= status < 400:
            raise Halt(
                f"{base_url(self.address.url)} sends us elsewhere ({status}); give the address that it means as url"
            )

    def _said(self, error: HTTPError) -> str:
        """The server's own words on a fault: the message of its JSON, else the start of what it sent."""
        try:
            raw = error.read(CHUNK).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            return ""
        try:
            told = json.loads(raw)
        except ValueError:
            return raw
        fault = told.get("error", told) if isinstance(told, dict) else told
        if isinstance(fault, dict):
            fault = " ".join(str(fault[name]) for name in ("message", "code") if fault.get(name))
        return str(fault)

    def _shown(self, said: str) -> str:
        """What a server says, short, and without our key."""
        return shorten(said.replace(self._key, "***") if self._key else said, QUOTE, placeholder="...")

    def _words(self, answer: Mapping[str, Any]) -> str:
        """The text of an answer; what it cost is counted. Raises SakugaError where there is none, or not a whole one."""
        usage = answer.get("usage")
        with self._lock:
            self.used.questions += 1
            if isinstance(usage, dict):
                self.used.read += _count(usage.get("prompt_tokens"))
                self.used.written += _count(usage.get("completion_tokens"))
        choices = answer.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(choice, dict) or not isinstance(message, dict):
            raise SakugaError("the server's answer holds no message; is it OpenAI-compatible?")
        refusal, finish = message.get("refusal"), choice.get("finish_reason")
        if refusal or finish == "content_filter":
            raise SakugaError(
                f"the model refuses to answer: {self._shown(str(refusal or 'its filter held the answer back'))}"
            )
        text = without_thoughts(_text(message.get("content")))
        if finish == "length":
            raise SakugaError("the answer was cut off at its longest; raise caption.max_tokens, or ask for less")
        if not text:
            raise SakugaError("the model answered without a word; look at the prompt, or take another model")
        return text


def without_thoughts(text: str) -> str:
    """An answer without what a model thinks aloud before it."""
    if "</think>" in text and "<think>" not in text:  # templates that open the thought in the prompt
        text = text.rpartition("</think>")[2]
    return _THOUGHT.sub("", text).strip()


def _text(content: Any) -> str:
    """The text of a message, which some give in parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _key(variable: str) -> str:
    """The key in the environment variable; empty where none is named. What is wrong with it is said without showing it."""
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise Halt(
            f"the environment variable {variable}, which is to hold the server's key, is empty; set it in this shell"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise Halt(
            f"what the environment variable {variable} holds cannot be a key: it has a blank or an odd character in it"
        )
    return key


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _bidden(header: str | None, now: Callable[[], float] = time.time) -> float | None:
    """The seconds that a Retry-After header asks for: a number, or a date."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now())
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    """Why a connection failed, in the system's words."""
    inner = error.reason if isinstance(error, URLError) else error
    words = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)
    return shorten(words, QUOTE, placeholder="...") or type(error).__name__
