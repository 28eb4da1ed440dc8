"""Code that changes between a crash and its resume."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import BaseModel

import segue
from segue import flow, gather, step, wait_for
from segue.core.codec import loads
from segue.errors import ReplayMismatch, Undecodable
from tests.behaviour.world import World, events_of, in_state, keys_of, until

ran: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    ran.clear()


@step
async def do(what: str) -> str:
    ran.append(what)
    return what


@step(effect="once")
async def pay(amount: int) -> str:
    ran.append(f"paid {amount}")
    return f"paid {amount}"


def deploy(body: Callable[[], Awaitable[Any]], revision: str, **options: Any) -> Any:
    """The flow `main`, with the code of this revision."""

    async def main() -> Any:
        return await body()

    return flow(name="main", revision=revision, **options)(main)


async def halfway(world: World, body: Callable[[], Awaitable[Any]], **options: Any) -> None:
    """Run revision one up to its wait for `go`, then leave."""
    async with world.parking() as engine:
        run = await engine.start(deploy(body, "1", **options), id="r")
        await in_state(run, "parked")
    ran.clear()


async def resumed(world: World, body: Callable[[], Awaitable[Any]], revision: str = "2") -> tuple[Any, list[str]]:
    """Go on with other code. Gives the result and what is reported as orphaned."""
    deploy(body, revision)
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.signal("go", "go", id="go")
        result = await run.result()
        last = (await events_of(run))[-1]
        replayed = list(ran)
        assert await (await run.fork()).result() == result
        assert ran == replayed
    return result, loads(last.body).get("orphaned", [])


async def old() -> list[str]:
    return [await do("a"), await do("b"), await wait_for("go"), await do("c")]


async def test_the_same_code(world: World) -> None:
    await halfway(world, old)
    assert await resumed(world, old, "1") == (["a", "b", "go", "c"], [])
    assert ran == ["c"]


async def test_an_inserted_step_runs(world: World) -> None:
    async def new() -> list[str]:
        return [await do("a"), await do("new"), await do("b"), await wait_for("go"), await do("c")]

    await halfway(world, old)
    assert await resumed(world, new) == (["a", "new", "b", "go", "c"], [])
    assert ran == ["new", "c"]


async def test_a_removed_step_is_reported(world: World) -> None:
    async def new() -> list[str]:
        return [await do("b"), await wait_for("go"), await do("c")]

    await halfway(world, old)
    result, orphaned = await resumed(world, new)
    assert result == ["b", "go", "c"]
    assert ran == ["c"]
    assert [key.partition("[")[0] for key in orphaned] == ["do"]


async def test_moved_steps_are_claimed(world: World) -> None:
    async def new() -> list[str]:
        return [await do("b"), await wait_for("go"), await do("c"), await do("a")]

    await halfway(world, old)
    assert await resumed(world, new) == (["b", "go", "c", "a"], [])
    assert ran == ["c"]


async def test_a_step_moved_into_a_branch_is_a_new_one(world: World) -> None:
    async def new() -> list[str]:
        return [*await gather(do("a"), do("b")), await wait_for("go"), await do("c")]

    await halfway(world, old)
    result, orphaned = await resumed(world, new)
    assert result == ["a", "b", "go", "c"]
    assert len(orphaned) == 2


async def test_other_calls_by_unchanged_code_set_the_run_aside(world: World) -> None:
    async def new() -> list[str]:
        return [await do("a"), await do("x"), await wait_for("go"), await do("c")]

    await halfway(world, old)
    deploy(new, "1")
    async with world.engine() as engine:
        run = await engine.get("r")
        keys = await keys_of(run)
        await run.signal("go", "go")
        with pytest.raises(ReplayMismatch) as caught:
            await run.result()
        assert keys[1] in str(caught.value)
        assert "do[" in str(caught.value).split("asks for")[1]
        assert caught.value.key == keys[1]
        assert (await run.status()).state == "stuck"
        assert (await run.status()).reason == "mismatch"
        await asyncio.sleep(0.1)
        assert ran == [], "nothing runs in a run that was set aside"
        before = len(await events_of(run))
        await run.resume()
        with pytest.raises(ReplayMismatch):
            await run.result()
        assert len(await events_of(run)) - before <= 6
    deploy(old, "1")
    async with world.engine() as engine:
        run = await engine.get("r")
        assert (await run.status()).state == "stuck"
        await run.resume(by="me", why="put the code back")
        assert await run.result() == ["a", "b", "go", "c"]
    assert ran == ["c"]


async def test_a_call_that_no_longer_comes_by_unchanged_code(world: World) -> None:
    async def new() -> list[str]:
        return [await do("a"), await wait_for("go")]

    await halfway(world, old)
    deploy(new, "1")
    async with world.engine() as engine:
        with pytest.raises(ReplayMismatch, match="no longer asks"):
            run = await engine.get("r")
            await run.signal("go", "go")
            await run.result()


@pytest.mark.parametrize("revision", ["1", "2"])
async def test_a_once_effect_with_other_arguments_always_stops(world: World, revision: str) -> None:
    async def first() -> list[str]:
        return [await pay(10), await wait_for("go")]

    async def then() -> list[str]:
        return [await pay(11), await wait_for("go")]

    await halfway(world, first)
    deploy(then, revision)
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.signal("go", "go")
        with pytest.raises(ReplayMismatch, match="pay"):
            await run.result()
    assert ran == []


async def test_a_once_effect_that_comes_after_new_steps_with_other_arguments_stops(world: World) -> None:
    async def first() -> list[str]:
        return [await pay(10), await wait_for("go")]

    async def then() -> list[str]:
        return [await do("a new one"), await pay(11), await wait_for("go")]

    await halfway(world, first)
    deploy(then, "2")
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.signal("go", "go")
        with pytest.raises(ReplayMismatch, match="pay"):
            await run.result()
    assert "paid 11" not in ran


class OldOrder(BaseModel):
    id: str


class NewOrder(BaseModel):
    id: str
    gift: bool = False


def with_order(model: Any, effect: Any = "write", late_s: float = 0.0) -> Callable[[], Awaitable[Any]]:
    """A flow whose steps and children take an order of this type."""

    async def ship(order: Any) -> str:
        ran.append(f"ship {order.id}")
        await asyncio.sleep(late_s)
        return f"shipped {order.id}"

    async def child(order: Any) -> str:
        ran.append(f"child {order.id}")
        return str(await wait_for("child go"))

    ship.__annotations__ = child.__annotations__ = {"order": model, "return": str}
    ship_step = step(effect=effect)(ship)
    child_flow = flow(name="child", revision="1")(child)

    async def body() -> list[str]:
        twice = await gather(ship_step(model(id="x")), ship_step(model(id="x")))
        both = await gather(ship_step(model(id="y")), child_flow(model(id="z")))
        return [*twice, *both, await wait_for("go")]

    return body


@pytest.mark.parametrize("revision", ["1", "2"])
@pytest.mark.parametrize("effect", ["write", "once"])
async def test_a_new_field_with_a_default_harms_nobody(world: World, revision: str, effect: str) -> None:
    await halfway(world, with_order(OldOrder, effect))
    deploy(with_order(NewOrder, effect), revision)
    async with world.engine() as engine:
        run = await engine.get("r")
        (child,) = [s.id for s in await engine.runs() if s.parent == "r"]
        await (await engine.get(child)).signal("child go", "c")
        await run.signal("go", "g")
        assert await run.result() == ["shipped x", "shipped x", "shipped y", "c", "g"]
        assert [s.id for s in await engine.runs() if s.parent == "r"] == [child]
    assert "ship x" not in ran


@pytest.mark.parametrize("revision", ["1", "2"])
async def test_an_interrupted_effect_is_known_again_by_its_arguments(world: World, revision: str) -> None:
    if not world.virtual:
        pytest.skip("processes die in memory here")
    engine = world.engine()
    async with engine:
        await engine.start(deploy(with_order(OldOrder, "once", 1e5), "1"), id="r")
        await until(lambda: len(ran) == 2)
        engine.kill()  # type: ignore[attr-defined]
    deploy(with_order(NewOrder, "once"), revision)
    async with world.engine() as engine:
        with pytest.raises(segue.SegueError) as caught:
            await (await engine.get("r")).result()
        assert caught.value.code in ("unknown-effect", "mismatch")
    assert ran == ["ship x", "ship x"], "an effect was blindly repeated"


class OldResult(BaseModel):
    name: str


class NewResult(BaseModel):
    first: str
    last: str


def upcast(old: Any) -> dict[str, str]:
    first, _, last = old["name"].partition(" ")
    return {"first": first, "last": last}


def with_result(model: Any, **options: Any) -> Callable[[], Awaitable[Any]]:
    async def who() -> Any:
        ran.append("who")
        return OldResult(name="Ada Lovelace")

    who.__annotations__ = {"return": model}
    who_step = step(**options)(who)

    async def body() -> list[Any]:
        return [(await who_step()).model_dump(), await wait_for("go")]

    return body


async def test_a_result_that_no_longer_reads_waits_for_an_upcast(world: World) -> None:
    def wrong(_: Any) -> Any:
        raise KeyError("nope")

    await halfway(world, with_result(OldResult))
    for body in (with_result(NewResult), with_result(NewResult, upcast=wrong)):
        deploy(body, "2")
        async with world.engine() as engine:
            run = await engine.get("r")
            await run.signal("go", "go", id="go")
            await run.resume()
            with pytest.raises(Undecodable, match="upcast") as caught:
                await run.result()
            assert caught.value.key == (await keys_of(run))[0]
    deploy(with_result(NewResult, upcast=upcast), "2")
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.resume()
        assert await run.result() == [{"first": "Ada", "last": "Lovelace"}, "go"]
    assert ran == []


async def test_versions_stand_side_by_side(world: World) -> None:
    async def first() -> list[str]:
        return ["v1", await wait_for("go")]

    async def second() -> list[str]:
        return ["v2", await wait_for("go")]

    await halfway(world, first)
    newest = deploy(second, "2", version=2)
    async with world.engine() as engine:
        run, other = await engine.get("r"), await engine.start(newest)
        for r in (run, other):
            await r.signal("go", "go")
        assert await run.result() == ["v1", "go"]
        assert await other.result() == ["v2", "go"]


def takes(parameters: dict[str, Any], version: int, **options: Any) -> Any:
    async def migrating(**given: Any) -> Any: ...

    if version == 31:

        async def migrating(name: str) -> Any:  # type: ignore[no-redef]
            return [name, await wait_for("go")]
    else:

        async def migrating(first: str, last: str) -> Any:  # type: ignore[no-redef]
            return [first, last, await wait_for("go")]

    return flow(name="migrating", version=version, revision=str(version), **options)(migrating)


async def test_a_run_migrates_to_a_newer_version(world: World) -> None:
    from segue.runtime import registry

    made = takes({}, 31)
    async with world.parking() as engine:
        run = await engine.start(made, "Ada Lovelace", id="m")
        await in_state(run, "parked")
    registry._known.pop((made.name, 31))

    def wrong(_: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("nope")

    takes({}, 32, migrate=wrong)
    async with world.engine() as engine:
        run = await engine.get("m")
        await run.signal("go", "go")
        with pytest.raises(Undecodable, match="migrate"):
            await run.result()
    registry._known.pop((made.name, 32))
    takes({}, 32, migrate=upcast)
    async with world.engine() as engine:
        run = await engine.get("m")
        await run.resume()
        assert await run.result() == ["Ada", "Lovelace", "go"]
    registry._known.pop((made.name, 32))


async def test_an_input_that_no_longer_reads_can_be_resumed_any_number_of_times(world: World) -> None:
    def body(type_: Any) -> Any:
        async def main(n: Any) -> Any:
            return [n, await wait_for("go")]

        main.__annotations__ = {"n": type_}
        return flow(name="typed", revision=str(type_))(main)

    async with world.parking() as engine:
        run = await engine.start(body(str), "text", id="r")
        await in_state(run, "parked")
    body(int)
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.signal("go", 1)
        for _ in range(3):
            await run.resume()
            with pytest.raises(Undecodable, match="input"):
                await asyncio.wait_for(run.result(), 60)
        assert len(await events_of(run)) < 25, "it was started again and again"
    body(str)
    async with world.engine() as engine:
        run = await engine.get("r")
        await run.resume()
        assert json.dumps(await run.result()) == '["text", 1]'
