"""Every fault of a stream, in each format, with another model to fall back to: what a consumer has, retractions
applied, is the answer; and what is on record of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from segue import Ended, Engine, Retracted, ask, flow
from segue.agent import relayed, stream
from segue.core.records import AttemptRecorded, StreamEnd, StreamFate, record_of
from segue.core.streams import Joined
from segue.models import Capability, Catalogue, Limits, Model, ModelError, Price, Provider
from segue.models.errors import ContentRefused
from segue.models.health import BreakerRule, Rules
from segue.routing import Cheapest
from segue.routing.policies import NEVER
from segue.testing.provider import FaultPlan, Served, serve
from segue.testing.provider import Provider as Server
from segue.testing.provider.speech import Asked

FORMATS = {
    "chat": Provider.OPENAI_COMPATIBLE,
    "responses": Provider.OPENAI_RESPONSES,
    "anthropic": Provider.ANTHROPIC,
    "google": Provider.GOOGLE,
}
CAN = frozenset({Capability.TOOLS, Capability.JSON_SCHEMA, Capability.STREAMING})
FATES = {
    "stall": {StreamFate.STALLED}, "slow-first": {StreamFate.STALLED}, "headers-only": {StreamFate.STALLED},
    "trickle": {StreamFate.STALLED}, "cut": {StreamFate.CUT}, "cut-reset": {StreamFate.CUT},
    "no-end": {StreamFate.CUT}, "empty-body": {StreamFate.CUT}, "bad-chunk": set(), "stream-error": set(),
}  # fmt: skip
"""Of each fault; where it is empty, the formats' libraries tell it in different ways."""
PATIENT = Rules(breaker=BreakerRule(streak=1000, calls=1000))
"""So many faults in a row are meant: none is kept from its call."""
MIDWAY = FaultPlan(seed=154)
"""Its first cuts leave something to add to what had come."""
LONG = "The answer is long enough that it comes in many pieces, and each of them may be the last one. "


class City(BaseModel):
    name: str
    people: int


@flow
async def tells(question: str) -> str:
    return await ask(question, stream=True, route="cheap", timeout_s=20)


@flow
async def describes(question: str) -> str:
    city = await ask(question, returns=City, stream=True, route="cheap", first_token_s=2, stall_s=2, timeout_s=8)
    return city.model_dump_json()


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.setenv(name, "test")


def catalogue(
    server: Server, provider: Provider, can: frozenset[Capability] = CAN, names: Sequence[str] = ("small", "large")
) -> Catalogue:
    url = server.openai_url if provider.value.startswith("openai") else server.url
    return Catalogue.of(
        *(
            Model(
                name=name, provider=provider, id=name, capabilities=can, window=32_000, max_output=2000,
                price=Price.dollars(n + 1, n + 1), url=url, limits=Limits(concurrency=20),
            )
            for n, name in enumerate(names)
        )
    )  # fmt: skip


def answers(prefix: str) -> Served:
    def answer(asked: Asked) -> str | None:
        if "JSON Schema" in asked.system + asked.prompt:
            return '```json\n{"name": "Rex", "people": 4}\n```'
        return None if asked.schema or asked.tools else f"{prefix} {LONG}"

    return Served(answer=answer, token_s=0.001)


@asynccontextmanager
async def opened(
    path: Path, provider: Provider, *, can: frozenset[Capability] = CAN, **route: Any
) -> AsyncIterator[tuple[Engine, Server]]:
    plan = FaultPlan(slow_s=2.0, gap_s=1.0)
    async with serve({"small": answers("Small:"), "large": answers("Large:")}, faults=plan) as server:
        routes = {"cheap": Cheapest(name="cheap", explore=NEVER, **route)}
        resources = {"catalogue": catalogue(server, provider, can), "routes": routes, "rules": PATIENT}
        async with Engine(str(path / "x.db"), resources=resources) as engine:
            yield engine, server


async def heard(run: Any, *, pause_s: float = 0.0) -> tuple[Joined, list[Any]]:
    joined, events = Joined(), list[Any]()
    async for event in run.stream():
        events.append(event)
        joined.add(event)
        await asyncio.sleep(pause_s)
    return joined, events


@flow
async def meets(fault: str) -> str:
    limit_s = 3.0 if StreamFate.STALLED in FATES[fault] else 20.0
    limits = {"first_token_s": limit_s, "stall_s": limit_s}
    return await ask(f"What of {fault}?", stream=True, route=fault, timeout_s=40, **limits)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", FORMATS)
async def test_a_consumer_ends_with_the_answer_whatever_befalls_the_stream(name: str, tmp_path: Path) -> None:
    names = ["warm", *FATES]
    plan = FaultPlan(slow_s=10.0, gap_s=10.0)
    async with serve({fault: answers(f"{fault}:") for fault in [*names, "large"]}, faults=plan) as server:
        models = catalogue(server, FORMATS[name], names=[*names, "large"])
        routes = {fault: Cheapest(name=fault, among=(fault, "large"), explore=NEVER) for fault in names}
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": models, "routes": routes}) as engine:
            await engine.run(tells_once, "warm")
            for fault in FATES:
                server.fail(fault, fault)
            await asyncio.gather(*(befalls(engine, fault) for fault in FATES))


@flow
async def tells_once(route: str) -> str:
    return await ask("Well?", stream=True, route=route)


async def befalls(engine: Engine, fault: str) -> None:
    """One fault, two consumers and a late one."""
    run = await engine.start(meets, fault)
    (joined, events), (slow, _) = await asyncio.gather(heard(run), heard(run, pause_s=0.05))
    result = await run.result()
    late, _ = await heard(run)
    assert list(joined.texts.values()) == list(slow.texts.values()) == list(late.texts.values()) == [result], fault
    assert result.startswith("large:")
    ends, attempts = await told(run)
    assert [a.target.name for a in attempts] == [fault, "large"]
    assert all(a.streamed for a in attempts)
    assert attempts[-1].ttft_s is not None
    assert ends[-1].end is StreamFate.COMPLETE
    assert ends[0].end in (FATES[fault] or set(StreamFate) - {StreamFate.COMPLETE}), fault
    if ends[0].bytes_total:
        assert attempts[0].usage is not None and attempts[0].usage.estimated
        assert attempts[0].usage.tokens_out > 0
        assert [e.attempt for e in events if isinstance(e, Retracted)] == [(ends[0].epoch, ends[0].n)], fault
        assert ends[0].retracted


async def told(run: Any) -> tuple[list[StreamEnd], list[AttemptRecorded]]:
    kinds = ("stream.ended", "attempt.recorded")
    records = [record_of(e) async for e in run.events(follow=False) if e.type in kinds]
    return [r for r in records if isinstance(r, StreamEnd)], [r for r in records if isinstance(r, AttemptRecorded)]


MODES = {
    "native": CAN,
    "tool": CAN - {Capability.JSON_SCHEMA},
    "prompt": frozenset({Capability.STREAMING}),
    "whole": frozenset[Capability](),
}


@pytest.mark.parametrize("mode", MODES)
async def test_json_in_any_mode_ends_as_the_answer(mode: str, tmp_path: Path) -> None:
    async with opened(tmp_path, Provider.OPENAI_COMPATIBLE, can=MODES[mode]) as (engine, server):
        if mode in ("native", "tool"):
            server.next("small", "wrong-schema", None)
        run = await engine.start(describes, "Which city?")
        joined, events = await heard(run)
        (text,) = joined.texts.values()
        assert City.model_validate_json(text).model_dump_json() == await run.result()
        whys = {"native": ["bad output"], "tool": ["bad output"], "prompt": ["tidied"], "whole": []}
        assert [e.why for e in events if isinstance(e, Retracted)] == whys[mode]


async def test_outside_of_a_run_an_answer_is_read_while_it_comes(tmp_path: Path) -> None:
    async with opened(tmp_path, Provider.OPENAI_COMPATIBLE) as (_, server):
        server.next("small", "cut")
        said, joined, events = stream("How?", route="cheap"), Joined(), list[Any]()
        async for event in said:
            events.append(event)
            joined.add(event)
        assert list(joined.texts.values()) == [said.answer.value]
        assert said.answer.model == "large"
        assert isinstance(events[-1], Ended)
        assert [tried.fault for tried in said.answer.tried] == ["unreachable", ""]


async def test_leaving_a_stream_early_gives_the_call_up(tmp_path: Path) -> None:
    async with opened(tmp_path, Provider.OPENAI_COMPATIBLE) as (_, server):
        events = aiter(stream("How?", route="cheap"))
        await anext(events)
        await events.aclose()
        await server.idle()
        assert server.counts("small").calls == 1
        assert server.counts("large").calls == 0


async def text_of(*prompt: str, **options: Any) -> str:
    return "".join([text async for text in relayed(*prompt, route="cheap", **options)])


async def test_what_cannot_be_told_gets_one_answer_or_an_error(tmp_path: Path) -> None:
    async with opened(tmp_path, Provider.OPENAI_COMPATIBLE) as (_, server):
        assert (await text_of("How?")).startswith("Small:")
        server.next("small", "cut")
        got = ""
        with pytest.raises(ModelError, match="small") as failed:
            async for text in relayed("How?", route="cheap"):
                got += text
        assert "nobody else was asked, for some of the answer was out" in failed.value.message
        assert 'rescue = "continue" on the route' in str(failed.value.remedy)
        assert f"Small: {LONG}".startswith(got)
        assert got
        assert server.counts("large").calls == 0, "an answer that cannot be delivered is not asked for"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("able", [CAN, CAN - {Capability.JSON_SCHEMA}])
async def test_a_value_that_is_no_object_goes_out_whole(name: str, able: frozenset[Capability], tmp_path: Path) -> None:
    async with serve({"small": Served(), "large": Served()}) as server:
        models, routes = catalogue(server, FORMATS[name], able), {"cheap": Cheapest(name="cheap", explore=NEVER)}
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": models, "routes": routes}):
            server.next("small", "cut")
            assert int(await text_of("How many?", returns=int)) >= 0
            assert isinstance(json.loads(await text_of("Which?", returns=list[str])), list)


async def test_json_in_a_code_fence_goes_out_without_it(tmp_path: Path) -> None:
    async with opened(tmp_path, Provider.OPENAI_COMPATIBLE, can=frozenset({Capability.STREAMING})):
        assert json.loads(await text_of("Who?", returns=City)) == {"name": "Rex", "people": 4}


@pytest.mark.parametrize("around", ["{}\n\nHope it helps, and do ask.", "\n{}\n", "Here you are: {} Enjoy!"])
async def test_words_around_json_are_no_part_of_what_goes_out(around: str, tmp_path: Path) -> None:
    said, bare = json.dumps({"name": "Rex", "people": 4}), frozenset({Capability.STREAMING})
    small = Served(answer=lambda _: around.replace("{}", said), token_s=0.001)
    async with serve({"small": small, "large": answers("Large:")}) as server:
        models = catalogue(server, Provider.OPENAI_COMPATIBLE, bare)
        routes = {"cheap": Cheapest(name="cheap", explore=NEVER)}
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": models, "routes": routes}):
            assert await text_of("Who?", returns=City) == said
            assert server.counts("large").calls == 0


async def test_a_failure_within_the_hold_is_not_seen(tmp_path: Path) -> None:
    async with opened(tmp_path, Provider.ANTHROPIC, hold_ms=5000) as (_, server):
        server.next("small", "cut")
        assert await text_of("How?") == f"Large: {LONG}"


def goes_on(asked: Asked) -> str:
    """Gives the rest of an answer that is shown as begun."""
    begun = next((turn.text for turn in reversed(asked.turns) if turn.role == "assistant"), "")
    return f"Small: {LONG}"[len(begun) :] if begun else "Large: another answer"


@pytest.mark.parametrize("name", FORMATS)
async def test_another_model_goes_on_from_what_went_out(name: str, tmp_path: Path) -> None:
    provider = FORMATS[name]
    models = {"small": answers("Small:"), "large": Served(answer=goes_on)}
    async with serve(models, faults=MIDWAY) as server:
        routes = {"cheap": Cheapest(name="cheap", explore=NEVER, rescue="continue")}
        resources = {"catalogue": catalogue(server, provider), "routes": routes}
        async with Engine(str(tmp_path / "x.db"), resources=resources) as engine:
            server.next("small", "cut")
            assert await text_of("How?") == f"Small: {LONG}"
            server.next("small", "cut")
            run = await engine.start(tells, "And in a run?")
            assert await through(run, engine) == f"Small: {LONG}" == await run.result()
            ends, attempts = await told(run)
    assert [a.why for a in attempts] == ["primary", "rescue"]
    assert ends[1].continues is not None and (ends[1].continues.epoch, ends[1].continues.n) == (
        ends[0].epoch,
        ends[0].n,
    )
    assert ends[1].continues_at == ends[0].bytes_total
    assert 0 < ends[0].bytes_released <= ends[0].bytes_total
    assert ends[0].rescue == "continue"


@pytest.mark.parametrize(
    "trouble", ["overloaded", "unauthorised", "billing", "context-too-long", "empty-content", "empty-body"]
)
async def test_one_that_was_to_go_on_and_says_nothing_gives_way_to_the_next(tmp_path: Path, trouble: str) -> None:
    async with three(tmp_path) as server:
        server.next("small", "cut")
        server.next("middle", trouble)
        assert await text_of("How?") == f"Small: {LONG}"
        assert [seen.model for seen in server.log] == ["small", "middle", "large"]
        server.next("small", "cut")
        server.next("middle", "prompt-blocked")
        assert await text_of("And then?", refused="next") == f"Small: {LONG}"


@asynccontextmanager
async def three(path: Path, provider: Provider = Provider.OPENAI_COMPATIBLE) -> AsyncIterator[Server]:
    """Who is asked first, and two that can go on from what it said."""
    models = {"small": answers("Small:"), "middle": Served(answer=goes_on), "large": Served(answer=goes_on)}
    async with serve(models, faults=MIDWAY) as server:
        known = catalogue(server, provider)
        middle = replace(known.get("large"), name="middle", id="middle", price=Price.dollars(1, 1))
        routes = {"cheap": Cheapest(name="cheap", explore=NEVER, rescue="continue")}
        resources = {"catalogue": Catalogue.of(*known, middle), "routes": routes, "rules": PATIENT}
        async with Engine(str(path / "x.db"), resources=resources):
            yield server


@pytest.mark.parametrize("name", FORMATS)
async def test_an_answer_that_a_filter_stops_midway_is_gone_on_from_where_that_is_allowed(
    name: str, tmp_path: Path
) -> None:
    async with three(tmp_path, FORMATS[name]) as server:
        server.next("small", "filtered")
        assert await text_of("How?", refused="next") == f"Small: {LONG}"
        server.next("small", "cut")
        server.next("middle", "filtered")
        assert await text_of("And then?", refused="next") == f"Small: {LONG}"
        assert [seen.model for seen in server.log] == ["small", "middle", "small", "middle", "large"]
        server.next("small", "filtered")
        with pytest.raises(ContentRefused):
            await text_of("Why?")
        assert server.counts("small").calls == 3 and server.counts("middle").calls == 2


async def test_what_broke_off_is_no_answer_because_nobody_has_anything_to_add(tmp_path: Path) -> None:
    async with three(tmp_path) as server:
        for trouble in ("cut", "no-end"):
            server.next("small", trouble)
            server.next("middle", "empty-content")
            server.next("large", "empty-content")
            with pytest.raises(ModelError, match="broke off, and nothing was added to it: small: "):
                await text_of(f"What of {trouble}?")
        assert [seen.model for seen in server.log] == ["small", "middle", "large"] * 2


async def test_blanks_are_nothing_to_add(tmp_path: Path) -> None:
    models = {"small": answers("Small:"), "large": Served(answer=lambda _: " \n")}
    async with serve(models, faults=MIDWAY) as server:
        routes = {"cheap": Cheapest(name="cheap", explore=NEVER, rescue="continue")}
        resources = {"catalogue": catalogue(server, Provider.OPENAI_COMPATIBLE), "routes": routes}
        async with Engine(str(tmp_path / "x.db"), resources=resources):
            server.next("small", "cut")
            with pytest.raises(ModelError, match="broke off"):
                await text_of("How?")


async def test_nobody_goes_on_from_what_it_said_itself(tmp_path: Path) -> None:
    """Half an answer is not made whole by whoever broke it off: it ends with the error."""
    async with opened(tmp_path, Provider.OPENAI_COMPATIBLE, rescue="continue") as (_, server):
        server.next("small", "cut")
        server.fail("large", "overloaded")
        with pytest.raises(ModelError):
            await text_of("How?")
        assert server.counts("small").calls == 1


async def through(run: Any, engine: Engine) -> str:
    """What goes to a consumer that cannot be told, of a run's one call."""
    from segue.agent import relay
    from segue.core.relay import Relay

    live, machine = engine.surroundings.live, Relay(rescue="continue")
    texts = relay(run.stream(), machine, lambda key, attempt, size: live.release(run.id, key, attempt, size))
    return "".join([text async for text in texts])


async def test_json_is_never_continued(tmp_path: Path) -> None:
    async with opened(tmp_path, Provider.OPENAI_COMPATIBLE, rescue="continue") as (_, server):
        server.next("small", "cut")
        with pytest.raises(ModelError):
            await text_of("Which city?", returns=City)
        assert server.counts("large").calls == 0
