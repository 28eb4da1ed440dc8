"""Flows that break weaker engines: identical calls in siblings, shared state, races, children, limits, cleanup."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import segue
from segue import Flow, flow, gather, sleep, timeout, wait_for
from segue.errors import StepFailed
from segue.testing import Engine
from tests.crash.witness import draw, draw_in_thread, pay, publish, stumble

Scene = Callable[[Engine], Awaitable[Any]]
SCENES: dict[str, Scene] = {}


def scene(function: Callable[[Engine], Awaitable[Any]]) -> Callable[[Engine], Awaitable[Any]]:
    """A play: it is called again after each crash, so it starts runs by fixed ids and tells them things once."""
    SCENES[function.__name__] = function
    return function


def simple(made: Flow[Any, Any]) -> Flow[Any, Any]:
    """A scene that runs one flow without arguments."""

    async def play(engine: Engine) -> Any:
        return await engine.run(made, id="main")

    SCENES[made.short] = play
    return made


@simple
@flow
async def one_after_the_other() -> list[int]:
    out: list[int] = []
    for i in range(4):
        out.append(await draw("same"))
        out.append(await publish(f"p{i}", out))
    return out


@simple
@flow
async def nested_gather() -> list[Any]:
    async def branch(i: int) -> list[int]:
        first = await draw("x")
        pair = await gather(draw("y"), draw("y"), limit=1)
        return [first, *pair, await publish(f"slot{i}", pair)]

    return await gather(*(branch(i) for i in range(3)))


@simple
@flow
async def identical_in_siblings() -> list[int]:
    async def branch(i: int) -> int:
        await draw(f"warm {i}")
        joke = await draw("joke")
        await publish(f"slot {i}", [joke])
        return joke

    return await asyncio.gather(*(branch(i) for i in range(3)))


@simple
@flow
async def as_completed() -> list[int]:
    out: list[int] = []
    for future in asyncio.as_completed([draw(f"u{i}") for i in range(4)]):
        n = await future
        out.append(await publish("save", [n]))
    async for n in segue.as_completed(*(draw("v") for _ in range(3))):
        out.append(await publish("more", [n]))
    return out


@simple
@flow
async def queue_workers() -> list[int]:
    queue: asyncio.Queue[int] = asyncio.Queue()
    out: list[int] = []
    for i in range(6):
        queue.put_nowait(i)

    async def worker() -> None:
        while not queue.empty():
            queue.get_nowait()
            out.append(await draw("item"))
            if len(out) % 2:
                await publish("odd", list(out))

    await asyncio.gather(*(worker() for _ in range(3)))
    await publish("all", out)
    return out


@simple
@flow
async def shared_list() -> list[int]:
    seen: list[int] = []

    async def branch(i: int) -> None:
        seen.append(await draw(f"s{i}"))

    await asyncio.gather(*(branch(i) for i in range(4)))
    summary = await publish("summary", list(seen))
    return [*seen, summary]


@simple
@flow
async def task_group() -> list[int]:
    out: list[int] = []
    lock = asyncio.Lock()

    async def member(i: int) -> None:
        async with lock:
            out.append(await draw("locked"))
        out.append(await draw_in_thread("thread"))

    try:
        async with asyncio.TaskGroup() as group:
            for i in range(3):
                group.create_task(member(i))
            if (await draw("luck")) % 2 == 0:
                raise LookupError("unlucky")
    except* LookupError:
        await publish("unlucky", [])
    await publish("group", list(out))
    return out


@simple
@flow
async def loop_with_sleeps() -> list[int]:
    out: list[int] = []
    for i in range(3):
        out.append(await draw("loop"))
        await sleep(3600)
        out.append(await publish(f"after {i}", out[-1:]))
    return out


@flow
async def small(n: int) -> int:
    nonce = await draw("child")
    await sleep(60 * n)
    return await publish(f"child {n}", [nonce])


@flow
async def bad_child() -> int:
    await draw("bad")
    raise LookupError("child")


@simple
@flow
async def children() -> list[int]:
    first = await small(1)
    rest = await gather(small(2), small(2), small(3))
    with suppress(LookupError):
        await bad_child()
    id_ = await segue.detach(small, 4)
    return [first, *rest, await publish(f"told {len(id_)}", [first])]


@flow
async def waits_long() -> int:
    try:
        return await draw("long") + (await wait_for("never"))
    except asyncio.CancelledError:
        await publish("child cleans", [])
        raise


@flow
async def gives_its_child_up() -> str:
    try:
        async with timeout(100):
            await waits_long()
    except TimeoutError:
        await sleep(5000)
        return f"gave up {await draw('after')}"
    return "no"


@scene
async def child_given_up(engine: Engine) -> Any:
    """The child is cancelled when it is given up, not when its parent ends at last."""
    run = await engine.start(gives_its_child_up, id="main")
    result = await run.result()
    (child,) = [s for s in await engine.runs() if s.parent == "main"]
    assert child.state == "cancelled", "it is cancelled only with its parent's end"
    return result


@simple
@flow
async def child_forgotten() -> int:
    task = asyncio.ensure_future(waits_long())
    first = await draw("x")
    del task
    return await publish("end", [first])


@simple
@flow
async def timeouts() -> list[Any]:
    out: list[Any] = []
    for limit in (0.05, 5.0):
        try:
            async with timeout(60):
                try:
                    async with timeout(limit):
                        out.append(await draw("quick"))
                        await wait_for("never")
                except TimeoutError:
                    out.append(await draw("inner"))
                await wait_for("never")
        except TimeoutError:
            out.append(await publish("outer", [n for n in out if isinstance(n, int)]))
    return out


@simple
@flow
async def race() -> list[Any]:
    """Time limits that run out while outcomes come in."""
    out: list[Any] = []
    for i in range(4):
        try:
            async with timeout(0.2 + 0.2 * i):
                out.append(await draw("racer"))
        except TimeoutError:
            out.append("late")
    return [*out, await publish("raced", [n for n in out if n != "late"])]


@simple
@flow
async def retries() -> list[Any]:
    good = await gather(stumble("a", 1), stumble("b", 2), stumble("b", 3), stumble("c", 4), return_exceptions=True)
    with suppress(ConnectionError, StepFailed):  # the last attempt may be one that a crash cut off
        good.append(await stumble("never", 9))
    return [n if isinstance(n, int) else repr(n) for n in good]


@simple
@flow
async def pays() -> list[int]:
    nonces = await gather(draw("n"), draw("n"))
    paid = await gather(*(pay(f"once:{i}", n) for i, n in enumerate(nonces)))
    last = await pay("once:last", paid[0])
    return [*paid, last]


@simple
@flow
async def pays_and_gives_up() -> str:
    nonce = await draw("n")
    task = asyncio.ensure_future(pay("once:forgotten", nonce))
    try:
        async with timeout(0.05):
            await pay("once:slow", nonce)
    except TimeoutError:
        pass
    await draw("meanwhile")
    del task
    return "done"


@flow
async def continuing(part: int, had: list[int]) -> list[int]:
    """Goes on as new: identical calls in each part, an effect, a child, a timer that is given up, a loose task."""
    loose = asyncio.ensure_future(waits_long())
    n, other = await gather(draw("same"), draw("same"))
    paid = await pay(f"once:part {part}", n)
    had = [*had, paid, other, await publish(f"part {part}", [n, other]), await small(part)]
    with suppress(TimeoutError):
        async with timeout(3600):
            await sleep(5)
    loose.cancel()
    if part < 1:
        segue.continue_as_new(part + 1, had)
    return had


@scene
async def continued(engine: Engine) -> Any:
    return await engine.run(continuing, 0, [], id="main")
