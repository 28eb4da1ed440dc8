"""Batches of requests, as all formats have them: each request is a call like any other, made when its turn comes.

`provider.batches` says how long they take (`pace_s`) and what the next ones meet (`next`). Single requests of a batch
meet the faults of the plan, as calls do. Results are never in the order of the requests.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from ...errors import UsageError
from .call import Call
from .formats import Format
from .http import Connection, Request
from .marks import Ids
from .speech import Body

if TYPE_CHECKING:
    from .server import Provider

_STEPS = 10


class BatchTrouble(StrEnum):
    """What may go wrong with a whole batch."""

    REFUSED = "refused"
    """429 as it is sent, and nothing is made."""
    BROKEN = "broken"
    """500 as it is sent, and nothing is made."""
    ANSWER_LOST = "answer-lost"
    """It is made; the connection is reset before that is said."""
    FAILED = "failed"
    """It does not pass its validation, for the tokens that are queued already. Anthropic has no such thing: refused."""
    EXPIRED = "expired"
    """Its time is over after the first half."""
    CANCELLED = "cancelled"
    """Somebody cancels it after the first half."""
    LINES_LOST = "lines-lost"
    """The results lack every second request."""


@dataclass(slots=True)
class Job:
    """One batch. `requests` are ids and bodies, in their order; `results` a status and a body by id."""

    id: str
    requests: Sequence[tuple[str, Body]]
    made_at: float
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    status: str = "validating"
    results: dict[str, tuple[int, Body]] = field(default_factory=dict[str, "tuple[int, Body]"])
    trouble: BatchTrouble | None = None
    errors: list[Body] = field(default_factory=list["Body"])
    task: asyncio.Task[None] | None = None
    in_part: bool = True
    """Whether a batch that is cut short shows what it had done; else it had not begun."""

    @property
    def shown(self) -> list[tuple[str, tuple[int, Body] | None]]:
        """What its results say, the last request first; None of one that it did not come to."""
        said = [(name, self.results.get(name)) for name, _ in reversed(self.requests)]
        return said[::2] if self.trouble is BatchTrouble.LINES_LOST else said


class Batches:
    """The batches of a server."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.pace_s = 0.0
        """From the making of a batch to its end, in seconds."""
        self.jobs: dict[str, Job] = {}
        self.made = 0
        """Requests of batches that were worked on."""
        self._next: list[BatchTrouble | None] = []

    def next(self, *troubles: BatchTrouble | str | None) -> None:
        """What the next batches meet, in this order; None is none. Raises UsageError for one that there is not."""
        known = ", ".join(BatchTrouble)
        for trouble in troubles:
            if trouble is not None and trouble not in list(BatchTrouble):
                raise UsageError(f"unknown trouble of a batch {trouble!r}; there are: {known}")
            self._next.append(None if trouble is None else BatchTrouble(trouble))

    def draw(self) -> BatchTrouble | None:
        """What this batch meets."""
        return self._next.pop(0) if self._next else None

    def begin(self, job: Job, format: Format, request: Request, place: str) -> None:
        """Work on a batch from now on."""
        self.jobs[job.id] = job
        job.task = asyncio.get_running_loop().create_task(self._work(job, format, request, place))

    async def stop(self) -> None:
        """Give up what is under way."""
        tasks = [job.task for job in self.jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, job: Job, format: Format, request: Request, place: str) -> None:
        await asyncio.sleep(self.pace_s / _STEPS)
        if job.errors:
            job.status = "failed"
            return
        job.status = "in_progress"
        cut = job.trouble in (BatchTrouble.EXPIRED, BatchTrouble.CANCELLED)
        todo = job.requests[: len(job.requests) // 2 if job.in_part else 0] if cut else job.requests
        size = max(1, -(-len(todo) // (_STEPS - 2)))
        for at in range(0, len(todo), size):
            await asyncio.gather(*(self._one(job, *one, format, request, place) for one in todo[at : at + size]))
            await asyncio.sleep(self.pace_s / _STEPS)
            if self._cancelled(job):
                job.trouble, cut = BatchTrouble.CANCELLED, True
                break
        job.status = "finalizing"
        await asyncio.sleep(self.pace_s / _STEPS)
        job.status = str(job.trouble) if cut else "completed"

    async def _one(  # noqa: PLR0917  called in one place
        self, job: Job, name: str, body: Body, format: Format, request: Request, place: str
    ) -> None:
        self.made += 1
        told = _Told()
        asked = request._replace(body=json.dumps(body).encode(), path=request.path)
        ids = Ids(1_000_000 + self.made, self._provider.plan.seed)
        call = Call(self._provider, format, asked, cast("Connection", told), place=place, ids=ids)
        call.entry.batch = job.id
        await call.run()
        job.results[name] = told.answer

    def _cancelled(self, job: Job) -> bool:
        """Whether somebody has asked for it meanwhile."""
        return job.status in ("cancelling", "canceling")


class _Told:
    """In place of a connection: keeps the response. What would break a connection is an error of the server's."""

    def __init__(self) -> None:
        self._status, self._body, self.alive = 500, b"", True

    @property
    def answer(self) -> tuple[int, Body]:
        """Status and body."""
        try:
            body = json.loads(self._body)
        except ValueError:
            return 500, {"error": {"type": "server_error", "message": "The server had an error.", "code": None}}
        return self._status, body

    def whole(self, status: int, headers: object, body: bytes) -> None:
        """A whole response."""
        self._status, self._body = status, body

    def begin(self, status: int, headers: object, length: object = None) -> None:
        """The head of a response."""
        self._status, self._body = status, b""

    def send(self, pieces: Sequence[bytes]) -> None:
        """Pieces of the body."""
        self._body += b"".join(pieces)

    def end(self) -> None:
        """The body is complete."""

    async def drained(self) -> None:
        """There is always room."""

    def close(self) -> None:
        """The connection is closed."""

    cut = close
