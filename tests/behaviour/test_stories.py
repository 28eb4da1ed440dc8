"""What an error that comes out of a child tells a person: the call that really failed, and where."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from segue import Retry, delegate, escalate, flow, gather, step, timeout, wait_for
from segue import map as each_of
from segue.core.codec import dumps, loads
from segue.core.events import Event, EventType
from segue.core.faults import classify
from segue.core.secret import Secret
from segue.errors import RunFailed, SegueError
from segue.models import ModelError
from segue.runtime.exits import failure
from segue.runtime.stories import note_place, of_end, story_of
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from tests.behaviour.test_asking_people import waiting
from tests.behaviour.world import World, events_of

SHUT = "ConnectionError: the bank is shut"


@step(retry=Retry(attempts=3, backoff_s=0.0))
async def transfer(to: str) -> str:
    raise ConnectionError("the bank is shut")


@step
async def reserve(to: str) -> str:
    raise LookupError("nothing is free")


@flow
async def pays(to: str) -> str:
    """Pays money back: a refund, a transfer."""
    return await transfer(to)


@flow
async def raises_again(to: str) -> str:
    try:
        return await transfer(to)
    except ConnectionError:
        raise


@flow
async def settles(to: str) -> str:
    return await pays(to)


@flow
async def falls_back(to: str) -> str:
    try:
        return await reserve(to)
    except LookupError:
        return await pays(to)


@flow
async def delegates(to: str) -> str:
    return await delegate("Pay money back, a refund.", to=[pays], key="d")


@flow
async def delegates_after(to: str) -> str:
    try:
        return await reserve(to)
    except LookupError:
        return await delegates(to)


@step
async def asks_models() -> str:
    error = ModelError("nobody answers")
    vars(error)["tries"] = json.dumps([{"model": "small", "error": "too busy"}, {"model": "large", "error": "down"}])
    raise error


@flow
async def asks(to: str) -> str:
    return await asks_models()


@flow
async def asks_and_wraps(to: str) -> str:
    try:
        return await asks_models()
    except ModelError as error:
        raise ValueError("no answer") from error


async def mapped(to: str) -> Any:
    return await each_of(pays, [to])


async def in_a_group(to: str) -> Any:
    found = await gather(pays(to), transfer(to), return_exceptions=True)
    raise ExceptionGroup("both", [one for one in found if isinstance(one, Exception)])


async def after_another(to: str) -> Any:
    try:
        return await reserve(to)
    except LookupError:
        return await pays(to)


@flow
async def blames_the_first(to: str) -> str:
    try:
        return await reserve(to)
    except LookupError as first:
        try:
            return await transfer(to)
        except ConnectionError:
            raise RuntimeError("both have failed") from first


async def blames_one_kept(to: str) -> Any:
    kept: Exception | None = None
    try:
        return await transfer(to)
    except ConnectionError as error:
        kept = error
    try:
        return await reserve(to)
    except LookupError:
        raise RuntimeError("both have failed") from kept


async def blames_a_later_one(to: str) -> Any:
    try:
        return await reserve(to)
    except LookupError:
        (found,) = await gather(transfer(to), return_exceptions=True)
        assert isinstance(found, ConnectionError)
        raise RuntimeError("both have failed") from found


async def blames_the_delegation(to: str) -> Any:
    try:
        return await delegates.function(to)
    except SegueError as first:
        try:
            return await reserve(to)
        except LookupError:
            raise RuntimeError("both have failed") from first


async def blames_nobody(to: str) -> Any:
    try:
        return await reserve(to)
    except LookupError:
        try:
            return await transfer(to)
        except ConnectionError:
            raise RuntimeError("both have failed") from None


async def tasks_after_another(to: str) -> Any:
    try:
        return await reserve(to)
    except LookupError:
        async with asyncio.TaskGroup() as group:
            group.create_task(transfer(to))


async def late_after_another(to: str) -> Any:
    try:
        return await reserve(to)
    except LookupError:
        async with timeout(0.05):
            return await wait_for("never")


WAYS: dict[str, tuple[Callable[[str], Awaitable[Any]], list[str]]] = {
    "awaited": (pays, ["transfer ×3", "pays"]),
    "raised again": (raises_again, ["transfer ×3", "raises_again"]),
    "below": (settles, ["transfer ×3", "pays", "settles"]),
    "in a group": (in_a_group, ["transfer ×3", "pays", "transfer ×3"]),
    "mapped": (mapped, ["transfer ×3", "pays"]),
    "after another": (after_another, ["reserve", "transfer ×3", "pays"]),
    "after another in a child": (falls_back, ["reserve", "transfer ×3", "pays", "falls_back"]),
    "delegated": (delegates.function, ["pays: transfer ×3", "pays: pays"]),
    "delegated in a child": (delegates, ["pays: transfer ×3", "pays: pays", "delegates"]),
    "delegated after another": (delegates_after.function, ["reserve", "pays: transfer ×3", "pays: pays", "delegates"]),
    "from the first": (blames_the_first.function, ["reserve", "transfer ×3", "RuntimeError"]),
    "from the first in a child": (blames_the_first, ["reserve", "transfer ×3", "blames_the_first"]),
    "from one kept": (blames_one_kept, ["transfer ×3", "reserve", "RuntimeError"]),
    "from a later one": (blames_a_later_one, ["reserve", "transfer ×3", "RuntimeError"]),
    "from a delegation": (blames_the_delegation, ["pays: transfer ×3", "pays: pays", "reserve", "RuntimeError"]),
    "from None": (blames_nobody, ["RuntimeError"]),
    "tasks after another": (tasks_after_another, ["reserve", "transfer ×3"]),
    "late after another": (late_after_another, ["reserve", "TimeoutError"]),
    "a question": (asks, ["small", "large", "asks"]),
    "a question before": (asks_and_wraps, ["small", "large", "asks_and_wraps"]),
}


@flow
async def hands_over(way: str) -> str:
    try:
        return await WAYS[way][0]("ann")
    except Exception:  # noqa: BLE001  whatever it is
        return await escalate("Do it by hand.", by="boss")


def calls(story: Any) -> list[str]:
    """Who was asked, the call, and how often."""
    told = list[str]()
    for one in story:
        name = one["what"].rpartition("/")[2].partition("[")[0] if "what" in one else one.get("model")
        name = name or one["error"].partition(":")[0]
        who = f"{one['who']}: " if "who" in one else ""
        told.append(f"{who}{name}" + (f" ×{one['attempts']}" if one.get("attempts", 1) > 1 else ""))
    return told


@pytest.mark.parametrize("way", WAYS)
async def test_the_call_that_really_failed_comes_first_and_then_where_it_was(world: World, way: str) -> None:
    async with world.engine() as engine:
        run = await engine.start(hands_over, way, id="r")
        (item,) = await waiting(engine)
        assert calls(item.story) == WAYS[way][1]
        assert {one["error"] for one in item.story if "transfer[" in one.get("what", "")} <= {SHUT}
    async with world.engine() as engine:
        run = await engine.get("r")
        (again,) = await waiting(engine)
        assert again.bound == item.bound, "the story is the same on replay"
        await again.answer("done", by="boss")
        assert await run.result() == "done"


@flow
async def tells(many: int) -> str:
    said = await escalate("What now?", tried=[f"line {n}" for n in range(many)])
    try:
        raise ExceptionGroup("all", [ValueError(str(n)) for n in range(many)])
    except ExceptionGroup:
        return said + await escalate("And now?")


async def test_a_story_has_bounds_and_says_how_much_is_left_out(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(tells, 450)
        for first, last in (("line 0", "line 449"), ("ValueError: 0", "ValueError: 449")):
            (item,) = await waiting(engine)
            told = [one if isinstance(one, str) else one["error"] for one in item.story]
            assert (len(told), told[0], told[-1]) == (201, first, last)
            assert told[100] == "… and 250 more, which are left out"
            await item.answer("x", by="lead")
        assert await run.result() == "xx"


@pytest.mark.parametrize("n", range(1, 12))
@pytest.mark.parametrize("side", ["before", "after"])
async def test_it_is_the_same_after_a_crash(n: int, side: Any) -> None:
    async def scene(engine: InMemory) -> list[str]:
        run = await engine.start(hands_over, "below", id="r")
        (item,) = await waiting(engine)
        story = item.story
        await item.answer("done", by="boss")
        await run.result()
        return calls(story)

    told, _ = await play(scene, [Crash(n, side)])
    assert told == WAYS["below"][1]


def ended(key: str, body: dict[str, Any], version: int = 2) -> Event:
    return Event(1, 5, 1, 0.0, EventType.CHILD_ENDED, version, key, body=dumps({"run": "below", **body}))


def test_a_child_of_an_older_journal_is_told_as_it_was() -> None:
    fault = classify(ConnectionError("the bank is shut")).body()
    error = failure("", ended("pays[ab]#1", {"fault": fault}, version=1), None)
    assert story_of([error]) == [
        {"what": "pays[ab]#1", "attempts": 1, "error": SHUT, "fault": "unreachable"}
    ]  # fmt: skip


def test_what_a_run_tells_of_its_end_has_bounds() -> None:
    many: Any = ExceptionGroup("all", [ValueError(f"{n}" + "x" * 5000) for n in range(1000)])
    told: list[Any] = of_end(many, "r", str)
    assert len(told) == 201 and told[100]["error"] == "… and 800 more, which are left out"
    assert told[0]["error"].startswith("ValueError: 0x") and len(json.dumps(told)) < 100_000
    error: Exception = ValueError("first")
    tried: list[Any] = []
    note_place(error, "r0", "below[x]#1", 1)
    for n in range(300):
        tried = of_end(error, f"r{n}", str)
        body = {"fault": classify(error).body(), "tried": tried}
        error = failure(f"r{n + 1}", ended(f"at[{n}]#1", body), None)
    assert len(tried) == 201 and tried[100]["error"] == "… and 100 more, which are left out"
    assert dict(tried[0]) == {
        "what": "below[x]#1", "attempts": 1, "error": "ValueError: first", "fault": "tool failed"
    }  # fmt: skip
    assert tried[-1]["what"] == "at[298]#1"
    deep: Exception = ValueError("first")
    for n in range(5000):
        after = ValueError(n)
        after.__cause__, deep = deep, after
    assert len(of_end(deep, "r", str)) <= 250


@flow
async def quotes(token: Secret[str]) -> str:
    async def says(request: str) -> str:
        """Pays money back: a refund."""
        raise ValueError(f"{token.reveal()} is wrong")

    return await delegate("Pay money back.", to=[says], key="d")


async def test_no_secret_is_told_of_a_delegation(world: World) -> None:
    async with world.engine() as engine:
        run = await engine.start(quotes, Secret("tok-8812"))
        with pytest.raises(RunFailed):
            await run.result()
        (end,) = [loads(event.body) for event in await events_of(run) if event.type == "run.failed"]
        assert end["tried"][0]["who"] == "says" and "tok-8812" not in json.dumps(end)


def test_causes_are_told_once_however_they_hold_each_other() -> None:
    one, two, three = ValueError(1), ValueError(2), ValueError(3)
    one.__cause__, two.__cause__, two.__context__ = two, one, three
    three.__context__ = ExceptionGroup("all", [one, two])
    assert [said["error"][-1] for said in map(dict[str, Any], of_end_whole(one))] == ["3", "2", "1"]
    deep: Exception = ValueError(0)
    for n in range(5000):
        after = ValueError(n)
        after.__cause__, after.__context__, deep = deep, ExceptionGroup("all", [deep]), after
    assert len(of_end_whole(deep)) == 5001


def of_end_whole(error: BaseException) -> list[Any]:
    return list(story_of([error], whole=True))


class Odd(SegueError):
    """One of a user, with names of its own."""

    tries = "three of them"
    story = 3


class OddModel(ModelError):
    @property
    def tries(self) -> str:
        raise KeyError("tries")


@flow
async def fails_oddly(way: str) -> str:
    if way == "property":
        raise OddModel("it is odd")
    error = Odd("it is odd")
    vars(error)["tries"] = way
    raise error


@pytest.mark.parametrize("way", ["three of them", "[3]", '"x"', "{}", '[{"a": 1}]', "[" * 100_000, "property"])
async def test_an_error_with_names_of_its_own_ends_a_run_as_any_other(world: World, way: str) -> None:
    async with world.engine() as engine:
        run = await engine.start(fails_oddly, way)
        with pytest.raises(RunFailed, match="it is odd"):
            await run.result()


@dataclass(frozen=True)
class Frozen(Exception):
    pages: int


class Sealed(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


@step
async def raises_sealed(kind: str) -> int:
    raise Frozen(3) if kind == "frozen" else Sealed("it is sealed")


@flow
async def below_sealed(kind: str) -> int:
    return await raises_sealed(kind)


@flow
async def catches_sealed(kind: str) -> list[str]:
    caught: list[str] = []
    for call in (raises_sealed, below_sealed):
        try:
            await call(kind)
        except Frozen as error:
            caught.append(f"{error.pages} pages")
        except Sealed as error:
            caught.append(str(error))
    return caught


@pytest.mark.parametrize(("kind", "said"), [("frozen", "3 pages"), ("sealed", "it is sealed")])
async def test_an_error_that_refuses_attributes_is_caught_as_itself(world: World, kind: str, said: str) -> None:
    async with world.engine() as engine:
        assert await engine.run(catches_sealed, kind) == [said, said]
