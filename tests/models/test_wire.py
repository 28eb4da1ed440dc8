"""What really goes over the wire, for a conversation of any models, is what each provider's API takes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from pydantic_ai.messages import ModelMessage, ModelRequest, ToolCallPart
from pydantic_ai.tools import ToolDefinition

from segue.models.calls import Call, call, close
from segue.models.conversation import fit
from segue.models.pairing import valid_name
from tests.models.formats import CHAT, CLAUDE, COMPATIBLE, GEMINI, GROQ, MISTRAL, OLLAMA, RESPONSES, Format
from tests.models.loopback import Asked, Say, serve
from tests.models.test_conversation import CONVERSATIONS

SEALS = ("c2lnbmVk", "rs_1", "msg_1", "fc_1", "resp_1", "srv_1")
"""What the conversations hold that is bound to its maker; none of the targets here made any of it."""


def chat_takes(body: dict[str, Any]) -> str | None:
    """OpenAI's rules, which those that speak as it does share."""
    waiting: list[str] = []
    for message in body["messages"]:
        role = message["role"]
        if role == "tool":
            if not waiting or message["tool_call_id"] != waiting.pop(0):
                return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
            continue
        if waiting:
            return f"tool_call_ids did not have response messages: {waiting}"
        calls = message.get("tool_calls") or []
        waiting = [one["id"] for one in calls]
        if any(not 0 < len(one) <= 40 for one in waiting):
            return "string too long: tool_calls.id"
        if any(not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one["function"]["name"]) for one in calls):
            return "tool_calls.function.name does not match"
        if not message.get("content") and not calls:
            return f"{role}: content is empty"
        for one in calls:
            json.loads(one["function"]["arguments"])
    return "ends with calls" if waiting or body["messages"][-1]["role"] == "assistant" else None


def mistral_takes(body: dict[str, Any]) -> str | None:
    roles = [m["role"] for m in body["messages"]]
    for before, role in pairwise(roles):
        if (before, role) in {("tool", "user"), ("tool", "system"), ("assistant", "assistant"), ("user", "system")}:
            return f"Unexpected role '{role}' after role '{before}'"
    ids = [one["id"] for m in body["messages"] for one in m.get("tool_calls") or []]
    if any(not re.fullmatch(r"[A-Za-z0-9]{9}", one) for one in ids):
        return "Tool call id must be a-z, A-Z, 0-9, with a length of 9."
    return chat_takes(body)


def responses_take(body: dict[str, Any]) -> str | None:
    calls: list[str] = []
    for item in body["input"]:
        kind = item.get("type", "message")
        if kind == "function_call":
            calls.append(item["call_id"])
            if len(item["call_id"]) > 64:
                return "string too long: call_id"
        elif kind == "function_call_output":
            if item["call_id"] not in calls:
                return "No tool call found for function call output"
            calls.remove(item["call_id"])
        elif kind not in ("message",):
            return f"an item of type {kind} that this model did not make"
    return f"No tool output found for function call {calls}" if calls else None


def claude_takes(body: dict[str, Any]) -> str | None:
    messages = body["messages"]
    if messages[0]["role"] != "user" or messages[-1]["role"] != "user":
        return "first and last message must use the user role"
    used: list[str] = []
    seen: list[str] = []
    for message in messages:
        said = message["content"]
        blocks = [{"type": "text", "text": said}] if isinstance(said, str) else said
        wrong = claude_takes_blocks(message["role"], blocks, used)
        if wrong:
            return wrong
        used = [block["id"] for block in blocks if block["type"] == "tool_use"]
        seen += used
    if len(set(seen)) < len(seen) or any(not re.fullmatch(r"[a-zA-Z0-9_-]+", one) for one in seen):
        return "tool_use ids must be unique and match the pattern"
    return "tools must be defined" if seen and not body.get("tools") else None


def claude_takes_blocks(role: str, blocks: list[dict[str, Any]], used: list[str]) -> str | None:
    kinds = [block["type"] for block in blocks]
    results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    if not blocks or any(b["type"] == "text" and not b["text"].strip() for b in blocks):
        return "text content blocks must contain non-whitespace text"
    if results != used or kinds[: len(results)] != ["tool_result"] * len(results):
        return f"tool_use ids were found without tool_result blocks immediately after: {used} {results}"
    if role == "assistant" and set(kinds) - {"text", "tool_use"}:
        return f"{kinds}: Invalid `signature` in `thinking` block"
    return None


def gemini_takes(body: dict[str, Any]) -> str | None:
    contents = body["contents"]
    for one, other in pairwise(contents):
        answers = "functionResponse" in one["parts"][0]
        if one["role"] == other["role"] and not (answers and one["role"] == "user"):
            return "Please ensure that multiturn requests alternate between user and model"
    if contents[0]["role"] != "user" or contents[-1]["role"] != "user":
        return "Please ensure that the conversation begins and ends with a user turn"
    called: list[str] = []
    for content in contents:
        if not content["parts"] or any(p.get("text") == "" for p in content["parts"]):
            return "Unable to submit request because it must have a text parameter"
        answered = [p["functionResponse"]["name"] for p in content["parts"] if "functionResponse" in p]
        if answered != called:
            return f"number of function response parts must equal that of function call parts: {called} {answered}"
        called = [p["functionCall"]["name"] for p in content["parts"] if "functionCall" in p]
    return None


RULES: list[tuple[Format, Callable[[dict[str, Any]], str | None]]] = [
    (CHAT, chat_takes), (GROQ, chat_takes), (OLLAMA, chat_takes), (COMPATIBLE, chat_takes), (MISTRAL, mistral_takes),
    (RESPONSES, responses_take), (CLAUDE, claude_takes), (GEMINI, gemini_takes),
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def key() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_KEY", "k-1")
        yield


@settings(max_examples=25)
@given(CONVERSATIONS)
async def test_every_provider_takes_any_conversation(messages: list[ModelMessage]) -> None:
    refused: dict[str, str] = {}
    for spoken, takes in RULES:

        def say(asked: Asked, spoken: Format = spoken, takes: Any = takes) -> Say:
            wrong = takes(asked.body)
            sealed = [seal for seal in SEALS if seal in json.dumps(asked.body)]
            if wrong or sealed:
                refused[spoken.provider] = f"{wrong or sealed}\n{json.dumps(asked.body, indent=1)}"
            return spoken.say(asked, "ok")

        async with serve(say) as server:
            model = spoken.model(server.url, id="another-model")
            names = {valid_name(p.tool_name) for m in messages for p in m.parts if isinstance(p, ToolCallPart)}
            tools = [ToolDefinition(name=name) for name in sorted(names)]
            await call(Call(model=model, deployment=model.pool()[0], messages=messages, tools=tools))
    await close()
    assert not refused, "\n".join(f"{who}: {why}" for who, why in refused.items())


async def test_a_conversation_goes_round_all_providers_turn_by_turn() -> None:
    talk: list[ModelMessage] = []
    for turn, (spoken, takes) in enumerate(RULES):
        wrong: list[str | None] = []

        def say(asked: Asked, spoken: Format = spoken, takes: Any = takes, wrong: Any = wrong, n: int = turn) -> Say:
            wrong.append(takes(asked.body))
            shown = json.dumps(asked.body)
            wrong.extend(
                f"turn {t} is gone" for t in range(n) if f"answer {t}" not in shown or f"question {t}" not in shown
            )
            return spoken.say(asked, f"answer {n}")

        talk.append(ModelRequest.user_text_prompt(f"question {turn}"))
        async with serve(say) as server:
            model = spoken.model(server.url)
            reply = await call(Call(model=model, deployment=model.pool()[0], messages=talk))
        assert wrong == [None], (spoken.provider, wrong)
        talk.append(reply.message)
    await close()
    assert len(fit(talk, CLAUDE.model("http://x"))) == 2 * len(RULES) + 1
