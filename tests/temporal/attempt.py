"""One attempt of a step, as a Temporal activity."""

from __future__ import annotations

import asyncio
import importlib
import json
from dataclasses import dataclass
from typing import Any

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from segue import Step
from segue.core.codec import decode_arguments, roundtrip
from segue.core.commands import RunStep
from segue.core.faults import Fault, classify
from segue.runtime import registry
from segue.runtime.scope import StepScope, enter

HEARTBEAT_S = 0.5


def raw(data: bytes, **metadata: bytes) -> RawValue:
    """JSON that goes to Temporal as it is: the same bytes as in an embedded journal, and readable in Temporal's UI."""
    return RawValue(Payload(metadata={"encoding": b"json/plain", **metadata}, data=data))


def failure(fault: Fault) -> ApplicationError:
    """A fault as Temporal's error: its message and type for people, all of it as data."""
    return ApplicationError(fault.message, fault.body(), type=fault.error, non_retryable=True)


@dataclass
class StepCall:
    """Which attempt of which step. The arguments travel beside it."""

    step: str
    key: str
    n: int
    timeout_s: float | None


@activity.defn(name="segue-step")
async def attempt(call: StepCall, args: RawValue) -> RawValue:
    """One attempt of a step: its result as JSON, what it recorded as metadata beside it, or its fault."""
    scope = StepScope(activity.info().workflow_id or "", call.key, call.n)
    beat = asyncio.create_task(_beat())
    try:
        step = find_step(call.step)
        values = decode_arguments(step.signature.codecs, args.payload.data)
        enter(scope)
        value = roundtrip(step.signature.result, await _within(call.timeout_s, step, values))[0]
    except Exception as error:
        raise failure(classify(error)) from error
    finally:
        beat.cancel()
    return raw(value, **{"segue-events": json.dumps(scope.events).encode()})


async def _within(limit: float | None, step: Step[..., Any], values: dict[str, Any]) -> Any:
    try:
        async with asyncio.timeout(limit) as timer:
            if step.options.threaded:
                return await asyncio.to_thread(step.function, **values)
            return await step.function(**values)
    except TimeoutError as error:
        if timer.expired():
            raise TimeoutError(f"the attempt took longer than timeout_s={limit:g}") from error
        raise


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_S)


def step_name(command: RunStep) -> str:
    """By which name a worker finds the step. The command itself has only the function."""
    return f"{registry.module_of(command.call)[0]}:{command.call.__qualname__}"


def find_step(name: str) -> Step[..., Any]:
    """The step called `module:qualname`."""
    module, _, qualname = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    if not isinstance(found, Step):
        raise LookupError(f"{name} is no @step that another process can find")
    return found
