"""A second far side for the seam, as a spike: the same flows, run by a Temporal server.

A run is a workflow whose type is the flow's name. A `Drive` lives in it and takes the flow's commands: a step's attempt
becomes an activity, a timer a Temporal timer, a signal a signal, a child a child workflow. What Temporal resolves
becomes an event with the run's next `seq`, and is given to the Drive. Temporal's history is what survives: a new worker
replays it, resolves the same things in the same order, and so the same events are made again.

The Drive is moved only by callbacks of Temporal's loop, never inside of one of its tasks: the flow's tasks run on a
loop of their own, and Python 3.14 refuses to step a task while another one of the thread is in the middle of a step.

A step is retried here, by its Recovery, one activity for each attempt. Temporal's RetryPolicy knows delays and error
types; a Recovery is any pure function and may also answer with another candidate, another request or a person, and a
failed attempt is a fact of the journal. So each activity has one attempt, and the backoff is a timer.

Not in the spike: steps with `effect="once"`, versions of flows, pause, fork and continue-as-new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial, wraps
from typing import Any

from temporalio import workflow
from temporalio.client import WorkflowFailureError
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, FailureError, TimeoutError  # noqa: A004

from segue.core.codec import decode_arguments, dumps, loads, roundtrip
from segue.core.commands import Cancel, Command, Record, Rekey, RunStep, Seal, StartChild, Timer, Wait
from segue.core.events import Event, EventType
from segue.core.faults import INTERRUPTED, Fault, FaultKind, classify
from segue.core.recovery import Again, Attempt
from segue.core.replay import Memory
from segue.errors import SegueError
from segue.runtime import registry
from segue.runtime.deadlock import deadlock
from segue.runtime.drive import Drive

from .attempt import StepCall, attempt, failure, raw, step_name

LOST_S = 2.0
"""A worker whose activity has not been heard of for so long is taken for dead."""
LONGEST = timedelta(days=365)
"""Temporal wants a limit for every attempt. Segue's own, `timeout_s`, is kept by the activity."""


def guarded(method: Callable[..., None]) -> Callable[..., None]:
    """An error of a callback ends the workflow task: Temporal's loop would swallow it, and the run would hang."""

    @wraps(method)
    def call(self: FlowRun, *args: Any) -> None:
        try:
            method(self, *args)
        except Exception as error:  # noqa: BLE001  whatever it is, somebody must hear of it
            self.stop(error)

    return call


@workflow.defn(dynamic=True)
class FlowRun:
    """One run of any flow."""

    @workflow.init
    def __init__(self, args: Sequence[RawValue]):
        info = workflow.info()
        self.id = info.workflow_id
        self.flow = registry.find(info.workflow_type)
        self.drive = Drive(self.id, Memory(seeds=[(0, info.first_execution_run_id)]))
        self.events: list[Event] = []
        self.open: dict[str, Any] = {}
        self.put: dict[str, float] = {}
        """When records were written: the timers of a question count from its own."""
        """What is on its way, by key: each has a `cancel`."""
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self.loop.create_future()
        self.loop.call_soon(self._begin, args[0].payload.data)

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> RawValue:
        while not self.ended.done():
            try:
                await asyncio.shield(self.ended)
            except asyncio.CancelledError:
                if self.drive.cancelling or workflow.cancellation_reason() is None:
                    self.loop.call_soon(self.drive.suspend)  # the worker drops the run from its memory
                    raise
                self.loop.call_soon(self._deliver, EventType.RUN_CANCELLING)
        self.ended.result()  # raises what stopped it: the workflow task fails, and is tried again until it can go on
        try:
            return raw(roundtrip(self.flow.signature.result, self.drive.result())[0])
        except asyncio.CancelledError as error:
            if self.drive.cancelling:
                raise
            fault = classify(error)
        except Exception as error:  # noqa: BLE001  whatever the flow raised is its end
            fault = classify(error)
        raise failure(fault)

    @workflow.signal(dynamic=True)
    def signal(self, name: str, args: Sequence[RawValue]) -> None:
        value = (args[0].payload.data if args else b"") or b"null"  # None is no JSON to Temporal
        self.loop.call_soon(self._deliver, EventType.SIGNAL_RECEIVED, name, value)

    @workflow.query(name="segue-journal")
    def journal(self) -> list[list[Any]]:
        """The events as `[seq, type, key, attempt, value]`."""
        return [[e.seq, e.type, e.key, e.attempt, e.value and loads(e.value)] for e in self.events]

    def stop(self, error: Exception) -> None:
        """The run cannot go on here. It stays open."""
        if not self.ended.done():
            self.ended.set_exception(error)

    # events

    def _write(
        self,
        type_: str,
        key: str | None = None,
        value: bytes | None = None,
        body: Any = None,
        attempt: int | None = None,
    ) -> Event:
        packed = None if body is None else dumps(body)
        at = workflow.time()
        event = Event(0, len(self.events) + 1, 0, at, type_, key=key, attempt=attempt, body=packed, value=value)
        self.events.append(event)
        return event

    @guarded
    def _begin(self, args: bytes) -> None:
        self._write(EventType.RUN_ACCEPTED)
        self.drive.begin(self.flow.body(decode_arguments(self.flow.signature.codecs, args)), workflow.time())
        self._move(partial(self.drive.replay, Memory()))

    @guarded
    def _deliver(self, type_: str, *what: Any) -> None:
        if not self.ended.done():
            self._move(partial(self.drive.deliver, self._write(type_, *what)))

    def _move(self, move: Callable[[], None]) -> None:
        """Let the flow move, then carry out what it asks for."""
        try:
            move()
            if self.drive.idle:
                raise deadlock(self.id)
        except SegueError as error:
            self.drive.fail(error)
        for command in self.drive.take():
            self._carry_out(command)
        if self.drive.stuck is not None:
            self.stop(self.drive.stuck)
        elif self.drive.done:
            self.ended.set_result(None)

    # commands

    def _carry_out(self, command: Command) -> None:
        match command:
            case RunStep() if command.options.effect == "once":
                raise NotImplementedError(f'{command.key}: effect="once" is not in the spike')
            case RunStep():
                self._attempt(command, [])
            case Timer(key=key, why=why):
                due = self.put.get(command.since or "", workflow.time()) + command.after_s
                self._write(EventType.TIMER_SET, key, body={"due_at": due, "why": why})
                self.open[key] = self.loop.call_later(max(0.0, due - workflow.time()), self._fire, key)
            case StartChild():
                task = self.open[command.key] = self.loop.create_task(self._child(command))
                task.add_done_callback(partial(self._child_ended, command))
            case Record():
                self.put[command.key] = workflow.time()
                self._write(command.type, command.key, command.value, command.body)
            case Cancel(key=key):
                self._write(EventType.STEP_CANCELLED, key)
                if key in self.open:
                    self.open.pop(key).cancel()
            case Wait() | Seal() | Rekey():
                pass

    def _fire(self, key: str) -> None:
        del self.open[key]
        self._deliver(EventType.TIMER_FIRED, key)

    @guarded
    def _attempt(self, command: RunStep, history: list[Attempt]) -> None:
        key, options, n = command.key, command.options, len(history) + 1
        handle = self.open[key] = workflow.start_activity(
            attempt,
            args=[StepCall(step_name(command), key, n, options.timeout_s), raw(command.args)],
            activity_id=f"{key}@{n}",
            start_to_close_timeout=LONGEST,
            heartbeat_timeout=timedelta(seconds=LOST_S),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )
        handle.add_done_callback(partial(self._attempted, command, history, workflow.time()))

    @guarded
    def _attempted(
        self, command: RunStep, history: list[Attempt], began: float, handle: asyncio.Task[RawValue]
    ) -> None:
        key, n = command.key, len(history) + 1
        if self.open.get(key) is not handle:
            return  # given up
        del self.open[key]
        try:
            payload = handle.result().payload
        except ActivityError as error:
            fault = fault_of(error)
        else:
            for kind, _, record in loads(payload.metadata["segue-events"]):
                self._write(kind, key, body=record, attempt=n)
            return self._deliver(EventType.STEP_COMPLETED, key, payload.data, None, n)
        history.append(Attempt(0, n, began, fault))
        if fault.kind is FaultKind.INTERRUPTED and not command.options.guarded:
            answer = Again(0.0)  # nothing says that it ran
        else:
            answer = command.options.retry(fault, history, workflow.random().random())
        if not isinstance(answer, Again):
            return self._deliver(EventType.STEP_FAILED, key, None, {"fault": fault.body()}, n)
        body = {"fault": fault.body(), "retry_at": workflow.time() + answer.after_s}
        self._write(EventType.ATTEMPT_FAILED, key, body=body, attempt=n)
        self.open[key] = self.loop.call_later(answer.after_s, self._attempt, command, history)

    async def _child(self, command: StartChild) -> bytes | None:
        stays = workflow.ParentClosePolicy.ABANDON if command.detached else workflow.ParentClosePolicy.REQUEST_CANCEL
        handle = await workflow.start_child_workflow(
            command.flow.name, raw(command.args), id=self._child_id(command), result_type=RawValue,
            parent_close_policy=stays,
        )  # fmt: skip
        self._write(EventType.CHILD_STARTED, command.key, body={"run": self._child_id(command)})
        return None if command.detached else (await handle).payload.data

    def _child_id(self, command: StartChild) -> str:
        return command.id or f"{self.id}/{command.key}"

    @guarded
    def _child_ended(self, command: StartChild, task: asyncio.Task[bytes | None]) -> None:
        if self.open.get(command.key) is not task:
            return
        del self.open[command.key]
        body: dict[str, Any] = {"run": self._child_id(command)}
        value: bytes | None = None
        try:
            value = task.result()
        except FailureError as error:
            body["fault"] = fault_of(error).body()
        type_ = EventType.CHILD_DETACHED if command.detached else EventType.CHILD_ENDED
        self._deliver(type_, command.key, value, body)


def fault_of(error: FailureError | WorkflowFailureError) -> Fault:
    """The fault that an attempt or a run has ended in; `interrupted` when its worker was lost."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.details:
        return Fault.read(cause.details[0])
    if isinstance(error, ActivityError) and isinstance(cause, TimeoutError | CancelledError):
        return INTERRUPTED
    if isinstance(cause, CancelledError):
        return classify(asyncio.CancelledError())
    return classify(cause or error)
