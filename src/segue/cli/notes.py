"""`segue memory`: what is remembered, corrected and forgotten."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from ..agent.memories import memory_file
from ..context import Memory, Note, Scope, ScopeKind, UnknownNote
from ..core.shell import command
from ..errors import InputError
from .columns import cut
from .exits import Exit
from .paint import emit, out, tell
from .shelf import path_of
from .words import plural, printable


class Asked(NamedTuple):
    """Whose memory it is, and in which form it is told."""

    db: str
    tenant: str
    as_json: bool

    @property
    def file(self) -> str:
        """Where its notes stand."""
        return memory_file(path_of(self.db), self.tenant)


def memory(asked: Asked, action: str, what: Sequence[str], by: str, why: str) -> Exit:
    """Do what was asked. Raises InputError for what cannot be read, UnknownNote for a note that there is not."""
    if action not in ("list", "edit", "forget"):
        raise InputError(f"memory {action}: no such action", remedy="one of: list, edit, forget")
    if not Path(asked.file).exists():
        if action != "list":
            raise UnknownNote("nothing is remembered here", remedy=f"list what is: {command('memory')}")
        return _listed(asked, [], None)
    with Memory(asked.file) as notes:
        if action == "list":
            return _listed(asked, _found(notes, what), notes.scopes() if not what else None)
        if action == "edit":
            if len(what) != 2:
                raise InputError(
                    "edit takes a note and its new words", remedy=command("memory", "edit", 7, "Ann lives in Bergen.")
                )
            made = notes.edit(_number(what[0]), what[1], by=by, why=why)
            return _done(
                asked, {"note": made, "stands_for": _number(what[0])}, f"Note {made} stands for {what[0]} now."
            )
        if not what:
            raise InputError("forget takes notes", remedy=f"name them by number: {command('memory', 'forget', 7)}")
        for one in what:
            notes.note(_number(one))  # of several that are named all are there, or none is forgotten
        for one in what:
            notes.forget(_number(one), by=by, why=why)
        return _done(asked, {"forgotten": list(map(_number, what))}, f"{plural(len(what), 'note')} forgotten.")


def _found(notes: Memory, what: Sequence[str]) -> list[Note]:
    return [note for one in what for note in notes.notes(Scope.of(one))]


def _number(text: str) -> int:
    number = text.removeprefix("note-")  # as manifests say it
    if not number.isdecimal():
        raise InputError(f"{text!r} is no note", remedy=f"notes have numbers: {command('memory', 'list', 'user:ann')}")
    return int(number)


def _listed(asked: Asked, found: list[Note], scopes: list[tuple[Scope, int]] | None) -> Exit:
    if asked.as_json:
        told: Any = [_told(note) for note in found]
        if scopes is not None:
            told = [{"scope": str(scope), "notes": count} for scope, count in scopes]
        print(json.dumps(told, ensure_ascii=False, indent=2))
    elif scopes:
        emit(out(), _table([(cut(str(scope)), Text(plural(count, "note"))) for scope, count in scopes], firm=1))
    elif found:
        notes = [(Text(str(note.id)), Text(_beginning(note.text)), Text(_from(note), "dim")) for note in found]
        emit(out(), _table(notes, firm=0))
    else:
        tell(Text("Nothing is remembered.", "dim"))
    return Exit.DONE


def _told(note: Note) -> dict[str, Any]:
    at = None if note.at is None else note.at.isoformat()
    return {
        "note": note.id, "scope": str(note.scope), "text": note.text, "source": note.source, "run": note.run,
        "turn": note.turn, "who": note.who, "at": at, "stands_for": note.stands_for, "taken": note.taken,
    }  # fmt: skip


def _beginning(text: str) -> str:
    """A document by how it begins; `--json` has all of it."""
    return printable(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)")


_SHOWN = 600


def _from(note: Note) -> str:
    turn = f"turn {note.turn}" if note.taken and note.scope.kind is ScopeKind.THREAD else ""
    said = [note.who, turn, note.source, note.run and f"run {note.run}", f"{note.at:%Y-%m-%d}" if note.at else ""]
    return printable(", ".join(filter(None, said)))


def _table(rows: Sequence[Sequence[Text]], firm: int) -> Table:
    """The numbers stand in the column `firm`: they are never cut."""
    made = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for n in range(len(rows[0])):
        made.add_column(no_wrap=n == firm)
    for row in rows:
        made.add_row(*row)
    return made


def _done(asked: Asked, body: dict[str, Any], said: str) -> Exit:
    if asked.as_json:
        print(json.dumps(body))
    else:
        tell(Text(said, "dim"))
    return Exit.DONE
