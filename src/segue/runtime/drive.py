"""Drives one run's coroutine: takes its durable calls as commands, gives it outcomes in journal order.

Pure but for the user's code: no clock, no I/O, no threads. The far side calls `begin`, then `replay` with what the
journal holds, then `deliver` for each new outcome, and after each of them carries out what `take` returns.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..core.commands import Cancel, Command, Record, RunStep, Seal, StartChild, Timer, Wait
from ..core.events import OUTCOMES, Event, EventType
from ..core.keys import part_of_run
from ..core.replay import Memory
from ..core.sealed import sealed
from ..core.secret import Sealer, use
from ..errors import InternalError, RunStuck, Suspended
from .claims import Claims, rekeyed
from .exits import failure
from .loop import FlowLoop, aside
from .match import in_the_way, mismatch, not_given_up, stray, unread
from .once import Known, came_of
from .scope import FlowScope, enter
from .unwinding import Unwinding, abandon, drained, unwind

Future = asyncio.Future[Event]
Bind = Callable[[tuple[Any, ...], dict[str, Any]], bytes]
_NONE = Memory()


class Drive:
    """One incarnation of a run in this process.

    `strict` says that the code is the one that wrote the journal: each outcome must find its call. Otherwise outcomes
    whose call does not come are kept for a later claim and reported as `orphans`.
    """

    def __init__(self, run: str, memory: Memory = _NONE, *, strict: bool = True, threads: Sequence[str] = ()):
        self.run, self.now = run, 0.0
        self.prepare(memory, strict=strict, threads=threads)
        self.loop = FlowLoop(run, lambda: self.now)
        self.bind: Bind | None = None
        """Makes an input of arguments, where the far side lets a flow go on as new."""
        self.stuck: RunStuck | None = None
        self.cancelling = self.replaying = False
        self.cleanups: list[Callable[[], Awaitable[Any]]] = []
        self.waiting: dict[str, tuple[Command, Future]] = {}
        """Calls without an outcome, by their key on record: what the run waits for."""
        self.live_errors: dict[str, BaseException] = {}
        """The errors of this process, by key: only their tracebacks are used, since a replay does not have them."""
        self.claims = Claims()
        """What the journal holds of calls that are made otherwise today."""
        self.signals: dict[str, deque[Event]] = {}
        """What nobody has waited for yet, by name."""
        self.secrets: dict[str, Wait] = {}
        """The last wait of each name that has taken a secret."""
        self.left: dict[str, RunStep] = {}
        """Once-effects without an outcome that the flow gave up: what came of them is still to be found out."""
        self.unwound: set[str] = set()
        """What the flow waited for as a value that cannot be read ended it: it gave none of that up."""
        self.late: dict[str, Known] | None = None
        """What came of those since, where somebody may ask."""
        self._root: asyncio.Task[Any] | None = None
        self._waits, self._dropped = dict[str, deque[str]](), set[str]()
        self._out, self._given_up, self._recorded = list[Command](), dict[str, Command](), set[tuple[str, str]]()
        self._unwinding: Unwinding | None = None
        self._failed: Exception | None = None

    # the far side's face

    def prepare(self, memory: Memory, *, strict: bool, threads: Sequence[str]) -> None:
        """Where the flow begins, whether its code is the same, and its thread, with those that this has left."""
        self._seeds, self.seen, self.strict, self.threads = memory.seeds, memory.begun_at, strict, threads
        self.questions = {key: put.id for key, put in memory.put.items()}
        self.scope = FlowScope(self, part_of_run(memory.part))

    def begin(self, body: Callable[[], Awaitable[Any]], at: float, sealer: Sealer | None = None) -> None:
        """Make the flow's task, which seals its secrets with `sealer`. Nothing runs before `replay` or `deliver`."""
        self.now = at
        context = contextvars.Context()
        context.run(enter, self.scope)
        context.run(use, sealer)
        self._root = self.loop.create_task(self._main(body), context=context)

    def replay(self, memory: Memory) -> None:
        """Run up to the end of the journal, then keep only the commands that are still wanted."""
        self._recorded, self.replaying, self.claims.memory = set(memory.recorded), True, memory
        self.loop.quiet = not memory.fresh
        with aside():
            self.loop.drain_aside()
            for event in memory.outcomes:
                if event.type == EventType.CHILD_ENDED and event.key in self.waiting:
                    self._check_children([self.waiting[event.key][0]])
                if self.stuck is None and not self.done:
                    self.deliver_aside(event)
                elif event.type == EventType.SIGNAL_RECEIVED:
                    self._give_signal(event)  # for the next part of a run that goes on as new
                self.cancelling |= event.type == EventType.RUN_CANCELLING
        self.replaying = self.loop.quiet = False
        if memory.fresh and len(self._out) == len(self.waiting):
            return
        wanted = {id(c) for c, _ in self.waiting.values()}
        self._out = [c for c in self._out if isinstance(c, Record | Seal | Cancel) or id(c) in wanted]
        self._know_again(memory)
        if self.stuck is None:
            self._check_frontier(memory)
        self._given_up.clear()
        self._out = [c for c in self._out if not isinstance(c, Cancel) or c.key not in memory.cancelled]
        self._out += [c for k, c in self.left.items() if k in memory.effects]

    def deliver(self, event: Event) -> None:
        """Give the flow one outcome and let it settle."""
        with aside():
            self.deliver_aside(event)

    def deliver_aside(self, event: Event) -> None:
        """`deliver`, within `aside`."""
        seq, at, kind = event.seq, event.at, event.type
        if seq > self.seen:  # noqa: PLR1730  a signal that an earlier part of the run has left may be older
            self.seen = seq
        if at > self.now:  # noqa: PLR1730  `max` is a call, at every step
            self.now = at
        if kind in OUTCOMES:
            key = event.key or ""
            call = self.waiting.pop(key, None)
            if call is None:
                self._give_outcome(event)
            elif not call[1].done():
                call[1].set_result(event)
        elif kind == EventType.SIGNAL_RECEIVED:
            self._give_signal(event)
        else:
            self.cancelling = True
            if self._root is not None:
                self._root.cancel()
        self.loop.drain_aside()
        root = self._root
        if self._unwinding is None and (root is None or root.done()) and self.done:
            self._unwind(asyncio.CancelledError())  # its forgotten tasks end with it

    def take(self) -> list[Command]:
        """The commands made since the last call."""
        out, self._out = [*self.claims.take_found(self.seen), *self._out], []
        self._check_children(out)
        return out

    @property
    def done(self) -> bool:
        """Whether the flow has returned or raised."""
        return self._failed is not None or (self._root is not None and self._root.done())

    @property
    def idle(self) -> bool:
        """Whether it waits for something that no durable call will bring."""
        return not self.waiting and not self.done and self.stuck is None

    def result(self) -> Any:
        """What the flow returned. Raises what it raised; CancelledError when it was cancelled."""
        if self._failed is not None:
            raise self._failed
        assert self._root is not None
        return self._root.result()

    def next_wait(self, name: str) -> Wait | None:
        """The wait that takes the next signal of this name; None: nobody waits for it yet."""
        call = next((self.waiting[key][0] for key in self._waits.get(name, ()) if key in self.waiting), None)
        return call if isinstance(call, Wait) else None

    def open_call(self, key: str) -> Command | None:
        """A call without an outcome, by its key on record: it is waited for, or is a once-effect that was given up."""
        return self.waiting[key][0] if key in self.waiting else self.left.get(key)

    def on_record(self, key: str) -> str:
        """The key in the journal of a call without an outcome, by that or another that it has had. What people name is
        turned into it once, where it comes in: from then on a key names one call.
        """
        known = key if key in self.waiting or key in self.left else self.claims.named(key)
        return key if self.open_call(known) is None else known

    @property
    def orphans(self) -> list[str]:
        """Keys of outcomes in the journal that the code no longer asks for."""
        return self.claims.orphans

    def suspend(self) -> None:
        """Unwind the coroutine. Whatever it returns, raises or calls meanwhile is discarded. Raises an interruption."""
        try:
            self._unwind(Suspended())
        finally:
            if abandon(self.loop, self.run):
                self.claims = Claims()  # the journal that was read is not kept with them
            self._root = None  # its traceback holds the flow's frames, and they its locals

    def fail(self, error: Exception) -> None:
        """Raise an error at the flow's await."""
        assert self._root is not None
        for key in list(self.waiting):
            self._forget(key)
        self._unwinding, self._failed = Unwinding(error), error
        self._root.cancel()
        drained(self.loop)

    # the near side's face

    def request(self, command: RunStep | Wait | Timer | StartChild) -> Future:
        """A durable call: a future of its outcome."""
        if self._unwinding is not None:
            return self._unwinding.refuse(self.loop)
        future: Future = asyncio.Future(loop=self.loop)
        if self.claims:
            command = self.claims.of(command)
        key = command.key
        if key in self.waiting:
            raise InternalError("two calls have one key", run=self.run, key=key)
        if isinstance(command, Wait) and self.signals.get(command.name):
            future.set_result(self.signals[command.name].popleft())
            return future
        if self.claims.unclaimed and (claimed := self._claim(command)) is not None:
            future.set_result(claimed)
            return future
        self.waiting[key] = (command, future)
        if isinstance(command, Wait):
            self._waits.setdefault(command.name, deque()).append(key)
        self._out.append(command)
        return future

    async def outcome(self, command: RunStep | Wait | Timer | StartChild) -> Event:
        """A durable call, awaited; a cancellation gives the call up."""
        try:
            return await self.request(command)
        except asyncio.CancelledError:
            self.give_up(command.key)
            raise

    def give_up(self, key: str) -> None:
        """The flow no longer wants this outcome."""
        key = self.claims.recorded(key)
        if key in self.waiting:
            command = self._forget(key)
            self._dropped.add(key)
            if self.replaying:
                self._given_up[key] = command
            self._out.append(Cancel(key, command.seen))

    def record(
        self, type_: str, key: str, body: dict[str, Any], value: bytes | None = None, *, version: int = 1
    ) -> None:
        """Journal a fact of the near side, once."""
        if self._unwinding is None and (type_, key) not in self._recorded:
            self._recorded.add((type_, key))
            self._out.append(Record(key, self.seen, type_, body, value, version))

    def seal(self, wait: Wait, event: Event) -> Event:
        """A signal that was taken, as it is from now on: no secret in it stays in the journal as it came."""
        self.secrets[wait.name] = wait
        value = sealed(wait, event.value) if event.type == EventType.SIGNAL_RECEIVED else event.value
        if value is None or value == event.value or self._unwinding is not None:
            return event
        self._out.append(Seal(event.key or "", self.seen, event.seq, value))
        return event._replace(value=value)

    def undecodable(self, key: str, why: str, *, taken: bool = False) -> Suspended:
        """Set the run aside: a stored value, or what a wait has `taken`, does not fit its type. Leaves the flow."""
        self.stuck = unread(self.run, self.claims.recorded(key), why, taken=taken)
        self.unwound |= self.waiting.keys()
        return Suspended()

    def failure(self, event: Event) -> Exception:
        """The error of a failed step or child, with a note of where it happened."""
        return failure(self.run, event, self.live_errors.pop(event.key or "", None))

    def in_main_task(self) -> bool:
        """Whether this is the flow's own task, and none that it has made."""
        return asyncio.current_task() is self._root

    @property
    def seed(self) -> str:
        """The seed of random values at this place of the journal."""
        return next((seed for seq, seed in reversed(self._seeds) if seq <= max(self.seen, 1)), "")

    # inside

    async def _main(self, body: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await body()
        finally:
            await self._clean_up()

    async def _clean_up(self) -> None:
        """All of them, whatever becomes of the others. Raises the first error, or else a cancellation."""
        failed: BaseException | None = None
        while self.cleanups and not (self._unwinding and self._unwinding.leaves):
            try:
                await self.cleanups.pop()()
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  raised after the others' turn
                failed = failed if isinstance(failed, Exception) else error
        if failed is not None:
            raise failed

    def _give_outcome(self, event: Event) -> None:
        if (key := event.key or "") in self._dropped:
            self._settle(key, event)
        elif self.replaying:
            self._unexpected(event)
        else:
            self.claims.keep(event)

    def _give_signal(self, event: Event) -> None:
        name = event.key or ""
        waits = self._waits.get(name)
        while waits:
            call = self.waiting.pop(key := waits.popleft(), None)
            if call is not None and not call[1].done():
                self._dropped.add(key)  # what an operator says of it at the same time comes too late
                call[1].set_result(event)
                return
        self.signals.setdefault(name, deque()).append(event)

    def _unexpected(self, event: Event) -> None:
        """An outcome whose call has not been made, or goes by another key today."""
        same = self.claims.call_of(event, [c for c, _ in self.waiting.values()], self._given_up.values())
        if same is not None:
            self.claims.bind(same, event.key or "")
            if same in self.waiting:
                self.waiting.pop(same)[1].set_result(event)
            else:
                self._out.remove(Cancel(same, self._given_up[same].seen))
            self._settle(same, event)
        elif self.strict and event.key not in self.claims.memory.placed.same:
            self.stuck = mismatch(self.run, event, stray(event, [c for c, _ in self.waiting.values()]), strict=True)
        else:
            self.claims.await_call(event)

    def _settle(self, key: str, event: Event) -> None:
        """There is an outcome of a call that was given up."""
        self._dropped.discard(key)
        if self.left.pop(key, None) is not None and self.late is not None:
            self.late[event.key or ""] = came_of(event)
        self._given_up.pop(key, None)

    def _know_again(self, memory: Memory) -> None:
        """Calls without an outcome that are on record under an older key: all goes on under that one."""
        known = self.claims.known_again(memory, [c for c, _ in self.waiting.values()], self._given_up.values())
        if known:
            self.waiting = {known.get(k, k): (rekeyed(c, known), future) for k, (c, future) in self.waiting.items()}
            self.left = {known.get(k, k): rekeyed(c, known) for k, c in self.left.items()}
            self._dropped = {known.get(k, k) for k in self._dropped}
            self._out = [c if isinstance(c, Record | Seal) else rekeyed(c, known) for c in self._out]

    def _claim(self, command: Command) -> Event | None:
        begun = command.key in self.claims.unclaimed
        claimed = self.claims.claim(command)
        if claimed is None and not begun and not self.replaying:
            self._check_effect(command)
        return claimed

    def _check_frontier(self, memory: Memory) -> None:
        """A once-effect that was begun under other arguments is never made again, whatever was changed."""
        asked = {c.key for c, _ in self.waiting.values()} | self.left.keys()
        lost = sorted(memory.effects - asked)
        self.claims.lose(lost, memory.begun_children - asked - self._dropped)
        self.claims.hold_given(asked)
        self._check_children([command for command, _ in self.waiting.values()])
        for command, _ in self.waiting.values():
            if command.key not in memory.open_args:  # else it was begun when nothing stood in its way
                self._check_effect(command)
        if lost and self.strict and self.stuck is None:
            self.stuck = mismatch(self.run, self.claims.unclaimed[lost[0]], None, strict=True)

    def _check_children(self, commands: Sequence[Command]) -> None:
        if not self.strict and self.stuck is None:
            again = next((c.key for c in commands if c.key in self.waiting and self.claims.gave_up(c)), None)
            self.stuck = None if again is None else not_given_up(self.run, again)

    def _check_effect(self, command: Command) -> None:
        instead = self.claims.in_place_of(command) if self.stuck is None else None
        if instead is not None:
            self.stuck = in_the_way(self.run, instead, command.key, strict=self.strict, led=self.claims.led_elsewhere)

    def _unwind(self, error: BaseException) -> None:
        self._unwinding = Unwinding(error)
        for key, (_, future) in list(self.waiting.items()):
            if not future.done():
                future.set_exception(Suspended())
                future.exception()
            self._forget(key)
        unwind(self.loop)

    def _forget(self, key: str) -> Command:
        command, _ = self.waiting.pop(key)
        if isinstance(command, Wait) and key in self._waits.get(command.name, ()):
            self._waits[command.name].remove(key)
        if isinstance(command, RunStep) and command.options.effect == "once":
            self.left[key] = command
        return command
