"""`embed`: vectors in the order of their texts, from one model only, whoever fails; what is done is not paid twice."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue import Engine, RunCancelled, RunFailed, embed, flow
from segue.agent import Embedded, embedding
from segue.core.faults import FaultKind
from segue.core.records import AttemptRecorded, record_of
from segue.errors import InputError
from segue.models import Capability, Catalogue, Limits, Model, Price, Provider, providers
from segue.models.embedding import fits, parts_of, space
from segue.models.errors import VectorsDiffer
from segue.routing import Cheapest, Function, Hedge, Pinned, Policy, Split
from segue.routing.policies import Arm
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve
from segue.testing.provider.embeddings import vector
from tests.models.loopback import Say
from tests.models.loopback import serve as loopback

EMBEDS = frozenset({Capability.EMBEDDINGS})


def model(name: str, url: str, *, id: str = "e", dimensions: int | None = 64, **more: Any) -> Model:
    values: dict[str, Any] = {
        "provider": Provider.OPENAI, "id": id, "capabilities": EMBEDS, "window": 8000, "max_output": 0,
        "price": Price.dollars(0.1, 0), "url": url, "dimensions": dimensions, "limits": Limits(concurrency=20), **more,
    }  # fmt: skip
    return Model(name=name, **values)


def catalogue(server: Server) -> Catalogue:
    """Two ways to one model, a shorter form of it, and another model."""
    return Catalogue.of(
        model("first", server.at("one")),
        model("second", server.at("two"), price=Price.dollars(0.2, 0)),
        model("short", server.openai_url, dimensions=32, price=Price.dollars(0.3, 0)),
        model("other", server.openai_url, id="o", price=Price.dollars(0.4, 0)),
        model("google", server.url, provider=Provider.GOOGLE, id="g", price=Price.dollars(0.5, 0)),
    )


def regions(eu: Server, us: Server) -> Catalogue:
    """One model in two places, of which the first is chosen where nothing else is said."""
    return Catalogue.of(
        model("us", us.openai_url, tags={"residency": "us"}), model("eu", eu.openai_url, tags={"residency": "eu"})
    )


MODELS = {"e": Served(), "one/e": Served(), "two/e": Served(), "o": Served(), "g": Served()}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.setenv(name, "test")


@asynccontextmanager
async def world(path: Path | None = None) -> AsyncIterator[tuple[Server, Engine]]:
    async with serve(MODELS) as server:
        where = ":memory:" if path is None else str(path / "x.db")
        async with Engine(where, resources={"catalogue": catalogue(server)}) as engine:
            yield server, engine


@flow
async def embeds(texts: list[str], model: str | None = None, like: str | None = None) -> Embedded:
    return await embedding(texts, model=model, like=like, timeout_s=5, attempts=3)


@flow
async def unbounded(text: str) -> list[float]:
    return await embed(text)


@flow
async def one(text: str) -> list[float]:
    return await embed(text, model="first")


async def test_the_test_server_embeds_for_mistrals_own_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", "test")
    async with serve({"e": Served()}) as server:
        among = Catalogue.of(model("only", server.url, provider=Provider.MISTRAL))
        async with Engine(":memory:", resources={"catalogue": among}) as engine:
            assert await engine.run(unbounded, "red apple") == pytest.approx(vector("red apple", 64))
        assert len(list(server.log)) == 1


async def test_a_model_whose_answers_cannot_be_read_is_not_asked_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", "test")
    said = {"object": "list", "data": [{"index": 0}], "model": "e", "usage": {"prompt_tokens": 7, "total_tokens": 7}}
    async with loopback(lambda _: Say(body=said)) as server:
        among = Catalogue.of(model("only", server.url, provider=Provider.MISTRAL))
        async with InMemory(resources={"catalogue": among}) as engine:
            run = await engine.start(unbounded, "red apple")
            with pytest.raises(RunFailed, match="BadOutput"):
                await run.result()
            ends = [record_of(e) async for e in run.events(follow=False) if e.type == "attempt.recorded"]
    faults = [end.fault for end in ends if isinstance(end, AttemptRecorded)]
    assert len(server.asked) == len(faults) <= 8
    assert all(fault is not None and fault.kind is FaultKind.BAD_OUTPUT for fault in faults)


@pytest.mark.parametrize("odd", [None, "0.5", float("nan"), 1e39])
async def test_a_vector_with_what_is_no_number_is_bad_output(odd: Any) -> None:
    vector = [0.5, odd]
    said = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": vector}], "model": "e"}
    said |= {"usage": {"prompt_tokens": 7, "total_tokens": 7}}
    async with loopback(lambda _: Say(body=said)) as server:
        among = Catalogue.of(model("only", server.url, provider=Provider.OPENAI_COMPATIBLE))
        async with InMemory(resources={"catalogue": among}) as engine:
            with pytest.raises(RunFailed, match="BadOutput"):
                await engine.run(unbounded, "red apple")


EU = {"residency": "eu"}
DEFAULTS: dict[str, Policy] = {
    "require": Cheapest(require=EU),
    "among": Cheapest(among=("eu",)),
    "pinned": Pinned(model="eu"),
    "list": Function(function=lambda *_: ["eu"]),
    "hedge": Hedge(of=Cheapest(require=EU), after_s=9.0),
    "split": Split(arms=(Arm(name="a", policy=Cheapest(require=EU), share=1.0),)),
}


@pytest.mark.parametrize("default", DEFAULTS.values(), ids=DEFAULTS)
async def test_a_fallback_of_vectors_stays_within_the_route(default: Policy) -> None:
    async with serve({"e": Served()}) as here, serve({"e": Served()}) as there:
        among = regions(eu=here, us=there)
        async with InMemory(resources={"catalogue": among, "routes": {"default": default}}) as engine:
            here.next("e", "overloaded")
            assert len(await engine.run(unbounded, "red apple")) == 64
            assert (here.counts().calls, there.counts().calls) == (2, 0)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("default", DEFAULTS.values(), ids=DEFAULTS)
async def test_all_parts_of_a_long_list_stay_within_the_route(default: Policy) -> None:
    async with serve({"e": Served()}) as here, serve({"e": Served()}) as there:
        among = regions(eu=here, us=there)
        async with InMemory(resources={"catalogue": among, "routes": {"default": default}}) as engine:
            texts = [f"text {n}" for n in range(600)]
            assert len((await engine.run(embeds, texts)).vectors) == 600
            assert there.counts().calls == 0


async def test_like_what_is_empty_yet_says_nothing_of_vectors() -> None:
    async with serve({"e": Served()}) as here, serve({"e": Served()}) as there:
        resources = {"catalogue": regions(eu=here, us=there), "routes": {"default": DEFAULTS["pinned"]}}
        async with InMemory(resources=resources) as engine:
            here.next("e", "overloaded")
            assert len((await engine.run(embeds, ["red apple"], None, "")).vectors) == 1
            assert (here.counts().calls, there.counts().calls) == (2, 0)


@pytest.mark.parametrize(
    "default", [DEFAULTS["require"], DEFAULTS["hedge"], DEFAULTS["split"]], ids=["flat", "hedge", "split"]
)
async def test_vectors_that_only_others_make_are_made_by_nobody(default: Policy) -> None:
    async with serve({"e": Served()}) as there:
        among = Catalogue.of(model("us", there.openai_url, tags={"residency": "us"}))
        async with InMemory(resources={"catalogue": among, "routes": {"default": default}}) as engine:
            with pytest.raises(RunFailed, match="vectors of e@64 are wanted: let the route in who makes them"):
                await engine.run(embeds, ["red apple"], None, "e@64")
            assert there.counts().calls == 0


async def test_vectors_like_others_go_where_the_default_route_lets_data_go() -> None:
    async with serve({"e": Served()}) as here, serve({"e": Served()}) as there:
        among = regions(eu=here, us=there)
        default = Cheapest(require=EU)
        async with InMemory(resources={"catalogue": among, "routes": {"default": default}}) as engine:
            for _ in range(4):
                assert (await engine.run(embeds, ["red apple"], None, "e@64")).space == "e@64"
            assert (here.counts().calls, there.counts().calls) == (4, 0)


@pytest.mark.parametrize("odd", ["many", -5, None])
async def test_good_vectors_beside_an_odd_count_of_tokens_are_taken(odd: Any) -> None:
    said = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}], "model": "e"}
    said |= {"usage": {"prompt_tokens": odd, "total_tokens": odd}}
    async with loopback(lambda _: Say(body=said)) as server:
        among = Catalogue.of(model("only", server.url, provider=Provider.OPENAI_COMPATIBLE, dimensions=2))
        async with InMemory(resources={"catalogue": among}) as engine:
            assert await engine.run(unbounded, "red apple") == [0.5, 0.25]


async def test_vectors_come_in_the_order_of_their_texts_and_usage_is_on_record(tmp_path: Path) -> None:
    async with world(tmp_path) as (server, engine):
        run = await engine.start(embeds, ["red apple", "blue sky", "red sky"])
        made = await run.result()
        records = [record_of(e) async for e in run.events() if e.type == "attempt.recorded"]
    for got, text in zip(made.vectors, ("red apple", "blue sky", "red sky"), strict=True):
        assert got == pytest.approx(vector(text, 64), abs=1e-6)
    assert (made.space, made.models) == ("e@64", ("first",))
    assert made.tokens_in == server.counts("one/e").tokens_in > 0
    assert made.cost_nano == made.tokens_in * 100
    usages = [r.usage for r in records if isinstance(r, AttemptRecorded)]
    assert [usage.cost_nano for usage in usages if usage is not None] == [made.cost_nano]


@pytest.mark.proof
async def test_nothing_is_explored_since_vectors_of_two_models_do_not_compare() -> None:
    async with world() as (_, engine):
        spaces = {(await engine.run(embeds, [f"text {n}"])).space for n in range(150)}
    assert spaces == {"e@64"}  # exploring at the usual floor, two or three would be of another


async def test_one_text_is_one_vector(tmp_path: Path) -> None:
    async with world(tmp_path) as (_, engine):
        assert len(await engine.run(one, "hello")) == 64


async def test_another_way_to_the_same_model_stands_in_and_no_other_model_does(tmp_path: Path) -> None:
    async with world(tmp_path) as (server, engine):
        server.fail("one/e", "overloaded")
        made = await engine.run(embeds, ["a"])
        assert (made.models, made.space) == (("second",), "e@64")
        server.fail("two/e", "unauthorised")
        server.next("one/e", *["unauthorised"] * 9)
        with pytest.raises(RunFailed):
            await engine.run(embeds, ["b"])
        assert server.counts("o").calls == server.counts("e").calls == 0


async def test_what_does_not_compare_is_refused_before_it_is_asked(tmp_path: Path) -> None:
    async with world(tmp_path) as (server, engine):
        assert (await engine.run(embeds, ["a"], like="o@64")).models == ("other",)
        for like, pin in (("o@1536", None), ("gone@64", None), ("e@64", "other")):
            with pytest.raises(RunFailed) as failed:
                await engine.run(embeds, ["a"], pin, like)
            error = failed.value.__cause__
            assert isinstance(error, VectorsDiffer)
            assert (error.wanted, "first (e@64)" in str(error)) == (like, True)
        assert server.counts().calls == 1


async def test_a_length_that_nobody_told_is_found_out(tmp_path: Path) -> None:
    async with serve({"e": Served(dimensions=48)}) as server:
        told, untold = (
            model("told", server.openai_url, dimensions=64),
            model("untold", server.openai_url, dimensions=None),
        )
        compatible = {"provider": Provider.OPENAI_COMPATIBLE}
        wrong = model("wrong", server.openai_url, dimensions=32, **compatible)
        resources = {"catalogue": Catalogue.of(told, untold, wrong)}
        async with Engine(str(tmp_path / "x.db"), resources=resources) as engine:
            assert (await engine.run(embeds, ["a"], "untold")).space == "e@48"
            with pytest.raises(RunFailed, match="made vectors of 48 numbers; wanted is e@32"):
                await engine.run(embeds, ["a"], "wrong")


async def test_many_texts_go_in_parts_that_the_provider_takes(tmp_path: Path) -> None:
    """Google takes 100 at once: 256 texts are a step of three requests, 44 one of one."""
    texts = [f"text number {n}" for n in range(300)]
    async with world(tmp_path) as (server, engine):
        run = await engine.start(embeds, texts, "google")
        made = await run.result()
        steps = [e.key async for e in run.events() if e.type == "step.completed"]
    assert [len(made.vectors), len(steps), server.counts("g").calls] == [
        300,
        2,
        4,
    ]
    assert made.vectors[299] == pytest.approx(vector(texts[299], 64), abs=1e-6)


@pytest.mark.proof
async def test_a_crash_repeats_no_finished_step() -> None:
    """Killed at every commit: each of three steps is paid once, or twice where its answer was not yet on disk."""
    texts = [f"text {n}" for n in range(600)]
    async with serve(MODELS) as server:
        resources = {"catalogue": catalogue(server)}

        async def scene(engine: InMemory) -> Any:
            return (await engine.run(embeds, texts, "first", id="main")).tokens_in

        wanted, engine = await play(scene, resources=resources)
        for commit in range(1, engine.commits + 1):
            before = server.counts("one/e").calls
            got, _ = await play(scene, [Crash(commit, "after")], resources=resources)
            assert got == wanted
            assert server.counts("one/e").calls - before <= 3 + 2


async def test_without_any_model_a_notebook_gets_hashed_vectors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    made = await embedding(["the red apple", "a red apple", "quantum physics"], model="hashed")
    near, far = (sum(map(float.__mul__, made.vectors[0], v)) for v in made.vectors[1:])
    assert made.space == "hashed@512"
    assert near > 0.3 > far
    assert (await embedding(["x"], like=made)).space == made.space
    assert await embed([]) == []


@pytest.mark.parametrize("texts", [["a", ""], ["  "], [7]])
async def test_empty_texts_are_refused(texts: Any) -> None:
    with pytest.raises(InputError, match="embed: text"):
        await embed(texts)


@given(st.lists(st.text(max_size=9000), max_size=300), st.sampled_from(Provider))
def test_parts_hold_every_text_once_and_in_order(texts: list[str], provider: Provider) -> None:
    parts = list(parts_of(texts, provider))
    assert [text for part in parts for text in part] == texts
    assert all(parts)
    if provider is Provider.GOOGLE:
        assert all(len(part) <= 100 for part in parts)


def test_spaces() -> None:
    small = model("a", "http://x", id="text-3", dimensions=None)
    assert (space(small), space(small, 7)) == ("text-3@?", "text-3@7")
    assert fits(small, "text-3@7") and fits(small, "text-3@?") and not fits(small, "text-4@7")
    long = model("b", "http://x", id="text-3", dimensions=9)
    assert fits(long, "text-3@9") and fits(long, "text-3@?") and not fits(long, "text-3@7")


@flow(name="bounded", budget_usd=0.0000001)
async def bounded(texts: list[str]) -> list[list[float]]:
    return await embed(texts, model="first")


async def test_a_budget_holds_before_anything_is_sent(tmp_path: Path) -> None:
    async with world(tmp_path) as (server, engine):
        with pytest.raises(RunFailed, match="within the budget"):
            await engine.run(bounded, ["a long text " * 50])
        assert server.counts().calls == 0


@flow(name="paid", budget_usd=1)
async def paid(texts: list[str]) -> Embedded:
    return await embedding(texts)


async def test_requests_that_were_answered_before_a_refused_one_are_paid(tmp_path: Path) -> None:
    """80 texts are three requests to such a server: two are answered, the third is refused, and all are made again."""
    async with serve({"e": Served()}) as server:
        mine = model("mine", server.openai_url, provider=Provider.OPENAI_COMPATIBLE)
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": Catalogue.of(mine)}) as engine:
            server.next("e", None, None, "overloaded")
            await engine.run(paid, [f"text number {n}" for n in range(80)], id="r")
        answered = [entry.tokens_in for entry in server.log if entry.trouble is None]
    with closing(sqlite3.connect(tmp_path / "x.db")) as db:
        ((spent,),) = db.execute("select spent_nano from accounts where kind = 'run'").fetchall()
    assert (len(answered), spent) == (5, sum(answered) * 100)


async def test_who_is_cancelled_while_it_waits_for_a_place_has_sent_nothing_and_pays_nothing(tmp_path: Path) -> None:
    async with serve({"e": Served()}) as server:
        mine = model("mine", server.openai_url, provider=Provider.OPENAI_COMPATIBLE, limits=Limits(concurrency=1))
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": Catalogue.of(mine)}) as engine:
            server.fail("e", "silent")
            first = await engine.start(paid, ["a"], id="first")
            while not server.counts("e").active:
                await asyncio.sleep(0.01)
            second = await engine.start(paid, ["b"], id="second")
            while not [event async for event in second.events(follow=False) if event.type == "decision.made"]:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            for run in (second, first):
                await run.cancel()
                with pytest.raises(RunCancelled):
                    await run.result()
            assert server.counts("e").calls == 1
    with closing(sqlite3.connect(tmp_path / "x.db")) as db:
        rows = db.execute("select name, spent_nano, held_nano from accounts where kind = 'run'").fetchall()
    spent = {name: (paid, held) for name, paid, held in rows}
    assert spent["first"][0] > 0 and spent["first"][1] == 0
    assert spent.get("second", (0, 0)) == (0, 0)


async def test_who_is_cancelled_while_a_library_is_imported_has_sent_nothing_and_pays_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the first second of a process."""
    begun, go_on, real = Event(), Event(), providers._import  # pyright: ignore[reportPrivateUsage]

    def slowly(one: Model) -> Any:
        begun.set()
        assert go_on.wait(10)
        return real(one)

    monkeypatch.setattr(providers, "_imported", {})
    monkeypatch.setattr(providers, "_import", slowly)
    async with world(tmp_path) as (server, engine):
        run = await engine.start(paid, ["a long text " * 50], id="r")
        assert await asyncio.to_thread(begun.wait, 10)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        go_on.set()
        assert server.counts().calls == 0
    with closing(sqlite3.connect(tmp_path / "x.db")) as db:
        assert db.execute("select spent_nano, held_nano from accounts where kind = 'run'").fetchall() in ([], [(0, 0)])
