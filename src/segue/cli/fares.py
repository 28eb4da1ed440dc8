"""How models fare, as the processes of this machine have written it down beside their database."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..models.health import HealthView, Standing
from .words import duration

if TYPE_CHECKING:
    from ..models.health import Health


@contextmanager
def health_at(db: str) -> Generator[Health | None]:
    """A look at the health that belongs to a database; None where no model was asked yet."""
    path = Path(f"{db}-health")
    if not path.exists():
        yield None
        return
    from ..models.health import Health  # noqa: PLC0415  SQLite and threads, for those who have such a file

    health = Health(path)
    try:
        yield health
    finally:
        health.close()


def fares(view: HealthView) -> str:
    """In a few words: `open, p95 1.2 s`, `broken: five failures in a row, 12% fail, in 8 s`."""
    said = [f"{view.standing}: {view.reason}" if view.reason else str(view.standing)]
    if view.error_rate:
        said.append(f"{view.error_rate:.0%} fail")
    if view.p95_s is not None:
        said.append(f"p95 {duration(view.p95_s)}")
    if view.standing is not Standing.OPEN and 0 < view.wait_s < math.inf:
        said.append(f"again in {duration(view.wait_s)}")
    return ", ".join(said)
