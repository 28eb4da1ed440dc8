"""Carries a run out in this process, and tells what it does, until it ends or this process is told to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from rich.text import Text

from ..core.events import ENDS, Event
from ..core.lifecycle import ENDED, RunState
from ..core.shell import command
from ..errors import SegueError, UnguardedScript, UnknownFlow
from ..journal import RunRow
from ..journal.threads import IN_TURN
from ..runtime import registry
from ..runtime.engine import Engine
from ..runtime.exits import raised_by
from ..runtime.flow import Flow
from ..runtime.run import Run
from .advice import Standing, advise
from .batched import Batches
from .below import family, held_up
from .exits import OF_STATE, Exit
from .faults import ImportFailed, trace_of
from .leaving import GRACE_S, give_back, handle, settle
from .left import NAMED_MAX, left_of
from .outputs import of_runs
from .outputs import say as say_error
from .paint import Copyable, advised, tell
from .progress import Progress
from .shelf import parsed, path_of, reading, standing_of, summary, works
from .suspending import stops_between_commits
from .tree import failed
from .waits import Say
from .words import harmless, plural, pretty, printable

POLL_S = 0.1
PATIENCE_S = 60.0
"""What a run leaves when it ends is waited for as long as it moves by itself within this time."""
_LOOK_S = 1.0
"""How often it is looked at what holds its children up."""
LINGER_S = 0.5
"""How long a run that waits stays in memory: once it is parked, others see what it waits for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Carrying:
    """How to carry out and how to tell."""

    db: str
    as_json: bool = False
    quiet: bool = False
    paused: bool = False
    """Whether the engine is paused before anything is carried out."""


@dataclass(slots=True)
class Stop:
    """What asked this process to stop, if anything has: a first signal asks, a second one kills."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    came: bool = False
    exit: Exit = Exit.SUSPENDED
    at_once: Callable[[], None] = lambda: None
    """What the signal's own handler does."""
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def ask(self) -> None:
        """What a first signal does, in its handler."""
        self.came = True
        self.at_once()
        if not self._loop.is_closed():  # what is left to do then is to print
            self._loop.call_soon_threadsafe(self.asked.set)

    def ended(self, state: str) -> None:
        """A run's end is recorded: its code is this process's, whatever signal comes. A first one still asks."""
        settle(OF_STATE[state], asked=self.came, ask=self.ask)


_STOPS = {signal.SIGINT: Exit.SUSPENDED, signal.SIGTERM: Exit.TERMINATED}


@asynccontextmanager
async def stoppable() -> AsyncGenerator[Stop]:
    """Ctrl-C and SIGTERM set `asked`. The handlers are Python's own: asyncio's would wait for code that blocks the
    loop, and then a second signal could not kill it.
    """
    stop = Stop()

    def ask(number: int, _: object) -> None:
        handle(signal.SIG_DFL)
        stop.exit = _STOPS[signal.Signals(number)]
        stop.ask()

    handle(ask)
    try:
        yield stop
    finally:
        give_back(ask)


_unguarded: set[str] = set()
"""Flows whose script has no guard: it is not imported a second time."""


def load(name: str, origin: str | None = None) -> Flow[..., Any]:
    """A flow by `MODULE:FLOW`. Raises UnknownFlow, and ImportFailed with the error that its module raised."""
    try:
        return registry.find(name, origin)
    except SegueError:
        raise
    except (Exception, SystemExit) as error:
        raise ImportFailed(
            f"importing {name.partition(':')[0]} raised {type(error).__name__}: {error}",
            remedy="put the module right: it must be importable without running anything; what runs goes under"
            ' `if __name__ == "__main__":`',
        ) from error


def load_if_there(row: RunRow, *, as_json: bool) -> None:
    """Import a run's flow, so that what is given for it can be held against its types. Without it they are taken as
    they are: the run may be another machine's. Of a script without a guard it is told, once.
    """
    with redirect_stdout(sys.stderr), suppress(UnknownFlow):
        try:
            _ = row.flow in _unguarded or load(row.flow, row.origin)
        except UnguardedScript as error:
            _unguarded.add(row.flow)
            say_error(error, as_json=as_json, code=Exit.DONE)


def finished(how: Carrying, code: Exit, row: RunRow) -> Exit:
    """Print what a run came to: its result on stdout, everything else on stderr. `code` is for one that is open."""
    with reading(how.db) as reader:
        standing = standing_of(reader, reader.get(row.no))
        below = held_up(reader, row.no, NAMED_MAX, asleep=True)
    standing = replace(standing, attended=standing.attended or not standing.batches)
    row, story, say = standing.row, standing.story, command
    settle(OF_STATE.get(row.state, code), grace_s=GRACE_S)
    if row.state == RunState.COMPLETED and story.end is not None:
        remedy = f"its result is on record: {say('show', row.id, '--json')}"
        with of_runs(Exit.DONE, as_json=how.as_json, run=row.id, remedy=remedy):
            _print_result(story.end.value or b"null", how.as_json)
        if standing.left and how.as_json:
            print(json.dumps({"status": summary(standing)}, ensure_ascii=False), file=sys.stderr)
    elif how.as_json:
        exit_ = OF_STATE.get(row.state, code)
        error: dict[str, Any] = {"code": exit_.name.lower(), "message": _why(standing), "run": row.id}
        error |= _place(standing, say)
        error["exit"] = int(exit_)
        print(json.dumps({"error": error, "status": summary(standing)}, ensure_ascii=False), file=sys.stderr)
    elif story.fault is not None:
        fault = story.fault
        tell(*failed(fault.error, fault.message, trace_of(fault)), Copyable(say("show", row.id), "to look at it"))
    elif row.state == RunState.CANCELLED:
        tell(Text(f"– {printable(row.id)} was cancelled{printable(story.cancelled_how)}", "yellow"))
    elif row.state == RunState.STUCK or code is Exit.WAITS or standing.hung:
        tell(*advised(advise(standing, time.time(), say, below=below.more > 0)))
        for one in below.named:
            tell(Text(f"Its child {printable(one.row.id)}:"), *advised(one.says))
        tell(*advised(below.others))
    elif standing.owned:
        tell(Text(f"{printable(row.id)} goes on in process {standing.pid}.", "dim"), Copyable(say("watch", row.id)))
    else:
        tell(Text(f"‖ {printable(row.id)} is suspended; nothing is lost.", "yellow"), Copyable(say("resume", row.id)))
    if standing.left and not how.as_json:
        tell(*advised(advise(standing, time.time(), say)))
    return OF_STATE.get(row.state, code)


def _place(standing: Standing, say: Say) -> dict[str, str]:
    """The call that it is about, and what helps, as far as they are known."""
    said, end, fault = summary(standing), standing.story.end, standing.story.fault
    key, remedy = said.get("key"), said.get("remedy") or next(iter(_next(standing, say)), None)
    if fault is not None and end is not None:
        own, look = (fault.state or {}).get("remedy"), f"look at it: {say('show', standing.row.id)}"
        key, remedy = raised_by(parsed(end.body), standing.row.id), f"{own}; {look}" if own else look
    return {name: value for name, value in (("key", key), ("remedy", remedy)) if value}


def _next(standing: Standing, say: Say) -> list[str]:
    """The commands that help a run which is open."""
    if standing.row.state in ENDED:
        return []
    return [do for one in advise(standing, time.time(), say) for do, _ in one.do]


def _why(standing: Standing) -> str:
    """Why a run has no result, in one line."""
    row, fault = standing.row, standing.story.fault
    if fault is not None and row.state == RunState.FAILED:
        return f"{fault.error.rpartition(':')[2]}: {fault.message}"
    if row.state == RunState.STUCK:
        return str(row.detail.get("message", "the run is set aside"))
    return "the run was cancelled" if row.state == RunState.CANCELLED else "the run is open"


def _print_result(data: bytes, as_json: bool) -> None:
    if as_json:
        print(json.dumps(parsed(data), ensure_ascii=False))
    elif data != b"null":
        text = pretty(data)
        print(harmless(text) if sys.stdout.isatty() else text)


async def carry(
    how: Carrying, make: Callable[[Engine], Awaitable[Run[Any]]], *, patience_s: float | None = None
) -> tuple[Exit, RunRow]:
    """Carry one run out. With `patience_s` stop when nothing of it will move by itself within that time."""
    async with (
        stoppable() as stop,
        Engine(path_of(how.db), recover=False, linger_s=LINGER_S, paused=how.paused) as engine,
    ):
        stop.at_once = engine.stopping
        logging.getLogger("segue.journal").addHandler(logging.NullHandler())  # it is told with the progress
        begun = time.time()
        run = await make(engine)
        row = engine.journal.get(run.id)
        engine.host.watch(row.no).add_done_callback(partial(_settled, stop))
        shown = Progress(row, command, quiet=how.quiet or how.as_json, leaves=patience_s is not None)
        with stops_between_commits(engine.journal), shown as progress:
            progress.open()
            progress.skip(e for e in engine.journal.events(row) if e.at < begun)
            for one in family(engine.journal, row.no):
                load_if_there(engine.journal.get(one), as_json=how.as_json)
            await _follow(engine, row, progress, stop, patience_s)
            row = engine.journal.get(row.no)
            if row.state in ENDED:
                stop.ended(row.state)
                await _clean_up(engine, row, progress, stop, PATIENCE_S if patience_s is None else patience_s)
    return (stop.exit if stop.came else Exit.WAITS), row


def _settled(stop: Stop, told: asyncio.Future[Event | None]) -> None:
    """As soon as a run's end is on disk, also while what is under way is waited for after a first signal."""
    end = None if told.cancelled() else told.result()
    if end is not None and end.type in ENDS:
        stop.ended(end.type.removeprefix("run."))


async def _follow(engine: Engine, row: RunRow, progress: Progress, stop: Stop, patience_s: float | None) -> None:
    """Tell what happens until the run ends, is set aside, or shall not be waited for."""
    journal, host = engine.journal, engine.host
    stopped = asyncio.ensure_future(stop.asked.wait())
    ended, batches = host.watch(row.no), Batches(engine)
    if waits := batches.awaited(row.id):
        progress.say("waits for its batch")
    if waits or patience_s is not None:
        batches.hurry()
    look_at = time.monotonic() + _LOOK_S
    try:
        while True:
            journal.check_file()
            row = journal.get(row.no)
            progress.tell(journal.events(row, progress.story.last_seq))
            if patience_s is None and time.monotonic() >= look_at:
                look_at = time.monotonic() + _LOOK_S
                if row.state == RunState.PARKED:
                    progress.waits()
                progress.below(held_up(journal, row.no, NAMED_MAX))
            if stopped.done():
                progress.say("suspending; once more kills")
                return
            if row.state in ENDED or (row.state == RunState.STUCK and not journal.items_of(row.no)):
                return
            if patience_s is not None and rests(engine, [row.no], patience_s, batches):
                return
            progress.trouble(journal.trouble)
            held = journal.held(row.no, host.switches)
            progress.held(host.switches.over(row.flow) if held else None)
            progress.under_way(host.waits_on(row.no))
            await asyncio.wait([stopped, ended], timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
            ended = host.watch(row.no) if ended.done() else ended
    finally:
        stopped.cancel()


async def _clean_up(engine: Engine, row: RunRow, progress: Progress, stop: Stop, patience_s: float) -> None:
    """Go on with the children that a run has asked to end and that outlive it, until each has ended, or rests."""
    journal, host, told = engine.journal, engine.host, set[int]()
    stopped = asyncio.ensure_future(stop.asked.wait())
    try:
        while left := [one for one in left_of(journal, row) if not one.detached]:
            runs = [one.no for one in left]
            here = not (host.executions.keys() | host.claiming.keys()).isdisjoint(runs)
            if not here and told.issuperset(runs) and not _moves(engine, runs, patience_s):
                return
            new = [one for one in left if one.no not in told]
            for one in new:
                told.add(one.no)
                host.take_up(one.no)
            if len(new) <= NAMED_MAX:
                for one in new:
                    progress.say(f"child {printable(one.id)} cleans up")
            else:
                progress.say(f"{plural(len(new), 'child run')} clean up")
            progress.trouble(journal.trouble)
            await asyncio.wait([stopped], timeout=POLL_S)
            if stopped.done():
                return progress.say("suspending; once more kills")
            journal.check_file()
    finally:
        stopped.cancel()


_POSTED = "exists (select 1 from inbox i where i.run = runs.id and i.consumed is null"
_READ = f"runs.no, runs.id, flow, version, state, owner, paused, wake_at, {_POSTED}), {_POSTED} and i.kind = 'cancel')"
_FAMILY = (
    "with recursive family(no, id) as (select no, id from runs where no in (select value from json_each(?))"
    " union select r.no, r.id from runs r join family f on r.parent = f.id)"
    f" select {_READ} from runs join family f on f.no = runs.no"
    f" where state in ('queued', 'running', 'parked') and {IN_TURN}"
)
_ALL = (
    f"select {_READ} from runs"
    f" where (state in ('queued', 'running') or (state = 'parked' and wake_at is not null)) and {IN_TURN}"
    f" union select {_READ} from runs where state = 'parked' and id in (select run from inbox where consumed is null)"
)


def rests(engine: Engine, runs: list[int] | None, patience_s: float, batches: Batches | None = None) -> bool:
    """Whether nothing here moves by itself within `patience_s`: of these runs with their children, or of all. A batch
    that one of these waits for does, however long it takes; of all, those do that are to be sent or looked at.
    """
    if engine.host.busy or engine.host.executions or _moves(engine, runs, patience_s, batches):
        return False
    return runs is not None or batches is None or not batches.move(engine.clock.now() + patience_s)


def _moves(engine: Engine, runs: list[int] | None, patience_s: float, batches: Batches | None = None) -> bool:
    """Whether one that is not in memory is ready, or will be within `patience_s`, and may go on here."""
    host, journal, limit = engine.host, engine.journal, engine.clock.now() + patience_s
    found = journal.query(_ALL) if runs is None else journal.query(_FAMILY, (json.dumps(runs),))
    for no, id_, flow, version, state, owner, paused, wake_at, posted, cancelled in found:
        elsewhere = owner != journal.owner and works(journal, owner)
        if (
            elsewhere
            or (paused and not cancelled)
            or no in host.damaged
            or registry.for_run(flow, version) is None
            or journal.held(no, host.switches)
        ):
            continue
        if posted or state != RunState.PARKED or (wake_at is not None and wake_at <= limit):
            return True
        if runs is not None and batches is not None and batches.awaited(id_):
            return True
    return False
