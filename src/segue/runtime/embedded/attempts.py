"""The attempt pipeline: carries one step out, attempt after attempt, as its Recovery says."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ...core.codec import decode_arguments, dumps, roundtrip
from ...core.commands import Command, RunStep
from ...core.events import EventType
from ...core.faults import INTERRUPTED, Fault, FaultKind, cut_off
from ...core.recovery import Again, Amend, Answer, AskPerson, Attempt, Fail, Take, Use, plan_of
from ...core.redaction import redacted
from ...errors import SegueError, UnserialisableResult
from ...journal import BESIDE, Post
from ..effects import Applied, NotApplied, is_looked_into
from ..exits import as_error, in_thread
from ..outlet import close, void
from ..scope import StepScope, enter
from . import carrying, doubts, people, stopped
from .purse import StepPurse, recorded
from .sealing import fault_of
from .stalls import confirm
from .starting import StepTask
from .wanted import begins_anew, made_again, may_begin, wanted

if TYPE_CHECKING:
    from .execution import Execution


async def perform(execution: Execution, command: RunStep, history: list[Attempt], retry_at: float | None) -> None:
    """Make attempts until the step has an outcome, and journal it.

    `history` are the attempts of earlier incarnations. A guarded step's attempt is durable before the call, a failure
    before its backoff.
    """
    options = command.options
    if history and not await _taken_up(execution, command, history, retry_at):
        return
    while options.effect != "once" or may_begin(execution, command.key):
        n = 1 + (history[-1].n if history else execution.memory.numbers.get(command.key, 0))
        execution.tries[command.key] = n
        execution.memory.settle_doubt(command.key)  # as a replay does: another one is to be found first
        if options.guarded:
            body = {"effect": options.effect}
            await execution.durable(EventType.ATTEMPT_STARTED, command, attempt=n, body=body)
        if options.effect == "once" and not made_again(execution, command):
            return
        began = execution.host.clock.now()
        plan = plan_of(history)
        scope = StepScope(
            execution.row.id, command.key, n, tuple(history), plan.candidate, epoch=execution.row.epoch,
            tenant=execution.row.tenant, write=partial(_commit, execution, command, n),
            later=partial(_later, execution, command.key, n), purse=StepPurse(execution, command, n),
        )  # fmt: skip
        try:
            value = await _attempt(execution, command, scope, plan.changes)
        except BaseException as raised:  # noqa: BLE001  a step may raise anything: it becomes a fault
            void(scope, raised)
            error = _its_own(execution, command.key, raised, threaded=options.threaded)
            await stopped.heed(execution, error)
            fault = fault_of(execution, error, options)
            history.append(Attempt(execution.row.epoch, n, began, fault, ended=execution.host.clock.now()))
            execution.keep_error(command.key, error)
            if options.effect == "once" and not await _certain(execution, command, fault, error):
                return
            if not await _goes_on(execution, command, history, fault, scope):
                return
        else:
            close(scope, value)
            execution.step_ended(EventType.STEP_COMPLETED, command, n, began, scope, value=value)
            return


async def _taken_up(execution: Execution, command: RunStep, history: list[Attempt], retry_at: float | None) -> bool:
    """Go on where an earlier incarnation stood. False when no attempt follows: the step has its outcome."""
    last, options, key = history[-1], command.options, command.key
    if options.effect == "once" and _failed(last) and not made_again(execution, command):
        return False
    if isinstance(last.answer, AskPerson | Take | Fail):
        due_at, asked = execution.memory.due_at.get(key), key in execution.memory.asked
        return await people.go_on(execution, command, history, due_at, asked=asked)
    if last.answer is None and last.fault is not None and last.fault.kind is FaultKind.INTERRUPTED:
        if options.effect == "once":
            why = execution.memory.doubts.get(key, "the process ended while it was made")
            return await _reconcile(execution, command, why) and begins_anew(execution, command)
        return not options.guarded or await _goes_on(execution, command, history, last.fault)
    if retry_at is not None:
        await back_off(execution, key, retry_at)
    return True


def _failed(last: Attempt) -> bool:
    """Whether nothing is in doubt, nor said by a person: the attempt failed, and another one may follow."""
    interrupted = last.fault is not None and last.fault.kind is FaultKind.INTERRUPTED
    return not interrupted and not isinstance(last.answer, Take | Fail)


async def _commit(  # noqa: PLR0917  bound in one place
    execution: Execution, command: RunStep, n: int, type_: str, version: int, body: dict[str, Any]
) -> None:
    """Journal what an attempt says, and wait for the commit."""
    await execution.durable(type_, command, attempt=n, body=body, version=version)


async def _later(execution: Execution, key: str, n: int, version: int, body: dict[str, Any]) -> None:
    """Journal what was made beside an attempt, by the run's inbox: its run may rest, be another's, or have ended."""
    host, said = execution.host, dumps({"attempt": n, "version": version, "record": body})
    await host.journal.post(Post(execution.row.id, BESIDE, str(uuid4()), key, host.clock.now(), body=said))
    host.scan_soon()


async def perform_once(execution: Execution, command: RunStep) -> None:
    """The common case, in a few lines for speed: one attempt of an async function, with no limit."""
    key, host = command.key, execution.host
    try:
        if host.pace_s:
            await execution.late()
        began = host.clock.now()
        purse = StepPurse(execution, command, 1)
        row = execution.row
        scope = StepScope(row.id, key, 1, epoch=row.epoch, tenant=row.tenant, purse=purse)
        enter(scope)
        try:
            value, _ = roundtrip(command.result, await command.call(**command.values))
        except BaseException as raised:  # noqa: BLE001  a step may raise anything: it becomes a fault
            void(scope, raised)
            error = _its_own(execution, key, raised)
            await stopped.heed(execution, error)
            if isinstance(error, SegueError) and error.run is None:
                error.run, error.key = execution.row.id, key
            fault = fault_of(execution, error)
            execution.keep_error(key, error)
            history = [Attempt(execution.row.epoch, 1, began, fault, ended=host.clock.now())]
            await _goes_on(execution, command, history, fault, scope)
        else:
            if scope.outlets:
                close(scope, value)
            if scope.events or execution.closed or execution.drive.live_errors:
                execution.step_ended(EventType.STEP_COMPLETED, command, 1, began, scope, value=value)
            else:
                execution.completed(command, began, value)
    except Exception as error:  # noqa: BLE001  a bug of ours
        host.crashed(execution, error)


def _its_own(execution: Execution, key: str, raised: BaseException, *, threaded: bool = False) -> Exception:
    """What a step raised, as an error. Raises it again when it is not the step's: others cancel it, or Ctrl-C."""
    if isinstance(raised, Exception):
        return raised
    if isinstance(raised, SystemExit):
        return as_error(raised, f"the step called sys.exit({raised.code!r})")
    if isinstance(raised, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is None or (task.cancelling() and not (isinstance(task, StepTask) and task.cancels_itself)):
            raise raised
        return as_error(
            raised, "the step let a CancelledError out that nobody else had asked for: what it awaited was cancelled"
        )
    if isinstance(raised, KeyboardInterrupt) and not threaded:
        raise raised
    if isinstance(raised, GeneratorExit) and not (key in execution.steps and execution.steps[key].moving):
        raise raised  # Python closes it: nobody will hear of its end
    return as_error(raised)


async def _goes_on(
    execution: Execution, command: RunStep, history: list[Attempt], fault: Fault, scope: StepScope | None = None
) -> bool:
    """Ask the Recovery; wait the backoff out, or journal the failure. True when there is another attempt."""
    if command.key in execution.overridden:
        return False
    answer, fault = _answer(execution, command, history, fault)
    last, options = history[-1], command.options
    if options.effect == "once" and not isinstance(answer, Fail) and not made_again(execution, command):
        return False
    if isinstance(answer, Again | Use | Amend) and (options.effect != "once" or options.reconcile is not None):
        history[-1] = last._replace(answer=answer)
        retry_at = execution.host.clock.now() + answer.after_s
        if scope is not None and scope.events:
            recorded(execution, command.key, last.n, scope.events)
        body: dict[str, Any] = {"fault": fault.body(), "retry_at": retry_at}
        value = None
        if isinstance(answer, Use):
            body |= {"then": "use", "to": answer.candidate}
        elif isinstance(answer, Amend):
            body |= {"then": "amend"}
            value = dumps(answer.changes)
        with carrying.failed(execution, command.key):
            await execution.durable(
                EventType.ATTEMPT_FAILED, command, attempt=last.n, began=last.began, body=body, value=value
            )
        await back_off(execution, command.key, retry_at)
        return True
    if isinstance(answer, AskPerson):
        history[-1] = last._replace(fault=fault)
        if scope is not None and scope.events:
            recorded(execution, command.key, last.n, scope.events)
        return await people.hand_over(execution, command, history, answer)
    if fault == INTERRUPTED:
        fault = cut_off(execution.row.id, command.key, last.n)
    body = {"fault": fault.body()}
    execution.step_ended(EventType.STEP_FAILED, command, last.n, last.began, scope, body=dumps(body))
    return False


async def back_off(execution: Execution, key: str, retry_at: float) -> None:
    """Wait for the next attempt, and while the run is paused. The run may park meanwhile."""
    execution.backoffs[key] = retry_at
    execution.settle()
    try:
        await asyncio.sleep(max(0.0, retry_at - execution.host.clock.now()))
        while execution.still:
            execution.on = execution.on or asyncio.Event()
            await execution.on.wait()
    finally:
        execution.backoffs.pop(key, None)


def _answer(execution: Execution, command: RunStep, history: list[Attempt], fault: Fault) -> tuple[Answer, Fault]:
    """What the Recovery says. One that raises, or gives no time to wait, fails the step with its own error."""
    try:
        answer = command.options.retry(fault, history, execution.host.luck())
        if isinstance(answer, Again | Use | Amend) and not 0 <= answer.after_s < math.inf:
            raise ValueError(f"retry= of {command.options.name} answered {answer!r}: not a time to wait")
        if isinstance(answer, Amend):
            answer = Amend(_amended(command, answer.changes), answer.after_s)
        elif isinstance(answer, AskPerson):
            answer = people.checked(command, answer)
        elif not isinstance(answer, Again | Use | Fail):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
            raise TypeError(f"retry= of {command.options.name} answered {answer!r}: no answer of a Recovery")
    except Exception as error:  # noqa: BLE001  a user's Recovery may raise anything
        error.add_note(f"raised by retry= of {command.options.name}, after {fault.error}: {fault.message}")
        execution.keep_error(command.key, error)
        return Fail(), fault_of(execution, error, command.options)
    return answer, fault


def _amended(command: RunStep, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changed arguments as the JSON that a replay would read. Raises KeyError for one that there is not."""
    codecs = command.codecs
    return {name: json.loads(codecs[name].encode(codecs[name].validate(value))) for name, value in changes.items()}


async def _attempt(execution: Execution, command: RunStep, scope: StepScope, changes: Mapping[str, Any]) -> bytes:
    """One call of the user's function. The result as JSON, checked to read back."""
    values = command.values
    if scope.history:
        values = decode_arguments(command.codecs, command.args) | decode_arguments(command.codecs, dumps(changes))
    limit, threaded = command.options.timeout_s, command.options.threaded
    try:
        if limit is None:
            result = await _call(execution, command.call, values, scope, threaded=threaded)
        else:
            async with asyncio.timeout(limit) as timer:
                result = await _call(execution, command.call, values, scope, threaded=threaded)
    except TimeoutError as error:
        if limit is not None and timer.expired():  # pyright: ignore[reportPossiblyUnboundVariable]  set with limit
            raise TimeoutError(f"the attempt took longer than timeout_s={limit:g}") from error
        raise
    try:
        return _stored(command, result)
    except SegueError as error:
        error.run, error.key = execution.row.id, command.key
        raise


def _stored(command: RunStep, result: Any) -> bytes:
    """A result as it is journaled: redacted first, where the step says so."""
    how = command.options.redact
    return roundtrip(command.result, result if how is None else redacted(how, command.result, result))[0]


async def _call(
    execution: Execution, function: Callable[..., Any], values: Any, scope: StepScope, *, threaded: bool
) -> Any:
    if not threaded:
        enter(scope)
        return await function(**values)
    context = contextvars.copy_context()
    context.run(enter, scope)
    host = execution.host
    asked_at = host.loop.time()

    def work() -> Any:
        if host.loop.time() - asked_at > host.stall_s:  # it stood in line: is the run still this process's?
            confirm(execution)
        if scope.attempt and scope.key in execution.once and not wanted(execution, scope.key):
            raise InterruptedError("the effect was given up, or overridden, before it began")
        return in_thread(partial(context.run, function, **values))

    call = host.loop.run_in_executor(host.threads, work)
    return await (_its_end(execution, scope.key, call) if scope.key in execution.once else call)


async def _its_end(execution: Execution, key: str, call: asyncio.Future[Any]) -> Any:
    """A once-effect in a thread, awaited to its end: a thread cannot be stopped, and until it has ended nobody can say
    what came of it. A time limit is passed over, since what the thread returned is known.
    """
    execution.in_thread[key] = call
    try:
        while not call.done():
            try:
                await asyncio.wait([call])
            except asyncio.CancelledError:
                if execution.closed:
                    raise
        return call.result()
    finally:
        if execution.in_thread.get(key) is call:
            del execution.in_thread[key]


async def _certain(execution: Execution, command: RunStep, fault: Fault, error: Exception) -> bool:
    """Whether a once-effect that failed was surely not applied. Reconciles it where that is in doubt."""
    if not is_looked_into(fault, command.options):
        return True
    if isinstance(error, UnserialisableResult):
        return await _reconcile(execution, command, f"it was made, and its result cannot be stored: {fault.message}")
    return await _reconcile(execution, command, f"{fault.kind.value}: {fault.message}")


async def _reconcile(execution: Execution, command: RunStep, why: str) -> bool:
    """After a once-effect in doubt: True when it was not applied. Else it has its outcome, or nobody knows it."""
    ask = command.options.reconcile
    if command.key in execution.overridden:
        return False
    if ask is None:
        doubts.found(execution, command.key, why, "there is no reconcile function")
        return False
    threaded = not inspect.iscoroutinefunction(ask)
    try:
        values = decode_arguments(command.codecs, command.args)
        said = await _call(execution, ask, values, StepScope(execution.row.id, command.key, 0), threaded=threaded)
        if isinstance(said, NotApplied):
            return made_again(execution, command)
        if isinstance(said, Applied):
            value = _stored(command, said.result)
            execution.step_ended(EventType.STEP_COMPLETED, command, 0, None, None, value=value)
            return False
        raise TypeError(f"reconcile returned {said!r}: Applied(result) or NotApplied() was expected")
    except BaseException as raised:  # noqa: BLE001  the user's function may raise anything: then nobody knows
        error = _its_own(execution, command.key, raised, threaded=threaded)
        await stopped.heed(execution, error)
        fault = fault_of(execution, error, command.options)
        if command.key not in execution.overridden:
            doubts.found(execution, command.key, why, f"reconcile failed: {type(error).__name__}: {fault.message}")
        return False


def announce(execution: Execution) -> None:
    """Say which steps take longer than a tick, for those who look on; quick ones are not worth an event."""
    lasting = execution.lasting & execution.steps.keys()
    execution.lasting = set(execution.steps)
    for key in lasting - execution.announced:
        command = execution.drive.waiting[key][0] if key in execution.drive.waiting else None
        if isinstance(command, RunStep) and not command.options.guarded and key not in execution.backoffs:
            execution.announced.add(key)
            body = dumps({"late": True})
            n = execution.tries.get(key, 1)
            execution.write(
                EventType.ATTEMPT_STARTED, key=key, seen=command.seen, attempt=n, args=command.args, body=body
            )


def again(execution: Execution, command: Command) -> None:
    """Make a step anew, as if it had never been tried. One whose call is on its way is left to end."""
    key, memory, command = command.key, execution.memory, doubts.as_declared(execution, command)
    execution.unknowns.pop(key, None)
    if tries := memory.attempts.get(key) or execution.histories.get(key):
        memory.numbers[key] = tries[-1].n
    memory.begin_anew(key)
    if key in execution.steps and carrying.is_between(execution, key):
        execution.steps.pop(key).cancel()
        execution.backoffs.pop(key, None)
        execution.once.discard(key)
    if isinstance(command, RunStep) and key not in execution.steps and execution.replayed:
        carrying.take_up(execution, command)
