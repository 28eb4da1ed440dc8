"""What works beside an engine: what begins as soon as it is open and carries runs out, and what keeps things of a run
or tenant outside of the journal, and lets go of them with it.

A room above says so when it is imported: batches that runs of an earlier process wait for must be looked after, though
nobody asks a question now.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from importlib import import_module
from pathlib import Path

from .scope import Surroundings

__all__ = ["Keeps", "begin", "beside", "candidates", "collected", "erased", "keeping", "naming"]

_KEEPING = ("segue.agent.memories",)
"""Modules above that keep something: they are asked also by a process that has used none of them."""

_CARRYING = (("-batches", "segue.agent.batch.office"),)
"""Modules above that carry what is in a file beside the database, by how its name goes on: they are loaded where there
is such a file, also in a process that has imported nothing but the engine.
"""

_NAMING = "segue.agent.gateway"
"""The module above that knows whom questions may be put to."""

_begins: list[Callable[[Surroundings], None]] = []
_names: Callable[[Surroundings], Container[str]] | None = None


def beside(begins: Callable[[Surroundings], None]) -> Callable[[Surroundings], None]:
    """Call it with each engine's surroundings, on the engine's loop, when it has opened. It must not block."""
    _begins.append(begins)
    return begins


def naming(names: Callable[[Surroundings], Container[str]]) -> None:
    """Ask it for the names of those whom an engine's questions may be put to."""
    global _names  # noqa: PLW0603  one agent room
    _names = names


def candidates(around: Surroundings) -> Container[str]:
    """Their names."""
    if _names is None:
        import_module(_NAMING)
    return () if _names is None else _names(around)


def begin(around: Surroundings) -> None:
    """An engine has opened."""
    for suffix, module in _CARRYING:
        if around.database is not None and Path(f"{around.database}{suffix}").exists():
            import_module(module)
    for begins in _begins:
        begins(around)


class Keeps:
    """Keeps something of runs or tenants outside of the journal."""

    def collected(self, around: Surroundings) -> None:
        """Runs were collected: what belongs to runs that are gone goes too."""

    def erased(self, around: Surroundings, tenant: str, by: str, why: str) -> None:
        """A tenant is erased: what is kept of it goes too."""


_keeps: list[Keeps] = []


def keeping(one: Keeps) -> None:
    """Ask it whenever an engine lets go of something."""
    _keeps.append(one)


def collected(around: Surroundings) -> None:
    """An engine has collected runs."""
    for one in _all():
        one.collected(around)


def erased(around: Surroundings, tenant: str, by: str, why: str) -> None:
    """An engine has erased a tenant."""
    for one in _all():
        one.erased(around, tenant, by, why)


def _all() -> list[Keeps]:
    for module in _KEEPING:
        import_module(module)
    return _keeps
