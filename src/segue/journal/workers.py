"""Which flows the living processes know: each says so in a file beside its lock, `<owner>.flows`.

Whether a run has nobody who could go on with it is looked up there, and never stored: a process that learns of a flow
takes its runs up at once, and nobody has to take a mark back. The file dies with its process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .owners import FLOWS, holds, living


class Known(NamedTuple):
    """A flow that a process has imported; `migrates`: it also goes on with runs of older versions."""

    name: str
    version: int
    migrates: bool = False


class Workers(NamedTuple):
    """What all living processes know together."""

    carried: frozenset[Known] = frozenset()
    """By those that take up whatever is ready."""
    known: frozenset[Known] = frozenset()
    """By any: also by one that goes on only with what it was asked for."""
    anybody: bool = False
    """Whether some process takes up whatever is ready."""
    silent: bool = False
    """Whether a living process has not said what it knows: then nobody can say that a flow is missing."""

    def lack(self, flow: str, version: int, *, woken: bool = False) -> bool:
        """Whether no living process can go on with a run of this flow: `woken` for one that was parked."""
        if self.silent or not self.anybody:
            return False
        return not _goes_on(self.known if woken else self.carried, flow, version)

    def versions(self, flow: str) -> list[int]:
        """The versions of a flow that are known."""
        return sorted({k.version for k in self.known if k.name == flow})


def _goes_on(known: Iterable[Known], flow: str, version: int) -> bool:
    """As `runtime.registry.for_run` chooses: the run's own version, else a newer one that migrates."""
    return any(k.name == flow and (k.version == version or (k.migrates and k.version > version)) for k in known)


def publish(folder: Path, owner: str, flows: Iterable[Known], *, recovers: bool) -> None:
    """Say what this process knows. On a full disk it stays silent."""
    draft = folder / f"{owner}{FLOWS}-draft"
    with suppress(OSError):
        draft.write_text(json.dumps({"recovers": recovers, "flows": sorted(flows)}), encoding="utf-8")
        os.replace(draft, folder / f"{owner}{FLOWS}")


def read(folder: Path) -> Workers:
    """What the living know."""
    workers = Workers()
    for owner in living(folder):
        if holds(folder, owner):
            workers = joined(workers, *_said(folder / f"{owner}{FLOWS}"))
    return workers


def joined(workers: Workers, flows: frozenset[Known] | None, recovers: bool) -> Workers:
    """With what one more process knows; None: it has not said."""
    if flows is None:
        return workers._replace(silent=True)
    carried = workers.carried | flows if recovers else workers.carried
    return workers._replace(carried=carried, known=workers.known | flows, anybody=workers.anybody or recovers)


def _said(path: Path) -> tuple[frozenset[Known] | None, bool]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return frozenset(Known(*one) for one in said["flows"]), bool(said["recovers"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, False
