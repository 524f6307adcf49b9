"""A program of a person's as captioner: it reads the prompt from standard input and writes the caption to standard output.

It is started without a shell, from a list of arguments, so that no name can be read as a command.
"""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from ...core.errors import Halt, SakugaError

MOST_BYTES = 2**16  # of a caption: 512 tokens are about 2,000 letters
LAST_WORDS = 200  # characters of what it says of its fault
_PLACE = re.compile(r"\{(frames|file|prompt)\}")


def arguments(command: Sequence[str], places: Mapping[str, str]) -> list[str]:
    """The command with {frames}, {file} and {prompt} filled; each argument stays one, whatever it holds."""
    return [_PLACE.sub(lambda found: places.get(found[1], found[0]), argument) for argument in command]


def ask_command(command: Sequence[str], prompt: str, folder: Path, timeout: float) -> str:
    """What the program answers, run in `folder` for `timeout` (s) at most.

    Raises SakugaError where it fails, is too slow, says nothing, too much, or what is not UTF-8; Halt where it is not there.
    """
    name = Path(command[0]).name
    with TemporaryFile() as given, TemporaryFile() as complaints:
        given.write(prompt.encode("utf-8"))
        given.seek(0)
        process = _started(command, folder, given.fileno(), complaints.fileno())
        late = threading.Event()

        def stop() -> None:
            late.set()
            _end(process)

        timer = threading.Timer(timeout, stop)
        timer.daemon = True
        timer.start()
        assert process.stdout is not None
        try:
            answer = process.stdout.read(MOST_BYTES + 1)
            if len(answer) > MOST_BYTES:
                raise SakugaError(f"{name} answers more than {MOST_BYTES >> 10} KB; a caption is a paragraph")
            code = process.wait()
        finally:
            timer.cancel()
            _end(process)
            process.wait()
            process.stdout.close()
        if late.is_set():
            raise SakugaError(f"{name} took longer than {timeout:g} s (caption.timeout) and was ended")
        if code != 0:
            complaints.seek(0)
            said = complaints.read()[-4 * LAST_WORDS :].decode("utf-8", "replace").strip()[-LAST_WORDS:]
            raise SakugaError(f"{name} ended with code {code}: {said or 'it did not say why'}")
    try:
        text = answer.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SakugaError(f"{name} does not answer in UTF-8 (byte {error.start}); make it write UTF-8") from error
    if not text.strip():
        raise SakugaError(f"{name} answered nothing; it is to write the caption to standard output")
    return text


def _started(command: Sequence[str], folder: Path, given: int, complaints: int) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            command, stdin=given, stdout=subprocess.PIPE, stderr=complaints, cwd=folder,
            start_new_session=os.name == "posix",  # so that what it starts ends with it
        )  # fmt: skip
    except OSError as error:
        raise Halt(
            f"the program {command[0]!r} cannot be started: {error.strerror}; correct caption.command, a list of the program "
            "and its arguments"
        ) from error
    except ValueError as error:
        raise SakugaError(f"the program {command[0]!r} cannot be given this: {error}") from error


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the program, where it still runs, and all that it has started."""
    if process.poll() is not None:
        return
    if os.name == "posix":
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
