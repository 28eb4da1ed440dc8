"""The passages of the notes that one recall ranks, kept from one to the next: new notes are added, changes build anew.

A long note is several passages. What was said in turns stands under its sitting: neighbours of one explain each other.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np

from .form import form
from .notes import FIELDS, Note, Scope, Turns, View, hash_of, read
from .recall.above import above
from .recall.packing import packed, parts_of
from .recall.passages import Passage, Passages
from .recall.pieces import WHOLE, is_long, pieces
from .recall.postings import Vector
from .recall.ranking import ranked
from .recall.terms import terms, words
from .tokens import Tokens
from .types import Part

__all__ = ["RANKED", "Recollection", "Sight", "asked_for", "passages_of", "views_of"]

RANKED = 30_000
"""Passages that are ranked at most; of more, FTS5's best by BM25, their neighbours, and the newest."""
KEPT = 60_000
"""Passages that are kept from one recall to the next, over all scopes."""
_CHOSEN, _BEST, _AROUND, _NEWEST = 2_000, 250, 2, 300
"""Of too many: passages that are ranked, the best notes, how many before and after each, and the newest."""
_PAUSE = timedelta(hours=1)
"""What ends a sitting."""
_STANDS = "not forgotten and replaced_by is null"


@dataclass(slots=True)
class Sight:
    """What is ranked: passages, and of each the note that it is of."""

    passages: Passages = field(default_factory=Passages)
    of: list[Note] = field(default_factory=list[Note])
    version: int = -1
    last: int = 0
    """The last note that was looked at."""
    _by_hand: set[bytes] = field(default_factory=set[bytes])
    _sitting: tuple[datetime | None, str] = (None, "")

    def add(self, note: Note) -> None:
        """The next note. One that was put in by hand stands for what was said in the same words."""
        digest = hash_of(note.text, note.scope)
        self.last = max(self.last, note.id)
        if not note.taken:
            self._by_hand.add(digest)
        elif digest in self._by_hand:
            return
        session = self._session(note)
        for passage in passages_of(note, session):
            self.passages.add(passage)
            self.of.append(note)

    def _session(self, note: Note) -> str:
        if not note.taken:
            return note.run or note.source or (note.at.date().isoformat() if note.at is not None else "")
        before, name = self._sitting
        if before is None or note.at is None or not abs(note.at - before) <= _PAUSE:
            name = f"sitting {note.id}"
        self._sitting = (note.at, name)
        return name


class Recollection:
    """Reads the notes of a file, as much of them as is new."""

    def __init__(self, db: sqlite3.Connection):
        self._db = db
        self._kept: OrderedDict[tuple[object, ...], Sight] = OrderedDict()

    def of(self, view: View, request: str) -> Sight:
        """What a view sees, ready to be ranked."""
        for _ in self.reading(view):
            pass
        sight = self._kept.get(_name(view))
        return self._chosen(view, request) if sight is None else sight

    def recall(self, request: str, views: Sequence[View], room: int, tokens: Tokens) -> list[Part]:
        """As `Memory.recall` says."""
        seen: list[tuple[View, Sight, Vector]] = []
        for view in views:
            sight = self.of(view, request)
            seen.append((view, sight, _scores(request, view, sight)))
        share = room // max(len(seen), 1)
        needs = [_cost(_parts(*one, share, tokens), tokens) for one in seen[1:]]
        parts: list[Part] = []
        for at, one in enumerate(seen):
            made = _parts(*one, room - sum(needs[at:]), tokens)
            room -= _cost(made, tokens)
            parts += made
        return parts

    def reading(self, view: View) -> Iterator[None]:
        """Read what is new, in small steps: whoever has others beside may let them go on between two of them."""
        name, version = _name(view), self._version()
        sight = self._kept.pop(name, None)
        if sight is None or sight.version != version:
            sight = Sight(version=version)
            if self._size(view) > RANKED:
                return
        for at, note in enumerate(self._notes(view, sight.last)):
            sight.add(note)
            if at % 250 == 249:
                yield
        if len(sight.of) <= RANKED:
            yield from sight.passages.learning()
            self._keep(name, sight)

    def _keep(self, name: tuple[object, ...], sight: Sight) -> None:
        self._kept[name] = sight
        while len(self._kept) > 1 and sum(len(one.of) for one in self._kept.values()) > KEPT:
            self._kept.popitem(last=False)

    def _notes(self, view: View, after: int) -> Iterable[Note]:
        where, values = _seen(view)
        rows = self._db.execute(f"select {FIELDS} from notes where id > ? and {where} order by id", (after, *values))
        return [read(row) for row in rows]

    def _size(self, view: View) -> int:
        """About how many passages it has: no fewer than there are."""
        where, values = _seen(view)
        return self._db.execute(
            f"select count(*) + coalesce(sum(length(text) / {WHOLE // 2}), 0) from notes where {where}", values
        ).fetchone()[0]

    def _chosen(self, view: View, request: str) -> Sight:
        """Of too many notes those that may be wanted."""
        where, values = _seen(view)
        ids = [no for (no,) in self._db.execute(f"select id from notes where {where} order by id", values)]
        places, wanted = {no: at for at, no in enumerate(ids)}, dict[int, None]()
        for no in self._best(request, places):
            at = places[no]
            wanted |= dict.fromkeys(ids[max(0, at - _AROUND) : at + _AROUND + 1])
        wanted |= dict.fromkeys(ids[-_NEWEST:][::-1])
        some = list[Note]()
        room = _CHOSEN
        for no in wanted:
            note = read(self._db.execute(f"select {FIELDS} from notes where id = ?", (no,)).fetchone())
            room -= len(note.text) // WHOLE + 1
            if room < 0 and some:
                break
            some.append(note)
        sight = Sight()
        for note in sorted(some, key=lambda note: note.id):
            sight.add(note)
        return sight

    def _best(self, request: str, among: dict[int, int]) -> Iterator[int]:
        asked = asked_for(request)
        found = self._db.execute(
            "select rowid from notes_text where notes_text match ? order by bm25(notes_text), rowid", (asked,)
        ) if asked else ()  # fmt: skip
        left = _BEST
        for (no,) in found:
            if no in among:
                yield no
                left -= 1
            if not left:
                break

    def _version(self) -> int:
        """Raised by each edit and forgetting, by whomever."""
        row = self._db.execute("select count(*) from notes where forgotten or replaced_by is not null").fetchone()
        return int(row[0])


def passages_of(note: Note, session: str = "") -> list[Passage]:
    """A note as passages: one, or several of a long one."""
    parts, name = _cut(note.text) if is_long(note.text) else (), f"note-{note.id}"
    if len(parts) < 2:
        return [Passage(id=name, text=note.text, who=note.who, at=note.at, session=session)]
    return [
        Passage(
            id=f"{name}.{n}", text=part, who=note.who, at=note.at, session=f"{session} {name}" if session else name,
            place=f"{n} of {len(parts)}", source="" if note.taken else note.source, above=over,
        )
        for n, (part, over) in enumerate(parts, 1)
    ]  # fmt: skip


@lru_cache(maxsize=16)
def _cut(text: str) -> tuple[tuple[str, str], ...]:
    """The pieces of a long text, and what each stands under. Kept: each turn of a thread shows the same ones again."""
    parts = pieces(text)
    return tuple(zip(parts, above(text, parts), strict=True))


def asked_for(request: str) -> str:
    """The words of a request for FTS5, without their marks, each once; empty for none."""
    return " OR ".join(f'"{word}"' for word in dict.fromkeys(words(request)) if terms(word))


def views_of(scopes: Sequence[Scope | View]) -> list[View]:
    """What is seen of each; of a scope all."""
    return [*dict.fromkeys(one if isinstance(one, View) else View.of(one) for one in scopes)]


def _scores(request: str, view: View, sight: Sight) -> Vector:
    """A score for each passage; -inf for one that is not to be seen."""
    scores = ranked(request, sight.passages)
    scores[[at for at, note in enumerate(sight.of) if not view.has(note)]] = -np.inf
    return scores


def _parts(view: View, sight: Sight, scores: Vector, room: int, tokens: Tokens) -> list[Part]:
    items = sight.passages.items
    places = packed(items, scores, room, tokens)
    return parts_of(items, places, scores, source=f"{view.scope.kind.value} {view.scope.name}:")


def _cost(parts: Sequence[Part], tokens: Tokens) -> int:
    return sum(tokens(form(part)) + 1 for part in parts)


def _name(view: View) -> tuple[object, ...]:
    return (view.scope, view.turns)


def _seen(view: View) -> tuple[str, Sequence[object]]:
    """The condition of what a view sees, and its values."""
    scope = (view.scope.kind.value, view.scope.name)
    some = " or ".join("(scope = ? and name = ? and taken and turn > ? and turn <= ?)" for _ in view.turns)
    where = f"((scope = ? and name = ? and not taken){f' or {some}' if some else ''}) and {_STANDS}"
    return where, (*scope, *(value for turns in view.turns for value in _bounds(turns)))


def _bounds(turns: Turns) -> tuple[object, ...]:
    return (turns.scope.kind.value, turns.scope.name, turns.after, turns.upto)
