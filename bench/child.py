"""A worker process, seen from the parent: ask it, or kill it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class Child:
    """`with Child("serve", path) as child:`. It is ended when the block is left, and never outlives it."""

    def __init__(self, role: str, database: Path):
        env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", role, str(database.resolve())],
            cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        self._rest = b""
        self._read(time.monotonic() + 60)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(
        self, do: str, *, timeout_s: float = 60, progress: Callable[[int], None] | None = None, **command: Any
    ) -> Any:
        """Tell it to do something and wait for its answer. Raises TimeoutError, and EOFError when it died."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **command}).encode() + b"\n")
        end = time.monotonic() + timeout_s
        while "answer" not in (said := self._read(end)):
            if progress is not None:
                progress(said["progress"])
        return said["answer"]

    def _read(self, end: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError("a worker process took too long")
            got = os.read(self._process.stdout.fileno(), 1 << 20)
            if not got:
                raise EOFError("a worker process died: its error stands above")
            self._rest += got
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def kill(self) -> float:
        """Kill -9. Gives the moment."""
        at = time.monotonic()
        self._process.kill()
        self._process.wait()
        return at

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        """Let it close its engine; kill it when it does not."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process.stdout.close()
