"""The end of a command whose exit code is known: a signal that comes then hurries it, and changes its code no more."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_S = 1.0
"""How long what is left to be printed may take once a signal has come: maybe nobody reads it."""


def leave_at_once(code: int) -> NoReturn:
    """Everything is on disk; a step in a thread that still works would hold an ordinary exit up."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)


def settle(
    code: int, *, asked: bool = False, ask: Callable[[], None] | None = None, grace_s: float | None = None
) -> None:
    """From now on this process ends with `code`, whatever signal comes: after a second one at once, after a first one
    (which calls `ask`) when it is done, or when `grace_s` has passed. `asked`: the first one has come already.
    """

    def leave(*_: object) -> None:
        os._exit(code)  # what cannot be printed is not waited for

    def hurry(*_: object) -> None:
        _handle(leave)
        if ask is not None:
            ask()
        if grace_s is not None:
            timer = threading.Timer(grace_s, leave)
            timer.daemon = True
            timer.start()

    _handle(leave if asked else hurry)


def ends(code: int) -> None:
    """All is printed: what is left of this process is Python's own end, which a signal cuts short."""
    _handle(lambda *_: leave_at_once(code))


def deaf_at_last() -> None:
    """Python gives signals their default back as one of the last things it does: by then they are ignored."""
    atexit.register(_handle, signal.SIG_IGN)


def _handle(handler: signal.Handlers | Callable[..., object]) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)
