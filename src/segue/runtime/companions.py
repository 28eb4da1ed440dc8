"""What begins to work beside an engine as soon as it is open and carries runs out, whoever asks for it.

A room above says so when it is imported: batches that runs of an earlier process wait for must be looked after, though
nobody asks a question now.
"""

from __future__ import annotations

from collections.abc import Callable

from .scope import Surroundings

__all__ = ["begin", "beside"]

_begins: list[Callable[[Surroundings], None]] = []


def beside(begins: Callable[[Surroundings], None]) -> Callable[[Surroundings], None]:
    """Call it with each engine's surroundings, on the engine's loop, when it has opened. It must not block."""
    _begins.append(begins)
    return begins


def begin(around: Surroundings) -> None:
    """An engine has opened."""
    for begins in _begins:
        begins(around)
