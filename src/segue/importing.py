"""Imports a user's module for what it defines: a flow, an error, a function. Nothing of it may begin meanwhile.

A script without a guard, such as one that ends in a bare `asyncio.run(main())`, would start again in each process that
looks for a flow of it. So an engine that the import itself opens is refused, in whatever thread or task, and so is the
module, also where it catches the refusal.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from inspect import currentframe
from types import FrameType, ModuleType
from weakref import WeakKeyDictionary

from .errors import UnguardedScript

__all__ = ["if_it_fails", "imported", "refuse_at_import"]


class _Import:
    """One that is under way, or over."""

    def __init__(self, name: str):
        self.name, self.former = name, sys.modules.get(name)
        self.modules, self.threads = frozenset(sys.modules), frozenset(threading.enumerate())
        """Those of before."""
        self.made: frozenset[str] | None = None
        """The modules that it has made, once it is over."""
        self.refused: UnguardedScript | None = None
        self.halves: list[ModuleType] = []
        """The modules that were being executed when it was refused."""
        self.backs: list[Callable[[], None]] = []

    @property
    def file(self) -> str:
        """Where its module is, as far as that is known."""
        return getattr(sys.modules.get(self.name), "__file__", None) or self.name

    def has(self, frame: FrameType) -> bool:
        """Whether the code that runs there is of a module that it makes."""
        name = frame.f_globals.get("__name__")
        return name == self.name or (name not in self.modules if self.made is None else name in self.made)

    def undo(self) -> None:
        """Forget the modules that it leaves half made, and what they have registered."""
        for half in self.halves:
            if sys.modules.get(half.__name__) is half:
                del sys.modules[half.__name__]
        if self.former is None:
            sys.modules.pop(self.name, None)
        else:
            sys.modules[self.name] = self.former
        for back in reversed(self.backs):
            back()


_within: ContextVar[_Import | None] = ContextVar("within", default=None)
"""The import that this code runs for; a task that it has made runs for it afterwards too."""
_under_way: list[_Import] = []
_strays: WeakKeyDictionary[threading.Thread, _Import] = WeakKeyDictionary()
"""Threads that came up during an import, and outlive it."""


def imported(name: str, load: Callable[[], ModuleType] | None = None) -> ModuleType:
    """The module of this name; `load` makes it anew. Raises UnguardedScript, and what the module raises."""
    if load is None and name in sys.modules:
        return importlib.import_module(name)
    one = _Import(name)
    token = _within.set(one)
    _under_way.append(one)
    try:
        module = importlib.import_module(name) if load is None else load()
        if one.refused is not None:
            raise one.refused
    except BaseException as error:
        one.undo()
        if one.refused is None or error is one.refused or isinstance(error, KeyboardInterrupt):
            raise
        raise one.refused from error
    else:
        return module
    finally:
        one.made = frozenset(sys.modules) - one.modules
        one.backs.clear()
        _strays.update((thread, one) for thread in threading.enumerate() if thread not in one.threads)
        _under_way.remove(one)
        _within.reset(token)


def if_it_fails(back: Callable[[], None]) -> None:
    """Call this if the import that this code runs for fails, after its modules were forgotten."""
    one = _within.get()
    if one is not None and one.made is None:
        one.backs.append(back)


def refuse_at_import(does: str) -> None:
    """Raise UnguardedScript where this code runs for such an import. `does` says what begins: opens an engine."""
    if _within.get() is None and not _under_way and not _strays:
        return
    one = _within.get() or _of_thread()
    if one is None:
        return
    bodies = list(_bodies())
    where = f"{bodies[0].f_code.co_filename}, line {bodies[0].f_lineno}," if bodies else one.file
    refused = UnguardedScript(
        f"{where} {does} while it is imported for what it defines",
        remedy='put what runs under `if __name__ == "__main__":`',
    )
    if one.refused is None:
        one.refused = refused
    modules = [sys.modules.get(str(body.f_globals.get("__name__"))) for body in bodies]
    one.halves += [half for half in modules if half is not None]
    raise refused


def _of_thread() -> _Import | None:
    """The import that has begun this thread, and whose code it runs: a context does not follow into threads."""
    thread = threading.current_thread()
    begun = [one for one in list(_under_way) if thread not in one.threads]
    with suppress(KeyError):
        begun.append(_strays[thread])
    return next((one for one in begun if any(map(one.has, _frames()))), None)


def _bodies() -> Iterator[FrameType]:
    """The modules that are being executed for the import, the innermost first; none where it is not on the stack."""
    found: list[FrameType] = []
    for frame in _frames():
        if frame.f_code is imported.__code__:
            yield from found
            return
        if frame.f_code.co_name == "<module>":
            found.append(frame)


def _frames() -> Iterator[FrameType]:
    frame = currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
