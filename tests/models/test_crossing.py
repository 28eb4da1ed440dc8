"""One conversation that OpenAI's two formats, Anthropic, Google and a local model carry on turn by turn.

The server refuses what the real ones refuse: calls without results, ids that do not fit, thinking without its own
signature, turns that do not alternate. Each model thinks, calls a tool, and answers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    NativeToolCallPart,
    NativeToolReturnPart,
    ThinkingPart,
    ToolReturnPart,
)
from pydantic_ai.tools import ToolDefinition

from segue.models import Model, Provider
from segue.models.calls import Call, call, close
from segue.models.calls_local import asked as local_request
from segue.models.verdict import judge
from segue.testing.provider import Answer, Asked, Served, serve
from segue.testing.provider import Call as ToolCall
from tests.agent.served import FORMATS, KEYS, model

TOOL = ToolDefinition(
    name="look_up", parameters_json_schema={"type": "object", "properties": {"n": {"type": "integer"}}}
)
LOCAL = Model(name="small", provider=Provider.LOCAL, id="smollm2", window=4096, max_output=100)


def answer(asked: Asked) -> Answer | str:
    """Calls the tool for a question, and answers when its result is there."""
    if asked.turns[-1].role == "tool":
        return f"answer to {asked.prompt}"
    n = asked.prompt.removeprefix("question ")
    return Answer(calls=(ToolCall("look_up", json.dumps({"n": int(n)})),))


def searched(message: ModelResponse) -> ModelResponse:
    """The turn as if its provider had searched the web itself."""
    found = {"provider_name": message.provider_name}
    native = (
        NativeToolCallPart("web_search", {"query": "x"}, "srvtoolu_1", **found),
        NativeToolReturnPart("web_search", "found on the web", "srvtoolu_1", **found),
    )
    return replace(message, parts=[*native, *message.parts])


async def ask(target: Model, talk: Sequence[ModelMessage]) -> ModelResponse:
    """One turn; it comes back as the journal would have it."""
    reply = await call(
        Call(model=target, deployment=target.pool()[0], messages=talk, tools=[TOOL], max_tokens=3000, timeout_s=20)
    )
    assert judge(reply) is None
    plain = ModelMessagesTypeAdapter.dump_json([reply.message])
    (message,) = ModelMessagesTypeAdapter.validate_json(plain)
    assert isinstance(message, ModelResponse)
    return message


async def turn(target: Model, talk: list[ModelMessage], n: int) -> None:
    """A question, a call, its result, an answer."""
    talk.append(ModelRequest.user_text_prompt(f"question {n}"))
    first = await ask(target, talk)
    (called,) = first.tool_calls
    talk += [first, ModelRequest(parts=[ToolReturnPart("look_up", f"result {n}", called.tool_call_id)])]
    talk.append(await ask(target, talk))


@pytest.mark.parametrize("order", list(permutations(FORMATS))[::7], ids="-".join)
async def test_each_takes_over_from_each(monkeypatch: pytest.MonkeyPatch, order: tuple[str, ...]) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")
    models = {name: Served(answer=answer, thinking=name != "chat") for name in FORMATS}
    talk: list[ModelMessage] = []
    async with serve(models) as server:
        for n, name in enumerate([*order, *order]):
            await turn(model(server, name, settings=_thinks(name)), talk, n)
            if name == "claude" and n < len(order):
                talk[-1] = searched(talk[-1])  # pyright: ignore[reportArgumentType]
        assert {entry.status for entry in server.log} == {200}
        last = json.dumps(server.log.entries[-1].body)
    await close()
    for n in range(7):
        assert all(f"{what} {n}" in last for what in ("question", "result", "answer to question")), n
    assert "found on the web" in last
    thought = [m for m in talk if isinstance(m, ModelResponse) and any(isinstance(p, ThinkingPart) for p in m.parts)]
    assert len(thought) >= 4
    request = local_request(Call(model=LOCAL, deployment=LOCAL.pool()[0], messages=[*talk, _last()]))
    assert request.input == "and now?"
    assert all(f"answer to question {n}" in str(request.examples) for n in range(8))


def _last() -> ModelRequest:
    return ModelRequest.user_text_prompt("and now?")


def _thinks(name: str) -> dict[str, Any]:
    return {
        "claude": {"anthropic_thinking": {"type": "enabled", "budget_tokens": 1024}},
        "gemini": {"google_thinking_config": {"include_thoughts": True}},
    }.get(name, {})
