"""Programs for tests: each is a process of its own, forked from a server that has imported what programs import.

So it is as real as one that Python starts (own pid, own exit code, can be killed), without two seconds of imports.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
How = Literal["module", "file", "code"]
_SERVERS: list[subprocess.Popen[bytes]] = []


class Forked:
    """A program that runs: `how` says what `what` is, a module's name, a file or code. Its lines are read as text.

    `stderr` is where it goes besides the test's own: "stdout" joins them, "pipe" keeps it apart.
    """

    def __init__(
        self, how: How, what: str, *args: object, env: Mapping[str, str] | None = None, cwd: Path = ROOT,
        stderr: Literal["own", "stdout", "pipe"] = "own",
    ):  # fmt: skip
        (theirs_in, self._in), (self._out, theirs_out) = os.pipe(), os.pipe()
        self._err, theirs_err = os.pipe() if stderr == "pipe" else (None, theirs_out if stderr == "stdout" else 2)
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(_server())
        asked = {
            "how": how,
            "what": what,
            "args": list(map(str, args)),
            "env": dict(env or os.environ),
            "cwd": str(cwd),
        }
        socket.send_fds(self._line, [b"3"], [theirs_in, theirs_out, theirs_err])
        self._answers = self._line.makefile("rw", encoding="utf-8")
        self._answers.write(json.dumps(asked) + "\n")
        self._answers.flush()
        self.pid = int(self._answers.readline())
        for theirs in {theirs_in, theirs_out, theirs_err} - {2}:
            os.close(theirs)
        self.stdin = os.fdopen(self._in, "w", encoding="utf-8")
        self.stdout = os.fdopen(self._out, encoding="utf-8")
        self.returncode: int | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        said = self._answers.readline()
        self.returncode = int(said) if said else -signal.SIGKILL
        self._ended.set()
        self._answers.close()
        self._line.close()

    def __del__(self) -> None:
        for file in (self.stdin, self.stdout):
            with contextlib.suppress(OSError):
                file.close()

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = 60) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("a program", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, text: str = "", timeout: float | None = 60) -> tuple[str, str]:
        """What it has said, and what it has said on stderr where that is kept apart, when it has ended."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(text)
            self.stdin.close()
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.append(self._errors()), daemon=True)
        reader.start()
        late = threading.Timer(timeout or 1e6, self._give_up)
        late.start()
        try:
            out = self.stdout.read()
            reader.join()
        finally:
            late.cancel()
        self.stdout.close()
        if self._given_up:
            raise subprocess.TimeoutExpired("a program", timeout or 0, out)
        self.wait(timeout)
        return out, errors[0]

    _given_up = False

    def _give_up(self) -> None:
        self._given_up = True
        self.kill()

    def _errors(self) -> str:
        if self._err is None:
            return ""
        with os.fdopen(self._err, encoding="utf-8") as file:
            return file.read()

    def tell(self, text: str) -> None:
        """Write to its stdin."""
        self.stdin.write(text)
        self.stdin.flush()

    async def ended(self, text: str = "", timeout: float = 60) -> str:
        """`communicate` in a thread: what it has said."""
        return (await asyncio.to_thread(self.communicate, text, timeout))[0]

    async def gone(self) -> int:
        """`wait` in a thread: its exit code."""
        return await asyncio.to_thread(self.wait)

    async def line(self) -> str:
        """The next line that it says, without its end."""
        return (await asyncio.wait_for(asyncio.to_thread(self.stdout.readline), 60)).rstrip("\n")


@functools.cache
def _server() -> str:
    """Where the server of this run of tests listens, which all its processes share. It ends with them."""
    together = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    folder = Path(tempfile.gettempdir()) / f"segue-forks-{together or os.getpid()}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "socket").exists():
            _start(folder / "socket", os.getppid() if together else os.getpid())
    return str(folder / "socket")


def _start(at: Path, outlived: int) -> None:
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.forked.server", str(at), str(outlived)], cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}, start_new_session=True,
    )  # fmt: skip
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    server.stdout.close()
    _SERVERS.append(server)
