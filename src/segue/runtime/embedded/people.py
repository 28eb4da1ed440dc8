"""Carries `AskPerson` out: the step waits for a person's word, parked if need be, and goes on as they say.

Three writes: `attempt.failed`, which says whom it waits for, `approval.asked`, and then `approval.decided`. The word
stands in the step's history; whoever carries the step out, now or after a restart, acts on what is there.
"""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.codec import dumps, loads, misfit
from ...core.commands import Command, RunStep
from ...core.events import EventType
from ...core.faults import Fault
from ...core.questions import body_of, details, question_id, word_of
from ...core.recovery import Again, AskPerson, Attempt, Fail, Take, Use
from ...journal import Item
from ..scope import surroundings
from . import carrying
from .carrying import failed
from .purse import forgo

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...core.records import ApprovalAsked, AskKind, Verdict
    from .execution import Execution

_LOOK_S, _LOOKS_S = 0.2, 60.0
"""How often it is seen whether a service still looks for an answer once its time is over, and for how long at most."""


@dataclass(slots=True)
class Asking:
    """A question that is open in this process."""

    to: str
    due_at: float | None
    answered: asyncio.Event
    service: bool = False


def checked(command: RunStep, answer: AskPerson) -> AskPerson:
    """An `AskPerson` as it can be journaled, its secrets sealed. Raises ValueError or TypeError."""
    limit, default = answer.timeout_s, answer.default
    if not (limit is None or (isinstance(limit, int | float) and 0 <= limit < math.inf)):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise ValueError(f"AskPerson(timeout_s={limit!r}): not a time to wait")
    if not isinstance(answer.to, str) or not isinstance(answer.question, str):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise TypeError(f"AskPerson({answer.to!r}, {answer.question!r}): whom and what are texts")
    dumps({"shown": answer.shown, "form": answer.form})
    if isinstance(default, Take):
        of = command.result
        try:
            return answer._replace(default=Take(json.loads(of.encode(of.decode(dumps(default.value))))))
        except (TypeError, ValueError) as error:
            what = f"AskPerson(default=Take(...)): not what {command.options.name} returns: {misfit(of, error)}"
            raise ValueError(what) from (None if of.private else error)
    elif not isinstance(default, Again | Use | Fail):  # pyright: ignore[reportUnnecessaryIsInstance]  see above
        raise TypeError(f"AskPerson(default={default!r}): one of Again, Use, Take and Fail")
    return answer


async def hand_over(execution: Execution, command: RunStep, history: list[Attempt], answer: AskPerson) -> bool:
    """After a failed attempt: put the question on record, and wait. True when another attempt follows."""
    last = history[-1] = history[-1]._replace(answer=answer)
    fault = _fault(last)
    due_at = None if answer.timeout_s is None else execution.host.clock.now() + answer.timeout_s
    execution.memory.ends_at(command.key, due_at)
    body = {"fault": fault.body(), "then": "ask person", "to": answer.to}
    value = details(answer, due_at)
    with failed(execution, command.key):
        await execution.durable(
            EventType.ATTEMPT_FAILED, command, attempt=last.n, began=last.began, body=body, value=value
        )
    return await go_on(execution, command, history, due_at, asked=False)


async def go_on(
    execution: Execution, command: RunStep, history: list[Attempt], due_at: float | None, *, asked: bool
) -> bool:
    """Wait for the word, unless it is there, and act on it. True when another attempt follows."""
    answer = history[-1].answer
    if isinstance(answer, AskPerson):
        if not asked:
            record = _question(command, history, answer, due_at)
            n, body = history[-1].n, record.to_body()
            with failed(execution, command.key):
                await execution.durable(EventType.APPROVAL_ASKED, command, attempt=n, body=body, version=record.version)
        if answer.service:
            _waits(execution, command.key, history[-1].n)
        await _word(execution, command, history, answer, due_at)
    return _acted(execution, command, history)


def _waits(execution: Execution, key: str, attempt: int) -> None:
    """Let whoever is to answer know that the question stands on disk; again after a restart."""
    around = surroundings()
    if around is not None and around.waits is not None:
        around.waits(execution.row.id, key, attempt)


async def _word(
    execution: Execution, command: RunStep, history: list[Attempt], answer: AskPerson, due_at: float | None
) -> None:
    """Wait until the history holds a word; when its time is over, that is the default. A pause holds both back. Before
    the time of a service counts as over, what it has by now is looked for: no process may have been there to do so.
    """
    key, clock = command.key, execution.host.clock
    making = execution.steps.get(key)
    asking = execution.asking[key] = Asking(answer.to, due_at, asyncio.Event(), answer.service)
    execution.backoffs[key] = math.inf if due_at is None else due_at
    execution.settle()
    looking: Callable[[], bool] | None = None
    try:
        while isinstance(history[-1].answer, AskPerson):
            if due_at is not None and due_at <= clock.now() and not execution.still:
                carrying.catch_up(execution)
                if execution.steps.get(key) is not making:
                    raise asyncio.CancelledError  # an operator has said what came of it, or has it made anew
                if execution.still:
                    continue
                if isinstance(history[-1].answer, AskPerson) and answer.service:  # pyright: ignore[reportUnnecessaryIsInstance]  see below
                    looking = looking or _looking(execution)
                    if looking():
                        await _wait(asking.answered, execution, _LOOK_S)
                        continue
                if isinstance(history[-1].answer, AskPerson):  # pyright: ignore[reportUnnecessaryIsInstance]  it may have come
                    await _expired(execution, command, history, answer)
                else:
                    await asking.answered.wait()
                break
            left = None if due_at is None or execution.still else due_at - clock.now()
            await _wait(asking.answered, execution, left)
        while execution.still:
            execution.on = execution.on or asyncio.Event()
            await execution.on.wait()
    finally:
        execution.asking.pop(key, None)
        execution.backoffs.pop(key, None)


def _looking(execution: Execution) -> Callable[[], bool]:
    """Whether those who answer still look for what has come, now that they are told to; at most for a while."""
    around, clock = surroundings(), execution.host.clock
    if around is None or around.looks is None:
        return lambda: False
    looks, until = around.looks(), clock.now() + _LOOKS_S
    return lambda: clock.now() < until and looks()


def has_a_word(execution: Execution) -> bool:
    """Whether a person has said something that a step has yet to act on."""
    histories = [execution.histories[key] for key in execution.asking if execution.histories.get(key)]
    return any(not isinstance(history[-1].answer, AskPerson) for history in histories)


async def _wait(answered: asyncio.Event, execution: Execution, left: float | None) -> None:
    """Until it is answered, a pause begins or ends, or the time is over."""
    if execution.still:
        execution.on = execution.on or asyncio.Event()
        waits = [asyncio.ensure_future(answered.wait()), asyncio.ensure_future(execution.on.wait())]
    else:
        waits = [asyncio.ensure_future(answered.wait())]
    try:
        await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _expired(execution: Execution, command: RunStep, history: list[Attempt], answer: AskPerson) -> None:
    """Nobody said anything in time."""
    from ...core.records import ApprovalDecided, Verdict  # noqa: PLC0415  30 ms that most processes never need

    last = history[-1] = history[-1]._replace(answer=answer.default, decided=True)
    record = ApprovalDecided(
        asked=question_id(command.key, last.n), verdict=Verdict.EXPIRED, by="segue", answer=body_of(answer.default),
        bound=_bound(execution, command.key, command, history, answer), why="nobody answered in time",
    )  # fmt: skip
    value = dumps(answer.default.value) if isinstance(answer.default, Take) else None
    body = record.to_body()
    await execution.durable(
        EventType.APPROVAL_DECIDED, command, attempt=last.n, body=body, value=value, version=record.version
    )


def _acted(execution: Execution, command: RunStep, history: list[Attempt]) -> bool:
    last = history[-1]
    if isinstance(last.answer, Take | Fail):
        forgo(execution, command.key)
    if isinstance(last.answer, Take):
        value = dumps(last.answer.value)
        execution.step_ended(EventType.STEP_COMPLETED, command, last.n, last.began, None, value=value)
    elif isinstance(last.answer, Fail):
        body = dumps({"fault": _fault(last).body()})
        execution.step_ended(EventType.STEP_FAILED, command, last.n, last.began, None, body=body)
    else:
        return True
    return False


def decide(execution: Execution, item: Item, taken: dict[str, Any]) -> None:
    """A person's word came. It is held against the question that is open now; one that is too late changes nothing.
    Too late is what was said after the time of the question was over, whenever it is read.
    """
    from ...core.records import ApprovalDecided, Verdict  # noqa: PLC0415  see above

    key, said = item.name, loads(item.body)
    history = execution.histories.get(key) or execution.memory.attempts.get(key) or []
    last = history[-1] if history else None
    answer = None if last is None else last.answer
    by, why = str(said.get("by", "")), str(said.get("why", ""))
    command = execution.drive.open_call(key)
    consumed = taken["consumed"]
    if (
        last is None or not isinstance(answer, AskPerson) or not _takes_words(execution, key, command)
        or item.id != f"decide\x1f{question_id(key, last.n)}"
    ):  # fmt: skip
        return _too_late(execution, item, said, consumed, verdict=Verdict.WITHDRAWN, why="the question was closed")
    if _is_over(execution, key, answer, item.at):  # it stays open until its wait is carried out: a pause may hold it
        return _too_late(execution, item, said, consumed, verdict=Verdict.REFUSED, why="its time was over")
    record = ApprovalDecided(
        asked=question_id(key, last.n), verdict=Verdict.DENIED if said.get("word") == "fail" else Verdict.ANSWERED,
        by=by, bound=_bound(execution, key, command, history, answer), answer=_words(said), why=why, at=item.at,
        asked_of=(answer.to,), via=said.get("via"),
    )  # fmt: skip
    history[-1] = last._replace(answer=word_of(said, item.value, by, told=answer.told), decided=True)
    execution.memory.asked.discard(key)
    execution.write(
        EventType.APPROVAL_DECIDED, key=key, seen=None if command is None else command.seen, attempt=last.n,
        body=dumps(record.to_body()), value=item.value, consumed=consumed, done=lambda: _wake(execution, key),
        version=record.version,
    )  # fmt: skip


def _too_late(
    execution: Execution, item: Item, said: dict[str, Any], consumed: list[int], *, verdict: Verdict, why: str
) -> None:
    """Put a word on record that changes nothing."""
    from ...core.records import ApprovalDecided  # noqa: PLC0415  see above

    late = ApprovalDecided(
        asked=item.id.partition("\x1f")[2], verdict=verdict, by=str(said.get("by", "")), bound="", at=item.at,
        answer=_words(said), why=f"too late: {why}. {said.get('why', '')}".strip(),
    )  # fmt: skip
    execution.write(
        EventType.APPROVAL_DECIDED, key=item.name, body=dumps(late.to_body()), consumed=consumed, version=late.version
    )


def _is_over(execution: Execution, key: str, answer: AskPerson, at: float) -> bool:
    """Whether the time of the step's question was over then. A service has no such limit: what it answers is taken."""
    due_at = execution.memory.due_at.get(key)
    return due_at is not None and not answer.service and at >= due_at


def reassign(execution: Execution, item: Item, taken: dict[str, Any]) -> None:
    """The open question goes to somebody else; one that is closed stays as it is."""
    from ...core.records import ApprovalDecided, Verdict  # noqa: PLC0415  see above

    key, said = item.name, loads(item.body)
    history = execution.histories.get(key) or execution.memory.attempts.get(key) or []
    last, command = (history[-1] if history else None), execution.drive.open_call(key)
    answer, asked = (None if last is None else last.answer), str(said.get("asked", ""))
    by, to = str(said.get("by", "")), tuple(map(str, said.get("to", ())))
    verdict, bound, was = Verdict.REFUSED, "", tuple[str, ...]()
    if (
        last is not None and isinstance(answer, AskPerson) and _takes_words(execution, key, command)
        and asked == question_id(key, last.n) and not _is_over(execution, key, answer, item.at)
    ):  # fmt: skip
        verdict, bound = Verdict.REASSIGNED, _bound(execution, key, command, history, answer)
        was = (answer.to,)
        history[-1] = last._replace(answer=answer._replace(to=", ".join(to)))
        if key in execution.asking:
            execution.asking[key].to = ", ".join(to)
    record = ApprovalDecided(
        asked=asked, verdict=verdict, by=by, bound=bound, why=str(said.get("why", "")), at=item.at, to=to, asked_of=was,
        via=said.get("via"),
    )  # fmt: skip
    execution.write(
        EventType.APPROVAL_DECIDED, key=key, attempt=None if last is None else last.n, body=dumps(record.to_body()),
        consumed=taken["consumed"], version=record.version,
    )  # fmt: skip


def _takes_words(execution: Execution, key: str, command: Command | None) -> bool:
    """Whether a step waits for a word; also one that changed code asks for only later."""
    return isinstance(command, RunStep) or (command is None and key in execution.memory.attempts)


def _wake(execution: Execution, key: str) -> None:
    """After the commit: nobody acts on a word that is not on disk."""
    if key in execution.asking:
        execution.asking[key].answered.set()


def _words(said: dict[str, Any]) -> dict[str, Any]:
    return {k: said[k] for k in ("word", "candidate") if k in said}


def _question(command: RunStep, history: list[Attempt], answer: AskPerson, due_at: float | None) -> ApprovalAsked:
    """The record of a question: what was called with which arguments, and each attempt."""
    from ...core import records  # noqa: PLC0415  see above

    last, name = history[-1], command.options.name
    shown = answer.shown if answer.shown is not None else {"arguments": json.loads(command.args)}
    many = f" {len(history)} times" if len(history) > 1 else ""
    text = answer.question or f"{name} failed{many}; what now?"
    return records.ApprovalAsked(
        id=question_id(command.key, last.n), question=text, bound=records.binding(name, shown), action=name,
        shown=shown, by=(answer.to,), due_at=due_at, form=answer.form, choices=("retry", "result", "use", "fail"),
        kind=_kind(answer),
        default=None if due_at is None else body_of(answer.default),
        story=tuple(records.AttemptRef(epoch=a.epoch, n=a.n) for a in history),
    )  # fmt: skip


def _bound(
    execution: Execution, key: str, command: Command | None, history: list[Attempt], answer: AskPerson
) -> str:  # fmt: skip
    """What the open question is bound to: after a restart only the journal knows what was shown."""
    known = execution.memory.bounds.get(question_id(key, history[-1].n), "")
    return known or (_question(command, history, answer, None).bound if isinstance(command, RunStep) else "")


def _kind(answer: AskPerson) -> AskKind:
    from ...core.records import AskKind  # noqa: PLC0415  see above

    if answer.service:
        return AskKind.SERVICE
    return AskKind.ESCALATION if answer.told else AskKind.OTHER


def _fault(attempt: Attempt) -> Fault:
    assert attempt.fault is not None, "an attempt that is asked about has failed"
    return attempt.fault
