"""Start runs on Temporal, wait for them, read their journals; and the worker that carries them out."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RawValue, WorkflowIDConflictPolicy
from temporalio.exceptions import CancelledError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from segue import Flow
from segue.core.codec import codec, roundtrip
from segue.core.faults import rebuild

from .attempt import HEARTBEAT_S, attempt, raw
from .far_side import FlowRun, fault_of

Handle = WorkflowHandle[Any, RawValue]


def worker(client: Client, queue: str, **options: Any) -> Worker:
    """A worker of any flow that this process can import. A dead one's runs are taken over after half a second."""
    return Worker(
        client, task_queue=queue, workflows=[FlowRun], activities=[attempt],
        workflow_runner=UnsandboxedWorkflowRunner(),  # the flow's own loop refuses what is not durable
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=0.5),
        max_heartbeat_throttle_interval=timedelta(seconds=HEARTBEAT_S), **options,
    )  # fmt: skip


async def start(client: Client, queue: str, flow: Flow[..., Any], *args: Any, id: str) -> Handle:
    """Start a run, or get the one of this id."""
    data, _ = flow.signature.bind(args, {}, flow.short)
    return await client.start_workflow(
        flow.name, raw(data), id=id, task_queue=queue, result_type=RawValue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )  # fmt: skip


async def result(handle: Handle, flow: Flow[..., Any]) -> Any:
    """Wait for the end and give what the flow returned. Raises the flow's error."""
    try:
        return flow.signature.result.decode((await handle.result()).payload.data)
    except WorkflowFailureError as error:
        if isinstance(error.cause, CancelledError):
            raise asyncio.CancelledError from error
        raise rebuild(fault_of(error)) from error


async def signal(handle: Handle, name: str, payload: Any = None) -> None:
    """Send a signal, before or after the flow waits for it."""
    await handle.signal(name, raw(roundtrip(codec(Any), payload)[0]))


async def journal(handle: Handle) -> list[list[Any]]:
    """The run's events so far, as `[seq, type, key, attempt, value]`."""
    return await handle.query("segue-journal")
