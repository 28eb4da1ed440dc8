"""The memories of an engine: a file of notes a tenant beside the database; and what one question recalls of them.

What is journaled of a recall is which notes were found. Their texts are read when they are shown: what was corrected
is shown as it is now, and what was forgotten is gone from every prompt to come, also of runs in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ..context import Part
from ..core.keys import quoted
from ..core.records import ManifestPart
from ..runtime.companions import Keeps, keeping
from ..runtime.scope import Surroundings, here, surroundings

if TYPE_CHECKING:
    from ..context import Memory

__all__ = ["Recalled", "memory_file", "memory_here", "remembered"]

_MEMORY = ":memory:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recalled:
    """Notes of one scope that were found together. Their texts are read when they are shown."""

    notes: list[int]
    relevance: float | None = None
    pieces: list[int] = field(default_factory=list[int])
    """Of each note the piece of it; 0: it is a short one. Empty: all are."""

    @classmethod
    def of(cls, part: Part | ManifestPart) -> Recalled:
        """What a part shows, or one that a manifest has."""
        named = (part.source or "").rpartition(": ")[2]  # before it stands the scope, whose name may read like a note's
        found = [word.removeprefix("note-").partition(".") for word in named.split()]
        pieces = [int(piece or 0) for _, _, piece in found]
        return cls(
            notes=[int(no) for no, _, _ in found], relevance=part.relevance, pieces=pieces if any(pieces) else []
        )


def memory_file(database: str, tenant: str = "default") -> str:
    """The file of a tenant's notes."""
    if tenant == "default":
        return f"{database}-memory"
    name = quoted(tenant)
    return f"{database}-memory-{name}%" if name.endswith(_SQLITE) else f"{database}-memory-{name}"


_SQLITE = ("wal", "shm", "journal")
"""How SQLite's own files beside another one end."""


def memory_here() -> Memory:
    """The memory of the tenant whose step this is; outside of an engine one that ends with the process."""
    around = surroundings()
    tenant = getattr(here(), "tenant", "default")
    if around is None:
        from ..context import Memory  # noqa: PLC0415  numpy, which only who remembers needs

        return _ALONE.setdefault(tenant, Memory())
    return _memory_of(around, tenant)


def _memory_of(around: Surroundings, tenant: str) -> Memory:
    from ..context import Memory  # noqa: PLC0415  numpy, which only who remembers needs

    file = _MEMORY if around.database is None else memory_file(around.database, tenant)
    return around.share(f"memory {tenant}", lambda: Memory(file), close=_close)


_ALONE: dict[str, Memory] = {}


class _Notes(Keeps):
    """Notes go with their tenant, those of a run with their run, and what was said in a turn with the turn's."""

    def erased(self, around: Surroundings, tenant: str, by: str, why: str) -> None:
        """Of what was said before, too, nothing is taken up any more."""
        outside = around.outside
        upto = 0 if outside is None else outside.position(tenant)
        if upto or around.database is None or Path(memory_file(around.database, tenant)).exists():
            _memory_of(around, tenant).erase(upto, by=by, why=why)

    def collected(self, around: Surroundings) -> None:
        if around.engine is None or around.database is None:
            return
        for file in _files(around.database):
            from ..context import Memory  # noqa: PLC0415  numpy, which only who remembers needs

            with Memory(str(file)) as memory:
                for scope, _ in memory.scopes():
                    if scope.kind.value == "run" and around.engine.journal.query(_GONE, (scope.name,)):
                        memory.clear(scope, by="segue", why="its run was collected")
                memory.let_go([run for run in memory.runs_taken() if around.engine.journal.query(_GONE, (run,))])


_GONE = "select 1 from tombstones where id = ?"

keeping(_Notes())


def _files(database: str) -> list[Path]:
    """The files of notes beside a database."""
    at = Path(memory_file(database))
    beside = sorted(at.parent.glob(f"{escape(at.name)}*"))
    return [file for file in beside if not file.name.endswith(_SQLITE)]


async def _close(memory: Memory) -> None:
    memory.close()


def remembered(found: Iterable[Recalled]) -> Iterator[Part]:
    """What was recalled, as it is now."""
    for one in found:
        part = memory_here().part(one.notes, one.relevance, one.pieces)
        if part is not None:
            yield part
