"""A signal's payload that is declared secret: sealed in the journal, whoever has sent it, and whenever it came."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import segue
from segue import Secret, ask_human, flow, gather, step, testing, wait_for
from segue.core.events import EventType
from segue.journal.records import Post
from tests.secrets.test_runs import LONG, PIN, TOKEN, Login, assert_not_stored, opened

seen: list[Any] = []


@step
async def uses(token: Secret[str]) -> str:
    seen.append(token.reveal())
    return "used"


@step
async def idle() -> None:
    pass


@flow
async def takes_secrets() -> str:
    await idle()
    token = await wait_for("token", returns=Secret[str])
    login = await wait_for("login", returns=Login)
    pin = await wait_for("pin", returns=Secret[int])
    seen.append(pin.reveal())
    text = await wait_for("long", returns=Secret[str], timeout_s=60)
    seen.append(len(text.reveal()))
    await gather(uses(token), uses(login.token), uses(text))
    return "done"


PAYLOADS: list[tuple[str, Any]] = [
    ("token", TOKEN), ("login", {"user": "ada", "token": TOKEN}), ("pin", f"no pin, but {TOKEN}"), ("pin", PIN),
    ("long", LONG),
]  # fmt: skip


@pytest.mark.parametrize("early", [True, False], ids=["before the wait", "at the wait"])
async def test_a_payload_is_sealed(tmp_path: Path, early: bool) -> None:
    seen.clear()
    async with opened(tmp_path) as engine:
        run = await engine.start(takes_secrets, id="s")
        for name, payload in PAYLOADS:
            if not early:
                await waits_for(engine, "s", name)
            await run.signal(name, payload)
        assert await asyncio.wait_for(run.result(), 10) == "done"
        assert seen[-3:] == [TOKEN, TOKEN, LONG]
        assert set(seen[:-3]) == {PIN, len(LONG)}, "the flow reads them at each replay"
        assert [e.key async for e in run.events() if e.type == EventType.SIGNAL_REJECTED], "the first pin was none"
    assert_not_stored(tmp_path)
    async with opened(tmp_path) as engine:
        assert (await (await engine.get("s")).fork(id="f")).id == "f"
        assert await asyncio.wait_for((await engine.get("f")).result(), 10) == "done", "what was sealed is read again"


@flow
async def takes_one(fails: bool) -> str:
    await wait_for("go")
    token = await wait_for("token", returns=Secret[str])
    if fails:
        raise LookupError("no such account")
    return await uses(token)


@pytest.mark.parametrize("fails", [False, True], ids=["completes", "fails"])
async def test_one_that_was_sent_twice_and_taken_once_is_sealed_at_the_end(tmp_path: Path, fails: bool) -> None:
    async with opened(tmp_path) as engine:
        run = await engine.start(takes_one, fails, id="s")
        for _ in range(2):  # as a client does that tries again, without an id
            await run.signal("token", TOKEN)
        await run.signal("go")
        if fails:
            with pytest.raises(segue.RunFailed):
                await asyncio.wait_for(run.result(), 10)
        else:
            assert await asyncio.wait_for(run.result(), 10) == "used"
    assert_not_stored(tmp_path)


@flow
async def takes_one_and_goes_on(part: int) -> str:
    if part == 0:
        await uses(await wait_for("token", returns=Secret[str]))
        await wait_for("go")
        segue.continue_as_new(1)
    return await wait_for("end")


async def test_a_secret_that_was_left_is_sealed_when_its_run_goes_on_as_new(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        run = await engine.start(takes_one_and_goes_on, 0, id="s")
        for name, payload in (("token", TOKEN), ("token", f"second {TOKEN}"), ("go", None), ("end", "there")):
            await run.signal(name, payload)
        assert await asyncio.wait_for(run.result(), 10) == "there"
    assert_not_stored(tmp_path)


async def test_a_payload_that_came_while_nobody_ran_it_is_sealed(tmp_path: Path) -> None:
    """And one that is taken in a fork, from the journal of the parent."""
    async with opened(tmp_path) as engine:
        run = await engine.start(takes_late, 0, id="s")
        await run.signal("token", TOKEN)
        await waits_for(engine, "s", "go")
        while "signal.received" not in [e.type async for e in run.events(follow=False)]:
            await asyncio.sleep(0.005)
        fork = await run.fork(id="f", input={"waits": 1})
        assert await asyncio.wait_for(fork.result(), 10) == "used"
        await run.cancel()
    assert_not_stored(tmp_path)


@flow
async def takes_late(waits: int) -> str:
    await (idle() if waits else wait_for("go"))
    return await uses(await wait_for("token", returns=Secret[str]))


@flow
async def asks_for_one() -> str:
    return await uses(await ask_human("Which token?", returns=Secret[str], by="desk"))


async def test_a_persons_answer_from_a_process_without_the_flow_is_sealed(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        run = await engine.start(asks_for_one, id="s")
        while not (items := await engine.inbox()):
            await asyncio.sleep(0.01)
        word = {"word": "answer", "by": "ann", "answer": TOKEN, "bound": items[0].bound}
        post = Post("s", "signal", "w", items[0].name, 0.0, segue.core.codec.dumps(word))
        await engine.journal.post(post)
        engine.host.scan_soon()
        assert await asyncio.wait_for(run.result(), 10) == "used"
    assert_not_stored(tmp_path)


async def waits_for(engine: segue.Engine, run: str, name: str) -> None:
    """Until it waits for this signal."""
    while not any(w.get("signal") == name for w in (await (await engine.get(run)).status()).waits_on):
        await asyncio.sleep(0.005)


async def early(engine: testing.Engine) -> str:
    run = await engine.start(takes_secrets, id="s")
    for n, (name, payload) in enumerate(PAYLOADS):
        await run.signal(name, payload, id=str(n))
    return await run.result()


def test_a_crash_leaves_no_payload_unsealed() -> None:
    def check(result: str, engine: testing.Engine) -> None:
        assert result == "done"
        events = engine.history("s")
        assert not [e for e in events if TOKEN.encode() in (e.value or b"") or str(PIN).encode() in (e.value or b"")]

    assert testing.crash_everywhere(early, check=check, again=True) > 20
