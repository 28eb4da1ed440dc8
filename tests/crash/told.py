"""Scenes in which somebody outside of the run takes a part: operators, senders of signals, makers of forks."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import segue
from segue import flow, gather, sleep, step, timeout, wait_for
from segue.errors import RunCancelled, RunStuck, UnknownEffect
from segue.testing import Engine
from tests.crash.flows import SCENES, loop_with_sleeps, scene, simple, small, timeouts, waits_long
from tests.crash.witness import draw, pay_blindly, publish, stumble

__all__ = ["SCENES"]


@flow
async def pays_unreconciled() -> int:
    nonce = await draw("n")
    other = asyncio.ensure_future(draw("other"))
    paid = await pay_blindly("once:blind", nonce)
    return paid + await other


@scene
async def unknown_effects(engine: Engine) -> Any:
    """An operator looks into the world and says what came of each unknown effect."""
    from tests.crash.witness import witness

    run = await engine.start(pays_unreconciled, id="main")
    while True:
        try:
            return await run.result()
        except UnknownEffect as unknown:
            nonce = next((n for _, t, n in witness.effects if t == "once:blind"), None)
            assert unknown.key is not None
            if nonce is None:
                await run.override(unknown.key, retry=True)
            else:
                await run.override(unknown.key, nonce)


@flow
async def converses() -> list[Any]:
    out: list[Any] = [await draw("hello")]
    for _ in range(2):
        answer = await wait_for("say", returns=int)
        out += [answer, await publish("answer", out[:1])]
    try:
        out.append(await wait_for("more", timeout_s=3600))
    except TimeoutError:
        out.append("silence")
    return out


@scene
async def signals(engine: Engine) -> Any:
    run = await engine.start(converses, id="main")
    for id_, payload in (("a", 1), ("b", "no number"), ("b", "no number"), ("c", 2)):
        if (await run.status()).state in ("completed", "failed"):
            break
        with suppress(segue.errors.RunEnded):
            await run.signal("say", payload, id=id_)
        await asyncio.sleep(1.0)
    return await run.result()


@scene
async def flow_paused(engine: Engine) -> Any:
    """A flow is paused while its run is in the middle, its engine restarts, and it goes on."""
    run = await engine.start(loop_with_sleeps, id="main")
    await asyncio.sleep(4000)
    if not [act for act in await engine.acts() if act.act == "pause"]:
        await engine.pause(flow=loop_with_sleeps, by="test")
    if await engine.switches():
        await asyncio.sleep(1000)  # what was on its way has ended
        begun = [e.key async for e in run.events(follow=False) if e.type == "step.completed"]
        await asyncio.sleep(9000)
        assert begun == [e.key async for e in run.events(follow=False) if e.type == "step.completed"]
        await engine.resume(flow="loop_with_sleeps", by="test")
    return await run.result()


@flow
async def cleans_up() -> str:
    segue.cleanup(publish, "cleanup", [])
    try:
        await gather(waits_long(), stumble("x", 2), sleep(1e6))
    except asyncio.CancelledError:
        await publish("durable cleanup", [await draw("c")])
        raise
    return "never"


@scene
async def cancelled(engine: Engine) -> Any:
    run = await engine.start(cleans_up, id="main")
    await asyncio.sleep(5.0)
    with suppress(segue.errors.RunEnded):
        await run.cancel(by="test")
    try:
        return await run.result()
    except RunCancelled:
        return "cancelled"


@flow
async def forks() -> list[int]:
    first = await draw("before")
    rest = await gather(small(0), draw("beside"), draw("beside"))
    return [first, *rest, await publish("end", rest)]


@scene
async def forked(engine: Engine) -> Any:
    """A fork, and a fork of that fork; each makes its last steps anew."""
    first = await engine.start(forks, id="main")
    result = await first.result()
    key = next(e.key for e in [e async for e in first.events(follow=False)] if (e.key or "").startswith("gather#1/1/"))
    assert key is not None
    second = await _fork(engine, first, key, "fork")
    third = await _fork(engine, second, key, "fork-of-fork")
    other = await third.result()
    assert other[0] == result[0]
    return [result, await second.result(), other]


async def _fork(engine: Engine, run: segue.Run[Any], key: str, id_: str) -> segue.Run[Any]:
    try:
        return await engine.get(id_)
    except segue.errors.UnknownRun:
        return await run.fork(at=key, id=id_)


@scene
async def parked(engine: Engine) -> Any:
    """Everything at once, parking all the time."""
    runs = [await engine.start(f, id=f.short) for f in (loop_with_sleeps, forks, timeouts)]
    return await asyncio.gather(*(r.result() for r in runs))


@step
async def stubborn(tag: str) -> int:
    """Does not let itself be cancelled."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(1e6)
    return await draw.function(tag)


@simple
@flow
async def swallowed_cancellations() -> list[Any]:
    task = asyncio.ensure_future(stubborn("forgotten"))
    try:
        async with timeout(5):
            await stubborn("limited")
    except TimeoutError:
        first = await draw("x")
    del task
    return [first, await publish("end", [first])]


@scene
async def paused(engine: Engine) -> Any:
    run = await engine.start(loop_with_sleeps, id="main")
    for act in (run.pause, run.resume, run.pause, run.resume):
        await asyncio.sleep(30)
        with suppress(segue.errors.RunEnded, RunStuck):
            await act()
    with suppress(segue.errors.RunEnded):
        await run.resume()
    return await run.result()


@flow
async def serves(left: int, out: list[Any]) -> list[Any]:
    """Each part takes one signal; those that came too early go along."""
    said = await wait_for("say", returns=int)
    out = [*out, said, await publish(f"answer {left}", [await draw("hello")])]
    if left > 1:
        segue.continue_as_new(left - 1, out)
    return out


@scene
async def continued_with_signals(engine: Engine) -> Any:
    run = await engine.start(serves, 3, [], id="main")
    for said in (1, 2, 3):
        with suppress(segue.errors.RunEnded):
            await run.signal("say", said, id=f"{said}")
    out = await run.result()
    assert out[::2] == [1, 2, 3]
    return out
