"""An engine learns from its own traffic: the route moves to the model that is right for a kind of request, and back."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, flow
from segue.agent import ask
from segue.errors import InputError
from segue.journal import Journal
from segue.routing import Best, Cheapest, Explore, Fastest, Features, Pinned, Shadow
from segue.routing.learned import Learning
from segue.routing.lessons import lessons
from segue.routing.policies import NEVER
from segue.routing.traffic import Traffic
from segue.testing.provider import Asked, Served, serve
from tests.agent.routed import asked, opened, saying, served, told

FRUIT, STAR = "Is fruit number {} ripe, an apple or a pear?", "How far away is the star number {} of the sky?"
QUALITY = {"quality": {"any": 0.6}}
ROUTES = {
    "cheap": Cheapest(name="cheap", quality_min=0.55, explore=NEVER),
    "quick": Fastest(name="quick", explore=NEVER),
    "tried": Best(name="tried", explore=Explore(floor=0.5, ceiling=0.5)),
    "best": Best(name="best", explore=NEVER),
    "watched": Shadow(name="watched", of=Pinned(model="small"), shadows=("large",)),
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


def good(said: str) -> str | None:
    return None if said == "right" else "it is wrong"


@flow
async def asks(texts: list[str]) -> int:
    for text in texts:
        await ask(text, route="cheap", check=good, repairs=0)
    return len(texts)


@flow
async def quickly(text: str, model: str | None = None) -> str:
    return await ask("Do it.", text, route="quick", model=model)


@flow
async def tried(text: str) -> str:
    return await ask(text, route="tried")


@flow
async def best(text: str) -> str:
    return await ask(text, route="best")


@flow
async def twice(text: str) -> None:
    await ask(text, model="small", key="one")
    await ask(text, model="large", key="two")


@flow
async def watched(text: str) -> str:
    return await ask(text, route="watched")


def knows(*words: str) -> Served:
    """A model that is right on what names one of these words."""

    def says(given: Asked) -> str:
        return "right" if any(word in given.prompt for word in words) else "wrong"

    return Served(answer=says)


MODELS = {"small": knows("fruit"), "middle": knows("nothing"), "large": knows("fruit", "star")}


async def first_choice(engine: Engine, text: str) -> str:
    run = await engine.start(asks, [text])
    await run.result()
    return asked((await told(run))[0][0])


async def learned(engine: Engine, version: str) -> None:
    """Ask now and then until this version speaks."""
    gateway: Any = engine.surroundings.share("gateway", lambda: None)
    until = time.monotonic() + 40
    while gateway.live.quality.version != version:
        assert time.monotonic() < until, gateway.live.quality.trouble
        gateway.live.quality.predict(Features(text="x"), ["small"])
        await asyncio.sleep(0.05)


async def test_the_route_moves_to_the_model_that_is_right_and_a_rollback_moves_it_back(tmp_path: Path) -> None:
    learning = Learning(least=20, share=0.5, look_s=0.0)
    async with serve(MODELS) as server, opened(tmp_path, server, ROUTES, learning=learning, models=QUALITY) as engine:
        await engine.run(asks, [FRUIT.format(n) for n in range(24)])
        await learned(engine, "v1")  # of fruit alone
        assert await first_choice(engine, STAR.format(500)) == "small"
        await engine.run(asks, [(STAR if n % 2 else FRUIT).format(n) for n in range(40)])
        await learned(engine, "v2")
        assert await first_choice(engine, STAR.format(501)) == "large"
        assert await first_choice(engine, FRUIT.format(501)) == "small"
        run = await engine.start(asks, [STAR.format(502)])
        await run.result()
        candidates = {c.target.name: c for c in (await told(run))[0][0].candidates}
        assert candidates["large"].quality is not None and candidates["large"].quality.source == "v2"
        gateway: Any = engine.surroundings.share("gateway", lambda: None)
        gateway.live.quality.versions.use("v1", held=True, by="ada")  # segue routes rollback v1
        await learned(engine, "v1")
        assert await first_choice(engine, STAR.format(503)) == "small"
    async with serve(MODELS) as server, opened(tmp_path, server, ROUTES, learning=learning, models=QUALITY) as engine:
        assert await first_choice(engine, STAR.format(504)) == "small"  # a new process stays where it is held


async def test_feedback_of_one_answer_a_request_teaches_who_is_better_at_what(tmp_path: Path) -> None:
    models = {"small": knows("fruit"), "middle": knows("nothing"), "large": knows("star")}
    learning = Learning(least=100, look_s=0.0)
    async with serve(models) as server, opened(tmp_path, server, ROUTES, learning=learning, models=QUALITY) as engine:
        for n in range(120):
            run = await engine.start(tried, (STAR if n % 2 else FRUIT).format(n))
            await run.feedback(1.0 if await run.result() == "right" else 0.0)
        await learned(engine, "v1")
        said = [await engine.run(best, text.format(n)) for text in (STAR, FRUIT) for n in range(500, 505)]
        assert said == ["right"] * 10


async def test_without_learning_nothing_is_trained_and_in_memory_nothing_can_be(tmp_path: Path) -> None:
    off = Learning(on=False, least=2, look_s=0.0)
    async with serve(MODELS) as server, opened(tmp_path, server, ROUTES, learning=off, models=QUALITY) as engine:
        await engine.run(asks, [FRUIT.format(n) for n in range(6)])
        gateway: Any = engine.surroundings.share("gateway", lambda: None)
        assert gateway.live.quality.version == "prior"
    assert not (tmp_path / "x.db-routes").exists()


async def test_seconds_and_lengths_are_learned_as_calls_end_and_by_the_next_process(tmp_path: Path) -> None:
    models = served(small=0.25, large=0.25) | {"middle": Served(answer=saying("one two three four"))}
    async with serve(models) as server:
        async with opened(tmp_path, server, ROUTES) as engine:
            runs = [await engine.start(quickly, f"this {n}", model) for n in range(4) for model in MODELS]
            await asyncio.gather(*(run.result() for run in runs))
            run = await engine.start(quickly, "that")
            assert await run.result() == "one two three four"
            assert asked((await told(run))[0][0]) == "middle"
        async with opened(tmp_path, server, ROUTES) as engine:
            await engine.run(quickly, "and this")
            gateway: Any = engine.surroundings.share("gateway", lambda: None)
            until = time.monotonic() + 20
            while gateway.live.takes.known("seconds", "Do it.", ["small"])[0][0] < 4:
                assert time.monotonic() < until
                await asyncio.sleep(0.02)
            run = await engine.start(quickly, "and that")
            await run.result()
            candidates = {c.target.name: c for c in (await told(run))[0][0].candidates}
    seen = {name: c.latency_s for name, c in candidates.items() if c.latency_s is not None}
    assert {one.source for one in seen.values()} == {"calls seen"} and (seen["small"].n or 0) >= 4
    assert 0.2 < seen["small"].mean < 5 and seen["middle"].mean < seen["small"].mean


async def test_a_preference_between_a_shadow_and_the_answer_is_a_lesson(tmp_path: Path) -> None:
    async with serve(served()) as server, opened(tmp_path, server, ROUTES) as engine:
        run = await engine.start(watched, "Which?")
        await run.result()
        while len((await told(run))[1]) < 2:
            await asyncio.sleep(0.01)
        (key,) = {e.key async for e in run.events(follow=False) if e.type == "attempt.recorded"}
        assert key is not None
        await run.prefer(key, model="large", over_model="small", strength=0.5, by="ada")
        for wrong in ({"over_model": "middle"}, {}, {"over": "ask[none]#1"}):
            with pytest.raises(InputError):
                await run.prefer(key, **wrong)
    traffic = Traffic()
    with Journal.open_readonly(str(tmp_path / "x.db")) as reader:
        traffic.read(reader)
    assert [(p.better, p.worse, p.strength) for p in traffic.preferred] == [("large", "small", 0.5)]
    (lesson,) = lessons(traffic, {"small": 0.6, "large": 0.6})
    assert lesson.scores["large"] == pytest.approx(0.85) and lesson.scores["small"] == pytest.approx(0.35)


async def test_a_preference_takes_keys_as_they_are_shown(tmp_path: Path) -> None:
    async with serve(served()) as server, opened(tmp_path, server, ROUTES) as engine:
        run = await engine.start(twice, "Which?")
        await run.result()
        other = await engine.start(twice, "Which?")
        await other.result()
        await run.prefer("ask[one]", over="ask[two]")
        await run.prefer("ask[one]", over="ask[two]", over_run=other.id)
        bodies = [json.loads(e.body) async for e in run.events(follow=False) if e.type == "feedback.given"]
        keys = [e.key async for e in run.events(follow=False) if e.type == "feedback.given"]
        with pytest.raises(InputError, match=r"the run has no step 'nope'; its steps: ") as wrong:
            await run.prefer("nope", over="ask[two]")
        assert wrong.value.key == "nope"
        with pytest.raises(InputError, match=r"the run has no step 'nope'"):
            await run.prefer("ask[one]", over="nope")
    assert keys == ["ask[one]#1"] * 2 and {body["better_than"]["key"] for body in bodies} == {"ask[two]#1"}


async def test_an_answer_is_not_preferred_to_itself(tmp_path: Path) -> None:
    async with serve(served()) as server, opened(tmp_path, server, ROUTES) as engine:
        run = await engine.start(twice, "Which?")
        await run.result()
        for same in (
            {"over": "ask[one]"},
            {"model": "small"},
            {"over_model": "small"},
            {"over_run": run.id, "over": "ask[one]"},
        ):
            with pytest.raises(InputError, match="compared with itself"):
                await run.prefer("ask[one]", **same)  # type: ignore[arg-type]
        assert [e async for e in run.events(follow=False) if e.type == "feedback.given"] == []


async def test_feedback_reaches_the_lessons(tmp_path: Path) -> None:
    async with serve(served()) as server, opened(tmp_path, server, ROUTES) as engine:
        run = await engine.start(watched, "Which?")
        await run.result()
        await run.feedback(0.25, by="ada")
    traffic = Traffic()
    with Journal.open_readonly(str(tmp_path / "x.db")) as reader:
        traffic.read(reader)
    assert [dict(lesson.scores) for lesson in lessons(traffic)] == [{"small": 0.25}]
