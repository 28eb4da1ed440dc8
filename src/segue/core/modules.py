"""What a module is called, in every process the same: a script has the name of its file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType

from ..importing import imported

_SCRIPT = ("__main__", "__mp_main__")
"""What Python calls the script that it runs; the latter in a process that `multiprocessing` has spawned."""

asks: ContextVar[ModuleType | None] = ContextVar("asks", default=None)
"""The module of the flow that runs here."""


def file_of(module: str) -> str | None:
    """The file of a module that is imported."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return str(Path(file).resolve()) if file else None


def real_name(module: str) -> str:
    """The name by which any process imports it. That of a script without a file, as in a notebook, stays."""
    if module not in _SCRIPT:
        return module
    spec = getattr(sys.modules.get(module), "__spec__", None)
    file = file_of(module)
    return spec.name if spec is not None else Path(file).stem if file else module


def bearers(name: str) -> Iterator[ModuleType]:
    """The modules of this process that a name may mean, the likeliest first; it is imported where that is needed.

    A script may have been imported a second time, by its name: a flow of another module means that one, and a flow of
    either its own. `__main__`, which older versions have recorded, may be the script of the flow that asks.
    """
    near = asks.get()
    if near is not None and (real_name(near.__name__) == name or name in _SCRIPT):
        yield near
    script = sys.modules.get(_SCRIPT[0])
    if script is not None and name in (real_name(_SCRIPT[0]), *_SCRIPT):
        second = sys.modules.get(name, script)
        yield from (script, second) if near is None else (second, script)
        return
    try:
        yield imported(name)
    except (Exception, SystemExit):  # noqa: BLE001  a user's module may raise anything when it is imported
        return
