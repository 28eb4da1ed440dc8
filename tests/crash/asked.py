"""Scenes in which a step's Recovery asks a person."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import segue
from segue import flow, gather, step, step_scope
from segue.core.faults import Fault
from segue.core.recovery import Again, Answer, AskPerson, Attempt, Fail, Take
from segue.testing import Engine
from tests.crash.flows import SCENES, scene
from tests.crash.witness import publish, witness

__all__ = ["SCENES"]


def asks(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    """A crash costs an attempt, and nothing else."""
    return Again(0.0) if fault.kind == "interrupted" else AskPerson("ann")


def asks_for_a_while(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    """And takes -1 for an answer."""
    return Again(0.0) if fault.kind == "interrupted" else AskPerson("bob", timeout_s=300.0, default=Take(-1))


def asks_or_fails(fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
    return AskPerson("ann", timeout_s=60.0, default=Fail()) if len(history) < 9 else Fail()


@step(retry=asks)
async def stuck_until(tag: str) -> int:
    """Succeeds for the candidate that a person names."""
    witness.begin()
    if step_scope().candidate is None:
        raise ConnectionError(tag)
    return witness.nonce()


@step(retry=asks_for_a_while)
async def hopeless(tag: str) -> int:
    witness.begin()
    raise ConnectionError(tag)


@step(retry=asks_or_fails)
async def given_up(tag: str) -> int:
    witness.begin()
    raise ConnectionError(tag)


@flow
async def needs_people() -> list[Any]:
    found: list[Any] = list(await gather(stuck_until("a"), stuck_until("b"), hopeless("c")))
    with suppress(ConnectionError, segue.errors.StepFailed):  # the last attempt may be one that a crash cut off
        await given_up("d")
    return [*found, await publish("end", [found[0]])]


@scene
async def asked(engine: Engine) -> Any:
    """Ann lets one step be tried again, then by another candidate; gives the other its result. Bob says nothing."""
    run = await engine.start(needs_people, id="main")
    while (await run.status()).state not in ("completed", "failed"):
        for waits in (await run.status()).waits_on:
            if waits.get("person") == "ann":
                await _decides(run, waits["key"])
        await asyncio.sleep(60)
    result = await run.result()
    assert result[1:3] == [-2, -1]
    return result


async def _decides(run: segue.Run[Any], key: str) -> None:
    before = [e async for e in run.events(follow=False) if e.key == key and e.type == "approval.decided"]
    with suppress(segue.errors.InputError, segue.errors.RunEnded):  # somebody was quicker: this process, before it died
        if b'{"tag":"b"}' in [e.args async for e in run.events(follow=False) if e.key == key]:
            await run.decide(key, result=-2, by="ann")
        elif before:
            await run.decide(key, use="other", by="ann")
        elif key.startswith("gather"):
            await run.decide(key, retry=True, by="ann")
