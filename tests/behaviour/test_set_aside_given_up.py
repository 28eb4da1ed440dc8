"""Runs that are about to be set aside: nothing that the flow gave up begins, and whoever looks is told."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from contextlib import suppress
from typing import Any

import pytest

import segue
from segue import Applied, NotApplied, Retry, flow, gather, step, testing
from segue.core.codec import dumps, loads
from segue.journal import Post
from tests.behaviour.world import World, events_of, in_state, until

applied: list[str] = []
gate = threading.Event()
code: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def _clean() -> None:
    applied.clear()
    gate.clear()
    code.clear()


def changed(flow_: Any, **now: Any) -> None:
    """The code is another one from here."""
    code.update(now)
    flow_.revision = f"{flow_.revision}+"


async def stuck_body(run: segue.Run[Any]) -> dict[str, Any]:
    """What the record says that sets a run aside."""
    return loads([e for e in await events_of(run) if e.type == "run.stuck"][-1].body)


@step
async def first(n: int) -> int:
    return n


@step
async def hangs() -> None:
    await asyncio.sleep(1e9)


@step
def blocks() -> None:
    gate.wait(20)


@step(effect="once")
def pay_in_a_thread() -> str:
    applied.append("paid")
    return "paid"


@step(effect="once")
async def move(n: int) -> int:
    return n


@flow
async def gives_up_in_line(limit_s: float) -> str:
    async def fills_the_line() -> None:
        if "new" not in code:
            await hangs()
        await blocks()

    async def pays() -> None:
        if "new" not in code:
            await move(1)
            await hangs()
        with suppress(TimeoutError):
            async with segue.timeout(limit_s):
                await pay_in_a_thread()
        await move(code["new"])

    await gather(fills_the_line(), pays())
    return "ok"


async def test_an_effect_that_is_given_up_as_the_flow_meets_a_mismatch_is_not_begun(world: World) -> None:
    if world.virtual:
        pytest.skip("threads are not on virtual time")
    async with world.engine() as engine:
        run = await engine.start(gives_up_in_line, 0.2, id="r")
        await until(lambda: engine.journal.query("select 1 from events where type = 'step.completed'"))
    changed(gives_up_in_line, new=2)
    async with world.engine(step_threads=1) as engine:
        run = await engine.get("r")
        await until(lambda: any(e.aside is not None for e in engine.host.executions.values()))
        assert (await run.status()).state == "running", "the line has not come to it"
        gate.set()
        assert (await in_state(run, "stuck")).reason == "mismatch"
        assert applied == []
        assert "unknown" not in await stuck_body(run)
    changed(gives_up_in_line, new=1)
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.resume(by="ann")
        assert await run.result() == "ok"
    assert applied == []


async def looks_long(what: str) -> NotApplied:
    await asyncio.sleep(1000)
    return NotApplied()


async def fails_to_look(what: str) -> NotApplied:
    raise LookupError("nobody answers")


def looks_in_a_thread(what: str) -> Applied | NotApplied:
    code["looked"] = True
    gate.wait(20)
    return code["answer"]


def paying(reconcile: Any, name: str) -> Any:
    """An effect that hangs at first, and is asked about like this."""

    @step(effect="once", reconcile=reconcile, name=name)
    async def pay(what: str) -> str:
        applied.append(what)
        await asyncio.sleep(1e6 if len(applied) == 1 else 0.01)
        return what

    return pay


how = {
    "asks for long": paying(looks_long, "pay_looks_long"),
    "cannot say": paying(fails_to_look, "pay_cannot_say"),
    "asks in a thread": paying(looks_in_a_thread, "pay_looks_in_a_thread"),
}


@step(effect="once")
async def other() -> int:
    code["other"] = True
    await asyncio.sleep(code.get("takes_s", 0))
    return 1


@flow
async def pays_beside_another(asked: str) -> str:
    async def moves() -> None:
        await first(1)
        while "new" in code and not ("other" in code and code.get("looked", True)):
            await first(2)
        await move(code.get("new", 1))

    return (await gather(how[asked]("rent"), other() if "new" in code else hangs(), moves()))[0]


@pytest.mark.parametrize("asked", ["asks for long", "cannot say"])
def test_an_effect_in_doubt_is_named_though_another_one_was_on_its_way(asked: str) -> None:
    @testing.simulated
    async def told() -> None:
        async with testing.Engine() as engine:
            run = await engine.start(pays_beside_another, asked, id="r")
            await asyncio.sleep(5)
            (key,) = [w["key"] for w in (await run.status()).waits_on if "pay" in w["key"]]
            engine.kill()
        changed(pays_beside_another, new=2, takes_s=50)
        async with testing.Engine(after=engine) as engine:
            run = await engine.get("r")
            await asyncio.sleep(20)
            assert (await run.status()).state == "running", "the other one is on its way"
            await asyncio.sleep(100)
            stuck = await run.status()
            assert (stuck.state, stuck.reason) == ("stuck", "mismatch")
            assert f"nobody knows whether {key} was applied" in (stuck.message or "")
            assert list((await stuck_body(run))["unknown"]) == [key]
            await run.cancel(by="ann")
            await in_state(run, "cancelled")

    told()


@pytest.mark.parametrize("answer", [NotApplied(), Applied("by then")], ids=["not applied", "applied"])
async def test_what_a_thread_finds_out_before_a_run_is_set_aside_is_on_record(world: World, answer: Any) -> None:
    if world.virtual:
        pytest.skip("threads are not on virtual time")
    async with world.engine() as engine:
        run = await engine.start(pays_beside_another, "asks in a thread", id="r")
        await until(lambda: engine.journal.query("select 1 from events where key like '%move%' and type like 'step.%'"))
        await until(lambda: applied)
        with suppress(Exception):
            await engine.journal.close()  # what comes of it is not written
        for execution in list(engine.host.executions.values()):
            execution.drop()
    changed(pays_beside_another, new=2, looked=False, answer=answer)
    async with world.engine() as engine:
        run = await engine.get("r")
        await until(lambda: any(e.aside is not None for e in engine.host.executions.values()))
        gate.set()
        assert (await in_state(run, "stuck")).reason == "mismatch"
        assert "unknown" not in await stuck_body(run), "it was asked, and has answered"
        of_it = [e.type for e in await events_of(run) if "pay_" in (e.key or "")]
        assert of_it[-1] == ("step.cancelled" if answer == NotApplied() else "step.completed")
    assert applied == ["rent"]
    changed(pays_beside_another, new=1)
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.resume(by="ann")
        assert await run.result() == ("rent" if answer == NotApplied() else "by then")
    assert len(applied) == (2 if answer == NotApplied() else 1)


@step(effect="once")
async def pays_until_told() -> str:
    while not gate.is_set():
        await asyncio.sleep(0.01)
    return "paid"


@step
async def says() -> str:
    await asyncio.sleep(1e9)
    return "x"


@flow
async def waits_for_its_effect() -> None:
    await gather(pays_until_told(), says())


async def cli(*words: str) -> str:
    """What another process says."""
    made = await asyncio.create_subprocess_exec(sys.executable, "-m", "segue", *words, stdout=asyncio.subprocess.PIPE)
    return (await made.communicate())[0].decode()


async def test_a_run_that_is_about_to_be_set_aside_says_so_everywhere(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(waits_for_its_effect, id="r")
        await until(lambda: engine.journal.query("select 1 from events where type = 'attempt.started'"))
        keys = {w["key"].split("/")[-1].split("[")[0]: w["key"] for w in (await run.status()).waits_on}
        said = dumps({"act": "result"})  # as of a process that does not know the flow, nor the type
        await engine.journal.post(Post("r", "override", "1", keys["says"], 0.0, b"null", said))
        engine.host.scan_soon()
        await until(lambda: engine.journal.get("r").detail)
        status = await run.status()
        assert (status.state, status.reason) == ("running", None)
        assert (status.message or "").startswith("about to be set aside, after the effects on their way: the stored")
        assert status.waits_on == [{"step": keys["pays_until_told"], "key": keys["pays_until_told"]}]
        assert status.key == keys["says"] and status.remedy
        if not world.virtual:
            db = ("--db", str(world.path))
            assert "about to be set aside" in await cli("runs", *db)
            shown = json.loads(await cli("show", "r", "--json", *db))
            assert shown["message"] == status.message and shown["waits_on"] == status.waits_on
            assert "reason" not in shown
            soon, waits, *_ = [todo["says"] for todo in shown["todo"]]
            assert soon.startswith("It is about to be set aside,") and "pays_until_told" in waits
            assert "It is about to be set aside, after the effects" in await cli("show", "r", *db)
        gate.set()
        stuck = await in_state(run, "stuck")
        assert stuck.reason == "undecodable" and "about to be" not in (stuck.message or "")


@flow
async def gives_its_effect_up() -> str:
    with suppress(TimeoutError):
        async with segue.timeout(100):
            await pays_until_told()
    return "ended"


@testing.simulated
async def test_a_run_that_ends_after_its_effect_waits_for_that() -> None:
    async with testing.Engine() as engine:
        run = await engine.start(gives_its_effect_up, id="r")
        await asyncio.sleep(1000)
        status = await run.status()
        assert status.state == "running"
        assert ["pays_until_told" in w["step"] for w in status.waits_on] == [True]
        gate.set()
        assert await run.result() == "ended"


def declare(**options: Any) -> None:
    """The step that pays, as the code declares it from here on."""

    @step(name="pay_as_declared", **options)
    async def pay() -> int:
        applied.append("paid")
        await asyncio.sleep(1e6 if len(applied) == 1 else 1)
        return len(applied)

    code["pay"] = pay


@flow
async def pays_as_declared() -> int:
    if "later" in code:
        await first(1)
    return await code["pay"]()


@pytest.mark.parametrize("later", [False, True], ids=["at once", "after a new step"])
@pytest.mark.parametrize("options", [{}, {"retry": Retry(attempts=3)}], ids=["plain", "retried"])
@pytest.mark.parametrize("word", ["result", "retry", "retry, too early"])
def test_an_interrupted_effect_is_asked_about_though_the_code_no_longer_declares_it(
    later: bool, options: dict[str, Any], word: str
) -> None:
    @testing.simulated
    async def told() -> None:
        declare(effect="once")
        async with testing.Engine() as engine:
            run = await engine.start(pays_as_declared, id="r")
            await asyncio.sleep(5)
            ((key,),) = engine.journal.query("select key from events where type = 'attempt.started'")
            engine.kill()
        declare(**options)
        changed(pays_as_declared, **({"later": True} if later else {}))
        if word == "retry, too early":
            async with testing.Engine(after=engine, recover=False) as engine:
                await (await engine.get("r")).override(key, retry=True, by="ann")
        async with testing.Engine(after=engine) as engine:
            run = await engine.get("r")
            stuck = await in_state(run, "stuck")
            assert (stuck.reason, stuck.key) == ("unknown effect", key)
            assert applied == ["paid"]
            await (run.override(key, 7, by="ann") if word == "result" else run.override(key, retry=True, by="ann"))
            assert await run.result() == (7 if word == "result" else 2)
        assert len(applied) == (1 if word == "result" else 2)

    told()
