"""A check that only one model can meet: whatever befalls that one for a moment, the answer is its own in the end.

And where a person must act first, nobody waits to be told so.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, flow
from segue.agent import answer, ask
from segue.models import Catalogue, Limits, Model
from segue.models.errors import ContextTooLong, NotAuthorised
from segue.routing import Cascade, Cheapest, Policy
from segue.routing.policies import NEVER
from segue.testing.provider import Served, serve
from tests.agent.routed import MODELS, catalogue, opened, served
from tests.agent.served import KEYS


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


def only_the_large(said: str) -> str | None:
    return None if "large" in said else "say it better"


ROUTES: dict[str, Policy] = {
    "two": Cascade(name="two", steps=("small", "large")),
    "three": Cascade(name="three", steps=("small", "middle", "large")),
    "cheapest": Cheapest(name="cheapest", explore=NEVER),
}


@pytest.mark.parametrize("trouble", ["overloaded", "rate-limited", "cut", "html-error"])
@pytest.mark.parametrize("route", list(ROUTES))
async def test_one_fault_of_the_model_that_was_climbed_to_loses_no_question(
    tmp_path: Path, route: str, trouble: str
) -> None:
    """It went back to the models whose answers had been turned down, and ended with their mistake."""
    async with serve(served()) as server, opened(tmp_path, server, ROUTES):
        server.next("large", trouble)
        given = await answer("Which?", route=route, check=only_the_large)
        assert given.value == "large"
        asked = [call.model for call in server.log]
    climbed = asked.index("large")
    assert asked[climbed:] == ["large", "large"], "nobody whose answer was turned down is asked once more"
    assert asked[:climbed].count("small") == 3


async def test_who_only_failed_goes_before_who_was_turned_down(tmp_path: Path) -> None:
    """The middle one had bad luck; the large one's answers are no better than the small one's."""
    async with serve(served()) as server, opened(tmp_path, server, ROUTES):
        server.next("middle", "overloaded")
        given = await answer(
            "Which?", route="three", check=lambda said: None if said == "middle" else "no", attempts=9, repairs=1
        )
        assert given.value == "middle"
        assert [call.model for call in server.log] == ["small", "small", "middle", "large", "large", "middle"]


@pytest.mark.proof
async def test_a_model_that_is_down_for_good_leaves_the_rest_to_the_others(tmp_path: Path) -> None:
    """Its breaker opens: then those who were turned down have another try, until the attempts are used up."""
    tries: list[str] = []

    def at_last(said: str) -> str | None:
        tries.append(said)
        return None if tries.count("small") > 3 else "not yet"

    async with serve(served()) as server, opened(tmp_path, server, ROUTES):
        server.fail("large", "overloaded")
        given = await answer("Which?", route="two", check=at_last, attempts=30)
        assert given.value == "small"


def over(path: Path, *models: Model) -> Engine:
    return Engine(str(path / "x.db"), resources={"catalogue": Catalogue.of(*models)})


@flow
async def asks(text: str) -> str:
    return await ask(text)


@flow
async def escalates(text: str) -> str:
    return await ask(text, model="small", escalate="team-lead")


LOCKED = Served(keys=frozenset({"another"}))


async def waited(work: Any) -> float:
    began = time.perf_counter()
    with pytest.raises(NotAuthorised) as refused:
        await work
    assert "segue models --reopen" in (refused.value.remedy or "") or "401" in str(refused.value)
    return time.perf_counter() - began


async def test_where_every_key_was_refused_the_next_question_is_told_so_at_once(tmp_path: Path) -> None:
    """It waited for twenty seconds, as if somebody were only busy."""
    async with serve(dict.fromkeys(MODELS, LOCKED)) as server, opened(tmp_path, server, {}):
        await waited(answer("First?"))
        calls = len(server.log)
        assert await waited(answer("Second?")) < 1
        with pytest.raises(NotAuthorised) as refused:
            await answer("Third?", model="small")
        assert "its key was refused" in str(refused.value)
        assert refused.value.remedy is not None and refused.value.remedy.endswith("segue models --reopen small")
        assert len(server.log) == calls == len(MODELS)


async def test_a_person_is_asked_at_once_too(tmp_path: Path) -> None:
    async with serve(dict.fromkeys(MODELS, LOCKED)) as server, opened(tmp_path, server, {}) as engine:
        await waited(answer("First?", model="small"))
        began = time.perf_counter()
        run = await engine.start(escalates, "Which?", id="r")
        key = await question_of(engine)
        assert time.perf_counter() - began < 2
        await run.decide(key, result="by hand", by="ann")
        assert await run.result() == "by hand"


async def question_of(engine: Engine) -> str:
    run = await engine.get("r")
    for _ in range(500):
        async for event in run.events(follow=False):
            if event.type == "approval.asked" and event.key:
                return event.key
        await asyncio.sleep(0.01)
    raise AssertionError(await run.status())


async def test_one_that_is_only_busy_is_still_waited_for(tmp_path: Path) -> None:
    """One key is refused, and the other model asks for a pause: it is asked after that."""
    async with serve(served() | {"small": LOCKED}) as server:
        known = catalogue(server)
        async with over(tmp_path, known.get("small"), known.get("large")):
            server.next("large", "overloaded")
            assert (await answer("Which?")).value == "large"


async def test_a_call_that_no_minute_can_hold_is_refused_at_once(tmp_path: Path) -> None:
    async with serve(served()) as server, opened(tmp_path, server, {}, models={"limits": Limits(tpm=100)}):
        with pytest.raises(ContextTooLong, match="more than its 100 tokens") as refused:
            await answer("Which?", max_tokens=400)
        assert "limits.tpm" in (refused.value.remedy or "")
        assert not server.log


async def test_one_that_no_minute_can_hold_goes_to_who_has_more_room(tmp_path: Path) -> None:
    async with serve(served()) as server:
        known = catalogue(server)
        tight = replace(known.get("small"), limits=Limits(tpm=100))
        async with over(tmp_path, tight, known.get("middle")) as engine:
            assert await (await engine.start(asks, "Which?")).result() == "middle"
        assert [call.model for call in server.log] == ["middle"]
