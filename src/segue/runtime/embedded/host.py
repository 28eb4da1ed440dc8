"""This process's runs: claims what is ready, keeps what runs, lets go of what rests."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ...core.events import Event
from ...core.lifecycle import RunState
from ...errors import StaleOwner, StoreCorrupt, StoreError, StoreMissing
from ...journal import IN_TURN, Journal, NewRun, RunRow, Standing, Switches
from ...journal.keyring import Keyring, MemoryKeyring
from .. import registry
from ..clock import Clock
from ..once import apart
from . import aside, ends, inbox, parents, switching
from .attempts import announce
from .endings import each, let_end
from .execution import Execution
from .outcomes import Outcomes
from .passed import Passed
from .stalls import let_go
from .starting import Starter
from .watching import Watchers

log = logging.getLogger("segue")

_WAKES_STUCK = frozenset({"resume", "override", "cancel"})


class Host:
    """The embedded runtime of one process.

    `capacity` bounds the runs in memory, `resident` those of them that only wait, `linger_s` for how long they stay.
    `chance` and `pace_s` are for tests: a seeded source of all that is random, and up to how late a step begins.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        *,
        capacity: int = 1000,
        resident: int = 256,
        linger_s: float = 1.0,
        tick_s: float = 0.25,
        crash_limit: int = 5,
        step_threads: int = 32,
        recover: bool = True,
        keyring: Keyring | None = None,
        chance: random.Random | None = None,
        pace_s: float = 0.0,
    ):
        self.journal, self.clock = journal, clock
        self.keyring = keyring or MemoryKeyring()
        self.crash_limit = crash_limit
        self.loop = asyncio.get_running_loop()
        self.context = apart()
        self.stall_s = 2 * tick_s
        """After standing still for so long, this process makes sure that its runs are still its own."""
        self.threads = ThreadPoolExecutor(step_threads, thread_name_prefix="segue-step")
        self.starter, self.outcomes = Starter(self.loop), Outcomes(self.loop)
        journal.after_commit(self.outcomes.give)
        self.executions: dict[int, Execution] = {}
        self.errors: dict[int, BaseException] = {}
        self.damaged: dict[int, StoreError] = {}
        """Runs whose rows cannot be written."""
        self.passed = Passed(self.loop)
        self._complaint, self._ticked = "", self.loop.time()
        self.recover = recover
        self._chance, self.pace_s = chance, pace_s
        self._capacity, self._resident, self._linger_s, self._tick_s = capacity, resident, linger_s, tick_s
        self._resting: OrderedDict[int, asyncio.TimerHandle] = OrderedDict()
        self.claiming: dict[int, asyncio.Future[Any]] = {}
        self.own: set[int] = set()
        """Runs that go on here although nothing is recovered: those that this process was asked for."""
        self.watchers = Watchers(self)
        self.switches, self.told, self.carries = Switches(), -1, capacity > 0
        self._waker: tuple[float, asyncio.TimerHandle] | None = None
        self._scanning = False
        self._scanned = 0
        """The last inbox item that was looked at since the last tick."""
        self._ticker: asyncio.TimerHandle | None = None
        self._closed = self.stopping = False
        """`stopping`: it is about to close, and what steps call may be stopped with it."""

    def open(self) -> None:
        """Take up what is ready, and listen."""
        self.journal.listen(self._rung)
        self.look()
        due = self.journal.query("select min(wake_at) from runs where wake_at is not null")[0][0]
        if due is not None:
            self.wake_at(due)
        self._tick()

    async def close(self) -> None:
        """Suspend all runs: effects on their way get a moment to end, everything else goes on at the next start."""
        self._closed = self.stopping = True
        for handle in (self._ticker, self._waker[1] if self._waker else None):
            if handle is not None:
                handle.cancel()
        try:
            await let_end(self)
        finally:
            try:
                each(execution.leave for execution in self.executions.values())
            finally:
                self.threads.shutdown(wait=False, cancel_futures=True)
                try:
                    await asyncio.shield(asyncio.ensure_future(self.journal.close()))
                finally:  # a step may close its own engine, and is cancelled by that
                    self.watchers.close()

    def waits_on(self, no: int) -> list[dict[str, Any]] | None:
        """What a run in memory waits for; None when it is not in memory."""
        execution = self.executions.get(no)
        return None if execution is None else ends.waits_on(execution)

    @property
    def busy(self) -> bool:
        """Whether a run here still moves by itself."""
        return self._scanning or bool(self.claiming) or any(not e.resting for e in self.executions.values())

    # runs come

    def accepted(self, new: NewRun, row: RunRow, made: bool) -> None:
        """A run that was asked for here is on disk: carry it out, whether or not somebody still waits for that."""
        if made:
            self.passed.began(row.no)
        if made and new.owner is not None:
            self.adopt(row, row.memo_seq + 2, new.args if new.memo_run is None else None)
        else:
            self.take_up(row.no)

    def adopt(self, row: RunRow, seq: int, args: bytes | None = None) -> None:
        """Run what this process has just accepted or claimed. `args` is the input of a run that has no past."""
        if row.no in self.executions:
            return None
        flow = registry.for_run(row.flow, row.version)
        assert flow is not None
        execution = Execution(self, row, seq, flow)
        if self._closed:  # it came as this process was closing: it is given back, or that would count as a crash
            return execution.leave()
        if not self.recover:
            self.own.add(row.no)
        self.executions[row.no] = execution
        execution.held = self.journal.held(row.no, self.switches)
        self.loop.call_soon(execution.begin, args)  # never inside of a task: Python 3.14 does not let tasks nest

    def take_up(self, no: int) -> None:
        """Go on with a run that nobody has, whatever `recover` says, and with the children that it waits for."""
        if not self.recover:
            self.own.update(parents.with_children(self.journal, no))
        self.scan_soon()

    @property
    def room(self) -> int:
        """How many more runs may be in memory."""
        return self._capacity - len(self.executions) - len(self.claiming) + len(self._resting)

    def child_started(self, parent: RunRow, run: str, args: bytes) -> None:
        """A child was accepted, with this process as its owner."""
        row = None if self._closed else self.journal.find(run)
        if row is not None and row.owner == self.journal.owner and row.epoch == 1 and row.state == RunState.RUNNING:
            if self.passed.is_own(parent.no, parent.epoch):
                self.passed.began(row.no)
            self.adopt(row, 2, args)

    def scan_soon(self) -> None:
        """Look for work in the loop's next turn."""
        if not self._scanning and not self._closed:
            self._scanning = True
            self.loop.call_soon(self._scan)

    def look(self) -> None:
        """See what operators have switched on or off, and tell which flows are known here."""
        switching.tell_flows(self)
        switching.look(self)

    def _rung(self) -> None:
        self._scans(self.look)
        self.scan_soon()

    def _tick(self) -> None:
        self.scan_soon()
        if not self.journal.in_memory_only():
            self._scanned = 0
            self._scans(self.look)
            now = self.loop.time()
            stood_s, self._ticked = now - self._ticked, now
            self._ticker = self.loop.call_later(self._tick_s, self._tick)
            if stood_s > self.stall_s:
                self.journal.looked_away(stood_s)
            self._scans(partial(let_go, self))
            for execution in self.executions.values():
                announce(execution)

    def _scan(self) -> None:
        self._scanning = False
        if self.journal.in_memory_only():  # it has no ticks
            self._scanned = 0
            self._scans(self.look)
        for look in (self._scan_inbox, self._scan_ready, self.watchers.look):
            self._scans(look)

    def _scans(self, look: Callable[[], None]) -> None:
        try:
            if not self._closed:
                look()
        except StoreError as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Log it, once as long as it is the same."""
        if str(error) != self._complaint:
            self._complaint = str(error)
            log.error("%s", error)

    def _scan_inbox(self) -> None:
        """What is new; all of it at each tick, since a claim may have failed. A run reads its own as it begins."""
        woken: dict[int, tuple[Standing, bool]] = {}
        found = self.journal.items(self._scanned)
        runs = {item.run: run for item, run in found}
        for item in inbox.in_turn([item for item, _ in found]):
            self._scanned, run = max(self._scanned, item.no), runs[item.run]
            execution = self.executions.get(run.no)
            if execution is not None:
                execution.receive(item)
            elif run.paused and item.kind == "signal":
                continue  # it is taken up when the run goes on
            elif (run.state != RunState.STUCK or item.kind in _WAKES_STUCK) and not self._taken(run.owner):
                woken[run.no] = run, run.state == RunState.STUCK
        for run in switching.free(self, [run for run, _ in woken.values()]):
            self._claim(run, stuck=woken[run.no][1], new=True)

    def _scan_ready(self) -> None:
        if self.room <= 0:
            for run in parents.kept_out(self):
                self._claim(run)
        if self.room <= 0 or not (self.recover or self.own):
            return
        room = self.room + len(self.passed) if self.recover else -1  # who is passed over must not fill the answer
        free_, values = self.switches.free()
        due = self.journal.standing(f"wake_at <= ? and {free_} order by wake_at", self.clock.now(), *values, limit=room)
        ready = f"state in ('queued', 'running') and owner is ? and not paused and {free_} and {IN_TURN}"
        most = room + len(self.executions) if self.recover else -1
        for owner in parents.left(self):
            due += self.journal.standing(ready, owner, *values, limit=most)
        for run in due:
            if run.no not in self.executions and self.room > 0 and (self.recover or run.no in self.own):
                self._claim(run)

    def _taken(self, owner: str | None) -> bool:
        """Whether a living process has it: this one too, since it may be about to adopt what it has just accepted."""
        return owner is not None and self.journal.alive(owner)

    def _claim(self, run: Standing | RunRow, *, stuck: bool = False, again: bool = False, new: bool = False) -> None:
        no, owner = run.no, run.owner
        if not self.carries or no in self.claiming or no in self.executions or no in self.damaged:
            return
        if (self._taken(owner) and not again) or self.passed.has(no, told=new):
            return
        if (flow := registry.for_run(run.flow, run.version)) is None:
            return
        dead = [owner] if owner is not None else []
        future = self.claiming[no] = self.journal.claim(no, dead, self.clock.now(), flow.revision, stuck=stuck)
        future.add_done_callback(partial(self._claimed, no))

    def _claimed(self, no: int, future: asyncio.Future[tuple[RunRow, int] | None]) -> None:
        self.claiming.pop(no, None)
        if future.cancelled():
            return
        if (error := future.exception()) is not None:
            if isinstance(error, StoreCorrupt):
                self.unwritable(no, error)
            elif isinstance(error, Exception) and not self._closed:
                self._complain(error)
            return
        if (claim := future.result()) is None:
            return
        if "reason" in claim[0].detail and not self._closed:
            cancel = ends.cancel_of(self.journal, claim[0])
            if cancel is not None:
                flow = registry.for_run(claim[0].flow, claim[0].version)
                assert flow is not None
                return ends.end_cancelled(Execution(self, *claim, flow), cancel)
        self.adopt(*claim)

    def receive_items(self, execution: Execution) -> None:
        """Give a run what waits in its inbox."""
        for item in inbox.in_turn(self.journal.items_of(execution.row.no), held=bool(self.switches.on)):
            execution.receive(item)

    def wakes(self, no: int) -> bool:
        """Whether the inbox of a run that was set aside holds what makes it go on."""
        return no not in self.damaged and any(i.kind in _WAKES_STUCK for i in self.journal.items_of(no))

    # runs rest and go

    def rests(self, execution: Execution) -> None:
        """All that the run waits for is durable: it stays for a moment, or for none where it is left to others."""
        no, left = execution.row.no, self.passed.has(execution.row.no)
        if (no in self._resting and not left) or self._closed or self.stopping:
            return
        self._resting[no] = self.loop.call_later(0.0 if left else self._linger_s, self._park, no)
        while len(self._resting) > self._resident:
            self._park(next(iter(self._resting)))

    def _park(self, no: int) -> None:
        handle = self._resting.pop(no, None)
        if handle is not None:
            handle.cancel()
        execution = self.executions.get(no)
        if execution is not None and execution.resting and not execution.due:
            self.passed.let_go(no)
            execution.leave()

    def gone(self, execution: Execution) -> None:
        """A run left memory."""
        if self.executions.get(execution.row.no) is execution:
            del self.executions[execution.row.no]
        handle = self._resting.pop(execution.row.no, None)
        if handle is not None:
            handle.cancel()

    def lost(self, execution: Execution, error: Exception) -> None:
        """Another process took it over, or the database cannot be written."""
        log.warning("run %s left this process: %s", execution.row.id, error)
        if isinstance(error, StoreMissing):
            self.damaged[execution.row.no] = error
        self.watchers.tell(execution.row.no)
        if not isinstance(error, StaleOwner):
            self.loop.call_later(self._tick_s, partial(self._reclaim, execution.row.no))

    def unwritable(self, no: int, error: StoreCorrupt) -> None:
        """A run's rows are damaged: this process leaves it alone, and goes on with the others."""
        log.error("run %s is set aside in this process: %s", no, error)
        self.damaged[no] = error
        self.watchers.tell(no)

    def _reclaim(self, no: int) -> None:
        """Try again with a run that could not be written: from what the journal holds."""
        row = None if self._closed else self.journal.find(no)
        if row is not None and row.owner == self.journal.owner and row.state == RunState.RUNNING:
            self._claim(row, again=True)

    def crashed(self, execution: Execution, error: BaseException | None) -> None:
        """A bug of ours in an attempt, or damage: say so, and set the run aside."""
        aside.crashed(execution, error)

    def ended(self, row: RunRow, end: Event | None = None) -> None:
        """A run ended or was set aside, on disk."""
        self.own.discard(row.no)
        self.passed.let_go(row.no)
        self.watchers.tell(row.no, end)
        if row.parent is not None or row.thread is not None:
            self.scan_soon()
            self.journal.ring_all()
        elif self.recover:
            self.scan_soon()

    # time

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back at a wall-clock time."""
        return self.loop.call_later(max(0.0, when - self.clock.now()), callback)

    def wake_at(self, when: float) -> None:
        """Look for parked runs that are due then."""
        if self._closed or (self._waker is not None and self._waker[0] <= when):
            return
        if self._waker is not None:
            self._waker[1].cancel()
        self._waker = (when, self.call_at(when, self._wake))

    def _wake(self) -> None:
        self._waker = None
        self.scan_soon()
        due = self.journal.query("select min(wake_at) from runs where wake_at > ?", (self.clock.now(),))[0][0]
        if due is not None:
            self.wake_at(due)

    def watch(self, no: int) -> asyncio.Future[Event | None]:
        """A future that is done when the run ends (with its last event), is set aside or leaves this process."""
        return self.watchers.add(no)

    def seed(self) -> str:
        """A seed for a run's random values."""
        return secrets.token_hex(8) if self._chance is None else f"{self._chance.getrandbits(64):016x}"

    def luck(self) -> float:
        """A random number in [0, 1): the jitter of a backoff."""
        return random.random() if self._chance is None else self._chance.random()
