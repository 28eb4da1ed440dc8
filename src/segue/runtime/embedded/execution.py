"""One run in this process: carries its commands out, journals the outcomes, gives them back in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.commands import NEVER_HELD, Cancel, Command, Record, Rekey, RunStep, Seal, StartChild, Timer, Wait
from ...core.events import DELIVERED, Event, EventType
from ...core.recovery import Attempt
from ...core.replay import Memory
from ...core.secret import use, using
from ...errors import Continued, RunStuck, SegueError, StoreCorrupt
from ...journal import Item, RunRow, Write
from ..deadlock import deadlock
from ..drive import Drive
from ..flow import Flow
from ..past import fresh, memory_of
from ..scope import StepScope
from . import aside, asked, carrying, doubts, ends, inbox, people, renewal, resting
from .attempts import perform, perform_once
from .line import Line
from .purse import recorded
from .sealing import flow_vault, vault_of
from .starting import Making

if TYPE_CHECKING:
    from .host import Host

_OF_CALLS = frozenset({"override", "decide", "reassign"})
_UNREAD = Memory()
"""Before `begin` has read the journal."""


class Execution(Line):
    """A run that this process owns and has in memory."""

    def __init__(self, host: Host, row: RunRow, seq: int, flow: Flow[..., Any]):
        super().__init__(host, row, seq)
        self.flow = flow
        self.paused, self.held, self.begun = row.paused, False, False
        self.memory = _UNREAD
        self.drive = Drive(row.id)
        self.steps: dict[str, Making] = {}
        self.backoffs: dict[str, float] = {}
        self.failed: set[str] = set()
        """Steps of which it is being written that an attempt has failed."""
        self.timers: dict[str, tuple[float, asyncio.TimerHandle]] = {}
        self.unknowns: dict[str, str] = {}
        """Once-effects in doubt, which nobody could reconcile: what is said of them."""
        self.doubts: dict[str, str] = {}
        """Why they are in doubt, apart from what reconciling them has brought."""
        self.children: dict[str, str] = {}
        self.taken, self.overridden = set[int](), set[str]()
        self.announced, self.lasting = set[str](), set[str]()
        self.declared: dict[str, RunStep] = {}
        """As the code declares them: steps that are asked about as the effects that the journal has begun."""
        self.asking: dict[str, people.Asking] = {}
        """Steps that wait for a person's word."""
        self.histories: dict[str, list[Attempt]] = {}
        """The attempts of the steps that are carried out."""
        self.tries: dict[str, int] = {}
        """The number of the attempt that is on its way, where it may be another than the first."""
        self.once: set[str] = set()
        """Once-effects on their way: they are never cancelled, and the run ends after them."""
        self.vault = vault_of(self)
        self.context = host.context.copy()
        self.context.run(use, self.vault)
        self.replayed, self.kept = False, list[Command]()  # by a pause
        self.aside: RunStuck | None = None
        """Why it is to be set aside, as soon as the effects on their way have ended."""
        self.on: asyncio.Event | None = None
        """Set when a pause ends, for attempts whose backoff is over."""
        self.in_thread: dict[str, asyncio.Future[Any]] = {}
        """Once-effects in threads: a thread cannot be stopped, so its end is waited for."""

    # its life

    def begin(self, args: bytes | None = None) -> None:
        """Replay the journal and go on from its end. `args` is the input of a run that has no past."""
        try:
            self._begin(args)
        except Exception as error:  # noqa: BLE001  a bug of ours
            self.host.crashed(self, error)
        except BaseException:  # Ctrl-C in the flow's code
            self.interrupted()
            raise

    def _begin(self, args: bytes | None) -> None:
        row = self.row
        if self.closed:
            return
        try:
            memory = memory_of(self.host.journal, row) if args is None else fresh(row, self.seq, args)
        except StoreCorrupt as error:
            return ends.begins_stuck(self, ends.damaged(error))
        self.memory, self.children = memory, memory.children
        self.at, self.paused = memory.last_at, memory.paused
        if inbox.place(self):
            return
        same_code = memory.revisions <= {self.flow.revision} and row.version == self.flow.version
        strict, threads = same_code and not (memory.edited or row.replaced), self.host.journal.threads_of(row)
        self.drive.prepare(memory, strict=strict, threads=threads)
        try:
            if memory.idle_starts > self.host.crash_limit:
                raise ends.crash_loop(self, self.host.crash_limit)
            values = ends.input_of(self, memory.args)
        except RunStuck as error:
            return ends.begins_stuck(self, error)
        self.drive.bind = self.flow.bind
        asked.answer(self)
        self.drive.begin(self.flow.body(values), memory.first_at, flow_vault(self, self.vault))
        self.begun = True
        with using(self.vault):
            self._guarded(partial(self.drive.replay, memory))
        if self.drive.stuck is not None:
            return ends.begins_stuck(self, self.drive.stuck)
        doubts.heed(self)
        self.host.scan_soon() if args is not None else self.host.receive_items(self)
        if not self.unwritten:  # else what others asked for comes first: a cancel, a pause
            self.settle()

    def settle(self) -> None:
        """After the flow has moved: carry its commands out, or see that it has ended, is stuck or waits."""
        drive = self.drive
        if self.closed:
            return
        commands = drive.take()
        if (stuck := self.aside or drive.stuck) is not None:
            return self.set_aside(stuck)
        self.replayed = True
        commands = [doubts.as_begun(self, c) for c in commands] if self.memory.effects else commands
        if self.still:
            self.kept += [c for c in commands if not isinstance(c, NEVER_HELD)]
            commands = [c for c in commands if isinstance(c, NEVER_HELD)]
        for command in commands:
            self.run(command) if type(command) is RunStep else self._carry_out(command)
        if drive.done:
            self._finish()
        elif self.unwritten or (self.steps and not self.backoffs):
            return
        elif drive.idle:
            self._guarded(lambda: self.drive.fail(deadlock(self.row.id)))
            self._finish()
        elif self.resting:
            resting.rest(self)

    def leave(self, *, park: bool = True) -> None:
        """Drop the run from memory; the journal has all of it. What the coroutine does as it unwinds is discarded."""
        if self.closed:
            return
        if park and self.aside is not None:
            return aside.write(self)
        if park:
            resting.park(self)
        self.drop()

    def drop(self) -> None:
        """Leave this process's memory, with nothing written."""
        self.closed = True
        for making in self.steps.values():
            making.cancel()
        for _, handle in self.timers.values():
            handle.cancel()
        try:
            self.drive.suspend()
        finally:
            self.host.gone(self)

    def lost(self, error: Exception) -> None:
        """This process can no longer write to the run."""
        if not self.closed:
            try:
                self.drop()
            finally:
                self.host.lost(self, error)
        elif isinstance(error, StoreCorrupt):
            self.host.unwritable(self.row.no, error)

    def interrupted(self) -> None:
        """Ctrl-C went through the flow's code: where this process goes on, the run begins anew from its journal."""
        self.lost(RuntimeError("it was interrupted"))

    def set_aside(self, error: RunStuck) -> None:
        """Open, resumable, nothing lost: until somebody has helped."""
        aside.set_aside(self, error)

    # what the flow asks for

    def _carry_out(self, command: Command) -> None:
        match command:
            case RunStep():
                self.run(command)  # held back by a pause
            case Timer():
                carrying.set_timer(self, command)
            case StartChild():
                carrying.start_child(self, command)
            case Record() | Rekey():
                carrying.record(self, command)
            case Cancel():
                carrying.give_up(self, command)
            case Seal():
                self.host.journal.seal(self.row, command.seq, command.value)
            case Wait():
                pass

    def run(self, command: RunStep) -> None:
        """Begin a step, with the attempts of earlier incarnations."""
        key, memory, options = command.key, self.memory, command.options
        if key in self.unknowns or key in self.overridden:
            return
        if self.row.replaced and self.replaced(EventType.STEP_COMPLETED, command):
            return
        if options.effect == "once":
            self.once.add(key)
            if key in self.drive.waiting:
                memory.cancelled.discard(key)
        history = memory.attempts.pop(key, []) if memory.attempts else []
        retry_at = memory.retry_at.pop(key, None) if memory.retry_at else None
        if not options.simple:
            self.histories[key] = history
        if options.simple and not history and key not in memory.numbers:
            work = perform_once(self, command)
        else:
            work = self._perform(partial(perform, self, command, history, retry_at))
        self.steps[key] = making = Making(self, key, work, self.context.copy())
        self.host.starter.begin(making)

    def replaced(self, type_: str, command: RunStep | StartChild) -> bool:
        """Whether a fork was given this result: then it is on record at once."""
        given = self.row.replaced.get(command.key)
        if given is None:
            return False
        self.write(type_, key=command.key, seen=command.seen, attempt=0, value=given.encode(), args=command.args)
        return True

    async def _perform(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self.host.pace_s:
            await self.late()
        await make()

    async def late(self) -> None:
        """For tests: a step may begin late."""
        await asyncio.sleep(self.host.luck() * self.host.pace_s)

    def made(self, making: Making) -> None:
        """A step has ended, or was cancelled. It may not be the one in the list, when the step was made anew."""
        key = making.key
        if self.steps.get(key) is making:
            del self.steps[key]
            if self.tries or self.once or self.backoffs or self.histories:
                self.histories.pop(key, None)
                self.tries.pop(key, None)
                self.once.discard(key)
                self.backoffs.pop(key, None)
        if not self.unwritten and not self.closed:
            self.host.loop.call_soon(self.settle)  # later: Python 3.14 does not let tasks nest

    # what attempts report

    def step_ended(
        self, type_: str, command: RunStep, n: int, began: float | None, scope: StepScope | None,
        *, value: bytes | None = None, body: bytes | None = None,
    ) -> None:  # fmt: skip
        """Journal a step's outcome, and before it what its attempt recorded."""
        self._check_open()
        if command.key in self.overridden:
            return  # somebody has said meanwhile what came of it
        self.unknowns.pop(command.key, None)
        if self.drive.live_errors and type_ == EventType.STEP_COMPLETED:
            self.drive.live_errors.pop(command.key, None)
        if scope is not None and scope.events:
            recorded(self, command.key, n, scope.events)
        more: dict[str, Any] = {}
        if scope is not None and scope.turn_of is not None and value is not None:
            more["turn"] = scope.turn_of
        if scope is not None and scope.sums_up is not None and value is not None:
            more["summary"] = scope.sums_up
        self.write(
            type_, key=command.key, seen=command.seen, attempt=n, began=began, value=value, body=body,
            args=command.args, **more,
        )  # fmt: skip

    def keep_error(self, key: str, error: BaseException) -> None:
        """Keep a live error for its traceback."""
        self.drive.live_errors[key] = error

    # the inbox

    def receive(self, item: Item) -> None:
        """Turn an inbox item into an event. Each item is taken once, and none before the journal was read."""
        if inbox.takes(self, item):
            self.taken.add(item.no)
            key = self.drive.on_record(item.name) if item.kind in _OF_CALLS else item.name
            inbox.receive(self, item._replace(name=key))

    @property
    def still(self) -> bool:
        """Whether it may start nothing new, and is told no signals: it is paused, or a switch holds it."""
        return self.paused or self.held

    @property
    def behind(self) -> bool:
        """Whether it has held something back: a command, or a person's word."""
        return bool(self.kept) or people.has_a_word(self)

    def resume(self) -> None:
        """Go on after a pause, unless a switch holds it."""
        self.paused = False
        self.go_on()

    def go_on(self) -> None:
        """Carry out what was held back, if nothing holds it any more."""
        if self.still or self.closed or not self.begun or self.aside is not None or not inbox.take_up(self):
            return
        if self.on is not None:
            self.on.set()
            self.on = None
        held, self.kept = self.kept, []
        for command in held:
            if isinstance(command, Record) or command.key in self.drive.waiting or resting.owed(self, command):
                self._carry_out(command)
        self.settle()

    # what is on disk

    def _written(self, write: Write, error: Exception | None) -> None:
        """After the commit."""
        if error is not None:
            self.unwritten -= 1
            return self.lost(self.host.journal.explain(error))
        event, _, then, _ = write
        outcomes = self.host.outcomes
        outcomes.settle(self)  # as long as this one counts as unwritten: it is not given yet
        self.unwritten -= 1
        if then is not None:
            then()
        if self.closed:
            return
        if event.type in DELIVERED:
            if self.children:
                self.children.pop(event.key or "", None)
            outcomes.add(self, event)
        elif not self.unwritten:
            self.settle()

    # ends and rests

    def _finish(self) -> None:
        carrying.end_effects(self)
        if self.once or any(resting.owed(self, c) for c in self.kept):
            return  # an effect is on its way, or what came of it is to be found out after the pause: then it ends
        doubts.find_unasked(self)
        if self.unknowns:
            return ends.set_unknown_aside(self)
        try:
            end = ends.end_of(self)
        except Continued as continued:
            return self._renew(continued)
        ended: list[Event] = []
        more: dict[str, Any] = {**ends.told(self, end), "done": partial(self._tell_end, ended)}
        ended.append(self.write(end.type, value=end.value, body=end.body, version=end.version, **more))
        self.drop()

    def _renew(self, continued: Continued) -> None:
        try:
            renewal.renew(self, continued)
        except RunStuck as error:
            self.set_aside(error)

    def _tell_end(self, ended: list[Event]) -> None:
        self.host.ended(self.row, ended[0])

    @property
    def resting(self) -> bool:
        """Whether all that the run waits for is durable."""
        waits = self.begun and not self.unwritten and not self.closed and len(self.steps) == len(self.backoffs)
        return waits and not self.host.outcomes.holds(self) and (self.still or not people.has_a_word(self))

    @property
    def due(self) -> bool:
        """Whether a timer or a backoff has run out: it moves on at once, and parked it would only start anew."""
        wakes = resting.earliest(self)
        return wakes is not None and not self.still and wakes <= self.host.clock.now()

    def _guarded(self, move: Any) -> None:
        """Let the flow move; an error of the loop itself fails the flow."""
        try:
            move()
        except SegueError as error:
            self.drive.fail(error)
