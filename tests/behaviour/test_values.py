"""What goes in and comes out: typed inputs and results."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NotRequired
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from segue import flow, gather, step
from tests.behaviour.world import World, events_of


class Colour(Enum):
    RED = "red"


class Page(BaseModel):
    url: str
    tags: set[str] = Field(default_factory=set)
    at: datetime | None = None
    price: Decimal = Decimal("0.10")


@dataclass
class Point:
    x: int
    y: float = 0.5
    around: list[Point] = field(default_factory=list)


class Note(TypedDict):
    text: str
    by: NotRequired[str]


VALUES: list[tuple[Any, Any]] = [
    (Page, Page(url="a", tags={"x", "y"}, at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC))),
    (Point, Point(1, 2.5, [Point(2)])),
    (Note, {"text": "ä\u2028😀"}),
    (set[int], {3, 1, 2}),
    (frozenset[str], frozenset({"a", "b"})),
    (tuple[int, str], (1, "a")),
    (tuple[Page, ...], (Page(url="b"),)),
    (datetime, datetime(2026, 1, 2, tzinfo=UTC)),
    (date, date(2026, 1, 2)),
    (timedelta, timedelta(days=2, microseconds=1)),
    (UUID, UUID(int=7)),
    (Decimal, Decimal("1.10")),
    (Colour, Colour.RED),
    (bytes, b"abc"),
    (type(None), None),
    (int | None, None),
    (int, 2**70),
    (float, 0.1 + 0.2),
    (bool, True),
    (str, ""),
    (dict[str, list[Point]], {"b": [Point(1)], "a": []}),
    (dict[int, str], {2: "b", 1: "a"}),
    (list[Point | Page], [Point(1), Page(url="c")]),
]


@pytest.mark.parametrize(("type_", "value"), VALUES, ids=[str(t) for t, _ in VALUES])
async def test_a_value_comes_back_as_it_went_in(world: World, type_: Any, value: Any) -> None:
    seen: list[Any] = []

    async def echo(value: Any) -> Any:
        seen.append(value)
        return value

    async def pass_on(value: Any) -> Any:
        return await echo_step(value)

    for function in (echo, pass_on):
        function.__annotations__ = {"value": type_, "return": type_}
    echo_step, pass_on_flow = step(echo), flow(pass_on)
    async with world.engine() as engine:
        assert await engine.run(pass_on_flow, value, id="r") == value
        assert seen == [value]
    async with world.engine() as engine:
        result = await (await engine.get("r")).result()
        assert result == value
        assert type(result) is type(value)


@step
def in_a_thread(n: int) -> str:
    return threading.current_thread().name + str(n)


@step
async def on_the_loop(n: int) -> int:
    return n + 1


@flow
async def both_kinds(n: int) -> list[Any]:
    return await gather(in_a_thread(n), on_the_loop(n))


async def test_sync_and_async_steps(world: World) -> None:
    async with world.engine() as engine:
        thread, number = await engine.run(both_kinds, 1)
    assert thread.startswith("segue-step")
    assert number == 2


async def test_steps_called_outside_of_a_run_simply_run(world: World) -> None:
    assert await on_the_loop(1) == 2
    assert (await in_a_thread(1)).endswith("1")
    assert (await both_kinds(2))[1] == 3


@step
async def blob(size: int) -> str:
    return "x" * size


@step
async def measure(text: str) -> int:
    return len(text)


@flow
async def heavy(size: int) -> int:
    return await measure(await blob(size))


@pytest.mark.parametrize("size", [1, 2047, 2048, 70_000, 2_000_000, 20_000_000])
async def test_payloads_of_a_byte_to_twenty_megabytes(world: World, size: int) -> None:
    async with world.engine() as engine:
        assert await engine.run(heavy, size, id="r") == size
    async with world.engine() as engine:
        events = await events_of(await engine.get("r"))
        assert [len(e.value or b"") for e in events if e.type == "step.completed"] == [size + 2, len(str(size))]


@step
async def noise(size: int) -> bytes:
    return os.urandom(size).hex().encode()


@flow
async def incompressible(size: int) -> int:
    return len(await noise(size)) + len(await noise(size))


async def test_a_large_payload_that_does_not_compress(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(incompressible, 5_000_000)
        assert await run.result() == 20_000_000
        sizes = [len(e.value or b"") for e in await events_of(run) if e.type == "step.completed"]
    assert sizes == [13_333_338, 13_333_338]  # base64


@flow
async def nested(depth: int) -> int:
    if depth == 0:
        return await on_the_loop(0)
    return (await gather(nested.function(depth - 1)))[0] + 1


async def test_a_hundred_levels_of_nested_scopes(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(nested, 100)
        assert await run.result() == 101
        (key,) = [e.key for e in await events_of(run) if e.type == "step.completed"]
    assert key is not None
    assert key.count("/") == 200
