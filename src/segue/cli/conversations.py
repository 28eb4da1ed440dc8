"""`segue threads` and `segue thread`: conversations, their turns and their branches."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

from pydantic_core import to_json
from rich.table import Table
from rich.text import Text

from ..core.lifecycle import RunState
from ..core.shell import command
from ..core.short import short_key
from ..errors import UnknownRun
from ..journal import SaidRow, ThreadRow
from ..journal import threads as rows
from ..journal.reading import Reader
from ..runtime.thread import Turn, turns_of
from .columns import Middle
from .exits import Exit
from .paint import Copyable, emit, glyph, out, tell
from .shelf import parsed, reading
from .words import ago, plural, printable, shorten, value

_DEFAULT_TENANT = "default"


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
        of = () if found[0].tenant == _DEFAULT_TENANT else ("--tenant", found[0].tenant)
        tell(Copyable(command("thread", found[0].thread, *of), "to see its turns"))
    return Exit.DONE


def thread(db: str, id: str, tenant: str, limit: int, as_json: bool) -> Exit:
    """Show the turns of one thread. Raises UnknownRun where there are none."""
    with reading(db) as reader:
        found = _entries(reader, tenant, id, limit) if _has_threads(reader) else []
        if not found:
            whose = "" if tenant == _DEFAULT_TENANT else f" of tenant {tenant!r}"
            raise UnknownRun(
                f"no thread {id!r}{whose} has turns in this database",
                remedy=f"list them: {command('threads')}; for another tenant's say --tenant",
            )
        parents = [of for of, _ in rows.lineage(reader.query, tenant, id)][1:]
    if as_json:
        told = [asdict(one.turn) | {"step": one.step, **one.decoded()} for one in found]
        whole = {"thread": id, "tenant": tenant, "parent": parents[0] if parents else None, "turns": told}
        print(json.dumps(whole, ensure_ascii=False, indent=2))
        return Exit.DONE
    emit(out(), _turns(found, id, out().width))
    if parents:
        tell(Text(f"It left {parents[0]}, whose turns it shares up to there.", "dim"))
    tell(Copyable(command("show", found[-1].turn.run), "to see all of a turn"))
    return Exit.DONE


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A turn, or what a run that is none has said in the thread: by which step, then."""

    turn: Turn
    step: str | None = None
    given: bytes | None
    gave: bytes | None

    def decoded(self) -> dict[str, Any]:
        """What it was given, and what it gave."""
        return {"input": parsed(self.given), "result": parsed(self.gave)}


def _entries(reader: Reader, tenant: str, id: str, limit: int) -> list[_Entry]:
    """The last of a thread, in the order in which it came."""
    turns = [_turn(reader, turn) for turn in turns_of(reader.query, tenant, id, limit)]
    aside = [_aside(reader, tenant, said) for said in rows.said_aside(reader.query, tenant, id, limit)]
    found = sorted([*turns, *aside], key=lambda one: one.turn.at)
    return found[-limit:]


def _turn(reader: Reader, turn: Turn) -> _Entry:
    row = reader.get(turn.run)
    args = reader.input_of(row).args
    return _Entry(turn=turn, given=args, gave=reader.end(row).value if row.state == RunState.COMPLETED else None)


def _aside(reader: Reader, tenant: str, said: SaidRow) -> _Entry:
    (outcome,) = reader.turns(tenant, said.thread, said.no, said.no - 1)
    question = json.loads(outcome.args or b"{}").get("question", {})
    asked = "\n".join(filter(None, (question.get("prompt", ""), *question.get("parts", ()))))
    answer = json.loads(outcome.value or b"null")
    turn = Turn(id=said.run, run=said.run, thread=said.thread, flow=said.flow, state=said.state, at=said.at)
    return _Entry(turn=turn, step=said.key, given=to_json(asked), gave=to_json(answer["value"]))


def _has_threads(reader: Reader) -> bool:
    """Whether an engine has opened the database since there are threads."""
    return bool(reader.query("select 1 from sqlite_master where name = 'branches'"))


def _told(one: ThreadRow) -> dict[str, Any]:
    return one._asdict()


def _table(found: list[ThreadRow], now: float) -> Table:
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for head in ("thread", "turns", "open", "branch of", "last"):
        right = head in ("turns", "open")
        made.add_column(head, no_wrap=right or head == "last", justify="right" if right else "left")
    for one in found:
        whose = one.thread if one.tenant == _DEFAULT_TENANT else f"{one.tenant}: {one.thread}"
        made.add_row(
            Middle(whose),
            f"{one.turns:,}",
            str(one.open or ""),
            Middle(one.parent or ""),
            ago(max(0.0, now - one.at)),
        )
    return made


def _turns(found: list[_Entry], thread: str, width: int) -> Table:
    made = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    made.add_column(no_wrap=True)
    made.add_column(no_wrap=True, overflow="ellipsis", max_width=max(12, width // 3))
    made.add_column(overflow="fold")
    for one in found:
        turn, gave = one.turn, one.gave
        shared = "" if turn.thread == thread else f" of {turn.thread}"
        whose, step = Middle(turn.id + shared, "bold"), "" if one.step is None else short_key(one.step)
        made.add_row(glyph(turn.state if one.step is None else "done"), whose, Text(value(one.given, width), "dim"))
        said = Text(shorten(value(gave, 4 * width), 4 * width) if gave else turn.state)
        made.add_row("", Text(printable(step), "dim"), said)
        if turn.branches:
            word = plural(len(turn.branches), "branch").replace("branchs", "branches")
            made.add_row("", "", Text(f"↳ {word}: {', '.join(map(printable, turn.branches))}", "cyan"))
    return made
