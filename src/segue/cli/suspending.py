"""Ctrl-Z stops this process between two commits: one that is stopped within one keeps the file locked for others."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

from ..journal import Journal

_COMMIT_S = 2.0
"""A commit that takes longer is not waited for."""


@contextmanager
def stops_between_commits(journal: Journal) -> Generator[None]:
    """What is stopped by its terminal is stopped so. Whoever has it ignored, or handles it, goes on doing so."""
    process = os.getpid()

    def stop(number: int, _: object) -> None:
        if os.getpid() != process:  # what a step has forked holds no lock of ours
            signal.signal(number, signal.SIG_DFL)
            return os.kill(os.getpid(), number)
        with journal.between_commits(_COMMIT_S):
            signal.signal(number, signal.SIG_DFL)  # what its terminal sends stops nobody whom no shell could wake
            signal.pthread_kill(threading.get_ident(), number)
            signal.signal(number, stop)

    if signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTSTP, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
