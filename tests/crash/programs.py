"""Random programs: small flows that mix all that a flow may do, made from one number."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import segue
from segue import (
    Applied,
    NotApplied,
    Retry,
    approve,
    as_completed,
    cleanup,
    continue_as_new,
    detach,
    flow,
    gather,
    sleep,
    step,
    step_scope,
    timeout,
    wait_for,
)
from segue.core.commands import Command, RunStep, Wait
from segue.testing import Engine
from tests.crash.witness import witness

Node = list[Any]
"""What a program does at one place: its kind, and what that needs."""

_LEAVES = ("step", "step", "thread", "stumble", "fail", "pay", "sleep", "signal", "expires", "ask", "late", "cancelled")
_BRANCHES = ("gather", "completed", "group", "seq", "limit", "child", "tried", "plain", "detached", "once given up")


def program(number: int) -> list[Node]:
    """The parts of a program: each is one part of a run, which goes on as new with the next."""
    luck, tags = random.Random(number), (f"t{n}" for n in range(10_000))
    return [_node(luck, tags, 3) for _ in range(luck.choice([1, 1, 2, 3]))]


def _node(luck: random.Random, tags: Iterator[str], depth: int) -> Node:
    if depth == 0 or luck.random() < 0.25:
        return [luck.choice(_LEAVES), next(tags), luck.randint(1, 3)]
    kind = luck.choice(_BRANCHES)
    inside = [_node(luck, tags, depth - 1) for _ in range(luck.randint(1, 3))]
    return [kind, next(tags), [_without_signals(n) for n in inside] if kind == "child" else inside]


def _without_signals(node: Node) -> Node:
    """Signals are sent to the run itself, and not to its children."""
    kind, tag, more = node
    if isinstance(more, list):
        return [kind, tag, [_without_signals(n) for n in more]]
    return ["step" if kind == "signal" else kind, tag, more]


def tags_of(node: Any, kind: str) -> list[str]:
    """The tags of all nodes of one kind."""
    if not isinstance(node, list):
        return []
    own = [node[1]] if len(node) == 3 and node[0] == kind else []
    return own + [tag for inside in node for tag in tags_of(inside, kind)]


@step
async def plain(tag: str) -> str:
    witness.begin()
    return tag


@step
def threaded(tag: str) -> str:
    witness.begin(in_thread=True)
    return tag


@step(retry=Retry(attempts=30, backoff_s=0.5))
async def stumbles(tag: str, good_at: int) -> str:
    witness.begin()
    if step_scope().attempt < good_at:
        raise ConnectionError(tag)
    return tag


@step
async def fails(tag: str) -> str:
    witness.begin()
    raise ValueError(tag)


async def was_applied(tag: str) -> Applied | NotApplied:
    return Applied(tag) if witness.applied(f"once:{tag}@{step_scope().run}") else NotApplied()


@step(effect="once", reconcile=was_applied)
async def pays(tag: str) -> str:
    witness.begin()
    witness.apply(f"once:{tag}@{step_scope().run}", [])
    await asyncio.sleep(0.1)
    return tag


@step
async def cleans(tag: str) -> str:
    return tag


@flow
async def runs_program(parts: list[Node], part: int = 0, had: list[Any] | None = None) -> list[Any]:
    cleanup(cleans, f"cleanup {part}")
    had = [*(had or []), await does(parts[part])]
    if part + 1 < len(parts):
        continue_as_new(parts, part + 1, had)
    return had


@flow
async def a_child(node: Node) -> Any:
    return await does(node)


async def does(node: Node) -> Any:  # noqa: PLR0911, PLR0912  one branch a kind
    """What a node does, and its result: the same however often the process dies."""
    kind, tag, more = node
    match kind:
        case "step":
            return await plain(tag)
        case "thread":
            return await threaded(tag)
        case "stumble":
            return await stumbles(tag, more)
        case "fail":
            try:
                return await fails(tag)
            except ValueError as error:
                return f"error {error}"
        case "pay":
            return await pays(tag)
        case "sleep":
            await sleep(more * 7)
            return segue.now() is None
        case "signal":
            return await wait_for(tag, returns=int)
        case "expires":
            try:
                return await wait_for(f"never {tag}", timeout_s=more)
            except TimeoutError:
                return await plain(f"{tag} expired")
        case "ask":
            return (await approve(f"Do {tag}?", {"tag": tag}, by="lead")).approved
        case "late":
            async with timeout(more):
                try:
                    await asyncio.Event().wait() if more == 9 else await wait_for(f"never {tag}")
                except asyncio.CancelledError:
                    with suppress(asyncio.CancelledError):
                        await plain(f"{tag} cleanup")
                    return "late"
        case "cancelled":
            task = asyncio.ensure_future(_for_ever(tag))
            await plain(f"{tag} beside")
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return "cancelled"
        case _:
            return await _branches(kind, tag, more)
    raise AssertionError(kind)


async def _for_ever(tag: str) -> None:
    await wait_for(f"never {tag}")


async def _branches(kind: str, tag: str, inside: list[Node]) -> Any:  # noqa: PLR0911  one branch a kind
    match kind:
        case "gather":
            return await gather(*(does(n) for n in inside))
        case "limit":
            return await gather(*(does(n) for n in inside), limit=1)
        case "plain":
            return list(await asyncio.gather(*(asyncio.ensure_future(does(n)) for n in inside)))
        case "completed":
            return sorted([repr(r) async for r in as_completed(*(does(n) for n in inside))])
        case "group":
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(does(n)) for n in inside]
            return [t.result() for t in tasks]
        case "seq":
            return [await does(n) for n in inside]
        case "child":
            return await a_child(inside[0])
        case "detached":
            await detach(a_child, ["step", f"{tag} detached", 1])
            return await does(inside[0])
        case "tried":
            return await gather(*(_in_time(n) for n in inside), return_exceptions=True)
        case "once given up":
            task = asyncio.ensure_future(pays(f"{tag} given up"))
            found = await does(inside[0])
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return found
        case _:
            raise AssertionError(kind)


async def _in_time(node: Node) -> Any:
    async with timeout(1e9):
        return await does(node)


async def plays(engine: Engine, number: int, parts: list[Node], operator: object = None) -> list[Any]:
    """Start it, send its signals, answer its questions, pause it now and then, and fork it when it has ended.

    With an `operator`, a seed, somebody retries, overrides and pauses whatever is open, at random moments.
    """
    luck = random.Random(f"acts {number}")
    run = await engine.start(runs_program, parts, id="main")
    meddling = None if operator is None else asyncio.ensure_future(meddles(engine, random.Random(repr(operator))))
    try:
        return await _played(engine, run, luck, parts)
    finally:
        if meddling is not None:
            await _leaves(engine, meddling)


async def _played(engine: Engine, run: segue.Run[Any], luck: random.Random, parts: list[Node]) -> list[Any]:
    found = await _attended(engine, run, luck, parts)
    keys = [e.key async for e in run.events(follow=False) if e.type == "step.completed"]
    results = [found]
    for n in range(luck.choice([0, 1, 2])):
        fork = await run.fork(at=luck.choice(keys) if keys else None, id=f"fork {n}")
        results.append(await _attended(engine, fork, luck, parts))
    return results


async def _attended(engine: Engine, run: segue.Run[Any], luck: random.Random, parts: list[Node]) -> Any:
    acts: list[Any] = [_signal(run, tag, luck.choice([0, 0, 1, 20])) for tag in tags_of(parts, "signal")]
    acts.append(_answer(engine, run))
    if luck.random() < 0.4:
        acts.append(_pause(run, luck.choice([0, 0.2, 3, 10])))
    tasks = [asyncio.ensure_future(act) for act in acts]
    try:
        return await run.result()
    finally:
        for task in tasks:
            task.cancel()
        for done in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(done, Exception) and not isinstance(done, segue.errors.RunEnded | segue.errors.EngineClosed):
                raise done


async def _signal(run: segue.Run[Any], tag: str, after: float) -> None:
    await asyncio.sleep(after)
    await run.signal(tag, len(tag), id=tag)


async def _pause(run: segue.Run[Any], after: float) -> None:
    await asyncio.sleep(after)
    with suppress(segue.errors.RunEnded):
        await run.pause(by="ann")
        await asyncio.sleep(5)
        await run.resume(by="ann")


async def _answer(engine: Engine, run: segue.Run[Any]) -> None:
    while True:
        for item in await engine.inbox("lead"):
            with suppress(segue.errors.AlreadyDecided, segue.errors.StaleDecision, segue.errors.RunEnded):
                await item.approve(by="lead")
        await asyncio.sleep(3)


async def is_cancelled(engine: Engine, number: int, parts: list[Node], operator: object) -> str:
    """Start it, meddle with it, and cancel it in the middle: how it ended."""
    luck = random.Random(f"cancel {operator!r}")
    run = await engine.start(runs_program, parts, id="main")
    meddling = asyncio.ensure_future(meddles(engine, random.Random(repr(operator))))
    attending = asyncio.ensure_future(_attended(engine, run, random.Random(f"acts {number}"), parts))
    try:
        await asyncio.sleep(luck.choice([0, 0.05, 0.1, 0.5, 2, 8, 20, 60]))
        with suppress(*_HARMLESS):
            await run.cancel(by="ann")
        with suppress(segue.errors.RunCancelled):
            await attending
        return (await run.status()).state
    finally:
        attending.cancel()
        await _leaves(engine, meddling)


async def _leaves(engine: Engine, meddling: asyncio.Future[None]) -> None:
    """The operator goes, and leaves nothing held back: what is detached may outlive its parent."""
    meddling.cancel()
    for done in await asyncio.gather(meddling, return_exceptions=True):
        if isinstance(done, Exception) and not isinstance(done, segue.errors.EngineClosed):
            raise done
    if not engine.dead:
        await engine.resume(flow=a_child, by="ann")
        for row in engine.journal.runs("state not in ('completed', 'failed', 'cancelled')"):
            with suppress(*_HARMLESS):
                await (await engine.get(row.id)).resume(by="ann")


_HARMLESS = (segue.errors.RunEnded, segue.errors.InputError)
"""An act may come too late."""


async def meddles(engine: Engine, luck: random.Random) -> None:
    """An operator in a hurry: each act is one after which the program must give the same result."""
    while True:
        await asyncio.sleep(luck.choice([0, 0.05, 0.1, 0.5, 1, 5, 20]))
        rows = engine.journal.runs("state not in ('completed', 'failed', 'cancelled')")
        if not rows:
            continue
        run = await engine.get(luck.choice(rows).id)
        with suppress(*_HARMLESS):
            await _meddle(engine, run, luck)


async def _meddle(engine: Engine, run: segue.Run[Any], luck: random.Random) -> None:
    act = luck.choice(["retry", "retry", "retry", "result", "result", "pause", "resume", "flow", "signal"])
    if act in ("pause", "resume"):
        await (run.pause(by="ann") if act == "pause" else run.resume(by="ann"))
        await asyncio.sleep(luck.choice([0, 0.1, 5]))
        await run.resume(by="ann")
    elif act == "flow":
        await engine.pause(flow=a_child, by="ann")
        await asyncio.sleep(luck.choice([0, 0.1, 5]))
        await engine.resume(flow=a_child, by="ann")
    elif act == "signal":
        await run.signal("nobody waits for it", 1)
    else:
        execution = engine.host.executions.get(engine.journal.get(run.id).no)
        calls = [] if execution is None else [c for c, _ in execution.drive.waiting.values()]
        if calls:
            await _say(run, luck.choice(calls), act)


async def _say(run: segue.Run[Any], call: Command, act: str) -> None:
    if not isinstance(call, RunStep):
        if isinstance(call, Wait) and act == "result" and call.name.startswith("t"):
            await run.override(call.key, len(call.name), by="ann")
    elif act == "retry":
        await run.override(call.key, retry=True, by="ann")
    elif call.options.name.rpartition(":")[2] != "fails":
        await run.override(call.key, json.loads(call.args)["tag"], by="ann")
