"""What a call shows is fitted to the window of the model that was chosen, and is on record before it is sent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue import Engine, ask, flow
from segue.agent.request import Question
from segue.agent.turns import parts_in, recalled
from segue.agent.window import fitted, room_in
from segue.core.events import EventType
from segue.core.records import Decision, Fate, Manifest, record_of
from segue.models import Catalogue, Model, Provider
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import FORMATS, KEYS, calls, model, opened, results

PAGES = 14


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


async def page(n: int) -> str:
    """A page of the book."""
    return f"page {n}: " + " ".join(f"word{n}x{i}" for i in range(300))


@flow
async def reads(text: str) -> str:
    return await ask(text, tools=[page], rounds=PAGES + 4, max_tokens=500, timeout_s=10)


@flow
async def plain(text: str) -> str:
    return await ask("Sum up.", text, {"a": 1}, system="Be brief.", max_tokens=500, timeout_s=10)


def over(path: Path, *models: Model) -> Engine:
    """An engine over these models."""
    return Engine(str(path / "x.db"), resources={"catalogue": Catalogue.of(*models)})


def reader(asked: Asked) -> Any:
    """Reads page after page; then it wants the first one back, by the handle that stands in its place."""
    had = results(asked)
    if READ["next"] < PAGES:
        READ["next"] += 1
        return calls("page", n=READ["next"] - 1)
    if READ["next"] == PAGES:
        READ["next"] += 1
        gone = [one for one in had if "cleared; recall" in one]
        READ["cleared"] = len(gone)
        return calls("recall", handle=gone[0].rpartition("recall ")[2][:12])
    return f"it begins with {had[-1][had[-1].find('page') :][:6]}"


READ: dict[str, int] = {}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", FORMATS)
async def test_old_results_give_way_and_can_be_had_back(tmp_path: Path, name: str) -> None:
    READ.clear()
    READ.update(next=0)
    async with serve({name: Served(answer=reader)}) as server:
        small = replace(model(server, name), window=12_000, max_output=1_000)
        async with over(tmp_path, small) as engine:
            run = await engine.start(reads, "Read the book.")
            said = await run.result()
            manifests = [record_of(e) async for e in run.events(follow=False) if e.type == EventType.CONTEXT_ASSEMBLED]
        assert said == "it begins with page 0"
        assert READ["cleared"] > 2
        assert all(isinstance(m, Manifest) and m.tokens + m.reserved_out <= 12_000 for m in manifests)
        last = manifests[-1]
        assert isinstance(last, Manifest)
        cut = [p for p in last.parts if p.fate is Fate.CUT]
        assert cut and all(p.why == "old tool result" and p.recall for p in cut)
        assert sum(p.kind == "tool call" for p in last.parts) == sum(p.kind == "tool result" for p in last.parts)
        assert any(isinstance(m, Manifest) and m.tokens_prefix > 0 for m in manifests[1:])


async def test_each_call_leaves_a_manifest_before_it_is_sent(tmp_path: Path) -> None:
    models = {"chat": Served(answer=lambda _: "short")}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(plain, "a long story")
        assert await run.result() == "short"
        events = [e async for e in run.events(follow=False)]
    kinds = [e.type for e in events]
    at = kinds.index(EventType.CONTEXT_ASSEMBLED)
    assert kinds.index(EventType.DECISION_MADE) < at < kinds.index(EventType.ATTEMPT_RECORDED)
    shown, decided = record_of(events[at]), record_of(events[kinds.index(EventType.DECISION_MADE)])
    assert isinstance(shown, Manifest) and isinstance(decided, Decision)
    assert [p.role for p in shown.parts] == ["system", "system", "user", "user"]
    assert (shown.decision, shown.target.name, shown.window) == (decided.id, "chat", 64_000)
    assert all(p.fate is Fate.KEPT for p in shown.parts)


async def test_what_does_not_fit_goes_to_a_larger_window(tmp_path: Path) -> None:
    """The router takes one token for two bytes; of digits a small model takes more, and the window says so in time."""
    text = " ".join(str(10**11 + i * 7919) for i in range(800))
    async with serve({n: Served(answer=lambda _: "read") for n in ("chat", "gpt")}) as server:
        small = replace(model(server, "chat"), window=7_000, max_output=1_000)
        async with over(tmp_path, small, model(server, "gpt")) as engine:
            run = await engine.start(plain, text)
            assert await run.result() == "read"
            failed = [json.loads(e.body or b"{}") async for e in run.events(follow=False) if e.type == "attempt.failed"]
        assert [server.counts(name).calls for name in ("chat", "gpt")] == [0, 1]
    assert [one["fault"]["kind"] for one in failed] == ["context too long"]


def test_a_handle_finds_what_was_said() -> None:
    call = {"part_kind": "tool-call", "tool_name": "t", "args": "{}", "tool_call_id": "1"}
    result = {"part_kind": "tool-return", "tool_name": "t", "content": "it", "tool_call_id": "1"}
    turns = [{"kind": "response", "parts": [call]}, {"kind": "request", "parts": [result]}]
    handle = next(part.hash[:12] for _, part in parts_in(turns) if part.text == "it")
    assert recalled(turns, handle) == "it"
    assert recalled(turns, "") is None
    assert recalled(turns, "nothing") is None


@pytest.mark.parametrize("window", range(4_000, 4_120, 10))
def test_the_tool_that_gives_results_back_takes_room_too(window: int) -> None:
    """It is offered only where results give way; what is sent still fits, also where each token counts."""
    named = Model(name="m", provider=Provider.OPENAI, id="gpt-4o", url="http://x", window=window, max_output=500)
    said = [{"parts": [{"part_kind": "user-prompt", "content": "Read."}], "kind": "request"}]
    for n in range(12):
        call = {"part_kind": "tool-call", "tool_name": "page", "args": f'{{"n": {n}}}', "tool_call_id": f"c{n}"}
        gave = {"part_kind": "tool-return", "tool_name": "page", "content": f"{n} " + "word " * 350}
        said += [
            {"parts": [call], "kind": "response"},
            {"parts": [gave | {"tool_call_id": f"c{n}"}], "kind": "request"},
        ]
    tools = [{"name": "page", "description": "A page.", "parameters_json_schema": {"type": "object", "properties": {}}}]
    question = Question(prompt="And now?", history=said, tools=tools, max_tokens=500)
    sent, manifest = fitted(question, named, "d")
    assert "recall" in [tool["name"] for tool in sent.tools]
    assert manifest.exact
    assert manifest.tokens_tools == room_in(sent, named).tools
    assert manifest.tokens + manifest.reserved_out <= window
