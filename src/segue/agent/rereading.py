"""The words of what a call was shown. A manifest has hashes; the words are read anew from where they were said.

They stand in the arguments of the call's step, in the outcomes of its thread, in the file of notes. The hash of a part
tells whether they are the ones: what a guard has changed, or has gone since, is not given for what was shown.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import TypeAdapter

from ..context import InvalidContext, Kind, Part, Role
from ..context.pairs import NO_RESULT
from ..context.shorter import cleared, cut, pointing
from ..context.tokens import Tokens, estimate, exact
from ..context.words import Words
from ..core.codec import codec
from ..core.events import Event, EventType
from ..core.keys import name_of
from ..core.records import Fate, Manifest, ManifestPart
from ..core.redaction import SEALED, Patterns, mask
from .given import Shows
from .memories import Recalled, memory_file
from .past import said_before, turn_of
from .request import Question
from .threads import Room, summary_of
from .turns import stands, told
from .window import whole

if TYPE_CHECKING:
    from ..journal import RunRow
    from ..journal.reading import Reader

__all__ = ["Rereading"]

_TURNS = 4096
"""Turns of a thread that are looked through at most."""
_QUESTION = TypeAdapter(Question)
_ROOM = codec(Room)
_TOGETHER = re.compile(r"\d+ parts(, turns .*)?|turns \d+ to \d+")


@dataclass(slots=True)
class _Found:
    """Parts by their hashes."""

    wanted: set[str]
    """What is still looked for."""
    parts: dict[str, Part] = field(default_factory=dict[str, Part])

    def take(self, parts: Iterable[Part]) -> None:
        """Keep them; with each call the result that stands in where it has none."""
        for part in parts:
            self.parts[part.hash] = part
            self.wanted.discard(part.hash)
            if part.kind is Kind.CALL:
                none = replace(part, role=Role.TOOL, kind=Kind.RESULT, text=NO_RESULT, bound=None, data={}, tokens=None)
                self.parts.setdefault(none.hash, none)
                self.wanted.discard(none.hash)


class Rereading:
    """Reads what the calls of one run were shown."""

    def __init__(self, reader: Reader, row: RunRow, events: Iterable[Event]):
        self._reader, self._row = reader, row
        self._given: dict[str, list[bytes]] = {}
        for event in events:
            if event.key is not None and (event.args is not None or _amended(event)):
                stored = reader.whole(event)
                given = stored.args if stored.args is not None else stored.value
                self._given.setdefault(event.key, []).append(given or b"{}")

    def words(self, key: str, manifest: Manifest) -> list[Words]:
        """Of each part of what a call was shown, in order."""
        questions = list(self._questions(key))
        found = _Found({part.hash for part in manifest.parts if not _together(part)})
        for question in questions:
            found.take(_readable(whole(question)))
        for question in questions[-1:]:
            self._of_thread(question, found)
        if found.wanted:
            _redacted(found)
        notes = _Notes(self._reader.path, self._row.tenant)
        try:
            return [self._of(part, manifest, found, key, notes) for part in manifest.parts]
        finally:
            notes.close()

    def _questions(self, key: str) -> Iterator[Question]:
        """What was asked, as its attempts had it."""
        aside: dict[str, Any] = {}
        for data in self._given.get(key, ()):
            given: Any = loads(data)
            if not isinstance(given, dict) or not isinstance(cast("dict[str, Any]", given).get("question"), dict):
                continue
            fields = cast("dict[str, Any]", given)
            aside |= {name: fields[name] for name in ("media", "turns", "history") if fields.get(name)}
            with suppress(ValueError):
                question = _QUESTION.validate_python({**fields["question"], **aside})
                yield replace(question, history=told([*question.history, *said_before(question.before)]))

    def _of_thread(self, question: Question, found: _Found) -> None:
        thread, tenant = question.thread, self._row.tenant
        if thread is None:
            return
        room = self._room(question)
        work = (Room() if room is None else room).work.with_children(question.children)
        standing = [stands(work.part())] if room is None else [stands(work.part()), stands(summary_of(room))]
        found.take(part for one in told(standing) for part in one.parts)
        turns = self._reader.turns(tenant, thread, question.heard, 0 if room is None else room.upto)
        for _, turn in zip(range(_TURNS), turns, strict=False):
            if not found.wanted:
                return
            with suppress(ValueError, KeyError):
                messages = turn_of(loads(turn.args or b"{}"), loads(turn.value or b"null"))
                for one in told(messages):
                    found.take(_readable(one.parts))
                    found.take(_readable(Shows.nothing(one).parts))

    def _room(self, question: Question) -> Room | None:
        """The summary that it read."""
        found = None
        if question.summed and question.thread is not None:
            found = self._reader.summary(self._row.tenant, question.thread, question.summed)
        return None if found is None else _ROOM.decode(found[1].value or b"null")

    def _of(self, part: ManifestPart, manifest: Manifest, found: _Found, key: str, notes: _Notes) -> Words:
        if _together(part):
            return Words(why="several together")
        if part.kind == Kind.MEMORY.value and part.hash not in found.parts:
            return notes.of(part)
        known = found.parts.get(part.hash)
        if known is None:
            return Words(why=self._why(part, key))
        if known.kind in _UNSPOKEN:
            return Words(text=f"({known.kind.value})", says=_says(known))
        shown = _form(known, part, manifest, found) if part.fate is Fate.CUT else None
        return Words(
            text=_masked(known.text), shown=None if shown is None else _masked(shown), says=_says(known),
            tool=known.tool or "" if known.kind is Kind.CALL else "",
        )  # fmt: skip

    def _why(self, part: ManifestPart, key: str) -> str:
        if key not in self._given:
            return "not on record before the call has an outcome"
        if name_of(key) != "ask":
            return f"asked within the step {name_of(key)}, whose journal has no words of it"
        return "not on record in this form: a guard has changed it, or what said it was collected"


_UNSPOKEN = (Kind.IMAGE, Kind.AUDIO, Kind.FILE)


def _amended(event: Event) -> bool:
    return event.type == EventType.ATTEMPT_FAILED and loads(event.body or b"{}").get("then") == "amend"


def _together(part: ManifestPart) -> bool:
    """Whether an entry stands for several parts that were left out, and has no words of its own."""
    left_out = part.fate in (Fate.DROPPED, Fate.SUMMARISED)
    return left_out and part.source is not None and _TOGETHER.fullmatch(part.source) is not None


def _readable(parts: Iterable[Part]) -> Iterator[Part]:
    """As many as can be read: what is not carried as a part was not shown as one."""
    with suppress(InvalidContext, ValueError):
        yield from parts


def _says(part: Part) -> str:
    said = [part.role, part.kind, part.text, part.tool, part.who, part.data.get("digest")]
    return blake2b(dumps(said, ensure_ascii=False).encode(), digest_size=16).hexdigest()


def _masked(text: str) -> str:
    """Without what is sealed in it."""
    if SEALED not in text:
        return text
    try:
        return dumps(mask(loads(text)), ensure_ascii=False)
    except ValueError:
        return _SEALED.sub(mask({SEALED: {}}), text)


_SEALED = re.compile(r"\{\s*\"\$sealed\"\s*:\s*\{[^{}]*\}\s*\}")


def _redacted(found: _Found) -> None:
    """What is looked for, as the guards `pii` and `credentials` leave it."""
    for names in (["pii"], ["credentials"], ["pii", "credentials"]):
        patterns = Patterns(names)
        parts = list(found.parts.values())
        changed = ((part, patterns.text(part.text)) for part in parts if part.text)
        found.take(replace(part, text=text) for part, text in changed if text != part.text)
        if not found.wanted:
            return


def _form(part: Part, entry: ManifestPart, manifest: Manifest, found: _Found) -> str | None:
    """The shorter form that stood in its place; None where it cannot be told."""
    if entry.into is None:
        return None
    first = found.parts.get(entry.into)
    if first is not None and first.kind is Kind.RESULT:
        return pointing(part).text
    if first is not None and entry.why.startswith("duplicate"):
        return first.text
    forms = (cleared(part), *_cuts(part, manifest))
    return next((one.text for one in forms if one.hash == entry.into), None)


_SHARE, _AROUND = 0.25, 4
"""The share of the input that a tool's result takes at most, and the format around it, as a budget has them."""


def _cuts(part: Part, manifest: Manifest) -> Iterator[Part]:
    tokens = _tokens(manifest.tokenizer)
    if tokens is not None:
        room = manifest.window - manifest.reserved_out - manifest.margin - manifest.tokens_tools
        most = max(1, int(room * _SHARE) - _AROUND)
        yield cut(part, max(1, most - tokens(part.tool or "")), tokens)


def _tokens(name: str) -> Tokens | None:
    guess = {one.name: one for one in (estimate(), estimate(small=True))}
    return guess.get(name) or exact(name)


class _Notes:
    """The notes of a tenant, as they are now."""

    def __init__(self, database: str, tenant: str):
        self._file = memory_file(database, tenant)
        self._open: Any = None

    def of(self, entry: ManifestPart) -> Words:
        """The words of a part that was recalled, as they are now."""
        try:
            return self._of(Recalled.of(entry), entry.hash)
        except sqlite3.Error as error:
            return Words(why=f"the file of notes cannot be read: {error}")

    def _of(self, recalled: Recalled, hash: str) -> Words:
        part = self._part(recalled)
        if part is None:
            return Words(why="the notes are gone: they were forgotten")
        found = _Found({hash})
        (read,) = told([stands(part)])[0].parts
        found.take([read])
        if found.wanted:
            _redacted(found)
        if not found.wanted:
            return Words(text=found.parts[hash].text, says=_says(found.parts[hash]))
        since = self._since(recalled)
        return Words(text=read.text, why=f"as the notes are now: {since}") if since else Words(why=_CHANGED)

    def _since(self, recalled: Recalled) -> str:
        """What became of the notes since they were recalled; empty where they are as they were."""
        notes = set(recalled.notes)
        forgotten = {no for no in notes if self._part(Recalled(notes=[no])) is None}
        corrected = any(not self._stands(no) for no in notes - forgotten)
        if not forgotten:
            return "they were corrected since" if corrected else ""
        return "some were corrected and some forgotten since" if corrected else "some were forgotten since"

    def _stands(self, note: int) -> bool:
        try:
            self._open.note(note)
        except InvalidContext:
            return False
        return True

    def _part(self, recalled: Recalled) -> Part | None:
        if not recalled.notes or not Path(self._file).exists():
            return None
        if self._open is None:
            from ..context import Memory  # noqa: PLC0415  numpy, which only who remembers needs

            self._open = Memory(self._file)
        return self._open.part(recalled.notes, recalled.relevance, recalled.pieces)

    def close(self) -> None:
        """Close the file."""
        if self._open is not None:
            self._open.close()


_CHANGED = "not on record in this form: a guard has changed it, or notes were cut into other pieces then"
