"""`ask(..., batch=True)`: many questions travel together at half the price, while their runs wait on disk."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from anthropic import AsyncAnthropic

from segue import Engine, ask, detach, flow, gather, step
from segue.cli.advice import advise
from segue.cli.shelf import reading, standing_of
from segue.core.budgets import nano
from segue.core.records import BudgetScope, ScopeKind
from segue.errors import BudgetExceeded, InputError, NotInAFlow, RunFailed
from segue.models import Capability, Catalogue, Model, Price, Provider
from segue.models.batches import BatchRules
from segue.routing import Cheapest, Hedge
from segue.routing.policies import NEVER
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve

CAN = frozenset({Capability.BATCH, Capability.JSON_SCHEMA, Capability.TOOLS})
PRICE = Price.dollars(1, 4)
SOON = BatchRules(wait_s=0.4, look_s=0.1, look_s_max=0.2, turn_s=0.1, settle_s=0.2)
FORMATS = {
    "chat": Provider.OPENAI, "gpt": Provider.OPENAI_RESPONSES, "claude": Provider.ANTHROPIC, "gemini": Provider.GOOGLE,
    "mistral": Provider.MISTRAL, "groq": Provider.GROQ,
}  # fmt: skip
APIS = ["chat", "claude", "gemini", "mistral", "groq"]
"""One of each batch API."""
AT_ROOT = frozenset({Provider.ANTHROPIC, Provider.GOOGLE, Provider.MISTRAL, Provider.GROQ})


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI", "ANTHROPIC", "GOOGLE", "MISTRAL", "GROQ"):
        monkeypatch.setenv(f"{name}_API_KEY", "test")


def model(server: Server, name: str, can: frozenset[Capability] = CAN, price: Price = PRICE) -> Model:
    provider = FORMATS[name.partition("-")[0]]
    url = server.url if provider in AT_ROOT else server.openai_url
    return Model(name=name, provider=provider, capabilities=can, window=64_000, max_output=4_000, price=price, url=url)


def opened(path: Path, *models: Model, rules: BatchRules = SOON, **options: Any) -> Engine:
    given = {"catalogue": Catalogue.of(*models), "batches": rules, "routes": {"default": Cheapest(explore=NEVER)}}
    return Engine(str(path / "x.db"), resources=given, linger_s=0.05, **options)


def billed(server: Server, share: float = 0.5) -> int:
    """What the provider bills, at half the price; each request rounded up."""
    took = (PRICE.per_million_in * e.tokens_in + PRICE.per_million_out * e.tokens_out for e in server.log)
    return sum(math.ceil(one * share / 1_000_000) for one in took)


@dataclass
class Count:
    many: int


@flow
async def echoes(word: str) -> str:
    return await ask(f"Say {word}", batch=True)


@flow
async def counts(word: str) -> Count:
    return await ask(f"Count {word}", returns=Count, batch=True)


@pytest.mark.parametrize("name", FORMATS)
async def test_an_answer_comes_by_the_batch_api_of_each_format(tmp_path: Path, name: str) -> None:
    async with (
        serve({name: Served(mistral=name == "mistral")}) as server,
        opened(tmp_path, model(server, name)) as engine,
    ):
        run = await engine.start(echoes, "hello", id="r")
        assert "hello" in await run.result()
        (entry,) = server.log
        assert entry.batch
        assert (await run.status()).state == "completed"


@flow
async def tallies(words: list[str]) -> list[Count]:
    return await gather(*(ask(f"Count {word}", returns=Count, batch=True) for word in words))


@flow
async def parent(many: int) -> int:
    for n in range(many):
        await detach(echoes, f"w{n}", id=f"c{n}")
    return many


async def all_of(engine: Engine, many: int) -> list[str]:
    return [await (await engine.get(f"c{n}")).result() for n in range(many)]


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", APIS)
async def test_many_children_travel_in_few_batches_each_billed_once_at_half_the_price(
    tmp_path: Path, name: str
) -> None:
    rules, many = replace(SOON, wait_s=3.0), 200 if name == "chat" else 60
    async with (
        serve({name: Served(mistral=name == "mistral")}) as server,
        opened(tmp_path, model(server, name), rules=rules) as engine,
    ):
        await engine.run(parent, many, id="p")
        said = await all_of(engine, many)
        assert [f"w{n}" in text for n, text in enumerate(said)] == [True] * many
        assert len(server.log) == many
        assert not server.log.answered_twice()
        assert len({entry.batch for entry in server.log}) <= 6
        assert await spent(engine, [f"c{n}" for n in range(many)]) == billed(server)


async def spent(engine: Engine, runs: list[str]) -> int:
    """What the attempts say that they took."""
    bodies = [body for name in runs for body in await bodies_of(engine, name, "attempt.recorded")]
    return sum((body.get("usage") or {}).get("cost_nano", 0) for body in bodies)


async def bodies_of(engine: Engine, id: str, kind: str) -> list[dict[str, Any]]:
    run = await engine.get(id)
    return [json.loads(e.body or b"") async for e in run.events(follow=False) if e.type == kind]


async def whys(engine: Engine) -> list[str]:
    """What the calls of the run `r` were made for."""
    return [body["why"] for body in await bodies_of(engine, "r", "attempt.recorded")]


def advice_on(path: Path, run: str) -> str:
    with reading(str(path)) as reader:
        standing = standing_of(reader, reader.get(run))
    (advice,) = advise(standing, time.time(), lambda *words: " ".join(words))
    return advice.says


async def test_a_parked_run_is_only_a_row(tmp_path: Path) -> None:
    async with serve(["chat"]) as server, opened(tmp_path, model(server, "chat")) as engine:
        server.batches.pace_s = 3.0
        run = await engine.start(echoes, "hello", id="r")
        while not server.batches.jobs or (status := await run.status()).state == "running":
            await asyncio.sleep(0.05)
        assert status.state == "parked"
        assert not engine.host.executions
        (waits,) = status.waits_on
        assert waits["service"] == "a batch of openai"
        while "submitted" not in (says := advice_on(tmp_path / "x.db", "r")):  # the server has it, our outbox not yet
            await asyncio.sleep(0.05)
        said = r"ask\[\w+\] waits for a batch of openai, submitted [\d:]+, \d of 1 done; it goes on without it .*"
        assert re.fullmatch(said, says)
        assert "hello" in await run.result()


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", APIS)
async def test_a_batch_that_fails_loses_no_question(tmp_path: Path, name: str) -> None:
    """Beside each other: most of it is waiting."""
    async with asyncio.TaskGroup() as group:
        for trouble in ("refused", "broken", "failed", "expired", "cancelled", "lines-lost", "answer-lost"):
            group.create_task(_loses_none(tmp_path / trouble, name, trouble))


async def _loses_none(path: Path, name: str, trouble: str) -> None:
    path.mkdir()
    async with (
        serve({name: Served(mistral=name == "mistral")}) as server,
        opened(path, model(server, name), rules=replace(SOON, wait_s=2.0, requests=6)) as engine,
    ):
        server.batches.next(trouble)
        words = [f"w{n}" for n in range(6)]
        assert len(await engine.run(tallies, words, id="r")) == 6
        twice = server.log.answered_twice()
        first = next(iter(server.batches.jobs.values()))
        lost = len(first.requests) - len(first.shown)
        assert len(twice) == lost, f"{trouble}: only what the provider lost is asked again"
        assert all(entry.batch for entry in server.log)


async def test_another_batch_of_the_same_size_is_not_taken_for_ours(tmp_path: Path) -> None:
    """Anthropic's batches carry no name: of two that it may be, the ids in the results tell."""
    async with serve(["claude"]) as server, opened(tmp_path, model(server, "claude")) as engine:
        stranger: Any = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "Not ours."}]}
        async with AsyncAnthropic(base_url=server.url, api_key="k", max_retries=0) as client:
            asked: Any = [{"custom_id": f"x{n}", "params": stranger} for n in range(6)]
            await client.messages.batches.create(requests=asked)
        server.batches.next("answer-lost")
        words = [f"w{n}" for n in range(6)]
        assert len(await engine.run(tallies, words, id="r")) == 6
        assert len([entry for entry in server.log if "Not ours" not in entry.prompt]) == 6
        assert len(server.batches.jobs) == 2


@pytest.mark.sampled(2)
@pytest.mark.parametrize("trouble", ["server-error", "overloaded", "rate-limited", "reset"])
async def test_a_request_that_fails_for_a_while_goes_into_the_next_batch(tmp_path: Path, trouble: str) -> None:
    rules = replace(SOON, wait_s=2.0, requests=3)  # the three travel together, however slowly they come
    async with serve(["chat"]) as server, opened(tmp_path, model(server, "chat"), rules=rules) as engine:
        server.next("chat", trouble)
        assert len(await engine.run(tallies, ["a", "b", "c"], id="r")) == 3
        assert len(server.log) == 4
        assert len({entry.batch for entry in server.log}) == 2
        assert not server.log.answered_twice()


async def test_an_answer_that_will_not_do_is_mended_in_the_next_batch(tmp_path: Path) -> None:
    async with serve(["chat"]) as server, opened(tmp_path, model(server, "chat")) as engine:
        server.next("chat", "wrong-schema")
        assert (await engine.run(counts, "sheep", id="r")).many >= 0
        first, second = server.log
        assert first.batch != second.batch
        assert "Do not repeat this mistake" in second.raw.decode()
        assert await spent(engine, ["r"]) == billed(server)
        assert await whys(engine) == ["primary", "repair"]


async def test_a_request_that_is_wrong_fails_and_costs_nothing(tmp_path: Path) -> None:
    async with serve(["chat"]) as server, opened(tmp_path, model(server, "chat")) as engine:
        server.next("chat", "bad-request")
        with pytest.raises(RunFailed, match="RequestRefused"):
            await engine.run(counts, "sheep", id="r")
        assert await spent(engine, ["r"]) == 0


@flow(budget_usd=0.01)
async def roomy(many: int) -> int:
    asked = (ask(f"Tell {n}", max_tokens=200, batch=True) for n in range(many))
    return len(await gather(*asked))


@pytest.mark.parametrize("trouble", ["expired", "cancelled"])
async def test_what_a_batch_did_not_come_to_costs_nothing(tmp_path: Path, trouble: str) -> None:
    rules = replace(SOON, wait_s=1.0, requests=6)
    async with serve(["chat"]) as server, opened(tmp_path, model(server, "chat"), rules=rules) as engine:
        server.batches.next(trouble)
        assert await engine.run(roomy, 6, id="r") == 6
        assert len(server.batches.jobs) > 1
        (stood,) = engine.journal.standing_of([BudgetScope(kind=ScopeKind.RUN, name="r", limit_nano=nano(0.01))])
        assert (stood.spent, stood.held, stood.estimated) == (billed(server), 0, 0)


async def test_what_a_batch_says_nothing_of_counts_in_full(tmp_path: Path) -> None:
    rules = replace(SOON, wait_s=1.0, requests=6)
    async with serve(["chat"]) as server, opened(tmp_path, model(server, "chat"), rules=rules) as engine:
        server.batches.next("lines-lost")
        assert await engine.run(roomy, 6, id="r") == 6
        (stood,) = engine.journal.standing_of([BudgetScope(kind=ScopeKind.RUN, name="r", limit_nano=nano(0.01))])
        assert stood.estimated > 0, "it may have been done"
        assert stood.spent > billed(server)


async def test_what_passes_goes_by_the_ordinary_api_after_three_batches(tmp_path: Path) -> None:
    async with serve(["chat"]) as server, opened(tmp_path, model(server, "chat")) as engine:
        server.next("chat", *["overloaded"] * 3)
        assert "hello" in await engine.run(echoes, "hello", id="r")
        assert [bool(entry.batch) for entry in server.log] == [True, True, True, False]
        assert await whys(engine) == ["primary", "retry", "retry", "retry"], "to be put into a batch is no call"


async def test_the_next_model_is_asked_in_a_batch_too(tmp_path: Path) -> None:
    dear = Price.dollars(2, 8)
    async with (
        serve(["chat", "claude"]) as server,
        opened(tmp_path, model(server, "chat"), model(server, "claude", price=dear)) as engine,
    ):
        server.next("chat", "unauthorised")
        assert "hello" in await engine.run(echoes, "hello", id="r")
        assert [(entry.model, bool(entry.batch)) for entry in server.log] == [("chat", True), ("claude", True)]
        assert await whys(engine) == ["primary", "fallback"]


async def test_a_model_without_batches_is_asked_where_no_other_is_left(tmp_path: Path) -> None:
    plain = CAN - {Capability.BATCH}
    async with (
        serve(["chat", "claude"]) as server,
        opened(tmp_path, model(server, "chat"), model(server, "claude", can=plain)) as engine,
    ):
        server.next("chat", "unauthorised")
        assert "hello" in await engine.run(echoes, "hello", id="r")
        assert [(entry.model, bool(entry.batch)) for entry in server.log] == [("chat", True), ("claude", False)]
        (first, *_) = await bodies_of(engine, "r", "decision.made")
        (out,) = [c for c in first["candidates"] if "excluded_at" in c]
        assert out["target"]["name"] == "claude"
        assert out["reason"] == "it lacks batch"


@flow
async def hurries(word: str) -> str:
    return await ask(f"Say {word}", batch=True, batch_within_s=1.5)


async def test_what_no_batch_answers_in_time_is_asked_by_the_ordinary_api(tmp_path: Path) -> None:
    async with serve(["chat"]) as server, opened(tmp_path, model(server, "chat")) as engine:
        server.batches.pace_s = 20.0
        assert "hello" in await engine.run(hurries, "hello", id="r")
        assert [bool(entry.batch) for entry in server.log][-1:] == [False]


async def test_an_answer_that_came_in_time_is_taken_up_by_a_process_that_comes_after_it(tmp_path: Path) -> None:
    async with serve(["chat"]) as server:
        server.batches.pace_s = 0.5
        async with opened(tmp_path, model(server, "chat")) as engine:
            await engine.start(hurries, "hello", id="r")
            async with asyncio.timeout(20):
                while not server.batches.jobs:
                    await asyncio.sleep(0.01)
        await asyncio.sleep(2.0)  # its time is over, and nobody was there
        async with opened(tmp_path, model(server, "chat")) as engine:
            assert "hello" in await (await engine.get("r")).result()
            assert await spent(engine, ["r"]) == billed(server)
        assert [bool(entry.batch) for entry in server.log] == [True]


async def test_a_batch_is_looked_at_before_its_time_counts_as_over(tmp_path: Path) -> None:
    """The next look at it would have been later."""
    rules = replace(SOON, look_s=30.0, look_s_max=30.0)
    async with serve(["chat"]) as server, opened(tmp_path, model(server, "chat"), rules=rules) as engine:
        server.batches.pace_s = 0.3
        assert "hello" in await engine.run(hurries, "hello", id="r")
        assert [bool(entry.batch) for entry in server.log] == [True]
        assert await spent(engine, ["r"]) == billed(server)


async def test_what_was_not_sent_in_time_costs_nothing(tmp_path: Path) -> None:
    rules = replace(SOON, wait_s=30.0)
    async with serve(["chat"]) as server, opened(tmp_path, model(server, "chat"), rules=rules) as engine:
        assert "hello" in await engine.run(hurries, "hello", id="r")
        (entry,) = server.log
        assert not entry.batch
        assert not server.batches.jobs
        assert await spent(engine, ["r"]) == billed(server, share=1)


@flow(budget_usd=0.002)
async def thrifty(many: int) -> int:
    async def tells(n: int) -> int:
        try:
            await ask(f"Tell {n}", max_tokens=200, batch=True)
        except BudgetExceeded:
            return 0
        return 1

    return sum(await gather(*(tells(n) for n in range(many))))


async def test_a_budget_holds_and_is_counted_at_the_batch_s_price(tmp_path: Path) -> None:
    async with serve(["chat"]) as server, opened(tmp_path, model(server, "chat")) as engine:
        answered = await engine.run(thrifty, 10, id="r")
        assert answered == len(server.log) == 10, "what a batch under way holds is waited for"
        sizes = [len(job.requests) for job in server.batches.jobs.values()]
        assert max(sizes) <= 4, "a call may cost 0.00047 USD: at the full price there were two"
        assert sum(sizes) == 10
        (stood,) = engine.journal.standing_of([BudgetScope(kind=ScopeKind.RUN, name="r", limit_nano=nano(0.002))])
        assert (stood.spent, stood.held, stood.estimated) == (billed(server), 0, 0)


@step
async def inside() -> str:
    return await ask("Say hello", batch=True)


@flow
async def asks_inside() -> str:
    return await inside()


@flow
async def hedges() -> str:
    return await ask("Say hello", batch=True, route=Hedge(name="h", of=Cheapest(name="c")))


async def test_what_a_batch_cannot_do_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(NotInAFlow, match="durably"):
        await ask("Say hello", batch=True)
    with pytest.raises(InputError, match="whole"):
        await ask("Say hello", batch=True, stream=True)
    with pytest.raises(InputError, match="a batch for each round"):
        await ask("Say hello", batch=True, tools=[print])
    with pytest.raises(InputError, match="batch_within_s"):
        await ask("Say hello", batch=True, batch_within_s=0)
    plain = CAN - {Capability.BATCH}
    async with serve(["chat", "claude"]) as server:
        async with opened(tmp_path, model(server, "chat", can=plain)) as engine:
            with pytest.raises(RunFailed, match="it lacks batch"):
                await engine.run(echoes, "hello", id="none")
            with pytest.raises(RunFailed, match="NotInAFlow"):
                await engine.run(asks_inside, id="inside")
        async with opened(tmp_path, model(server, "chat"), model(server, "claude")) as engine:
            with pytest.raises(RunFailed, match="hedges"):
                await engine.run(hedges, id="hedges")
        assert not server.log.entries
