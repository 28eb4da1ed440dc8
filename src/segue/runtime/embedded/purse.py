"""The money of a run in this process: reservations go out with their events, and none stays open when the run ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ...core.codec import dumps
from ...core.commands import RunStep
from ...core.events import EventType
from ...errors import WrongLoop
from .. import registry
from ..purse import Payer, Recorded
from ..scope import surroundings

if TYPE_CHECKING:
    from ...core.budgets import Standing
    from ...core.records import BudgetScope, Reservation, Settlement
    from ...journal import RunRow
    from .execution import Execution


class Held(NamedTuple):
    """A reservation that is not settled yet, and the attempt that made it."""

    reservation: Reservation
    key: str
    attempt: int


class StepPurse:
    """A `runtime.purse.Purse` of one attempt."""

    __slots__ = ("_attempt", "_execution", "_key", "_last", "_seen")

    def __init__(self, execution: Execution, command: RunStep, attempt: int):
        self._execution, self._key, self._seen, self._attempt = execution, command.key, command.seen, attempt
        self._last: asyncio.Future[None] | None = None
        """Done when the last settlement is committed."""

    def payers(self) -> Sequence[Payer]:
        """As the protocol says. The budget of a run above whose flow is unknown here is what it last said itself."""
        execution = self._execution
        row = execution.row
        found = [Payer(row.id, row.tenant, execution.flow.budget_nano)]
        while row.parent is not None and (above := execution.host.journal.find(row.parent)) is not None:
            row = above
            found.append(Payer(row.id, row.tenant, self._budget_of(row)))
        return found

    def _budget_of(self, row: RunRow) -> int | None:
        flow = registry.for_run(row.flow, row.version)
        if flow is not None:
            return flow.budget_nano
        noted = "select limit_nano from accounts where kind = 'run' and name = ? and period = ''"
        rows = self._execution.host.journal.query(noted, (row.id,))
        return rows[0][0] if rows else None

    def thread(self) -> str | None:
        """As the protocol says: what the first event of the run, or of one above it, names."""
        journal, row = self._execution.host.journal, self._execution.row
        while True:
            first = journal.query("select body from events where run = ? order by seq limit 1", (row.no,))
            named = json.loads(first[0][0] or b"{}").get("thread") if first else None
            above = journal.find(row.parent) if row.parent is not None else None
            if named is not None or above is None:
                return named
            row = above

    def now(self) -> float:
        """As the protocol says."""
        return self._execution.host.clock.now()

    def standings(self, scopes: Sequence[BudgetScope]) -> Sequence[Standing]:
        """As the protocol says. Raises WrongLoop in the thread of a plain step."""
        self._on_loop()
        return self._execution.host.journal.standing_of(scopes)

    async def reserve(self, asked: Reservation) -> None:
        """As the protocol says."""
        execution = self._execution
        self._on_loop()
        if execution.closed:
            raise asyncio.CancelledError
        answer: asyncio.Future[None] = execution.host.loop.create_future()
        execution.holds[asked.id] = Held(asked, self._key, self._attempt)
        execution.reserve(
            asked, key=self._key, attempt=self._attempt, seen=self._seen, done=partial(self._reserved, answer, asked)
        )
        await answer

    def _reserved(self, answer: asyncio.Future[None], asked: Reservation, refusal: Exception | None) -> None:
        """After the commit. Where nobody waits for it any more, the call will not be sent."""
        if refusal is not None:
            self._execution.holds.pop(asked.id, None)
            if not answer.done():
                answer.set_exception(refusal)
        elif not answer.done():
            answer.set_result(None)
        else:
            from ...core.budgets import unused  # noqa: PLC0415  it is loaded by now

            self.settle(unused(asked))

    def take_up(self, held: Reservation) -> None:
        """As the protocol says."""
        self._execution.holds[held.id] = Held(held, self._key, self._attempt)

    def settle(self, took: Settlement) -> None:
        """As the protocol says."""
        held = self._execution.holds.get(took.settles)
        if held is not None and not self._execution.closed:
            _settle(self._execution, held, took, done=self._done())

    def forgo(self, ids: Sequence[str]) -> None:
        """As the protocol says."""
        from ...core.budgets import unused  # noqa: PLC0415  few are cut off so
        from ...core.records import Reservation  # noqa: PLC0415  as above

        execution, sql = self._execution, "select currency from reservations where run = ? and id = ? and estimated"
        for one in ids:
            for (currency,) in execution.host.journal.query(sql, (execution.row.no, one)):
                held = Held(Reservation(id=one, amount_nano=0, scopes=(), currency=currency), self._key, self._attempt)
                _settle(execution, held, unused(held.reservation))

    async def settled(self, events: list[Recorded]) -> None:
        """As the protocol says."""
        execution = self._execution
        self._on_loop()
        if execution.closed:
            raise asyncio.CancelledError
        if any(type_ == EventType.USAGE_SETTLED for type_, _, _ in events):
            due = [event for event in events if event[0] in _OF_CALLS]
            events[:] = [event for event in events if event[0] not in _OF_CALLS]
            recorded(execution, self._key, self._attempt, due, done=self._done())
        if self._last is not None and not self._last.done():
            await asyncio.wait([self._last])

    def _done(self) -> Callable[[], None]:
        """Called after a commit: they come in the order of the writes."""
        self._last = last = self._execution.host.loop.create_future()
        return partial(_resolve, last)

    def _on_loop(self) -> None:
        if asyncio.get_running_loop() is not self._execution.host.loop:
            raise WrongLoop(
                "a call of a model under a budget was made in a thread",
                run=self._execution.row.id,
                key=self._key,
                remedy="make the step around it an `async def`",
            )


def recorded(
    execution: Execution, key: str, n: int, events: list[Recorded], done: Callable[[], None] | None = None
) -> None:
    """Journal what an attempt recorded: also that of one that failed, since it was paid for. `done` is called after the
    commit of all of it.
    """
    for at, (type_, version, body) in enumerate(events, 1):
        then = done if at == len(events) else None
        more = _goes_with(execution, type_, body)
        execution.write(type_, key=key, attempt=n, body=dumps(body), version=version, done=then, **more)
    events.clear()


def _goes_with(execution: Execution, type_: str, body: Any) -> dict[str, Any]:
    """What is written together with an event that an attempt has recorded: its settlement, counted with the event."""
    if type_ != EventType.USAGE_SETTLED:
        return {}
    from ...core.records import Settlement  # noqa: PLC0415  it is loaded by now

    took = Settlement.from_body(body)
    return {} if execution.holds.pop(took.settles, None) is None else {"settle": took}


def settle_open(execution: Execution) -> None:
    """The run ends while calls are on their way: what they take nobody will hear, so they count in full. What was not
    sent takes nothing.
    """
    forgo(execution)
    if not execution.holds:
        return
    from ...core.budgets import lost, unused  # noqa: PLC0415  it is loaded by now

    around = execution.host.context.run(surroundings)
    drafts = around.drafts if around is not None else ()
    for held in list(execution.holds.values()):
        sent = (execution.row.id, held.reservation.id) not in drafts
        _settle(execution, held, lost(held.reservation) if sent else unused(held.reservation))


def forgo(execution: Execution, key: str | None = None) -> None:
    """Nobody waits any more for what a service answers to a step, or to any of the run: what it was not sent takes
    nothing. That replaces what a restart has counted.
    """
    around = execution.host.context.run(surroundings)
    if around is None or around.forgoes is None:
        return
    took, recorded = around.forgoes(execution.row.id, key)
    took = [one for one in took if one[2].settles not in execution.forgone]
    for at, (of, attempt, said) in enumerate(took, 1):
        execution.holds.pop(said.settles, None)
        execution.forgone.add(said.settles)
        execution.write(
            said.type, key=of, attempt=attempt, body=dumps(said.to_body()), version=said.version, settle=said,
            done=recorded if at == len(took) else None,
        )  # fmt: skip


def _settle(execution: Execution, held: Held, took: Settlement, done: Callable[[], None] | None = None) -> None:
    execution.holds.pop(took.settles, None)
    body, version = dumps(took.to_body()), took.version
    execution.write(took.type, key=held.key, attempt=held.attempt, body=body, version=version, settle=took, done=done)


def _resolve(last: asyncio.Future[None]) -> None:
    if not last.done():
        last.set_result(None)


_OF_CALLS = frozenset({EventType.USAGE_SETTLED, EventType.ATTEMPT_RECORDED})
