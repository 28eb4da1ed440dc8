"""How many threads a local model should compute with."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

MOST = 4
"""More gain nothing with models this small."""
_STAT = Path("/proc/stat")
_WATCH_S = 0.1


def threads() -> int:
    """As many threads as cores are idle just now, from 1 to 4.

    Threads of one model wait for each other at every layer. On two cores that others keep busy, two threads were seen
    to write 1 token a second, where one wrote 7; on idle cores two wrote 90, and one 43.
    """
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    idle = idle_cores() if _STAT.exists() else float(usable)
    return max(1, min(MOST, usable, round(idle)))


def idle_cores() -> float:
    """Cores that nobody used over a tenth of a second. Linux only."""
    before = _ticks()
    time.sleep(_WATCH_S)
    spent = [now - then for now, then in zip(_ticks(), before, strict=True)]
    return (os.cpu_count() or 1) * (spent[3] + spent[4]) / max(1, sum(spent))


def _ticks() -> list[int]:
    """Time spent by all cores so far: user, nice, system, idle, waiting for disks, and so on."""
    return [int(n) for n in _STAT.read_text(encoding="ascii").splitlines()[0].split()[1:9]]
