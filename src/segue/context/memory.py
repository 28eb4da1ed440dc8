"""Memory: what was learned in past turns, runs and documents, to be recalled, edited and forgotten. A SQLite file.

A note belongs to a scope (a run, a thread, a user, a team) and keeps where it came from. An edit is a new note that
stands for the old one; what was forgotten is gone from the file, and the hash of it that stays keeps it from coming
back by itself. Recall ranks the notes of the scopes that are asked (`recall.ranking`); FTS5 chooses whom to rank where
a scope has very many.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Self

from ..core.shell import command
from .errors import InvalidContext, UnknownNote
from .notes import FIELDS, Note, Said, Scope, ScopeKind, View, hash_of, read
from .recall.packing import heading_of, line_of
from .recall.passages import Passage
from .recall.pieces import nearest
from .recollection import Recollection, asked_for, passages_of, views_of
from .tokens import Tokens
from .types import Kind, Part, Role

__all__ = ["LONGEST", "Memory", "Note", "Scope", "ScopeKind"]

LONGEST = 1_000_000
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
create table if not exists marks (name text primary key, upto integer not null) without rowid;
create virtual table if not exists notes_text using fts5 (text, tokenize='porter');
"""
_TAKEN = (
    "alter table notes add column taken integer not null default 0",
    "alter table notes add column place integer",
    "create unique index notes_taken on notes (scope, name, turn, place) where taken and place is not null",
    "create index notes_run on notes (run) where taken",
)
"""What was said in turns; files of before have no such columns. `place` counts what was said in one turn."""
_GONE = "(forgotten or replaced_by is not null)"
_STOOD_FOR = (
    "with recursive gone (id) as (values (?) union select n.id from gone join notes n on n.replaced_by = gone.id)"
    " select id from gone"
)
"""A note, and all that it stands for."""


class Memory:
    """A file of notes; `:memory:` for one that ends with the process. Use it in the thread that opened it."""

    def __init__(self, path: str = ":memory:"):
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma secure_delete = on")
        self._db.executescript(_SCHEMA)
        with self._writing():
            if "taken" not in {name for _, name, *_ in self._db.execute("pragma table_info(notes)")}:
                for change in _TAKEN:
                    self._db.execute(change)
        self._recollection = Recollection(self._db)

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
        digest = hash_of(text, scope)
        with self._writing():
            known = self._db.execute(
                f"select id, {_GONE} from notes where hash = ? and (not taken or {_GONE}) order by id desc", (digest,)
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
            digest = hash_of(text, old.scope)
            made = self._standing(id, digest)
            if made is None:
                new = Note(0, old.scope, text, old.source, old.run, old.turn, old.who, old.at, id, old.taken)
                made = self._insert(new, digest)
            for same in {id, *self._said_again(id)} - {made}:
                said = (made, by, why, same)
                self._db.execute("update notes set replaced_by = ?, by = ?, why = ? where id = ?", said)
                self._db.execute("delete from notes_text where rowid = ?", (same,))
        return made

    def _corrected(self, id: int, text: str) -> int | None:
        """The note by which this one was corrected to the same words: a step that crashed makes it again."""
        row = self._db.execute(
            "select n.id, n.scope, n.name, n.hash from notes o join notes n on n.id = o.replaced_by"
            " where o.id = ? and not n.forgotten", (id,),
        ).fetchone()  # fmt: skip
        return None if row is None or row[3] != hash_of(text, Scope(ScopeKind(row[1]), row[2])) else int(row[0])

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
        for same in {id, *self._said_again(id)}:
            for (at,) in self._db.execute(_STOOD_FOR, (same,)).fetchall():
                self._empty(at, by, why)

    def _said_again(self, id: int) -> list[int]:
        """The other notes of the same words that stand in its scope: what was said in several turns."""
        rows = self._db.execute(
            "select n.id from notes o join notes n on n.hash = o.hash and n.id <> o.id"
            " where o.id = ? and not n.forgotten and n.replaced_by is null", (id,),
        )  # fmt: skip
        return [no for (no,) in rows]

    def _empty(self, id: int, by: str, why: str) -> None:
        self._db.execute(
            "update notes set text = null, source = '', who = '', forgotten = 1, by = ?, why = ? where id = ?",
            (by, why, id),
        )
        self._db.execute("delete from notes_text where rowid = ?", (id,))

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
        """A note that stands. Raises UnknownNote for one that is not there, was corrected or forgotten."""
        row = self._db.execute(
            f"select {FIELDS} from notes where id = ? and not forgotten and replaced_by is null", (id,)
        ).fetchone()
        if row is None:
            raise UnknownNote(
                f"there is no note {id}{self._why_not(id)}",
                remedy=f"list those that stand: {command('memory', 'list', 'SCOPE')}",
            )
        return read(row)

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
            f"select {FIELDS} from notes where scope = ? and name = ? and not forgotten and replaced_by is null "
            "order by id",
            (scope.kind.value, scope.name),
        )
        return [read(row) for row in rows]

    def find(self, words: str, scope: Scope, *, limit: int = 20) -> list[Note]:
        """The notes of a scope that have any of these words, the best by BM25 first."""
        asked = asked_for(words)
        if not asked:
            return []
        named = ", ".join(f"notes.{name.strip()}" for name in FIELDS.split(","))
        rows = self._db.execute(
            f"select {named} from notes_text join notes on notes.id = notes_text.rowid "
            "where notes_text match ? and scope = ? and name = ? order by bm25(notes_text), notes.id limit ?",
            (asked, scope.kind.value, scope.name, limit),
        )
        return [read(row) for row in rows]

    def reading(self, scopes: Sequence[Scope | View]) -> Iterator[None]:
        """Get ready for a recall in small steps, so that others can go on in between; `recall` does the rest."""
        for view in views_of(scopes):
            yield from self._recollection.reading(view)

    def recall(self, request: str, scopes: Sequence[Scope | View], room: int, tokens: Tokens) -> list[Part]:
        """What these scopes hold on a request, as parts of at most `room` tokens together; the first scope comes first,
        and leaves each of the others an equal share, as far as that can use it.

        Each part names its notes in `source`, of a long one the pieces, and how well the best of them fits.
        """
        return self._recollection.recall(request, views_of(scopes), room, tokens)

    def part(self, ids: Sequence[int], relevance: float | None = None, pieces: Sequence[int] = ()) -> Part | None:
        """Notes that were recalled, as one part of what stands of them today: corrected ones as they are now, without
        those that were forgotten. None where nothing is left. `pieces` says which of a long one; 0: it is whole.
        """
        shown: dict[str, Passage] = {}
        of: dict[int, list[Passage]] = {}
        scope: Scope | None = None
        for no, piece in zip(ids, pieces or [0] * len(ids), strict=True):
            note = self._today(no)
            if note is not None:
                scope = scope or note.scope
                passages = of[note.id] if note.id in of else of.setdefault(note.id, passages_of(note))
                shown |= {passage.id: passage for passage in self._as_now(passages, note.id, no, piece)}
        if scope is None:
            return None
        lines = [heading_of(next(iter(shown.values()))), *map(line_of, shown.values())]
        named = " ".join(shown)
        return Part(
            role=Role.USER, kind=Kind.MEMORY, text="\n".join(lines), source=f"{scope.kind.value} {scope.name}: {named}",
            relevance=relevance,
        )  # fmt: skip

    def _as_now(self, passages: list[Passage], note: int, found: int, piece: int) -> list[Passage]:
        """What is shown of a note today, where this piece of it was found, or of one that it stands for."""
        if not piece or len(passages) == 1:
            return passages
        if note != found:
            before = self._db.execute(f"select {FIELDS} from notes where id = ?", (found,)).fetchone()
            was = passages_of(read(before))
            piece = nearest(was[min(piece, len(was)) - 1].whole, [passage.whole for passage in passages]) + 1
        return [passages[min(piece, len(passages)) - 1]]

    def taken_upto(self, scope: Scope) -> int:
        """The last turn of a thread that was taken up, or the last event of a run."""
        return self._mark(str(scope))

    def take_up(self, scope: Scope, said: Iterable[Said], upto: int, *, once: bool = False) -> None:
        """Take up what was said up to a turn, each once, whoever does it: not what was corrected or forgotten. With
        `once` the same words are taken up once.
        """
        with self._writing():
            mark, places = self.taken_upto(scope), dict[int, int]()
            for one in said:
                place = places[one.turn] = places.get(one.turn, -1) + 1
                digest = hash_of(one.text, scope)
                gone = f"select 1 from notes where hash = ? and (? or {_GONE})"
                if one.turn > mark and self._db.execute(gone, (digest, once)).fetchone() is None:
                    note = Note(0, scope, one.text, one.source, one.run, one.turn, one.who, one.at, None, taken=True)
                    self._insert(note, digest, place)
            self._set_mark(str(scope), upto)

    def runs_taken(self) -> list[str]:
        """The runs in which was said what was taken up."""
        return [run for (run,) in self._db.execute("select distinct run from notes where taken and text is not null")]

    def let_go(self, runs: Collection[str]) -> int:
        """Lose what was taken up from runs that are gone, corrected or not; how many notes those were. The same words,
        said again, are taken up again, but for what was corrected.
        """
        lost = 0
        with self._writing():
            for run in runs:
                rows = self._db.execute(
                    "select id, replaced_by is not null from notes where run = ? and taken and text is not null", (run,)
                )
                for no, corrected in rows.fetchall():
                    self._empty(no, "segue", "its run was collected")
                    if not corrected:
                        self._db.execute("update notes set hash = x'' where id = ?", (no,))
                    lost += 1
        if lost:
            self._wipe()
        return lost

    def erased_upto(self) -> int:
        """The last event of the database of which nothing is ever taken up."""
        return self._mark("erased")

    def erase(self, upto: int, *, by: str = "", why: str = "") -> None:
        """Forget all notes, and take up nothing of what was said up to an event of the database."""
        with self._writing():
            self._set_mark("erased", upto)
        self.clear(by=by, why=why)

    def _mark(self, name: str) -> int:
        row = self._db.execute("select upto from marks where name = ?", (name,)).fetchone()
        return 0 if row is None else int(row[0])

    def _set_mark(self, name: str, upto: int) -> None:
        self._db.execute(
            "insert into marks values (?, ?) on conflict (name) do update set upto = max(upto, excluded.upto)",
            (name, upto),
        )

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
                f"select {FIELDS}, replaced_by from notes where id = ? and not forgotten", (at,)
            ).fetchone()
            if row is None or row[-1] is None:
                return None if row is None else read(row[:-1])
            at = row[-1]
        return None

    def _insert(self, note: Note, digest: bytes, place: int | None = None) -> int:
        at = None if note.at is None else note.at.isoformat()
        said = (note.scope.kind.value, note.scope.name, note.text, digest, note.source, note.run, note.turn, note.who)
        made = self._db.execute(
            "insert into notes (scope, name, text, hash, source, run, turn, who, at, stands_for, taken, place) "
            "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*said, at, note.stands_for, note.taken, place),
        ).lastrowid
        assert made is not None
        self._db.execute("insert into notes_text (rowid, text) values (?, ?)", (made, note.text))
        return made


def _fit(text: str) -> str:
    """The text of a note. Raises InvalidContext for an empty or a very long one."""
    text = text.strip()
    if not text or len(text) > LONGEST:
        raise InvalidContext(
            f"a note has 1 to {LONGEST:,} characters, this one {len(text):,}", remedy="cut it into several"
        )
    return text
