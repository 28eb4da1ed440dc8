"""The engine, for what answers its steps from outside: an answer is an item in the run's inbox."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...core.codec import dumps
from ...core.lifecycle import ENDED
from ...core.questions import question_id
from ...errors import RunEnded, UnknownRun
from ...journal import Journal, Outcome, Post
from ..clock import Clock


class Answers(NamedTuple):
    """A `runtime.scope.Outside`."""

    journal: Journal
    clock: Clock

    def now(self) -> float:
        """As the protocol says."""
        return self.clock.now()

    def is_open(self, run: str) -> bool:
        """As the protocol says."""
        try:
            return self.journal.get(run).state not in ENDED
        except UnknownRun:
            return False

    def heard(self, tenant: str, thread: str) -> int:
        """As the protocol says."""
        return self.journal.last_turn(tenant, thread)

    def said(self, tenant: str, thread: str, upto: int, after: int = 0, *, oldest: bool = False) -> Iterator[Outcome]:
        """As the protocol says."""
        return self.journal.turns(tenant, thread, upto, after, oldest=oldest)

    def summary(self, tenant: str, thread: str, upto: int) -> bytes | None:
        """As the protocol says."""
        found = self.journal.summary(tenant, thread, upto)
        return None if found is None else found[1].value

    def children(self, tenant: str, thread: str) -> dict[str, str]:
        """As the protocol says."""
        return {run: flow.rpartition(":")[2] for run, flow in self.journal.children_of(tenant, thread)}

    async def answer(self, run: str, key: str, attempt: int, value: bytes, by: str) -> bool:
        """As the protocol says. Two answers to one attempt are one: the inbox knows them by the attempt."""
        body = dumps({"word": "result", "by": by})
        try:
            return await self.journal.post(
                Post(run, "decide", question_id(key, attempt), key, self.now(), value=value, body=body)
            )
        except (RunEnded, UnknownRun):
            return False
