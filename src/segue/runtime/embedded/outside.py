"""The engine, for what answers its steps from outside: an answer is an item in the run's inbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ...core.codec import dumps, loads
from ...core.events import Event, EventType
from ...core.lifecycle import ENDED
from ...core.questions import question_id
from ...core.records import ToolAnswered, record_of
from ...errors import RunEnded, UnknownRun
from ...journal import Journal, Outcome, Post, RunRow, threads
from ..clock import Clock

_GENERATIONS = 256
"""More runs above one are not looked at."""


_TOLD = (
    EventType.RUN_ACCEPTED, EventType.RUN_FORKED, EventType.RUN_CONTINUED, EventType.STEP_COMPLETED,
    EventType.RUN_COMPLETED,
)  # fmt: skip
_POSITION = "select pos from events where run = ? and seq = ?"


class Answers(NamedTuple):
    """A `runtime.scope.Outside`."""

    journal: Journal
    clock: Clock
    look: Callable[[], None]
    """Has this process look into the inboxes: a database in memory rings nobody."""

    def now(self) -> float:
        """As the protocol says."""
        return self.clock.now()

    def is_open(self, run: str) -> bool:
        """As the protocol says."""
        try:
            return self.journal.get(run).state not in ENDED
        except UnknownRun:
            return False

    def is_asked_to_end(self, run: str) -> bool:
        """As the protocol says."""
        row = self.journal.find(run)
        while row is not None:
            if any(item.kind == "cancel" for item in self.journal.items_of(row.no)):
                return True
            row = self.journal.find(row.parent) if row.parent is not None and row.parent_key is not None else None
        return False

    def heard(self, tenant: str, thread: str, run: str) -> int:
        """As the protocol says."""
        return self.journal.last_turn(tenant, thread, run)

    def said(self, tenant: str, thread: str, upto: int, after: int = 0, *, oldest: bool = False) -> Iterator[Outcome]:
        """As the protocol says."""
        return self.journal.turns(tenant, thread, upto, after, oldest=oldest)

    def spans(self, tenant: str, thread: str, upto: int) -> Sequence[tuple[str, int, int]]:
        """As the protocol says."""
        return threads.spans(self.journal.query, tenant, thread, 0, upto)

    def said_where(self, said: Outcome) -> tuple[str, str, float, int] | None:
        """As the protocol says."""
        return threads.said_where(self.journal.query, said.run, said.seq)

    def told(self, tenant: str, run: str, after: int) -> Iterator[tuple[Event, int]]:
        """As the protocol says."""
        row = self.journal.find(run)
        for event in () if row is None or row.tenant != tenant else self.journal.events(row, after):
            if event.type in _TOLD:
                yield event, self.journal.query(_POSITION, (event.run, event.seq))[0][0]

    def forked_at(self, run: str, other: str) -> int | None:
        """As the protocol says."""
        row, kept = self.journal.find(run), None
        while row is not None and row.memo_run is not None:
            kept = row.memo_seq if kept is None else min(kept, row.memo_seq)
            row = self.journal.find(row.memo_run)
            if row is not None and row.id == other:
                return kept
        return None

    def position(self, tenant: str) -> int:
        """As the protocol says."""
        some = self.journal.query("select 1 from runs where tenant = ? limit 1", (tenant,))
        return self.journal.query("select coalesce(max(pos), 0) from events")[0][0] if some else 0

    def cut(self, tenant: str, thread: str, upto: int, handle: str) -> Iterator[tuple[bytes, str, int]]:
        """As the protocol says."""
        for run in {one.run: None for one in self.said(tenant, thread, upto) if handle.encode() in (one.args or b"")}:
            for event in self.journal.of_run(run, (EventType.TOOL_ANSWERED,)):
                record = record_of(event)
                if isinstance(record, ToolAnswered) and record.recall == handle and event.key is not None:
                    for made in self.journal.of_run(run, (EventType.STEP_COMPLETED,), event.key):
                        yield made.value or b"null", record.tool, record.shown or 0

    def summary(self, tenant: str, thread: str, upto: int) -> bytes | None:
        """As the protocol says."""
        found = self.journal.summary(tenant, thread, upto)
        return None if found is None else found[1].value

    def results(self, tenant: str, thread: str, upto: int, after: int, *, step: str, run: str) -> Iterator[bytes]:
        """As the protocol says."""
        return self.journal.results_of(tenant, thread, upto, after, step=step, run=run)

    def children(self, tenant: str, thread: str, run: str) -> dict[str, str]:
        """As the protocol says."""
        return {child: flow.rpartition(":")[2] for child, flow in self.journal.children_of(tenant, thread, run)}

    def threads(self, run: str) -> Sequence[str]:
        """As the protocol says."""
        row = self.journal.find(run)
        return () if row is None else self.journal.threads_of(row)

    def lineage(self, run: str) -> Sequence[tuple[str, str]]:
        """As the protocol says."""
        found: list[tuple[str, str]] = []
        row, key = self.journal.find(run), ""
        while row is not None and len(found) < _GENERATIONS:
            found.append((row.flow, key))
            above = None if row.parent is None else self.journal.find(row.parent)
            if above is not None:
                key = row.parent_key or _detached(self.journal, above, row.id)
            row = above
        return found

    def outcomes(self, keys: str, after: int) -> tuple[int, Sequence[Event]]:
        """As the protocol says."""
        return self.journal.outcomes(keys, after)

    async def answer(self, run: str, key: str, attempt: int, value: bytes, by: str) -> bool:
        """As the protocol says. Two answers to one attempt are one: the inbox knows them by the attempt."""
        body = dumps({"word": "result", "by": by})
        try:
            new = await self.journal.post(
                Post(run, "decide", question_id(key, attempt), key, self.now(), value=value, body=body)
            )
        except (RunEnded, UnknownRun):
            return False
        if self.journal.in_memory_only():
            self.look()
        return new


def _detached(journal: Journal, parent: RunRow, run: str) -> str:
    """The key of the call that started a run which lives on its own."""
    if run.startswith(f"{parent.id}/"):
        return run.removeprefix(f"{parent.id}/")
    said = journal.query(
        "select key, body from events where run = ? and type = ?", (parent.no, EventType.CHILD_DETACHED.value)
    )
    return next((key for key, body in said if loads(body).get("run") == run), "")
