"""What a memory is made of: scopes, notes, and what was said in turns. Values, and how they stand in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any, cast

from .errors import InvalidContext

__all__ = ["FIELDS", "NEVER", "Note", "Said", "Scope", "ScopeKind", "Turns", "View", "hash_of", "read"]

NEVER = 1 << 62
"""A turn that no thread reaches."""
FIELDS = "id, scope, name, text, source, run, turn, who, at, stands_for, taken"


class ScopeKind(StrEnum):
    """Whose memory it is."""

    RUN = "run"
    THREAD = "thread"
    USER = "user"
    TEAM = "team"


@dataclass(frozen=True, slots=True)
class Scope:
    """One run, thread, user or team. What is in one scope is never seen from another."""

    kind: ScopeKind
    name: str

    @classmethod
    def of(cls, text: str) -> Scope:
        """`user:ann`. Raises InvalidContext for what is none."""
        kind, _, name = text.partition(":")
        if kind not in list(ScopeKind) or not name.strip():
            raise InvalidContext(
                f"{text!r} is no scope of a memory", remedy="name one: user:NAME, team:NAME, thread:NAME or run:ID"
            )
        return cls(ScopeKind(kind), name.strip())

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.name}"


@dataclass(frozen=True, slots=True)
class Note:
    """One thing remembered, with where it came from."""

    id: int
    scope: Scope
    text: str
    source: str
    """A document, a person; of what was said in a turn the step that said it."""
    run: str
    turn: int | None
    who: str
    at: datetime | None
    """When it was said."""
    stands_for: int | None
    """The note that it corrects."""
    taken: bool = False
    """Whether it was taken up from a turn, and put in by nobody. Then `turn` is that of its thread; of a run, the event
    of the step.
    """


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody said in a turn of a thread, or in a run."""

    turn: int
    text: str
    who: str
    run: str
    source: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Turns:
    """What was taken up from turns into a scope: from those after a number, up to another one."""

    scope: Scope
    after: int = 0
    upto: int = NEVER


@dataclass(frozen=True, slots=True)
class View:
    """What one recall sees of a scope: its notes, and what was said in turns, its own or those that a branch shares."""

    scope: Scope
    turns: tuple[Turns, ...]
    upto: int = NEVER
    """Nothing is seen of later turns."""
    shown: int = NEVER
    """Nor from this turn on: they are shown anyway."""

    @classmethod
    def of(cls, scope: Scope) -> View:
        """All that it has."""
        return cls(scope, (Turns(scope),))

    def has(self, note: Note) -> bool:
        """Whether it is seen."""
        return not note.taken or ((note.turn or 0) <= self.upto and (note.turn or 0) < self.shown)


def hash_of(text: str, scope: Scope) -> bytes:
    """What is left of a note that was forgotten: the same words in the same scope have the same."""
    said = f"{scope.kind.value}/{scope.name}/{' '.join(text.lower().split())}"
    return blake2b(said.encode(), digest_size=16).digest()


def read(row: Sequence[object]) -> Note:
    """A note of its `FIELDS`."""
    no, kind, name, text, source, run, turn, who, at, stands_for, taken = cast("tuple[Any, ...]", tuple(row))
    when = None if at is None else datetime.fromisoformat(at)
    return Note(no, Scope(ScopeKind(kind), name), text, source, run, turn, who, when, stands_for, bool(taken))
