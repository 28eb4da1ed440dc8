"""Guards whose functions ask: past whom that goes, and that nothing else goes past them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from segue import Engine, RunFailed, ask, flow, gather, step, testing
from segue.agent import agent, called, stream
from segue.agent.guards import Guard
from segue.agent.guards.builtin import patterns
from segue.models.errors import ContentBlocked
from segue.testing import Engine as InMemory
from segue.testing import crash_everywhere
from segue.testing.provider import Asked, Provider, Served, serve
from tests.agent.served import KEYS, catalogue, opened
from tests.agent.test_guard_budgets import Till, resources, spent
from tests.agent.test_guard_budgets import opened as in_till

Judge = Callable[[str], Awaitable[str | None]]


async def polite(text: str) -> str | None:
    """Asks `gpt`, by whom it is polite unless it says no."""
    said = await ask("Is this polite? yes or no.", text, model="gpt")
    return "it is impolite" if said == "no" else None


async def kind(text: str) -> str | None:
    """Another one."""
    return "it is unkind" if await ask("Is this kind?", text, model="gpt") == "no" else None


async def gathered(text: str) -> str | None:
    said = await gather(ask("Is this polite?", text, model="gpt"), ask("Is this true?", text, model="gpt"))
    return "one says no" if "no" in said else None


async def in_tasks(text: str) -> str | None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(about, text, model="gpt")) for about in ("Is it polite?", "Is it true?")]
    return "one says no" if "no" in [task.result() for task in tasks] else None


@step
async def judged(text: str) -> str:
    return await ask("Is this polite?", text, model="gpt")


async def by_steps(text: str) -> str | None:
    return "one says no" if "no" in [await judged(text), await judged(text)] else None


async def as_streams(text: str) -> str | None:
    for about in ("Is this polite?", "Is this true?"):
        said = stream(about, text, model="gpt")
        async for _ in said:
            pass
        if said.answer.value == "no":
            return "one says no"
    return None


@flow
async def hello() -> str:
    return await ask("Say hello.", model="chat")


@flow
async def streamed() -> str:
    return await ask("Say hello.", model="chat", stream=True)


greeter = agent("You say hello.", name="greeter", model="chat")


@flow
async def greeted() -> str:
    return (await greeter.run("Say hello.")).output


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@asynccontextmanager
async def served(
    path: Path, *guards: Guard | Judge, says: str = "yes", **more: Any
) -> AsyncGenerator[tuple[Engine, Provider]]:
    """An engine with these guards; `chat` says hello, and `gpt`, who judges, something else."""
    models = {"chat": Served(answer=lambda _: "hello"), "gpt": Served(answer=lambda _: says)}
    given = more or {"guards": list(guards)}
    async with serve(models) as server, opened(path, server, "chat", "gpt", **given) as engine:
        yield engine, server


def asked(server: Provider) -> tuple[int, int]:
    """How often who answers was asked, and who judges."""
    return server.counts("chat").calls, server.counts("gpt").calls


async def blocked(engine: Engine, what: Any, *args: Any) -> ContentBlocked:
    with pytest.raises(RunFailed) as failed:
        await engine.run(what, *args)
    assert isinstance(failed.value.__cause__, ContentBlocked)
    return failed.value.__cause__


def given(where: str, path: Path, stage: str, on_fail: str) -> dict[str, Any]:
    """What an engine is given that has `polite`."""
    if where == "resources":
        return {"guards": [Guard(name="polite", look=polite, stage=cast("Any", stage), on_fail=cast("Any", on_fail))]}
    table = f'kind = "function"\nfunction = "{__name__}:polite"\nstage = "{stage}"\non_fail = "{on_fail}"\n'
    (path / "segue.toml").write_text(f"[guards.polite]\n{table}")
    return {"config": str(path / "segue.toml")}


@pytest.mark.parametrize("where", ["resources", "file"])
@pytest.mark.parametrize("stage", ["before", "after", "both"])
@pytest.mark.parametrize("on_fail", ["closed", "open"])
async def test_a_guard_of_the_engine_that_asks_is_asked_once_for_each_text(
    tmp_path: Path, where: str, stage: str, on_fail: str
) -> None:
    async with served(tmp_path, **given(where, tmp_path, stage, on_fail)) as (engine, server):
        assert await engine.run(hello) == "hello"
        assert asked(server) == (1, 2 if stage == "both" else 1)
        assert await ask("Say hello.", model="chat") == "hello", "outside of a run, too"
        assert asked(server) == (2, 4 if stage == "both" else 2)


@pytest.mark.parametrize("where", ["resources", "file"])
@pytest.mark.parametrize("stage", ["before", "after"])
@pytest.mark.parametrize("on_fail", ["closed", "open"])
async def test_what_the_one_who_is_asked_turns_down_is_blocked(
    tmp_path: Path, where: str, stage: str, on_fail: str
) -> None:
    async with served(tmp_path, says="no", **given(where, tmp_path, stage, on_fail)) as (engine, server):
        error = await blocked(engine, hello)
        assert (error.guard, error.stage, error.why) == ("polite", stage, "it is impolite")
        assert asked(server) == (0 if stage == "before" else 1, 1)


async def test_two_that_ask_do_not_look_at_what_each_other_asks(tmp_path: Path) -> None:
    async with served(tmp_path, polite, kind) as (engine, server):
        assert await engine.run(hello) == "hello"
        assert asked(server) == (1, 4)


@pytest.mark.parametrize("look", [gathered, in_tasks, by_steps, as_streams])
async def test_however_a_function_asks(tmp_path: Path, look: Judge) -> None:
    async with served(tmp_path, look) as (engine, server):
        assert await engine.run(hello) == "hello"
        assert asked(server) == (1, 4)
        assert await ask("Say hello.", model="chat") == "hello"
        assert asked(server) == (2, 8)


@pytest.mark.parametrize("what", [streamed, greeted])
async def test_streams_and_agents_are_looked_at_by_one_that_asks(tmp_path: Path, what: Any) -> None:
    async with served(tmp_path, Guard(name="polite", look=polite, stage="after")) as (engine, server):
        assert await engine.run(what) == "hello"
        assert asked(server) == (1, 1)


async def test_what_a_guard_asks_goes_past_all_guards_of_the_engine_and_has_passed_those_before_it(
    tmp_path: Path,
) -> None:
    shown, seen = list[str](), list[str]()

    def answer(asked: Asked) -> str:
        shown.append(asked.prompt)
        return "yes"

    pii = Guard(name="pii", look=patterns("pii"), on_hit="redact", stage="before")
    own = Guard(name="polite", look=polite, stage="before")
    last = Guard(name="last", look=seen.append, stage="both")
    models = {"chat": Served(answer=lambda _: "hello"), "gpt": Served(answer=answer)}
    async with serve(models) as server, opened(tmp_path, server, "chat", "gpt", guards=[pii, own, last]) as engine:
        assert await ask("Write to ada@example.com", model="chat") == "hello"
        assert [one.count("ada@") for one in shown] == [0]
        assert seen == ["Write to [email]", "hello"], "and nothing of what was asked within a look"
        assert await ask("Say hello.", model="chat", guards=[polite]) == "hello"
        assert seen[2:] == ["Say hello.", "hello"], "nor within that of a guard of one question"
        assert engine is not None


async def test_guards_that_a_guard_gives_its_own_question_hold(tmp_path: Path) -> None:
    seen = list[str]()

    async def strict(text: str) -> str | None:
        await ask("Is this polite?", text, model="gpt", guards=[seen.append, strict])
        return None

    async with served(tmp_path, Guard(name="strict", look=strict, stage="before")) as (engine, server):
        assert await engine.run(hello) == "hello"
        assert (seen[:2], seen[-1]) == (["Is this polite?", "Say hello."], "yes")
        assert asked(server) == (1, 1), "it does not look at what it asks itself"


async def test_two_that_give_each_other_to_their_questions_come_to_an_end(tmp_path: Path) -> None:
    async def one(text: str) -> str | None:
        return "no" if await ask(f"One: {text}", model="gpt", guards=[Guard.of(other)]) == "no" else None

    async def other(text: str) -> str | None:
        return "no" if await ask(f"Other: {text}", model="gpt", guards=[one]) == "no" else None

    @flow(name="mutual")
    async def mutual() -> str:
        return await ask("Say hello.", model="chat", guards=[Guard(name="one", look=one, stage="before")])

    async with served(tmp_path) as (engine, server):
        assert await engine.run(mutual) == "hello"
        assert asked(server) == (1, 3)


async def test_other_questions_are_looked_at_while_a_guard_asks(tmp_path: Path) -> None:
    seen, all_look = list[str](), asyncio.Barrier(4)

    async def together(text: str) -> str | None:
        """All four questions are looked at just now."""
        seen.append(text)
        await all_look.wait()
        return await polite(text)

    @flow(name="several")
    async def several(texts: list[str]) -> Sequence[str]:
        return await gather(*(ask(text, model="chat") for text in texts))

    guard = Guard(name="together", look=together, stage="before")
    async with served(tmp_path, guard) as (engine, server):
        said = await asyncio.gather(engine.run(several, ["a", "b", "c"]), ask("d", model="chat"))
        assert said == [["hello"] * 3, "hello"]
        assert sorted(seen) == ["a", "b", "c", "d"]
        assert asked(server) == (4, 4)


async def test_a_question_after_a_look_that_took_too_long_is_looked_at(tmp_path: Path) -> None:
    seen = list[str]()

    async def slow(text: str) -> None:
        seen.append(text)
        await asyncio.sleep(60 if len(seen) == 1 else 0)

    guard = Guard(name="slow", look=slow, stage="before", on_fail="open", timeout_s=0.1)
    async with served(tmp_path, guard):
        assert [await ask(text, model="chat") for text in ("a", "b")] == ["hello", "hello"]
        assert seen == ["a", "b"]


async def test_a_run_that_a_guard_starts_is_looked_at_by_the_guards_of_its_engine(tmp_path: Path) -> None:
    seen = list[str]()

    @flow(name="judging")
    async def judging() -> str:
        return await ask("Is it polite?", model="gpt")

    async with serve({"chat": Served(answer=lambda _: "hello"), "gpt": Served(answer=lambda _: "yes")}) as server:

        async def apart(text: str) -> str | None:
            has = {"catalogue": catalogue(server, "gpt"), "guards": [seen.append]}
            async with InMemory(resources=has) as engine:
                return "it is impolite" if await engine.run(judging) == "no" else None

        guard = Guard(name="apart", look=apart, stage="before")
        async with opened(tmp_path, server, "chat", "gpt", guards=[guard]) as engine:
            assert await engine.run(hello) == "hello"
    assert seen == ["Is it polite?", "yes"]
    assert asked(server) == (1, 1)


async def court(text: str) -> str | None:
    """Asks another model, on virtual time."""
    await ask("Is it polite?", text, model="mod", max_tokens=200)
    return None


@flow(budget_usd=0.01)
async def paid() -> str:
    return await ask("Say it.", model="small", max_tokens=200)


@pytest.mark.parametrize("on_fail", ["closed", "open"])
@testing.simulated
async def test_a_guard_of_the_engine_that_asks_is_paid_for_once(monkeypatch: pytest.MonkeyPatch, on_fail: Any) -> None:
    till = Till()
    async with in_till(monkeypatch, till, Guard(name="court", look=court, on_fail=on_fail)) as engine:
        assert await engine.run(paid, id="r") == "well"
        assert till.calls == ["mod", "small", "mod"]
        assert spent(engine) == till.billed


@pytest.mark.sampled(4)
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_a_crash_at_every_write(monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    till = Till()

    async def scenario(engine: InMemory) -> str:
        monkeypatch.setattr(called, "ready", till.ready)
        monkeypatch.setattr(called, "send", till.send)
        return await engine.run(paid, id="r")

    def check(said: str, engine: InMemory) -> None:
        nonlocal till
        assert said == "well"
        life, calls = ["mod", "small", "mod"], till.calls
        assert calls[-3:] == life
        assert len(calls) <= len(life) * (3 if again else 2), "no life asks more than one without a crash"
        till = Till()

    guard = Guard(name="court", look=court)
    assert crash_everywhere(scenario, check=check, again=again, resources=resources(guard)) > 10
