"""The memories of an engine: a file of notes a tenant beside the database; and what one question recalls of them.

What is journaled of a recall is which notes were found. Their texts are read when they are shown: what was corrected
is shown as it is now, and what was forgotten is gone from every prompt to come, also of runs in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..context import Part, Scope, estimate
from ..core.keys import quoted
from ..runtime.scope import here, surroundings
from ..runtime.step import step

if TYPE_CHECKING:
    from ..context import Memory

__all__ = ["Recalled", "memory_file", "memory_here", "recalled", "remembered"]

_MEMORY = ":memory:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recalled:
    """Notes of one scope that were found together. Their texts are read when they are shown."""

    notes: list[int]
    relevance: float | None = None


def memory_file(database: str, tenant: str = "default") -> str:
    """The file of a tenant's notes."""
    return f"{database}-memory" if tenant == "default" else f"{database}-memory-{quoted(tenant)}"


def memory_here() -> Memory:
    """The memory of the tenant whose step this is; outside of an engine one that ends with the process."""
    from ..context import Memory  # noqa: PLC0415  numpy, which only who remembers needs

    around = surroundings()
    tenant = getattr(here(), "tenant", "default")
    if around is None:
        return _ALONE.setdefault(tenant, Memory())
    file = _MEMORY if around.database is None else memory_file(around.database, tenant)
    return around.share(f"memory {tenant}", lambda: Memory(file), close=_close)


_ALONE: dict[str, Memory] = {}


async def _close(memory: Memory) -> None:
    memory.close()


@step(name="memory")
async def recalled(request: str, scopes: list[str], tokens: int) -> list[Recalled]:
    """The notes that memories hold on a request, the first scope first."""
    parts = memory_here().recall(request, [Scope.of(one) for one in scopes], tokens, estimate())
    return [Recalled(notes=_notes(part), relevance=part.relevance) for part in parts]


def remembered(found: Iterable[Recalled]) -> Iterator[Part]:
    """What was recalled, as it is now."""
    for one in found:
        part = memory_here().part(one.notes, one.relevance)
        if part is not None:
            yield part


def _notes(part: Part) -> list[int]:
    named = (part.source or "").rpartition(": ")[2]  # before it stands the scope, whose name may read like a note's
    return [int(word.removeprefix("note-")) for word in named.split()]
