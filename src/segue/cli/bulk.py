"""One act on all runs that a query means: listed first, confirmed on a terminal, then done, each with who and why."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..core.lifecycle import RunState, allowed
from ..core.shell import command
from ..errors import InputError, RunEnded, SegueError
from ..journal import RunRow
from ..journal.switches import record
from ..runtime.engine import Engine
from ..runtime.lacking import Lacking
from ..runtime.query import RunQuery
from ..runtime.run import Run
from . import wheres
from .exits import Exit
from .paint import Copyable, emit, err, stated, tell
from .shelf import acting, reading
from .words import age, first_line, plural, printable

LISTED_MAX = 20
_AT_ONCE = 50
"""Runs that are acted on together: they share a commit."""

Act = Callable[[Run[Any]], Awaitable[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bulk:
    """Which runs, and how to go about it."""

    db: str
    where: Sequence[str]
    dry_run: bool = False
    yes: bool = False
    as_json: bool = False
    by: str = ""
    why: str = ""


class Refused(SegueError):
    """Some runs could not be acted on; the others were."""

    code = "bulk"


def act(how: Bulk, name: str, done: str, do: Act, fits: Callable[[RunRow], bool]) -> Exit:
    """Do it to every run that is meant and that it `fits`. `name` is the command, `done` what is said of a run."""
    query = wheres.read(how.where)
    rows = [row for row in meant(how.db, query, acts=not how.dry_run) if fits(row)]
    if how.dry_run or not rows:
        return _listed(how, rows, f"would be {done}")
    _confirm(how, rows, done)
    failed = asyncio.run(_all(how, name, rows, do))
    if how.as_json:
        told = [{"run": row.id, "error": failed.get(row.id)} if row.id in failed else {"run": row.id} for row in rows]
        print(json.dumps({"act": name, "dry_run": False, "runs": told}, ensure_ascii=False))
    else:
        tell(Text("✓ ", "green").append(f"{plural(len(rows) - len(failed), 'run')} {done}", "default"))
        for id_, why in list(failed.items())[:LISTED_MAX]:
            tell(Text(f"✗ {printable(id_)}: {first_line(why)}", "red"))
        if name != "pause" and len(failed) < len(rows):
            _unattended(how)
    return Exit.FAILED if failed else Exit.DONE


def _unattended(how: Bulk) -> None:
    """Where nobody takes up what was asked, say how."""
    with reading(how.db) as reader:
        if not reader.attended():
            tell(
                Text("No process carries them out; the next one that does takes it.", "dim"),
                Copyable(command("resume"), "to go on with all that is open here"),
            )


def meant(db: str, query: RunQuery, *, acts: bool) -> list[RunRow]:
    """The runs of a query, oldest first."""
    now = time.time()
    with reading(db, acts=acts) as reader:
        rows = reader.runs(*query.sql(now), limit=-1)
        if query.lacks:
            lacking = Lacking(reader, now)
            rows = [row for row in rows if lacking(row) is not None]
    return rows[::-1]


def can_end(row: RunRow) -> bool:
    """Whether it can be cancelled."""
    return allowed(RunState(row.state), RunState.CANCELLED)


def can_pause(row: RunRow) -> bool:
    """Whether it can be paused: it is open, not set aside, and not paused."""
    return row.state in (RunState.QUEUED, RunState.RUNNING, RunState.PARKED) and not row.paused


def can_resume(row: RunRow) -> bool:
    """Whether there is something to resume: a pause, or what set it aside."""
    return row.state == RunState.STUCK or (row.paused and can_end(row))


def _listed(how: Bulk, rows: list[RunRow], done: str) -> Exit:
    if how.as_json:
        runs = [{"run": r.id, "state": r.state, "flow": r.flow, "tenant": r.tenant} for r in rows]
        print(json.dumps({"dry_run": True, "runs": runs}, ensure_ascii=False))
        return Exit.DONE
    _show(rows)
    tell(Text(f"{plural(len(rows), 'run')} {done}." if rows else "No such runs: nothing to do.", "dim"))
    return Exit.DONE


def _show(rows: list[RunRow]) -> None:
    now, console = time.time(), err()
    for row in rows[:LISTED_MAX]:
        line = stated("paused" if row.paused else row.state).append(f"  {printable(row.id)}", "default")
        line.append(f"  {printable(row.flow)}  {age(now - row.created_at)}", "dim")
        if row.state == RunState.STUCK:
            line.append(f"  {row.detail.get('reason', '')}", "dim")
        emit(console, line)
    if len(rows) > LISTED_MAX:
        emit(console, Text(f"… {plural(len(rows) - LISTED_MAX, 'more run')}", "dim"))


def _confirm(how: Bulk, rows: list[RunRow], done: str) -> None:
    """Ask on a terminal; elsewhere `--yes` must be said. Raises InputError."""
    if how.yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        said = f"{plural(len(rows), 'run')} would be {done}, and nobody is here to say yes: nothing was done"
        raise InputError(said, remedy="see them with --dry-run, then say --yes")
    _show(rows)
    tell(Text(f"{plural(len(rows), 'run')} to be {done}. Go on? [y/N] ", "bold"))
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InputError("nothing was done", remedy="answer y, or say --yes")


async def _all(how: Bulk, name: str, rows: list[RunRow], do: Act) -> dict[str, str]:
    """Do it to each. Gives what went wrong, by run: one that has just ended is passed over."""
    failed: dict[str, str] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        redirect_stdout(sys.stderr),
        Progress(*columns, console=err(), transient=True, disable=how.as_json) as progress,
    ):
        bar = progress.add_task(name, total=len(rows))
        async with acting(how.db) as engine:
            for at in range(0, len(rows), _AT_ONCE):
                some = rows[at : at + _AT_ONCE]
                errors = await asyncio.gather(*(_one(engine, row, do) for row in some))
                failed |= {row.id: said for row, said in zip(some, errors, strict=True) if said}
                progress.advance(bar, len(some))
            query, body = ", ".join(how.where), {"runs": len(rows) - len(failed), "failed": len(failed)}
            at_ = engine.clock.now()
            await engine.journal.ask(lambda c: record(c, name, f"runs where {query}", at_, how.by, how.why, body))
    return failed


async def _one(engine: Engine, row: RunRow, do: Act) -> str:
    try:
        await do(await engine.get(row.id))
    except RunEnded:
        return ""
    except SegueError as error:
        return error.message
    return ""
