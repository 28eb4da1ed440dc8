"""`segue resume`: goes on with one run, or with everything in the database that is open."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any

from rich.text import Text

from ..core.lifecycle import ENDED, OPEN, RunState
from ..core.shell import command
from ..errors import RunEnded, StoreCorrupt, UnknownFlow
from ..journal import RunRow
from ..journal.reading import Reader
from ..runtime import registry
from ..runtime.engine import Engine
from ..runtime.run import Run
from . import left
from .advice import Standing, advise
from .batched import Batches
from .carrying import LINGER_S, POLL_S, Carrying, Stop, carry, finished, load, rests, stoppable
from .exits import Exit
from .leaving import GRACE_S, settle
from .options import LISTED
from .outputs import of_runs, say
from .paint import Copyable, advised, stated, tell
from .shelf import at_one_moment, path_of, reading, standing_of, summary, works
from .suspending import stops_between_commits
from .telling import Sender
from .waits import Advice
from .words import duration, plural, printable

TOLD_MAX = 20
"""Runs that wait which are told of one by one."""


def resume(how: Carrying, run: str, patience_s: float, by: str, why: str) -> Exit:
    """Go on with one run: after an interruption or a pause, or once what set it aside is put right."""
    with reading(how.db, acts=True) as reader:
        row = reader.get(run)
        elsewhere = works(reader, row.owner)
        pausing = any(item.kind == "pause" for item in reader.items_of(row.no))
        pausing |= not reader.switches().frees(row.id)  # it may be over none but its children, also those to come
        below = left.told(left.left_of(reader, row), command) if row.state in ENDED else []
    if row.state in ENDED:
        does = "".join(f"; {why}: {one}" for _, do in below for one, why in do)
        remedy = f"look at it: {command('show', run)}; fork it to go on{does}"
        raise RunEnded(f"the run has ended ({row.state})", run=run, remedy=remedy)
    asks = row.paused or pausing or row.state == RunState.STUCK
    if elsewhere:
        return _elsewhere(how, row, asks, by, why)

    async def make(engine: Engine) -> Run[Any]:
        handle = await engine.get(run)
        if asks:
            await handle.resume(by=by, why=why)
        engine.host.take_up(row.no)
        return handle

    with redirect_stdout(sys.stderr):
        load_for(row.flow, row.version, row.origin)
        code, row = asyncio.run(carry(how, make, patience_s=patience_s))
    if code is Exit.WAITS:
        with reading(how.db) as reader:
            row = reader.get(run)
            elsewhere = row.state not in ENDED and works(reader, row.owner)
        if elsewhere:  # its process stirs again, or another one was first
            return _elsewhere(how, row, False, by, why)
    return finished(how, code, row)


def _elsewhere(how: Carrying, row: RunRow, asks: bool, by: str, why: str) -> Exit:
    to = Sender(how.db, how.as_json)
    if asks:
        to.send(row.id, lambda run: run.resume(by=by, why=why))
    if how.as_json:
        return to.sent(row.id, "", new=asks)
    pid = (row.owner or "").partition("-")[0]
    told = "is told to go on" if asks else "carries it out already"
    tell(Text(f"Process {pid} {told}.", "dim"), Copyable(command("watch", row.id), "to follow it"))
    return Exit.DONE


def load_for(flow: str, version: int, origin: str | None) -> None:
    """Import a run's flow. Raises UnknownFlow when it or its version is gone, ImportFailed when its module raises."""
    newest = load(flow, origin)
    if registry.for_run(flow, version) is None:
        raise UnknownFlow(
            f"the code has version {newest.version} of {flow}, and the run is of version {version}",
            remedy=f"keep the old function as @flow(name=..., version={version}), or declare migrate= on the new one",
        )


def resume_all(how: Carrying, patience_s: float, stay: bool) -> Exit:
    """Go on with every open run whose flow can be imported, until nothing moves by itself."""
    with reading(how.db, acts=True) as reader:
        open_before = _open(reader)
        ((newest,),) = reader.query("select coalesce(max(no), 0) from runs")
        flows = reader.query(
            f"select distinct flow, version, origin from runs where state in ({_marks(OPEN)})", sorted(OPEN)
        )
    with redirect_stdout(sys.stderr):
        missing = _load_all(flows, how.as_json)
        stop = asyncio.run(_carry_all(how, patience_s, stay)) if open_before or stay else None
    damaged: list[StoreCorrupt] = []
    with reading(how.db) as reader, at_one_moment(reader):
        told = _open(reader, open_before, None if stay else newest)
        standings = list(_standings(reader, told, damaged))
    code = _code(standings, stop, missing=missing, damaged=damaged)
    settle(code, asked=stop is not None and stop.came, grace_s=GRACE_S)
    if how.as_json:
        with of_runs(code, as_json=True):
            print(json.dumps([summary(s) for s in standings], ensure_ascii=False, indent=2))
    elif standings or not damaged:
        _report(how, standings)
    if stop is None or not stop.came:
        for error in damaged:
            say(error, as_json=how.as_json)
    return code


def _code(standings: list[Standing], stop: Stop | None, *, missing: int, damaged: Sequence[StoreCorrupt]) -> Exit:
    if stop is not None and stop.came:
        return stop.exit
    if damaged:
        return Exit.STORE
    states = {s.row.state for s in standings}
    worst = [(RunState.STUCK, Exit.STUCK), (RunState.FAILED, Exit.FAILED)]
    code = next((c for state, c in worst if state in states), Exit.DONE)
    return Exit.UNKNOWN if code is Exit.DONE and missing else code


def _open(reader: Reader, also: Sequence[int] = (), newest: int | None = None) -> list[int]:
    """What has not ended; damaged rows too, so that they are told of. With `newest` also the detached runs made after
    that one: nobody else tells what came of them.
    """
    query = (
        f"select no from runs where state not in ({_marks(ENDED)}) or no in (select value from json_each(?))"
        " or (no > ? and parent is not null and parent_key is null) order by no"
    )
    return [no for (no,) in reader.query(query, (*sorted(ENDED), json.dumps(also), newest))]


def _standings(reader: Reader, runs: list[int], damaged: list[StoreCorrupt]) -> Iterator[Standing]:
    """Where these runs stand; what is damaged is put aside."""
    for no in runs:
        try:
            yield standing_of(reader, reader.get(no))
        except StoreCorrupt as error:
            damaged.append(error)


def _marks(values: Any) -> str:
    return ", ".join("?" * len(values))


def _load_all(flows: list[tuple[Any, ...]], as_json: bool) -> int:
    """Import what can be; say what cannot. Gives how many could not."""
    missing = 0
    for flow, version, origin in flows:
        try:
            load_for(flow, version, origin)
        except UnknownFlow as error:
            missing += 1
            say(error, as_json=as_json)
    return missing


async def _carry_all(how: Carrying, patience_s: float, stay: bool) -> Stop:
    async with stoppable() as stop, Engine(path_of(how.db), linger_s=LINGER_S, paused=how.paused) as engine:
        stop.at_once = engine.stopping
        stopped = asyncio.ensure_future(stop.asked.wait())
        since, told, batches = time.time(), set[tuple[int, str]](), Batches(engine)
        batches.hurry()
        with stops_between_commits(engine.journal):
            while not stopped.done() and (stay or not rests(engine, None, patience_s, batches)):
                await asyncio.wait([stopped], timeout=POLL_S)
                engine.journal.check_file()
                if not how.as_json and not how.quiet:
                    _tell_ended(engine, since, told)
        if stopped.done() and not how.quiet and not how.as_json:
            tell(Text("Suspending; once more kills.", "dim"))
        stopped.cancel()
        if not how.as_json and not how.quiet:
            _tell_ended(engine, since, told)
    return stop


def _tell_ended(engine: Engine, since: float, told: set[tuple[int, str]]) -> None:
    """A line for each run that has ended or was set aside since."""
    rows = engine.journal.runs(
        "updated_at >= ? and state in (?, ?, ?, ?)", (since, *sorted(ENDED), RunState.STUCK), 1000
    )
    for row in reversed(rows):
        if (row.no, row.state) not in told:
            told.add((row.no, row.state))
            line = stated(row.state).append(f"  {printable(row.id)}", "default")
            line.append(f"  {printable(row.flow)}", "dim")
            line.append(f"  {duration(row.updated_at - row.created_at)} after it was accepted", "dim")
            tell(line)


def _report(how: Carrying, standings: list[Standing]) -> None:
    """What still waits, and on what."""
    if not standings:
        tell(Text("Nothing is open.", "dim"))
        return
    counts = Counter(s.row.state for s in standings)
    tell(Text(", ".join(f"{n:,} {state}" for state, n in sorted(counts.items())), "dim"))
    waiting = [s for s in standings if s.row.state not in ENDED]
    now = time.time()
    for standing in waiting[:TOLD_MAX]:
        tell("", Text(printable(standing.row.id), "bold").append(f"  {printable(standing.row.flow)}", "dim"))
        says = advise(replace(standing, attended=True), now, command)
        if standing.owned and not standing.hung:
            watch = (command("watch", standing.row.id), "to follow it")
            says.insert(0, Advice(f"It goes on in process {standing.pid}.", (watch,)))
        tell(*advised(says))
    if len(waiting) > TOLD_MAX:
        more = plural(len(waiting) - TOLD_MAX, "more run")
        limit = ("--limit", len(waiting)) if len(waiting) > LISTED else ()
        tell("", Text(f"{more}: {command('runs', '--state', 'open', *limit)}", "dim"))
    if many := sum(bool(s.batches) and not s.attended for s in waiting):
        said = f"{plural(many, 'run')} {'waits' if many == 1 else 'wait'} for a batch."
        tell("", Text(said), Copyable(command("resume", "--stay"), "to wait, and take up what comes"))
