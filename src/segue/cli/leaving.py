"""The end of a command whose exit code is known: a signal that comes then hurries it, and changes its code no more."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

_DEFAULTS: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
SIGNALS = tuple(_DEFAULTS)
Handler = signal.Handlers | Callable[..., object]
GRACE_S = 1.0
"""How long what is left to be printed may take once a signal has come: maybe nobody reads it."""


def leave_at_once(code: int) -> NoReturn:
    """Everything is on disk; a step in a thread that still works would hold an ordinary exit up."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    _exit(code)


def _exit(code: int) -> NoReturn:
    """End at once, and the workers of steps with it: Python's own end would see to them."""
    if "multiprocessing" in sys.modules:
        import multiprocessing  # noqa: PLC0415  few steps have workers

        with suppress(Exception):
            for worker in multiprocessing.active_children():
                worker.terminate()
    os._exit(code)


def settle(
    code: int, *, asked: bool = False, ask: Callable[[], None] | None = None, grace_s: float | None = None
) -> None:
    """From now on this process ends with `code`, whatever signal comes: after a second one at once, after a first one
    (which calls `ask`) when it is done, or when `grace_s` has passed. `asked`: the first one has come already.
    """

    def leave(*_: object) -> None:
        _exit(code)  # what cannot be printed is not waited for

    def hurry(*_: object) -> None:
        handle(leave)
        if ask is not None:
            ask()
        if grace_s is not None:
            timer = threading.Timer(grace_s, leave)
            timer.daemon = True
            timer.start()

    handle(leave if asked else hurry)


def ends(code: int) -> None:
    """All is printed: what is left of this process is Python's own end, which a signal cuts short."""
    handle(lambda *_: leave_at_once(code))


def deaf_at_last() -> None:
    """Python gives signals their default back as one of the last things it does: by then they are ignored."""
    atexit.register(handle, signal.SIG_IGN)


_found: dict[int, Any] = {}
"""What handled a signal before ours did."""
_ours: dict[int, Handler] = {}


def handle(handler: Handler) -> None:
    """Handle both signals so in this process, and in none that is forked from it."""
    for number in SIGNALS:
        found = signal.signal(number, handler)
        if found is not _ours.get(number):
            _found[number] = found
        _ours[number] = handler


def give_back(ours: Handler) -> None:
    """What handled the signals before does so again, where `ours` still does."""
    for number in SIGNALS:
        if signal.getsignal(number) is ours:
            signal.signal(number, _found[number])


_forking = threading.local()
"""What this thread lets through, while it forks."""


def _fork() -> None:
    """A signal that reaches a new process before Python has made it ready would be lost: it waits so long."""
    if _ours:
        _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _fork_done() -> None:
    mask = vars(_forking).pop("mask", None)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _forked() -> None:
    """A worker of a step ends by a signal, as in any program: its pool could not end it otherwise."""
    for number, ours in _ours.items():
        if signal.getsignal(number) is ours:
            found = _found[number]
            signal.signal(number, _DEFAULTS[number] if found is None or _is_of_asyncio(found) else found)
    _ours.clear()
    _fork_done()


def _is_of_asyncio(handler: object) -> bool:
    """Whether it cancels the task that `asyncio.run` runs, which no forked process does."""
    return getattr(getattr(handler, "func", None), "__module__", None) == "asyncio.runners"


os.register_at_fork(before=_fork, after_in_parent=_fork_done, after_in_child=_forked)
