"""A batch API that hangs: what it keeps from going on, and for how long; and what becomes of what was cut off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from segue.errors import StoreError
from segue.models.batches import BatchRules, Outbox
from segue.models.batches.answers import Answers
from segue.models.batches.api import Request, Result
from segue.models.batches.batcher import Batcher
from segue.models.batches.google import GoogleBatches
from segue.models.batches.limits import Hangs
from segue.models.batches.openai import OpenAIBatches
from segue.models.batches.outbox import Batch
from segue.models.batches.turn import Turn
from segue.models.batches.ways import Way, Ways
from segue.testing.provider import Provider as Server
from segue.testing.provider import serve
from tests.agent.test_batch_pools import asked, asks, keys, outbox, pool
from tests.agent.test_batch_turns import MODELS, SOON, answer, batches, east, keyless, until
from tests.agent.test_batches import opened

__all__ = ["keys"]
ONE = Batch("segue-1", "m", "east", 1000.0, "b1", True, [], 1000.0, 0.0, 0, 0, 1)


async def test_settling_counts_from_the_end_of_a_submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes longer than the list of the provider may be behind is not sent again."""
    submit, find, taken = OpenAIBatches.submit, OpenAIBatches.find, list[float]()

    async def unheard(self: OpenAIBatches, name: str, requests: Any) -> str:
        await asyncio.sleep(1.5)
        await submit(self, name, requests)
        taken.append(asyncio.get_running_loop().time())
        raise ConnectionError("the connection was lost")

    async def behind(self: OpenAIBatches, *given: Any) -> tuple[str, bool] | None:
        shown = taken and asyncio.get_running_loop().time() >= taken[-1] + 0.5
        return await find(self, *given) if shown else None

    monkeypatch.setattr(OpenAIBatches, "submit", unheard)
    monkeypatch.setattr(OpenAIBatches, "find", behind)
    async with serve(MODELS) as server:
        async with opened(tmp_path, east(server), rules=replace(SOON, settle_s=1.0)) as engine:
            await engine.start(asks, "hello", id="r")
            assert "hello" in await answer(engine)
        assert asked(server) == [("east/m", True)]


async def test_where_its_process_died_settling_counts_from_the_first_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = OpenAIBatches.find
    shown_at = float("inf")

    async def behind(self: OpenAIBatches, *given: Any) -> tuple[str, bool] | None:
        return await find(self, *given) if asyncio.get_running_loop().time() >= shown_at else None

    async def dies(self: OpenAIBatches, name: str, requests: Any) -> str:
        await submit(self, name, requests)
        return await asyncio.Event().wait() and ""

    submit = OpenAIBatches.submit
    monkeypatch.setattr(OpenAIBatches, "find", behind)
    monkeypatch.setattr(OpenAIBatches, "submit", dies)
    rules = replace(SOON, settle_s=1.0)
    async with serve(MODELS) as server:
        async with opened(tmp_path, east(server), rules=rules) as engine:
            await engine.start(asks, "hello", id="r")
            await until(lambda: server.batches.jobs)
            await asyncio.sleep(1.2)  # the submission takes longer than the list may be behind
        monkeypatch.setattr(OpenAIBatches, "submit", submit)
        shown_at = asyncio.get_running_loop().time() + 0.7
        async with opened(tmp_path, east(server), rules=rules) as engine:
            assert "hello" in await answer(engine)
        assert asked(server) == [("east/m", True)]


async def test_uploads_that_hang_take_no_thread_from_others() -> None:
    """Nor is the end of the process waited for by one of them."""
    through, began = threading.Event(), threading.Semaphore(0)

    def upload(**_: Any) -> Any:
        began.release()
        through.wait(20)

    sdk: Any = SimpleNamespace(files=SimpleNamespace(upload=upload))
    api = GoogleBatches(sdk, "gemini")
    hung = [asyncio.create_task(api.submit(f"segue-{n}", [Request("a", {}, {})])) for n in range(40)]
    try:
        async with asyncio.timeout(5):
            while not began.acquire(blocking=False):
                await asyncio.sleep(0.01)
            assert await asyncio.to_thread(lambda: "here") == "here"
        mine = [thread for thread in threading.enumerate() if thread.name == "segue-upload"]
        assert len(mine) == 40
        assert all(thread.daemon for thread in mine)
    finally:
        for task in hung:
            task.cancel()
        await asyncio.gather(*hung, return_exceptions=True)
        through.set()


async def test_an_upload_has_as_long_as_the_whole_submission() -> None:
    given = dict[str, Any]()

    def upload(**options: Any) -> Any:
        given.update(options)
        raise ConnectionError("gone")

    sdk: Any = SimpleNamespace(files=SimpleNamespace(upload=upload))
    with pytest.raises(ConnectionError):
        await GoogleBatches(sdk, "gemini").submit("segue-1", [Request("a", {"text": "x" * 1_000_000}, {})])
    assert given["config"].http_options.timeout == pytest.approx(64_000, abs=1_000)


async def test_results_that_come_as_a_whole_have_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly they come, they come."""
    monkeypatch.setattr("segue.models.batches.answers.RESULTS_S", 0.1)

    class Slow:
        def __init__(self, whole: bool):
            self.whole, self.refuses = whole, False

        async def results(self, id: str) -> AsyncIterator[Result]:
            if self.refuses:
                raise ConnectionError("gone")
            await asyncio.sleep(0.3)
            yield Result("a", {})

    async def cut(answers: Answers, api: Any) -> int:
        for times in range(4):
            try:
                assert [one.id async for one in answers._in_time(ONE, api)] == ["a"]
            except Hangs:
                continue
            return times
        return -1

    answers = Answers(cast("Any", None), "us")
    assert await cut(answers, Slow(whole=True)) == 2
    assert await cut(answers, Slow(whole=True)) == 2, "once they came it begins anew"
    slow = Slow(whole=True)
    for slow.refuses, error in ((False, Hangs), (False, Hangs), (True, ConnectionError)):
        with pytest.raises(error):
            await anext(answers._in_time(ONE, slow))
    slow.refuses = False
    assert await cut(answers, slow) == 0, "another error takes nothing from it"
    assert await cut(answers, Slow(whole=False)) == -1, "those that come one by one are there or not"


ONE_BY_ONE = replace(SOON, requests=1, calls_at_once=1)
SLOWLY = replace(ONE_BY_ONE, look_s=20.0, look_s_max=20.0)


async def five_whose_looks_hang(path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A process has sent five batches, and is gone; all are due. Gives whose looks were begun since."""
    looks = list[str]()

    async def hangs(self: OpenAIBatches, id: str) -> Any:
        looks.append(id)
        await asyncio.Event().wait()

    server.batches.pace_s = 600.0
    async with opened(path, east(server), rules=ONE_BY_ONE) as engine:
        for n in range(5):
            await engine.start(asks, "hello", id=f"r{n}")
        await until(lambda: sum(one.provider_id is not None for one in batches(path)) == 5)
    for one in batches(path):
        outbox(path).change(one.id, look_at=0.0)
    monkeypatch.setattr(OpenAIBatches, "look", hangs)
    return looks


async def test_a_round_ends_with_the_first_call_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as it lasts other processes wait for the turn."""
    monkeypatch.setattr("segue.models.batches.batcher.LOOK_S", 0.3)
    async with serve(MODELS) as server:
        looks = await five_whose_looks_hang(tmp_path, server, monkeypatch)
        async with opened(tmp_path, east(server), rules=SLOWLY):
            await until(lambda: looks)
            await asyncio.sleep(1.5)
            assert len(looks) == 1


async def test_other_places_are_asked_for_a_batch_together(monkeypatch: pytest.MonkeyPatch) -> None:
    together = asyncio.Barrier(2)

    async def known(self: Ways, batch: Batch, way: Way, *, sure: bool) -> Way:
        async with asyncio.timeout(5):
            await together.wait()
        if way.place == "b":
            raise Hangs("it hangs")
        return way

    found, hung = await found_at("b", "c", known, monkeypatch)
    assert isinstance(found, Way)
    assert found.place == "c"
    assert hung == []


async def test_who_has_a_batch_waits_for_none_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = list[str]()

    async def known(self: Ways, batch: Batch, way: Way, *, sure: bool) -> Way | None:
        if way.place == "has-it":
            return way
        try:
            return await asyncio.Event().wait() and None
        finally:
            cut.append(way.place)

    async with asyncio.timeout(5):
        found, hung = await found_at("hangs", "has-it", known, monkeypatch)
    assert isinstance(found, Way)
    assert found.place == "has-it"
    assert (cut, hung) == (["hangs"], [])


async def test_where_none_has_it_one_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def known(self: Ways, batch: Batch, way: Way, *, sure: bool) -> Way | None:
        if way.place == "hangs":
            raise Hangs("it hangs")
        return None

    found, hung = await found_at("hangs", "has-it-not", known, monkeypatch)
    assert (str(found), hung) == ("m: it hangs", [ONE])


async def found_at(
    one: str, two: str, known: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[Way | Exception | None, list[Batch]]:
    """Which of two other places has a batch, and whose places were told to hang."""
    hung = list[Batch]()
    async with serve(MODELS) as server:
        model = pool(server)
        places = tuple(replace(model.deployments[0], name=name) for name in ("east", one, two))
        model = replace(model, deployments=places)
        monkeypatch.setattr(Ways, "_is_known", known)
        return await Ways(cast("Any", None), lambda _: model, hung.append)._another(ONE, model, sure=True), hung


async def test_another_place_that_hangs_ends_the_round_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the batches of it are left for a while, to those who may do more for them."""
    monkeypatch.setattr("segue.models.batches.ways.LOOK_S", 0.3)
    async with serve(MODELS) as server:
        looks = await five_whose_looks_hang(tmp_path, server, monkeypatch)
        async with opened(tmp_path, keyless(pool(server), "east"), rules=SLOWLY):
            await until(lambda: looks)
            await asyncio.sleep(1.5)
            assert len(looks) == 1
        assert {one.look_at for one in batches(tmp_path)} == {0.0}, "for a process that has the key"


async def test_where_the_turn_is_to_be_given_away_none_that_was_slow_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places that hang one after the other would keep it for ever."""
    through, begun = asyncio.Event(), list[str]()

    async def forward(self: Batcher, batch: Batch, desk: Any) -> None:
        begun.append(batch.model)
        await through.wait()

    monkeypatch.setattr(Batcher, "_forward", forward)
    monkeypatch.setattr("segue.models.batches.batcher._PATIENCE_S", 0.01)
    box = Outbox(tmp_path / "b")
    batcher = Batcher(box, Turn(None), BatchRules(), lambda: None, lambda _: None, "us")
    desk = cast("Any", None)
    await batcher._carry([ONE._replace(model="a")], desk)
    await batcher._carry([ONE._replace(model="b")], desk)
    batcher._gives_way = True
    await batcher._carry([ONE._replace(model="c")], desk)
    assert begun == ["a", "b", "c"], "one of which nothing is known may be quick"
    batcher._under_way.pop(("a", "east"))  # it has its answer at last
    through.set()
    await asyncio.sleep(0.05)
    batcher._under_way["z", "east"] = cast("Any", asyncio.create_task(asyncio.Event().wait()))
    await batcher._carry([ONE._replace(model=model) for model in "abcd"], desk)
    assert begun == ["a", "b", "c", "d"], "those that were slow come once it was given away"
    await batcher._carry([ONE._replace(model="d")], desk)
    assert begun == ["a", "b", "c", "d", "d"]
    await batcher.stop()
    box.close()


def test_an_older_process_that_sends_it_again_begins_the_settling_anew() -> None:
    """It knows nothing of when a submission is over, and leaves what was noted of the one before."""
    sent = ONE._replace(tried_at=2000.0, over_at=1000.0)
    assert Batcher._over_at(sent, 2001.0) == 2001.0
    assert Batcher._over_at(sent._replace(over_at=2000.5), 2001.0) == 2000.5
    assert Batcher._over_at(sent._replace(over_at=None), 2001.0) == 2001.0
    assert Batcher._over_at(sent, 1003.0) == 1000.0, "the clock was set back since"


async def test_what_ends_a_round_leaves_no_call_on_its_way_unwatched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = list[str]()

    async def forward(self: Batcher, batch: Batch, desk: Any) -> None:
        if batch.id == "fails":
            raise StoreError("the file is locked")
        await asyncio.sleep(0.2)
        ended.append(batch.id)

    monkeypatch.setattr(Batcher, "_forward", forward)
    box = Outbox(tmp_path / "b")
    batcher = Batcher(box, Turn(None), BatchRules(), lambda: None, lambda _: None, "us")
    with pytest.raises(StoreError):
        await batcher._together([ONE._replace(id="fails"), ONE], cast("Any", None))
    assert ended == [ONE.id]
    box.close()
