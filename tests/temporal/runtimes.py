"""Two runtimes with one face, for tests that hold them against each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

from temporalio.client import Client
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from segue import Engine, Flow, Run
from segue.core.codec import loads
from segue.core.events import DELIVERED, EventType
from segue.errors import RunCancelled, RunFailed
from tests.temporal import face
from tests.temporal.far_side import FlowRun

SAID = DELIVERED | {
    EventType.ATTEMPT_FAILED,
    EventType.CHILD_STARTED,
    EventType.SIGNAL_REJECTED,
    EventType.STEP_CANCELLED,
    EventType.TIMER_SET,
}
"""What every runtime writes. Who owns a run and whether it is parked is each one's own matter."""

Line = tuple[str, str | None, int | None, Any]
"""Type, key, attempt and value of an event."""


class Told(Protocol):
    """A run, as one who talks to it sees it."""

    async def signal(self, name: str, payload: Any) -> None: ...
    async def cancel(self) -> None: ...
    async def journal(self) -> list[Line]: ...


class Ran(NamedTuple):
    """What came of a run: what it returned or raised, and its journal."""

    end: Any
    journal: list[Line]


Talk = Callable[[Told], Awaitable[None]]


async def nothing(_: Told) -> None:
    """Say nothing to the run."""


async def sees(run: Told, key: str, times: int = 1) -> None:
    """Wait until so many events of this key are in the journal."""
    while sum(line[1] is not None and line[1].startswith(key) for line in await run.journal()) < times:
        await asyncio.sleep(0.02)


def line(type_: str, key: str | None, attempt: int | None, value: Any) -> Line:
    """A line without the signal's `seq` in the key of its rejection: each runtime counts its own events."""
    return type_, key.partition("@")[0] if key and type_ == EventType.SIGNAL_REJECTED else key, attempt, value


class Embedded(NamedTuple):
    run: Run[Any]

    async def signal(self, name: str, payload: Any) -> None:
        await self.run.signal(name, payload)

    async def cancel(self) -> None:
        await self.run.cancel()

    async def journal(self) -> list[Line]:
        events = [e async for e in self.run.events(follow=False)]
        return [line(e.type, e.key, e.attempt, e.value and loads(e.value)) for e in events if e.type in SAID]


class Cluster(NamedTuple):
    handle: face.Handle

    async def signal(self, name: str, payload: Any) -> None:
        await face.signal(self.handle, name, payload)

    async def cancel(self) -> None:
        await self.handle.cancel()

    async def journal(self) -> list[Line]:
        return [line(t, k, a, v) for _, t, k, a, v in await face.journal(self.handle) if t in SAID]


async def embedded(path: Path, flow: Flow[..., Any], *args: Any, talk: Talk = nothing, id: str) -> Ran:
    async with Engine(str(path / "segue.db")) as engine:
        run = await engine.start(flow, *args, id=id)
        await talk(Embedded(run))
        try:
            end = await run.result()
        except RunFailed as error:
            end = described(error.__cause__)
        except RunCancelled:
            end = "cancelled"
        return Ran(end, await Embedded(run).journal())


async def on_temporal(
    address: str, flow: Flow[..., Any], *args: Any, talk: Talk = nothing, id: str, **options: Any
) -> Ran:
    """Run it on the server, and hold its code against the history afterwards."""
    async with served(address, **options) as (client, queue):
        handle = await face.start(client, queue, flow, *args, id=id)
        await talk(Cluster(handle))
        try:
            end = await face.result(handle, flow)
        except asyncio.CancelledError:
            end = "cancelled"
        except Exception as error:  # noqa: BLE001  whatever the flow raised
            end = described(error)
        await replayed(handle)
        return Ran(end, await Cluster(handle).journal())


@asynccontextmanager
async def served(address: str, **options: Any) -> AsyncIterator[tuple[Client, str]]:
    """A client, and a worker in this process on a queue of its own."""
    client, queue = await Client.connect(address), f"flows-{uuid4().hex[:8]}"
    async with face.worker(client, queue, **options):
        yield client, queue


async def replayed(handle: face.Handle) -> None:
    """Let the flow's code make the run again from its history. Raises when it asks for anything else."""
    replayer = Replayer(workflows=[FlowRun], workflow_runner=UnsandboxedWorkflowRunner())
    await replayer.replay_workflow(await handle.fetch_history())


def described(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"
