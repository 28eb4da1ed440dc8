"""What guards took out of a request does not come back by a handle: what is recalled is what a model was shown."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, ask, flow, step
from segue.agent.guards import Finding, Guard
from segue.agent.guards.builtin import patterns
from segue.models import Catalogue
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, calls, model, results

SECRET = "jane.doe@example.com"
FILLER = "All work and no play. " * 400
PAGES = 6


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


@step
async def page(n: int) -> str:
    """A page of the book."""
    return f"page {n}: {SECRET}. {FILLER}"


@flow
async def reads() -> str:
    return await ask("Read the book.", tools=[page], timeout_s=10, max_tokens=300)


@flow
async def chats(n: int) -> str:
    return await ask(f"Read page {n}.", thread="book", tools=[page], timeout_s=10, max_tokens=300)


def reader(asked: Asked) -> Any:
    """Page after page; then the first one again, by its handle; then it says what came."""
    had = results(asked)
    if len(had) < PAGES:
        return calls("page", n=len(had))
    if len(had) == PAGES:
        gone = [text for text in had if "cleared; recall" in text]
        return calls("recall", handle=gone[0].rpartition("recall ")[2][:12])
    return f"it came back as {had[-1][:60]}"


def guard(**more: Any) -> Guard:
    return Guard(name="pii", look=patterns("pii"), on_hit="redact", stage="before", **more)


async def upper(text: str) -> Finding | None:
    return Finding("an address", text.replace(SECRET, "(an address)")) if SECRET in text else None


def opened(path: Path, server: Any, *guards: Guard) -> Engine:
    small = replace(model(server, "chat"), window=12_000, max_output=300)
    return Engine(str(path / "x.db"), resources={"catalogue": Catalogue.of(small), "guards": guards})


@pytest.mark.parametrize(
    ("how", "mark"),
    [(guard(), "[email]"), (Guard(name="own", look=upper, on_hit="redact", stage="before"), "(an address)")],
    ids=["pattern", "function"],
)
async def test_a_redacted_result_is_given_back_redacted(tmp_path: Path, how: Guard, mark: str) -> None:
    async with serve({"chat": Served(answer=reader)}) as server, opened(tmp_path, server, how) as engine:
        assert (await engine.run(reads, id="r")).startswith(f"it came back as page 0: {mark}")
        assert all(SECRET not in entry.raw.decode() for entry in server.log)
        done = "select value from events where type = 'step.completed' and key like '%recall[%'"
        ((told,),) = engine.journal.query(done)
        assert SECRET.encode() not in bytes(told), "the original stands in the journal where the tool gave it, once"
    async with serve({"chat": Served(answer=reader)}) as server, opened(tmp_path, server, how) as engine:
        run = await (await engine.get("r")).fork()
        assert (await run.result()).startswith(f"it came back as page 0: {mark}")


async def test_a_redacted_turn_of_a_thread_is_given_back_redacted(tmp_path: Path) -> None:
    def answers(asked: Asked) -> Any:
        latest, had = asked.turns[-1], results(asked)
        if latest.role != "tool":
            return calls("page", n=int(latest.text.rpartition(" ")[2].strip(".")))
        gone = [text for text in had if "cleared; recall" in text]
        asked_for = [turn.text for turn in asked.turns if turn.role == "user"][-1].rpartition(" ")[2].strip(".")
        if gone and latest.text.startswith(f"page {asked_for}:"):
            return calls("recall", handle=gone[0].rpartition("recall ")[2][:12])
        return f"read {latest.text[:20]}"

    async with serve({"chat": Served(answer=answers)}) as server, opened(tmp_path, server, guard()) as engine:
        said = [await engine.run(chats, n) for n in range(12)]
        others = [text for n, text in enumerate(said) if not text.startswith(f"read page {n}:")]
        fine = re.compile(r"read (page \d+: \[email\]\. Al|\[the same as)")
        assert others and all(map(fine.match, others)), said
        assert all(SECRET not in entry.raw.decode() for entry in server.log)


async def test_a_guard_that_fails_meanwhile_gives_nothing_back(tmp_path: Path) -> None:
    fails = False

    def look(text: str) -> Finding | None:
        if fails:
            raise RuntimeError("out of order")
        return Finding("an address", text.replace(SECRET, "…")) if SECRET in text else None

    def answer(asked: Asked) -> Any:
        nonlocal fails
        fails = len(results(asked)) == PAGES
        return reader(asked)

    how = Guard(name="own", look=look, on_hit="redact", stage="before")
    async with serve({"chat": Served(answer=answer)}) as server, opened(tmp_path, server, how) as engine:
        with pytest.raises(Exception, match="out of order"):
            await engine.run(reads, id="r")
        assert all(SECRET not in entry.raw.decode() for entry in server.log)
