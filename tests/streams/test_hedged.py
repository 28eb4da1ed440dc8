"""A hedge beside a stream: whoever says something first is heard, the other one is given up, and nothing is mixed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import PartDeltaEvent, PartStartEvent

from segue import Ended, Piece, Retracted, Run, ask, flow
from segue.agent import relayed
from segue.agent.called import Called
from segue.agent.durable import Durable
from segue.agent.hedging import race
from segue.agent.streaming import Floor
from segue.core.records import StreamEnd, record_of
from segue.models import Capability, Limits
from segue.models.exchange import Reply
from segue.routing import Cheapest, Hedge
from segue.routing.policies import NEVER
from segue.testing.loop import run as virtually
from segue.testing.provider import Served, serve
from tests.agent.routed import CAN, MODELS, brief, opened, saying, told

ROUTES = {"quick": Hedge(name="quick", of=Cheapest(explore=NEVER), after_s=0.2)}
WORDS = {name: " ".join(f"{name}{n}" for n in range(12)) for name in MODELS}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")


@flow
async def hurried(text: str) -> str:
    return await ask(text, route="quick", stream=True, timeout_s=10, stall_s=2)


def served(token_s: float = 0.01, **first_s: float) -> dict[str, Served]:
    """All three; who is named says nothing for so long."""
    return {
        name: Served(first_token_s=first_s.get(name, 0.0), token_s=token_s, answer=saying(said))
        for name, said in WORDS.items()
    }


async def heard(run: Run[Any]) -> list[str]:
    """What a consumer had, one text for each time that it was told to forget; it is in order, and of one call each."""
    texts, attempt = [""], None
    async for event in run.stream():
        match event:
            case Piece():
                assert attempt in (None, event.attempt) and event.offset == len(texts[-1].encode())
                attempt, texts[-1] = event.attempt, texts[-1] + event.text
            case Retracted():
                attempt, texts = None, [*texts, ""]
            case Ended():
                assert event.bytes_total == len(texts[-1].encode())
    for text in texts:
        assert any(said.startswith(text) for said in WORDS.values()), "no two are mixed"
    return texts


async def end_of(run: Run[Any]) -> StreamEnd:
    (end,) = [record_of(event) async for event in run.events(follow=False) if event.type == "stream.ended"]
    assert isinstance(end, StreamEnd)
    return end


async def test_who_speaks_first_is_heard_and_the_other_is_given_up(tmp_path: Path) -> None:
    one = {"limits": Limits(concurrency=1)}
    async with serve(served(small=6)) as server, opened(tmp_path, server, ROUTES, models=one) as engine:
        run = await engine.start(hurried, "Which?")
        assert await heard(run) == [WORDS["middle"]] == [await run.result()]
        assert await heard(run) == [WORDS["middle"]], "the late hear the same"
        (decision,), (lost, won) = await told(run)
        await server.idle()
        assert [entry.outcome.value for entry in server.log.of("small")] == ["abandoned"]
        gateway: Any = engine.surroundings.share("gateway", lambda: None)
        assert gateway.health.try_acquire(gateway.catalogue.get("small"), 10).model == "small", "its place is free"
        end = await end_of(run)
    assert brief([lost, won]) == [("small", "primary", "cancelled"), ("middle", "hedge", "answered")]
    assert (lost.streamed, won.streamed, end.text_at) == (False, True, "/tried/1/text")
    assert lost.superseded_by is not None and (lost.superseded_by.epoch, lost.superseded_by.n) == (won.epoch, won.n)
    assert lost.usage is not None and lost.usage.estimated and won.usage is not None
    assert lost.usage.tokens_in == won.usage.tokens_in and {lost.decision, won.decision} == {decision.id}


async def test_a_first_that_has_begun_in_time_is_alone_however_long_it_takes(tmp_path: Path) -> None:
    async with serve(served(token_s=0.1)) as server, opened(tmp_path, server, ROUTES) as engine:
        run = await engine.start(hurried, "Which?")
        assert await heard(run) == [WORDS["small"]]
        assert brief((await told(run))[1]) == [("small", "primary", "answered")]
        assert server.counts("middle").calls == 0


async def test_the_first_is_heard_where_it_begins_before_the_second(tmp_path: Path) -> None:
    async with serve(served(small=0.5, middle=6)) as server, opened(tmp_path, server, ROUTES) as engine:
        run = await engine.start(hurried, "Which?")
        assert await heard(run) == [WORDS["small"]]
        lost, won = (await told(run))[1]
    assert brief([lost, won]) == [("middle", "hedge", "cancelled"), ("small", "primary", "answered")]
    assert (lost.streamed, won.streamed) == (False, True)


@pytest.mark.parametrize("trouble", ["overloaded", "empty-content"])
async def test_a_second_that_fails_before_it_speaks_waits_for_the_first(tmp_path: Path, trouble: str) -> None:
    async with serve(served(small=0.8)) as server, opened(tmp_path, server, ROUTES) as engine:
        server.next("middle", trouble)
        run = await engine.start(hurried, "Which?")
        assert await heard(run) == [WORDS["small"]]
        lost, won = (await told(run))[1]
        assert (await end_of(run)).text_at == "/tried/1/text"
    assert (lost.target.name, lost.why.value, won.end.value) == ("middle", "hedge", "answered")
    assert lost.fault is not None and not lost.streamed


async def test_who_breaks_off_after_it_was_heard_is_void_and_the_next_is_asked(tmp_path: Path) -> None:
    async with serve(served(small=6)) as server, opened(tmp_path, server, ROUTES) as engine:
        server.next("middle", "cut")
        run = await engine.start(hurried, "Which?")
        void, last = await heard(run)
        assert void and WORDS["middle"].startswith(void)
        assert last == await run.result()
        lost, broke, *_ = (await told(run))[1]
    assert brief([lost, broke]) == [("small", "primary", "cancelled"), ("middle", "hedge", "failed")]
    assert broke.usage is not None and broke.usage.estimated, "what came of it is counted"


async def test_what_does_not_stream_is_heard_when_it_has_come(tmp_path: Path) -> None:
    whole = {"capabilities": CAN - {Capability.STREAMING}}
    async with serve(served(small=6)) as server, opened(tmp_path, server, ROUTES, models=whole) as engine:
        run = await engine.start(hurried, "Which?")
        assert await heard(run) == [WORDS["middle"]]
        assert brief((await told(run))[1]) == [("small", "primary", "cancelled"), ("middle", "hedge", "answered")]


async def test_an_agent_hears_one_of_them(tmp_path: Path) -> None:
    texts: list[str] = []

    async def hear(ctx: RunContext[Any], events: AsyncIterable[Any]) -> None:
        async for event in events:
            if isinstance(event, PartStartEvent):
                texts.append(getattr(event.part, "content", ""))
            elif isinstance(event, PartDeltaEvent):
                texts.append(getattr(event.delta, "content_delta", "") or "")

    clerk = Agent(name="hurried clerk", capabilities=[Durable(event_stream_handler=hear, route="quick")])

    @flow(name="hurried clerk")
    async def clerks(text: str) -> str:
        return (await clerk.run(text)).output

    async with serve(served(small=6)) as server, opened(tmp_path, server, ROUTES) as engine:
        run = await engine.start(clerks, "Which?")
        assert await run.result() == WORDS["middle"] == "".join(texts)
        assert brief((await told(run))[1]) == [("small", "primary", "cancelled"), ("middle", "hedge", "answered")]


async def test_who_can_only_be_given_text_has_it_of_one(tmp_path: Path) -> None:
    async with serve(served(small=6)) as server, opened(tmp_path, server, ROUTES):
        assert "".join([text async for text in relayed("Which?", route="quick")]) == WORDS["middle"]


# --- the race itself, at all times ---

calls = st.tuples(st.integers(0, 9), st.integers(0, 9), st.booleans(), st.booleans())
"""When it would speak, how long it goes on, whether it speaks at all, and whether its end is good."""


@given(first=calls, second=calls, after=st.integers(0, 9))
def test_one_is_heard_and_its_end_is_that_of_both(
    first: tuple[int, int, bool, bool], second: tuple[int, int, bool, bool], after: int
) -> None:
    running: set[int] = set()
    spoke: list[int] = []

    async def takes(floor: Floor, who: int) -> Called:
        begins, lasts, speaks, good = (first, second)[who]
        running.add(who)
        try:
            await asyncio.sleep(begins + 0.25 * who)
            if speaks and floor.take(who):
                spoke.append(who)
            await asyncio.sleep(lasts)
            reply, model, fault = (cast("Any", one) for one in (object.__new__(Reply), who, "bad"))
            return Called(model=model, reply=reply, fault=None if good and speaks else fault)
        finally:
            running.discard(who)

    async def main() -> None:
        floor = Floor()

        async def one(sent: asyncio.Event) -> Called:
            sent.set()
            return await takes(floor, 0)

        async def two(sent: asyncio.Event) -> Called:
            sent.set()
            return await takes(floor, 1)

        ran = await race(one, two, after + 0.5, floor)
        assert not running
        assert len(spoke) <= 1
        if spoke:
            assert cast("Any", ran.taken.model) == spoke[0]
            assert ran.taken.good == (first, second)[spoke[0]][3]
        else:
            assert not ran.taken.good
        if ran.begun:
            at = {0: first[0] if first[2] else 99, 1: after + 0.75 + second[0] if second[2] else 99}
            soonest = min(at, key=lambda who: at[who])
            assert spoke == ([soonest] if at[soonest] < 99 else [])

    virtually(main())
