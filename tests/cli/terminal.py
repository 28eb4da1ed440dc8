"""A terminal for tests: each command is a process of its own, forked from a server that has imported what commands use.

So a command is as real as in a shell (own process, own exit code, can be killed) and starts in some 20 ms.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

SHOP = Path(__file__).with_name("shop.py")
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.cli.warm"])


@functools.cache
def _warm() -> None:
    """Start the server; it finds our own modules by PYTHONPATH only."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), *([before] if before else [])])
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Started:
    """A command that runs."""

    def __init__(self, process: BaseProcess, out: Path, err: Path):
        self._process, self._out, self._err = process, out, err

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self._process.join(20)

    def wait(self, timeout_s: float = 30) -> Done:
        self._process.join(timeout_s)
        if self._process.exitcode is None:
            self.kill()
            raise AssertionError(f"the command did not end:\n{self.out}\n{self.err}")
        return Done(self._process.exitcode, self.out, self.err)


class Terminal:
    """A folder with `shop.py`, a database, and `segue`."""

    def __init__(self, folder: Path):
        self.folder, self.db = folder, folder / "segue.db"
        (folder / "shop.py").write_text(SHOP.read_text())
        self.notes = Path(tempfile.mkdtemp(dir=folder))
        self._count = 0
        self.started: list[Started] = []

    def copy_of(self, folder: Path) -> Terminal:
        """This terminal, with the files of another one."""
        shutil.copytree(folder, self.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*-live"))
        return self

    def start(
        self, *words: object, cwd: Path | None = None, stdin: str = "", env: dict[str, str] | None = None,
        user: int | None = None,
    ) -> Started:  # fmt: skip
        """Start a command in the background, as another user if one is given."""
        self._count += 1
        files = [self.notes / f"{self._count}.{name}" for name in ("in", "out", "err")]
        for file in files:
            file.write_text(stdin if file.suffix == ".in" else "")
        settings = {"COLUMNS": "100", "NO_COLOR": "1", **(env or {})}
        process = _context.Process(
            target=_command,
            args=([str(w) for w in words], str(cwd or self.folder), settings, [str(f) for f in files], user),
        )
        _warm()
        process.start()
        self.started.append(Started(process, files[1], files[2]))
        return self.started[-1]

    def segue(self, *words: object, **how: Any) -> Done:
        """Carry a command out."""
        return self.start(*words, **how).wait()

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Read the database behind segue's back."""
        connection = sqlite3.connect(f"{self.db.as_uri()}?mode=ro", uri=True)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def state(self, run: str) -> str | None:
        """A run's state; None while there is none."""
        with contextlib.suppress(sqlite3.OperationalError):
            rows = self.query("select state from runs where id = ?", run)
            return rows[0][0] if rows else None
        return None

    def has(self, run: str, type_: str, key: str = "%") -> bool:
        """Whether a run's journal has such an event."""
        with contextlib.suppress(sqlite3.OperationalError):
            sql = (
                "select 1 from events e join runs r on r.no = run where id = ? and type = ? and ifnull(key, '') like ?"
            )
            return bool(self.query(sql, run, type_, key))
        return False

    def calls(self) -> list[str]:
        """What the steps of shop.py have noted, in order."""
        log = self.folder / "calls.log"
        return log.read_text().split() if log.exists() else []


def until(condition: Callable[[], Any], within_s: float = 20) -> Any:
    """Wait for something that another process brings about."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come to pass")


def _command(words: list[str], cwd: str, env: dict[str, str], files: list[str], user: int | None) -> None:
    """In the process of the command."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    os.chdir(cwd)
    for name in ("SEGUE_DB", "SEGUE_BY", "PYTHONPATH"):
        os.environ.pop(name, None)
    os.environ.update(env)
    for number, path in enumerate(files):
        os.dup2(os.open(path, os.O_WRONLY if number else os.O_RDONLY), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  as a fresh process has them
    sys.stdout, sys.stderr = (open(n, "w", closefd=False) for n in (1, 2))  # noqa: SIM115
    sys.path[:] = [p for p in sys.path if p not in ("", cwd)]
    from segue.cli import main

    if user is not None:
        _become(user, main, words)
    main(words)


def _become(user: int, main: Callable[[list[str]], object], words: list[str]) -> None:
    """Another user may not be able to read Python's own files: what the command imports is imported before."""
    unseen = io.StringIO()
    with contextlib.redirect_stdout(unseen), contextlib.redirect_stderr(unseen), contextlib.suppress(SystemExit):
        main([*words, "--db", os.environ["WARM_DB"]])
    os.setgroups([])
    os.setuid(user)
