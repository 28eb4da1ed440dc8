"""The journal of a run as a replay reads it."""

from __future__ import annotations

from ..core.replay import Memory
from ..journal import Reader, RunRow


def fresh(row: RunRow, seq: int, args: bytes) -> Memory:
    """That of a run that has no past."""
    at = row.created_at
    return Memory(fresh=True, args=args, seeds=[(1, row.seed)], last_seq=seq, first_at=at, last_at=at)


def memory_of(reader: Reader, row: RunRow) -> Memory:
    """A run's journal, with the results that a fork was given. Raises StoreCorrupt, which names what is damaged."""
    with reader.reads(row):
        return Memory.of(reader.past(row), {key: value.encode() for key, value in row.replaced.items()})
