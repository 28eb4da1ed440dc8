"""A producer of every type of event: a run through the real runtime that writes it.

The runtime's own events come of what it does. Those of later rooms are written by a step and a flow, as they will be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel

import segue
from segue import Engine, Flow, Retry, Run, continue_as_new, detach, flow, step
from segue.core.events import EventType
from segue.core.lifecycle import RunState
from segue.core.records import Record
from segue.runtime.scope import in_flow
from tests.records.samples import SAMPLES

Producer = Callable[[Engine], Awaitable[Run[Any]]]
PRODUCERS: dict[EventType, Producer] = {}
WITHIN_S = 10.0


def produces(*types: EventType) -> Callable[[Producer], Producer]:
    """Register a producer."""

    def register(producer: Producer) -> Producer:
        PRODUCERS.update(dict.fromkeys(types, producer))
        return producer

    return register


async def until(run: Run[Any], *states: RunState) -> None:
    """Wait until a run is in one of these states."""
    async with asyncio.timeout(WITHIN_S):
        while (await run.status()).state not in states:
            await asyncio.sleep(0.005)


async def holds(run: Run[Any], kind: EventType) -> None:
    """Wait until a run's journal holds an event of this type."""
    async with asyncio.timeout(WITHIN_S):
        while not [e async for e in run.events(follow=False) if e.type == kind]:
            await asyncio.sleep(0.005)


calls = {"flaky": 0}


@step
async def double(n: int) -> int:
    return 2 * n


@step(retry=Retry(attempts=2, backoff_s=0.0))
async def flaky(fails: int) -> int:
    calls["flaky"] += 1
    if calls["flaky"] <= fails:
        segue.step_scope().record(SAMPLES[EventType.USAGE_SETTLED])
        raise ConnectionError("cut")
    return calls["flaky"]


@step
async def refuses() -> int:
    raise ValueError("no")


@step(effect="once")
async def sends() -> None:
    """Nobody knows whether it did."""
    raise ConnectionError("cut off")


@flow
async def plain(n: int) -> int:
    return await double(n)


@flow
async def parent() -> int:
    await detach(plain, 1)
    return await plain(2)


@flow
async def slept() -> float:
    await segue.sleep(0.01)
    return await flaky(1)


@flow
async def waits() -> int:
    return await segue.wait_for("go", returns=int)


@flow
async def gives_up() -> str:
    try:
        async with segue.timeout(0.01):
            await segue.wait_for("never")
    except TimeoutError:
        return "gave up"
    return "?"


@flow
async def fails() -> int:
    return await refuses()


@flow
async def doubts() -> None:
    await sends()


@step
async def pays(name: str) -> str:
    segue.step_scope().record(SAMPLES[EventType(name)])
    return "paid"


@flow
async def records_in_a_step(name: str) -> str:
    return await pays(name)


@flow
async def records_in_the_flow(name: str) -> str:
    record = SAMPLES[EventType(name)]
    in_flow("recording").record(record, f"fake@{name}")
    return await pays(name)


@produces(EventType.RUN_ACCEPTED, EventType.RUN_STARTED, EventType.STEP_COMPLETED, EventType.RUN_COMPLETED)
async def completed(engine: Engine) -> Run[Any]:
    run = await engine.start(plain, 2)
    await run.result()
    return run


@produces(EventType.RUN_CONTINUED)
async def continued(engine: Engine) -> Run[Any]:
    run = await engine.start(goes_on, 2)
    await run.result()
    return run


@flow
async def goes_on(left: int) -> None:
    if left:
        continue_as_new(left - 1)


@produces(EventType.RUN_FORKED)
async def forked(engine: Engine) -> Run[Any]:
    run = await (await completed(engine)).fork(1)
    await run.result()
    return run


@produces(EventType.RUN_PARKED, EventType.RUN_CANCELLING, EventType.RUN_CANCELLED)
async def cancelled(engine: Engine) -> Run[Any]:
    run = await engine.start(waits)
    await until(run, RunState.PARKED)
    await run.cancel(by="ada", why="a duplicate")
    await until(run, RunState.CANCELLED)
    return run


@produces(EventType.RUN_PAUSED, EventType.RUN_RESUMED, EventType.SIGNAL_RECEIVED, EventType.SIGNAL_REJECTED)
async def paused(engine: Engine) -> Run[Any]:
    run = await engine.start(waits)
    await run.pause(by="ada", why="incident 12")
    await holds(run, EventType.RUN_PAUSED)
    await run.resume(by="ada")
    await run.signal("go", "no number", by="ada")
    await holds(run, EventType.SIGNAL_REJECTED)
    await run.signal("go", 3)
    await run.result()
    return run


@produces(EventType.RUN_STUCK)
async def stuck(engine: Engine) -> Run[Any]:
    run = await engine.start(doubts)
    await until(run, RunState.STUCK)
    return run


@produces(EventType.RUN_FAILED, EventType.STEP_FAILED)
async def failed(engine: Engine) -> Run[Any]:
    run = await engine.start(fails)
    await until(run, RunState.FAILED)
    return run


@produces(EventType.TIMER_SET, EventType.TIMER_FIRED, EventType.ATTEMPT_STARTED, EventType.ATTEMPT_FAILED)
async def retried(engine: Engine) -> Run[Any]:
    calls["flaky"] = 0
    run = await engine.start(slept)
    await run.result()
    return run


@produces(EventType.STEP_CANCELLED)
async def gave_up(engine: Engine) -> Run[Any]:
    run = await engine.start(gives_up)
    await run.result()
    return run


@produces(EventType.CALL_REKEYED)
async def replayed_by_changed_code(engine: Engine) -> Run[Any]:
    was = await engine.start(books(Trip), id="trip")
    await was.result()
    books(LongTrip)
    run = await was.fork()
    await run.result()
    return run


class Trip(BaseModel):
    to: str


class LongTrip(Trip):
    nights: int = 0


def books(model: type[Trip]) -> Flow[..., Any]:
    """The flow `books`, as the code stands with this type."""

    async def book(trip: Trip) -> str:
        return trip.to

    book.__annotations__["trip"] = model
    booked = step(book)

    async def body() -> str:
        return await booked(model(to="Rome"))

    return flow(name="books", revision=model.__name__)(body)


@produces(EventType.CHILD_STARTED, EventType.CHILD_ENDED, EventType.CHILD_DETACHED)
async def with_children(engine: Engine) -> Run[Any]:
    run = await engine.start(parent)
    await run.result()
    return run


@produces(EventType.OPERATOR_ACTED)
async def overridden(engine: Engine) -> Run[Any]:
    run = await engine.start(waits)
    await run.override("wait[go]#1", result=5, by="ada", why="known")
    await run.result()
    return run


@produces(EventType.FEEDBACK_GIVEN)
async def with_feedback(engine: Engine) -> Run[Any]:
    run = await completed(engine)
    await run.feedback(0.5, by="ada", note="short")
    return run


def fake(kind: EventType) -> Producer:
    """The producer of a room that is not built yet: writes the sample in a step, and in the flow."""

    async def produce(engine: Engine) -> Run[Any]:
        await engine.run(records_in_a_step, kind.value)
        run = await engine.start(records_in_the_flow, kind.value)
        await run.result()
        return run

    return produce


FAKES = (
    EventType.ATTEMPT_RECORDED,
    EventType.DECISION_MADE,
    EventType.CONTEXT_ASSEMBLED,
    EventType.USAGE_RESERVED,
    EventType.USAGE_SETTLED,
    EventType.APPROVAL_ASKED,
    EventType.APPROVAL_DECIDED,
    EventType.STREAM_ENDED,
    EventType.TOOL_ANSWERED,
)
for kind in FAKES:
    PRODUCERS[kind] = fake(kind)


async def records_of(run: Run[Any], kind: EventType) -> list[Record]:
    """The typed records of one type in a run's journal; all others must be readable too."""
    from segue.core.records import record_of

    return [r for e in [e async for e in run.events(follow=False)] if (r := record_of(e)).type is kind]
