"""One run in this process: carries its commands out, journals the outcomes, gives them back in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.codec import decode_arguments, dumps, loads, roundtrip
from ...core.commands import Cancel, Command, Record, RunStep, StartChild, Timer, Wait
from ...core.events import DELIVERED, Event, EventType
from ...core.faults import own_frames
from ...core.lifecycle import RunState, StuckReason
from ...core.recovery import Attempt
from ...core.replay import Memory
from ...core.secret import use, using
from ...errors import CrashLoop, RunStuck, SegueError, StoreCorrupt, Undecodable, UnknownEffect
from ...journal import Change, Item, More, NewRun, Post, RunRow, Write
from ..drive import Drive, deadlock
from ..flow import Flow
from ..scope import StepScope
from . import inbox
from .attempts import perform, perform_once
from .sealing import fault_of, flow_vault, vault_of

if TYPE_CHECKING:
    from .host import Host


class Execution:
    """A run that this process owns and has in memory."""

    def __init__(self, host: Host, row: RunRow, seq: int, flow: Flow[..., Any]):
        self.host, self.row, self.flow = host, row, flow
        self.seq, self.at = seq, 0.0
        self.paused = row.paused
        self.begun = self.closed = False
        self.memory = Memory()
        self.drive = Drive(row.id)
        self.steps: dict[str, asyncio.Task[None]] = {}
        self.backoffs: dict[str, float] = {}
        self.timers: dict[str, tuple[float, asyncio.TimerHandle]] = {}
        self.unknowns: dict[str, str] = {}
        self.taken: set[int] = set()
        self.children: dict[str, str] = {}
        self.overridden: set[str] = set()
        self.announced: set[str] = set()
        self.once: set[str] = set()
        """Once-effects on their way: they are never cancelled, and the run ends after them."""
        self.vault = vault_of(self)
        self.context = host.context.copy()
        self.context.run(use, self.vault)
        self._running: set[str] = set()
        self._unwritten = 0
        self._replayed = False
        self._held: list[Command] = []

    # its life

    def begin(self, args: bytes | None = None) -> None:
        """Replay the journal and go on from its end. `args` is the input of a run that has no past."""
        row = self.row
        if self.closed:
            return
        if args is not None:
            memory = Memory(args=args, seeds=[(1, row.seed)], last_seq=self.seq, first_at=row.created_at, last_at=row.created_at)
        else:
            try:
                memory = Memory.of(self.host.journal.events(row), {k: v.encode() for k, v in row.replaced.items()})
            except StoreCorrupt as error:
                return self.set_aside(Undecodable(error.message, run=row.id, remedy=error.remedy))
        self.memory, self.children = memory, memory.children
        self.at, self.paused = memory.last_at, memory.paused
        same_code = memory.revisions <= {self.flow.revision} and row.version == self.flow.version
        self.drive.prepare(memory.seeds, strict=same_code and not memory.edited and not row.replaced)
        try:
            if memory.idle_starts > self.host.crash_limit:
                raise self._crash_loop(memory.idle_starts)
            values = self._input(memory.args)
        except RunStuck as error:
            self.begun = True
            self.host.receive_items(self)  # or a `resume` would wake it again and again
            return self.set_aside(error)
        self.drive.begin(self.flow.body(values), memory.first_at, flow_vault(self, self.vault))
        self.begun = True
        with using(self.vault):
            self._guarded(partial(self.drive.replay, memory))
        self.host.scan_soon() if args is not None else self.host.receive_items(self)
        self._replayed = True
        self.settle()

    def settle(self) -> None:
        """After the flow has moved: carry its commands out, or see that it has ended, is stuck or waits."""
        if self.closed:
            return
        drive = self.drive
        if drive.stuck is not None:
            return self.set_aside(drive.stuck)
        commands = drive.take()
        if self.paused:
            self._held += [c for c in commands if not isinstance(c, Cancel)]
            commands = [c for c in commands if isinstance(c, Cancel)]
        for command in commands:
            if isinstance(command, RunStep):
                self._run(command)
            else:
                self._carry_out(command)
        if self._unwritten or (self.steps and not self.backoffs and not drive.done):
            if drive.done:
                self._finish()
        elif drive.done:
            self._finish()
        elif drive.idle and not self._unwritten:
            self._guarded(lambda: self.drive.fail(deadlock(self.row.id)))
            self._finish()
        elif self.resting:
            self._rest()

    def leave(self, *, park: bool = True) -> None:
        """Drop the run from memory; the journal has all of it. What the coroutine does as it unwinds is discarded."""
        if self.closed:
            return
        if park:
            self._park()
        self._drop()

    def _drop(self) -> None:
        self.closed = True
        for task in self.steps.values():
            task.cancel()
        for _, handle in self.timers.values():
            handle.cancel()
        self.drive.suspend()
        self.host.gone(self)

    def lost(self, error: Exception) -> None:
        """This process can no longer write to the run."""
        if not self.closed:
            self._drop()
            self.host.lost(self, error)
        elif isinstance(error, StoreCorrupt):
            self.host.unwritable(self.row.no, error)

    def set_aside(self, error: RunStuck) -> None:
        """Open, resumable, nothing lost: until somebody has helped."""
        if self.closed:
            return
        reasons = {
            "mismatch": StuckReason.MISMATCH, "crashes": StuckReason.CRASHES, "undecodable": StuckReason.UNDECODABLE,
            "unknown-effect": StuckReason.UNKNOWN_EFFECT,
        }  # fmt: skip
        error.run = error.run or self.row.id
        detail = {"reason": reasons[error.code], "message": error.message, "key": error.key, "remedy": error.remedy}
        detail = {k: v for k, v in detail.items() if v is not None}
        change = Change(RunState.STUCK, detail, self._now(), release=True)
        self._write(EventType.RUN_STUCK, body=dumps(detail), change=change, done=partial(self.host.ended, self.row))
        self._drop()

    # what the flow asks for

    def _carry_out(self, command: Command) -> None:
        match command:
            case RunStep():
                self._run(command)  # held back by a pause
            case Timer():
                self._set_timer(command)
            case StartChild():
                self._start_child(command)
            case Record():
                self._write(
                    command.type, key=command.key, seen=command.seen, body=dumps(command.body), value=command.value,
                    version=command.version,
                )  # fmt: skip
            case Cancel():
                self._cancel(command)
            case Wait():
                pass

    def _run(self, command: RunStep) -> None:
        key = command.key
        if key in self.unknowns or key in self.overridden or self._replaced(EventType.STEP_COMPLETED, command):
            return
        if command.options.effect == "once":
            self.once.add(key)
        memory = self.memory
        history = memory.attempts.pop(key, []) if memory.attempts else []
        retry_at = memory.retry_at.pop(key, None) if memory.retry_at else None
        options, host = command.options, self.host
        simple = not history and options.simple
        make = partial(perform_once, self, command) if simple else partial(perform, self, command, history, retry_at)
        self.steps[key] = asyncio.Task(self._perform(key, make), loop=host.loop, context=self.context.copy())

    def _replaced(self, type_: str, command: RunStep | StartChild) -> bool:
        """Whether a fork was given this result: then it is on record at once."""
        given = self.row.replaced.get(command.key) if self.row.replaced else None
        if given is None:
            return False
        self._write(type_, key=command.key, seen=command.seen, attempt=0, value=given.encode(), args=command.args)
        return True

    async def _perform(self, key: str, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A step's task: it takes itself off the list, last."""
        try:
            if (pace_s := self.host.pace_s) > 0.0:
                await asyncio.sleep(self.host.luck() * pace_s)
            await make()
        except Exception as error:  # noqa: BLE001  not the user's: their errors are faults by now
            self.host.crashed(self, error)
        finally:
            self._performed(key, asyncio.current_task())
        if not self._unwritten:
            self.settle()

    def _given_up(self, key: str, task: asyncio.Task[Any]) -> None:
        """A step that was cancelled has ended. One that had not begun never came to its `finally`."""
        self._performed(key, task)
        if not self._unwritten:
            self.settle()

    def _performed(self, key: str, task: asyncio.Task[Any] | None) -> None:
        if self.steps.get(key) is task:
            del self.steps[key]
            self.backoffs.pop(key, None)
            self.once.discard(key)

    def _set_timer(self, command: Timer) -> None:
        due = self.memory.timers.pop(command.key, None)
        if due is None:
            due = self.host.clock.now() + command.after_s
            body = dumps({"due_at": due, "why": command.why})
            self._write(EventType.TIMER_SET, key=command.key, seen=command.seen, body=body)
        handle = self.host.call_at(due, partial(self._fire, command.key, command.seen))
        self.timers[command.key] = (due, handle)

    def _fire(self, key: str, seen: int) -> None:
        if not self.closed and self.timers.pop(key, None) is not None:
            self._write(EventType.TIMER_FIRED, key=key, seen=seen)

    def _start_child(self, command: StartChild) -> None:
        if not command.detached and self._replaced(EventType.CHILD_ENDED, command):
            return
        run = self.children.get(command.key) or command.id or f"{self.row.id}/{command.key}"
        if command.key in self.children:
            return self.host.child_left(run)
        if not command.detached:
            self.children[command.key] = run
        flow = command.flow
        assert isinstance(flow, Flow)
        new = NewRun(
            run, self.row.tenant, flow.name, flow.origin, flow.version, command.args, self._now(), self.host.seed(),
            self.host.journal.owner, flow.revision, self.row.id, None if command.detached else command.key,
        )  # fmt: skip
        kind = EventType.CHILD_DETACHED if command.detached else EventType.CHILD_STARTED
        self._write(
            kind, key=command.key, seen=command.seen, body=dumps({"run": run, "flow": flow.name}), children=[new],
            done=partial(self.host.child_started, run, command.args),
        )  # fmt: skip

    def _cancel(self, command: Cancel) -> None:
        task = self.steps.get(command.key)
        timer = self.timers.pop(command.key, None)
        if timer is not None:
            timer[1].cancel()
        if task is not None and command.key not in self.once:
            task.cancel()
            task.add_done_callback(partial(self._given_up, command.key))
        posts: list[Post] = []
        child = self.children.pop(command.key, None)
        if child is not None:
            asked = dumps({"by": f"run {self.row.id}", "why": "its parent no longer waits for it"})
            posts.append(Post(child, "cancel", f"parent:{self.row.id}", "", self._now(), None, asked))
        done = self.host.scan_soon if posts else None
        self._write(EventType.STEP_CANCELLED, key=command.key, seen=command.seen, posts=posts, done=done)

    # what attempts report

    async def durable(self, type_: str, command: RunStep, *, attempt: int, began: float | None = None, body: Any = None) -> None:
        """Journal something of an attempt, and wait for the commit."""
        self._check_open()
        future: asyncio.Future[None] = self.host.loop.create_future()
        packed = dumps(body) if body is not None else None
        self._write(
            type_, key=command.key, seen=command.seen, attempt=attempt, began=began, body=packed, args=command.args,
            done=partial(_resolve, future),
        )  # fmt: skip
        await future

    def step_ended(
        self, type_: str, command: RunStep, n: int, began: float | None, scope: StepScope | None,
        *, value: bytes | None = None, body: bytes | None = None,
    ) -> None:  # fmt: skip
        """Journal a step's outcome, and before it what its attempt recorded."""
        self._check_open()
        if scope is not None and scope.events:
            self.recorded(command.key, n, scope)
        self._write(
            type_, key=command.key, seen=command.seen, attempt=n, began=began, value=value, body=body, args=command.args
        )

    def _check_open(self) -> None:
        """A step that swallowed its cancellation may still report, when the run has ended or is another's."""
        if self.closed:
            raise asyncio.CancelledError

    def recorded(self, key: str, n: int, scope: StepScope) -> None:
        """Journal what an attempt recorded: also that of one that failed, since it was paid for."""
        for type_, version, body in scope.events:
            self._write(type_, key=key, attempt=n, body=dumps(body), version=version)
        scope.events.clear()

    def announce(self) -> None:
        """Say which steps take longer than a tick, for those who look on; quick ones are not worth an event."""
        lasting = self._running & self.steps.keys()
        self._running = set(self.steps)
        for key in lasting - self.announced:
            command = self.drive.waiting[key][0] if key in self.drive.waiting else None
            if isinstance(command, RunStep) and not command.options.guarded and key not in self.backoffs:
                self.announced.add(key)
                body = dumps({"late": True})
                self._write(EventType.ATTEMPT_STARTED, key=key, seen=command.seen, attempt=1, args=command.args, body=body)

    async def back_off(self, key: str, retry_at: float) -> None:
        """Wait for the next attempt. The run may park meanwhile."""
        self.backoffs[key] = retry_at
        self.settle()
        try:
            await asyncio.sleep(max(0.0, retry_at - self.host.clock.now()))
        finally:
            self.backoffs.pop(key, None)

    def unknown(self, key: str, why: str) -> None:
        """An interrupted once-effect that nobody could reconcile: the rest of the run goes on as far as it can."""
        self.unknowns[key] = why

    def made_again(self, command: RunStep) -> bool:
        """Whether a once-effect that turned out not to be applied is still wanted; if not, that is put on record."""
        if command.key in self.drive.waiting:
            return True
        body = dumps({"applied": False})
        self._write(EventType.STEP_CANCELLED, key=command.key, seen=command.seen, body=body)
        return False

    def again(self, command: Command) -> None:
        """Make a step anew, as if it had never been tried. One whose call is on its way is left to end."""
        key, memory = command.key, self.memory
        self.unknowns.pop(key, None)
        tries = memory.attempts.pop(key, None)
        if tries:
            memory.numbers[key] = tries[-1].n
        memory.retry_at.pop(key, None)
        task = self.steps.get(key)
        if task is not None and key in self.backoffs:
            task.cancel()
            del self.steps[key], self.backoffs[key]
        if isinstance(command, RunStep) and key not in self.steps and self._replayed:
            self._run(command)

    def keep_error(self, key: str, error: BaseException) -> None:
        """Keep a live error for its traceback."""
        self.drive.live_errors[key] = error

    # the inbox

    def receive(self, item: Item) -> None:
        """Turn an inbox item into an event. Each item is taken once, and none before the journal was read."""
        if item.no not in self.taken and self.begun and not self.closed:
            self.taken.add(item.no)
            inbox.receive(self, item)

    def resume(self) -> None:
        """Carry out what was held back."""
        self.paused = False
        held, self._held = self._held, []
        for command in held:
            if isinstance(command, Record) or self.drive.open_call(command.key) is not None:
                self._carry_out(command)
        self.settle()

    # the journal

    def _write(
        self, type_: str, *, key: str | None = None, attempt: int | None = None, seen: int | None = None,
        began: float | None = None, body: bytes | None = None, args: bytes | None = None, value: bytes | None = None,
        done: Any = None, version: int = 1, **more: Any,
    ) -> Event:  # fmt: skip
        self.seq += 1
        no, epoch = self.row.no, self.row.epoch
        event = Event(no, self.seq, epoch, self._now(), type_, version, key, attempt, seen, began, body, args, value)
        self._unwritten += 1
        self.host.journal.write(Write(event, self._written, done, More(**more) if more else None))
        return event

    write = _write

    def _written(self, write: Write, error: Exception | None) -> None:
        self._unwritten -= 1
        if error is not None:
            return self.lost(self.host.journal.explain(error))
        if write.then is not None:
            write.then()
        if self.closed:
            return
        event = write.event
        if event.type in DELIVERED:
            if self.children:
                self.children.pop(event.key or "", None)
            try:
                self.drive.deliver(event)
            except SegueError as failed:
                self.drive.fail(failed)
            self.settle()
        elif not self._unwritten:
            self.settle()

    def _now(self) -> float:
        self.at = max(self.at, self.host.clock.now())
        return self.at

    # ends and rests

    def end_cancelled(self, item: Item) -> None:
        """Cancel a run that is set aside: its code cannot run, so nothing is cleaned up."""
        try:
            self.children = Memory.of(self.host.journal.events(self.row)).children
        except StoreCorrupt:
            self.children = {}
        cancelled = fault_of(self, asyncio.CancelledError("the run was cancelled while it was set aside"))
        body = dumps({**loads(item.body), "fault": cancelled.body()})
        change, posts = Change(RunState.CANCELLED, {}, self._now()), self._farewell(None, body)
        done = partial(self.host.ended, self.row)
        self._write(EventType.RUN_CANCELLED, body=body, change=change, consumed=[item.no], posts=posts, done=done)
        self._drop()

    def _finish(self) -> None:
        if self.once:
            return  # an effect is on its way: the run ends after it
        if self.unknowns:
            return self._set_unknown_aside()
        type_, state, value, body = self._end()
        change, posts = Change(state, {}, self._now()), self._farewell(value, body)
        ended: list[Event] = []
        done = partial(self._tell_end, ended)
        ended.append(self._write(type_, value=value, body=body, change=change, posts=posts, done=done))
        self._drop()

    def _farewell(self, value: bytes | None, body: bytes | None) -> list[Post]:
        """What a run's end says to others: to its parent that it ended, to its children to end too."""
        row, at, posts = self.row, self._now(), list[Post]()
        if row.parent is not None and row.parent_key is not None:
            told = dumps({"run": row.id, **loads(body)})
            posts.append(Post(row.parent, "child.ended", f"child:{row.id}", row.parent_key, at, value, told))
        asked = dumps({"by": f"run {row.id}", "why": "its parent has ended"})
        return posts + [Post(c, "cancel", f"parent:{row.id}", "", at, None, asked) for c in self.children.values()]

    def _tell_end(self, ended: list[Event]) -> None:
        self.host.ended(self.row, ended[0])

    def _end(self) -> tuple[str, str, bytes | None, bytes | None]:
        """Type and state of the end, its result, or its fault."""
        orphans = {"orphaned": self.drive.orphans} if self.drive.orphans else {}
        try:
            with using(self.vault):
                value = roundtrip(self.flow.signature.result, self.drive.result())[0]
        except asyncio.CancelledError as error:
            if self.drive.cancelling:
                fault = fault_of(self, error)
                return EventType.RUN_CANCELLED, RunState.CANCELLED, None, dumps({**orphans, "fault": fault.body()})
            fault = fault_of(self, error)
        except BaseException as error:  # noqa: BLE001  whatever the flow raised is its end
            if isinstance(error, SegueError):
                error.run = error.run or self.row.id
            self.host.errors[self.row.no] = error.with_traceback(own_frames(error))
            fault = fault_of(self, error)
        else:
            return EventType.RUN_COMPLETED, RunState.COMPLETED, value, dumps(orphans) if orphans else None
        return EventType.RUN_FAILED, RunState.FAILED, None, dumps({**orphans, "fault": fault.body()})

    @property
    def resting(self) -> bool:
        """Whether all that the run waits for is durable."""
        return self.begun and not self._unwritten and not self.closed and len(self.steps) == len(self.backoffs)

    @property
    def due(self) -> bool:
        """Whether a timer or a backoff has run out: it moves on at once, and to park it would only make it start anew."""
        wakes = [due for due, _ in self.timers.values()] + list(self.backoffs.values())
        return bool(wakes) and min(wakes) <= self.host.clock.now()

    def _rest(self) -> None:
        if self.unknowns and not self.timers and not self.backoffs:
            self._set_unknown_aside()
        else:
            self.host.rests(self)

    def _set_unknown_aside(self) -> None:
        key, why = next(iter(self.unknowns.items()))
        self.set_aside(
            UnknownEffect(
                f"the effect of {key} was interrupted, and whether it was applied is unknown ({why})",
                run=self.row.id,
                key=key,
                remedy="find out, then: segue override RUN KEY --result JSON (it was), or --retry (it was not)",
            )
        )

    def waits_on(self) -> list[dict[str, Any]]:
        """What the run waits for, for people."""
        waits: list[dict[str, Any]] = []
        for key, (command, _) in self.drive.waiting.items():
            match command:
                case Wait():
                    waits.append({"signal": command.name, "key": key})
                case Timer() if key in self.timers:
                    waits.append({command.why: self.timers[key][0], "key": key})
                case StartChild():
                    waits.append({"child": self.children.get(key), "key": key})
                case RunStep() if key in self.backoffs:
                    waits.append({"retry": self.backoffs[key], "key": key})
                case RunStep():
                    waits.append({"step": key, "key": key})
                case _:
                    pass
        return waits

    def _park(self) -> None:
        due = [d for d, _ in self.timers.values()] + list(self.backoffs.values())
        detail: dict[str, Any] = {"waits_on": self.waits_on()[:20]}
        resting = self.resting
        state = RunState.PARKED if resting else RunState.QUEUED
        wake_at = min(due, default=None) if resting and not self.paused else None
        change = Change(state, detail, self._now(), wake_at, release=True)
        self._write(EventType.RUN_PARKED, body=dumps(detail), change=change, done=self.host.scan_soon)
        if wake_at is not None:
            self.host.wake_at(wake_at)

    def _guarded(self, move: Any) -> None:
        """Let the flow move; an error of the loop itself fails the flow."""
        try:
            move()
        except SegueError as error:
            self.drive.fail(error)

    def _input(self, args: bytes) -> dict[str, Any]:
        if callable(self.flow.migrate) and self.row.version != self.flow.version:
            args = dumps(self.flow.migrate(loads(args)))
        try:
            with using(self.vault):
                return decode_arguments(self.flow.signature.codecs, args)
        except ValueError as error:
            raise Undecodable(
                f"the stored input does not fit today's signature: {error}",
                run=self.row.id,
                remedy="restore the types, or give @flow(version=..., migrate=function) that turns the old input into the new",
            ) from error

    def _crash_loop(self, starts: int) -> CrashLoop:
        return CrashLoop(
            f"the run has been started {starts} times without progress: it seems to end its process",
            run=self.row.id,
            remedy="find out what kills the process (memory? os._exit?), then: segue resume RUN",
        )


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


