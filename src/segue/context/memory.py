"""Memory: what was learned in past turns, runs and documents, to be recalled, edited and forgotten. A SQLite file.

A note belongs to a scope (a run, a thread, a user, a team) and keeps where it came from. An edit is a new note that
stands for the old one; what was forgotten is gone from the file, and the hash of it that stays keeps it from coming
back by itself. Recall ranks the notes of the scopes that are asked (`recall.ranking`); FTS5 chooses whom to rank where
a scope has very many.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from types import TracebackType
from typing import Any, Self, cast

from ..core.shell import command
from .errors import InvalidContext
from .form import form
from .recall.packing import heading_of, line_of, packed, parts_of
from .recall.passages import Passage, Passages
from .recall.ranking import ranked
from .recall.terms import terms
from .recall.terms import words as _words
from .tokens import Tokens
from .types import Kind, Part, Role

__all__ = ["Memory", "Note", "Scope", "ScopeKind"]

RANKED = 20_000
"""Notes that are ranked at most; of more, FTS5's best by BM25 and the newest."""
_LONGEST = 20_000
"""Characters of a note."""

_SCHEMA = """
create table if not exists notes (
  id integer primary key, scope text not null, name text not null, text text, hash blob not null, source text not null,
  run text not null, turn integer, who text not null, at text, stands_for integer, replaced_by integer,
  forgotten integer not null default 0, by text not null default '', why text not null default ''
);
create index if not exists notes_scope on notes (scope, name, id);
create index if not exists notes_hash on notes (hash);
create index if not exists notes_replaced on notes (replaced_by);
create virtual table if not exists notes_text using fts5 (text, tokenize='porter');
"""
_STOOD_FOR = (
    "with recursive gone (id) as (values (?) union select n.id from gone join notes n on n.replaced_by = gone.id)"
    " select id from gone"
)
"""A note, and all that it stands for."""
_FIELDS = "id, scope, name, text, source, run, turn, who, at, stands_for"


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
    """A document, a turn, a person."""
    run: str
    turn: int | None
    who: str
    at: datetime | None
    """When it was said."""
    stands_for: int | None
    """The note that it corrects."""


class Memory:
    """A file of notes; `:memory:` for one that ends with the process. Use it in the thread that opened it."""

    def __init__(self, path: str = ":memory:"):
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma secure_delete = on")
        self._db.executescript(_SCHEMA)
        self._cache: dict[Scope, tuple[int, Passages]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def remember(
        self, text: str, scope: Scope, *, source: str = "", run: str = "", turn: int | None = None, who: str = "",
        at: datetime | None = None,
    ) -> int | None:  # fmt: skip
        """Keep a note; its id. None for what was forgotten or corrected before, and is not taken up again by itself.

        The same words in the same scope are one note. Raises InvalidContext for an empty or a very long text.
        """
        text = _fit(text)
        digest = _hash(text, scope)
        with self._writing():
            known = self._db.execute(
                "select id, forgotten or replaced_by is not null from notes where hash = ? order by id desc", (digest,)
            ).fetchone()
            if known is not None:
                return None if known[1] else int(known[0])
            return self._insert(Note(0, scope, text, source, run, turn, who, at, None), digest)

    def edit(self, id: int, text: str, *, by: str = "", why: str = "") -> int:
        """Correct a note: the id of the one that stands for it, a new one, or one of the same words. The same
        correction again is the same note.

        Raises InvalidContext where there is none, and for an empty or a very long text.
        """
        text = _fit(text)
        with self._writing():
            again = self._corrected(id, text)
            if again is not None:
                return again
            old = self.note(id)
            digest = _hash(text, old.scope)
            made = self._standing(id, digest)
            if made is None:
                new = Note(0, old.scope, text, old.source, old.run, old.turn, old.who, old.at, id)
                made = self._insert(new, digest)
            said = (made, by, why, id)
            self._db.execute("update notes set replaced_by = ?, by = ?, why = ? where id = ?", said)
            self._db.execute("delete from notes_text where rowid = ?", (id,))
        return made

    def _corrected(self, id: int, text: str) -> int | None:
        """The note by which this one was corrected to the same words: a step that crashed makes it again."""
        row = self._db.execute(
            "select n.id, n.scope, n.name, n.hash from notes o join notes n on n.id = o.replaced_by"
            " where o.id = ? and not n.forgotten", (id,),
        ).fetchone()  # fmt: skip
        return None if row is None or row[3] != _hash(text, Scope(ScopeKind(row[1]), row[2])) else int(row[0])

    def _standing(self, but: int, digest: bytes) -> int | None:
        """Another note of these words that stands."""
        row = self._db.execute(
            "select id from notes where hash = ? and id <> ? and not forgotten and replaced_by is null", (digest, but)
        ).fetchone()
        return None if row is None else int(row[0])

    def forget(self, id: int, *, by: str = "", why: str = "") -> None:
        """Forget a note and what it stood for: the texts are overwritten, that there was a note stays on record.

        One that is forgotten already stays so. Raises InvalidContext where there never was one, or it was corrected.
        """
        with self._writing():
            if not self._is_forgotten(id):
                self._forget(self.note(id).id, by, why)
        self._wipe()

    def clear(self, scope: Scope | None = None, *, by: str = "", why: str = "") -> int:
        """Forget all notes of a scope, or of all scopes; how many those were."""
        where, which = ("1", ()) if scope is None else ("scope = ? and name = ?", (scope.kind.value, scope.name))
        with self._writing():
            found = self._db.execute(
                f"select id from notes where not forgotten and replaced_by is null and {where}", which
            ).fetchall()
            for (no,) in found:
                self._forget(no, by, why)
        self._wipe()
        return len(found)

    def _forget(self, id: int, by: str, why: str) -> None:
        for (at,) in self._db.execute(_STOOD_FOR, (id,)).fetchall():
            self._db.execute(
                "update notes set text = null, source = '', who = '', forgotten = 1, by = ?, why = ? where id = ?",
                (by, why, at),
            )
            self._db.execute("delete from notes_text where rowid = ?", (at,))

    def _is_forgotten(self, id: int) -> bool:
        return self._db.execute("select 1 from notes where id = ? and forgotten", (id,)).fetchone() is not None

    def _wipe(self) -> None:
        """See that what was deleted leaves the file."""
        self._db.execute("insert into notes_text (notes_text) values ('optimize')")  # deleted words stay until merged
        self._db.execute("pragma wal_checkpoint(truncate)")

    @contextmanager
    def _writing(self) -> Generator[None]:
        """One change, whole or not at all; what another process does comes before it or after it."""
        with self._db:
            self._db.execute("begin immediate")
            yield

    def note(self, id: int) -> Note:
        """A note that stands. Raises InvalidContext for one that is not there, was corrected or forgotten."""
        row = self._db.execute(
            f"select {_FIELDS} from notes where id = ? and not forgotten and replaced_by is null", (id,)
        ).fetchone()
        if row is None:
            raise InvalidContext(
                f"there is no note {id}{self._why_not(id)}",
                remedy=f"list those that stand: {command('memory', 'list', 'SCOPE')}",
            )
        return _read(row)

    def _why_not(self, id: int) -> str:
        """What became of a note that does not stand: who corrects it again needs the number of the one that does."""
        last, now, gone = id, id, None
        while now is not None:
            last = now
            row = self._db.execute("select forgotten, replaced_by from notes where id = ?", (now,)).fetchone()
            if row is None:
                return ""
            gone, now = row
        return ": it was forgotten" if gone else f": it was corrected, and note {last} stands for it"

    def notes(self, scope: Scope) -> list[Note]:
        """All notes of a scope that stand, in the order in which they were made."""
        rows = self._db.execute(
            f"select {_FIELDS} from notes where scope = ? and name = ? and not forgotten and replaced_by is null "
            "order by id",
            (scope.kind.value, scope.name),
        )
        return [_read(row) for row in rows]

    def find(self, words: str, scope: Scope, *, limit: int = 20) -> list[Note]:
        """The notes of a scope that have any of these words, the best by BM25 first."""
        asked = " OR ".join(f'"{word}"' for word in terms_of(words))
        if not asked:
            return []
        named = ", ".join(f"notes.{name.strip()}" for name in _FIELDS.split(","))
        rows = self._db.execute(
            f"select {named} from notes_text join notes on notes.id = notes_text.rowid "
            "where notes_text match ? and scope = ? and name = ? order by bm25(notes_text), notes.id limit ?",
            (asked, scope.kind.value, scope.name, limit),
        )
        return [_read(row) for row in rows]

    def recall(self, request: str, scopes: Sequence[Scope], room: int, tokens: Tokens) -> list[Part]:
        """What these scopes hold on a request, as parts of at most `room` tokens together; the first scope comes first.

        Each part names its notes in `source`, and how well the best of them fits.
        """
        parts: list[Part] = []
        for scope in dict.fromkeys(scopes):
            passages = self._passages(scope, request)
            scores = ranked(request, passages)
            places = packed(passages.items, scores, room, tokens)
            made = parts_of(passages.items, places, scores, source=f"{scope.kind.value} {scope.name}:")
            room -= sum(tokens(form(part)) + 1 for part in made)
            parts += made
        return parts

    def part(self, ids: Sequence[int], relevance: float | None = None) -> Part | None:
        """Notes that were recalled, as one part of what stands of them today: corrected ones as they are now, without
        those that were forgotten. None where nothing is left.
        """
        notes = [note for note in dict.fromkeys(map(self._today, ids)) if note is not None]
        if not notes:
            return None
        passages = [_passage(note) for note in notes]
        lines = [heading_of(passages[0]), *map(line_of, passages)]
        scope = notes[0].scope
        named = " ".join(passage.id for passage in passages)
        return Part(
            role=Role.USER, kind=Kind.MEMORY, text="\n".join(lines), source=f"{scope.kind.value} {scope.name}: {named}",
            relevance=relevance,
        )  # fmt: skip

    def scopes(self) -> list[tuple[Scope, int]]:
        """The scopes that have notes, and how many."""
        rows = self._db.execute(
            "select scope, name, count(*) from notes where not forgotten and replaced_by is null"
            " group by scope, name order by scope, name"
        )
        return [(Scope(ScopeKind(kind), name), count) for kind, name, count in rows]

    def _today(self, id: int) -> Note | None:
        at: int | None = id
        while at is not None:
            row = self._db.execute(
                f"select {_FIELDS}, replaced_by from notes where id = ? and not forgotten", (at,)
            ).fetchone()
            if row is None or row[-1] is None:
                return None if row is None else _read(row[:-1])
            at = row[-1]
        return None

    def _insert(self, note: Note, digest: bytes) -> int:
        at = None if note.at is None else note.at.isoformat()
        said = (note.scope.kind.value, note.scope.name, note.text, digest, note.source, note.run, note.turn, note.who)
        made = self._db.execute(
            "insert into notes (scope, name, text, hash, source, run, turn, who, at, stands_for) "
            "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*said, at, note.stands_for),
        ).lastrowid
        assert made is not None
        self._db.execute("insert into notes_text (rowid, text) values (?, ?)", (made, note.text))
        return made

    def _passages(self, scope: Scope, request: str) -> Passages:
        """The passages to rank, kept from one request to the next: new notes are added, changes build them anew."""
        count = self._db.execute(
            "select count(*) from notes where scope = ? and name = ?", (scope.kind.value, scope.name)
        ).fetchone()[0]
        if count > RANKED:
            found = self.find(request, scope, limit=RANKED // 2)
            return Passages([_passage(note) for note in sorted(found, key=lambda note: note.id)])
        version = self._version()
        kept = self._cache.get(scope)
        if kept is None or kept[0] != version:
            self._cache[scope] = (version, Passages([_passage(note) for note in self.notes(scope)]))
        else:
            for note in self.notes(scope)[len(kept[1]) :]:
                kept[1].add(_passage(note))
        return self._cache[scope][1]

    def _version(self) -> int:
        """Raised by each edit and forgetting, by whomever."""
        row = self._db.execute("select count(*) from notes where forgotten or replaced_by is not null").fetchone()
        return int(row[0])


def terms_of(words: str) -> list[str]:
    """The words of a query without their marks, each once."""
    return list(dict.fromkeys(word for word in _words(words) if terms(word)))


def _fit(text: str) -> str:
    """The text of a note. Raises InvalidContext for an empty or a very long one."""
    text = text.strip()
    if not text or len(text) > _LONGEST:
        raise InvalidContext(
            f"a note has 1 to {_LONGEST:,} characters, this one {len(text):,}", remedy="cut it into several"
        )
    return text


def _hash(text: str, scope: Scope) -> bytes:
    said = f"{scope.kind.value}/{scope.name}/{' '.join(text.lower().split())}"
    return blake2b(said.encode(), digest_size=16).digest()


def _read(row: Sequence[object]) -> Note:
    no, kind, name, text, source, run, turn, who, at, stands_for = cast("tuple[Any, ...]", tuple(row))
    when = None if at is None else datetime.fromisoformat(at)
    return Note(no, Scope(ScopeKind(kind), name), text, source, run, turn, who, when, stands_for)


def _passage(note: Note) -> Passage:
    session = note.run or note.source or (note.at.date().isoformat() if note.at is not None else "")
    return Passage(id=f"note-{note.id}", text=note.text, who=note.who, at=note.at, session=session)
