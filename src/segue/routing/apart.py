"""Training in a process of its own, so that it takes no turn of the interpreter from the one that answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from ..core.shell import command
from ..errors import SegueError

__all__ = ["Apart", "Came", "Job"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What to learn from, and how much there must be of it."""

    database: str
    priors: Mapping[str, Mapping[str, float]]
    """Of the catalogue: the quality of each model by kind of task."""
    least: int
    share: float


class Came(NamedTuple):
    """What came of it. What was learned stands on its shelf by now."""

    version: str | None
    why: str
    lessons: int
    new: int
    position: int
    """How far the journal was read."""


@dataclass(slots=True)
class Apart:
    """Runs one job at a time. `stop` ends it; what it has written so far is whole."""

    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)

    def __call__(self, job: Job) -> Came:
        """Do it, and wait. Raises SegueError where the process failed."""
        paths = os.pathsep.join(path for path in sys.path if path)
        self._child = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.training"], env=os.environ | {"PYTHONPATH": paths},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        if self._stopped:
            self._child.kill()
        said, trouble = self._child.communicate(json.dumps(asdict(job)).encode())
        if self._child.returncode != 0:
            last = trouble.decode(errors="replace").strip().splitlines()[-1:] or [f"code {self._child.returncode}"]
            raise SegueError(f"training failed: {last[0]}", remedy=f"see all of it: {command('routes', 'train')}")
        body: dict[str, Any] = json.loads(said)
        return Came(**body)

    def stop(self) -> None:
        """End what runs, and let nothing more begin."""
        self._stopped = True
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
