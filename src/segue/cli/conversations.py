"""`segue threads` and `segue thread`: conversations, their turns and their branches."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from ..core.lifecycle import RunState
from ..errors import InputError
from ..journal import ThreadRow
from ..journal import threads as rows
from ..journal.reading import Reader
from ..runtime.thread import Turn, turns_of
from .exits import Exit
from .paint import Copyable, emit, glyph, out, tell
from .shelf import parsed, reading, say_for
from .words import ago, plural, printable, shorten, value


def threads(db: str, limit: int, as_json: bool) -> Exit:
    """List threads."""
    with reading(db) as reader:
        found = rows.threads(reader.query, limit) if _has_threads(reader) else []
    if as_json:
        print(json.dumps([_told(one) for one in found], ensure_ascii=False, indent=2))
    elif not found:
        tell(Text(f"No threads in {db}.", "dim"))
    else:
        emit(out(), _table(found, time.time()))
        tell(Copyable(say_for(db)("thread", found[0].thread), "to see its turns"))
    return Exit.DONE


def thread(db: str, id: str, tenant: str, limit: int, as_json: bool) -> Exit:
    """Show the turns of one thread. Raises InputError where there are none."""
    with reading(db) as reader:
        turns = turns_of(reader.query, tenant, id, limit) if _has_threads(reader) else []
        if not turns:
            raise InputError(f"no thread {id!r} has turns in this database", remedy="list them: segue threads")
        parents = [name for name, _ in rows.lineage(reader.query, tenant, id)][1:]
        said = [_said(reader, turn) for turn in turns]
    if as_json:
        told = [{**asdict(turn), **_decoded(pair)} for turn, pair in zip(turns, said, strict=True)]
        whole = {"thread": id, "tenant": tenant, "parent": parents[0] if parents else None, "turns": told}
        print(json.dumps(whole, ensure_ascii=False, indent=2))
        return Exit.DONE
    emit(out(), _turns(turns, said, id, out().width))
    if parents:
        tell(Text(f"It left {parents[0]}, whose turns it shares up to there.", "dim"))
    tell(Copyable(say_for(db)("show", turns[-1].run), "to see all of a turn"))
    return Exit.DONE


def _has_threads(reader: Reader) -> bool:
    """Whether an engine has opened the database since there are threads."""
    return bool(reader.query("select 1 from sqlite_master where name = 'branches'"))


def _told(one: ThreadRow) -> dict[str, Any]:
    return one._asdict()


def _said(reader: Reader, turn: Turn) -> tuple[bytes | None, bytes | None]:
    """What a turn was given, and what it gave."""
    row = reader.get(turn.run)
    return reader.input_of(row).args, reader.end(row).value if row.state == RunState.COMPLETED else None


def _decoded(pair: tuple[bytes | None, bytes | None]) -> dict[str, Any]:
    given, gave = pair
    return {"input": parsed(given), "result": parsed(gave)}


def _table(found: list[ThreadRow], now: float) -> Table:
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for head in ("thread", "turns", "open", "branch of", "last"):
        made.add_column(
            head, no_wrap=True, overflow="ellipsis", justify="right" if head in ("turns", "open") else "left"
        )
    for one in found:
        name = one.thread if one.tenant == "default" else f"{one.tenant}: {one.thread}"
        made.add_row(
            printable(name),
            f"{one.turns:,}",
            str(one.open or ""),
            printable(one.parent or ""),
            ago(max(0.0, now - one.at)),
        )
    return made


def _turns(turns: list[Turn], said: list[tuple[bytes | None, bytes | None]], thread: str, width: int) -> Table:
    made = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    made.add_column(no_wrap=True)
    made.add_column(no_wrap=True, overflow="ellipsis")
    made.add_column(overflow="fold")
    for turn, (given, gave) in zip(turns, said, strict=True):
        shared = "" if turn.thread == thread else f" of {turn.thread}"
        made.add_row(glyph(turn.state), Text(printable(turn.id + shared), "bold"), Text(value(given, width), "dim"))
        made.add_row("", "", Text(shorten(value(gave, 4 * width), 4 * width) if gave else turn.state))
        if turn.branches:
            word = plural(len(turn.branches), "branch").replace("branchs", "branches")
            made.add_row("", "", Text(f"↳ {word}: {', '.join(map(printable, turn.branches))}", "cyan"))
    return made
