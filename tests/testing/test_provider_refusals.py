"""What Anthropic and Google refuse is refused, in their words; what they take is taken. Keys and models of all."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from segue.testing.provider import serve
from segue.testing.provider.marks import sign
from tests.testing.provider_posts import (
    CHAT,
    EMBED,
    GENERATE,
    HEADERS,
    MESSAGES,
    MODELS,
    OBJECT,
    RESPONSES,
    STRICT,
    post,
    refused,
    taken,
    user,
    words,
)  # fmt: skip

# --- Anthropic ---


def block(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, **more}


def says(*blocks: dict[str, Any], role: str = "assistant") -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


USE = block("tool_use", id="t1", name="weather", input={"city": "Rome"})
GAVE = says(block("tool_result", tool_use_id="t1", content="sunny"), role="user")
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1_024}, "max_tokens": 2_000, "model": "thinker"}
OWN_TOOL = {"name": "weather", "input_schema": OBJECT}
ANTHROPIC_REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no messages", {"messages": []}, "messages: at least one message is required"),
    ("unknown field", {"frequency_penalty": 1}, "frequency_penalty: Extra inputs are not permitted"),
    ("heat", {"temperature": 1.5}, "temperature: Input should be less than or equal to 1"),
    ("system role", {"messages": [{"role": "system", "content": "x"}, user()]}, 'Unexpected role "system"'),
    ("tool role", {"messages": [user(), {"role": "tool", "content": "x"}]},
     "messages.1.role: Input should be 'user' or"),
    ("first turn", {"messages": [{"role": "assistant", "content": "x"}, user()]}, 'first message must use the "user"'),
    ("empty text", {"messages": [says(block("text", text=""), role="user")]}, "text content blocks must be non-empty"),
    ("blank text", {"messages": [says(block("text", text=" \n"), role="user")]}, "must contain non-whitespace text"),
    ("empty content", {"messages": [user(), {"role": "assistant", "content": []}, user()]}, "messages.1: all messages"),
    ("orphan result", {"messages": [user(), GAVE]}, "messages.1.content.0: unexpected `tool_use_id` found in"),
    ("no result", {"messages": [user(), says(USE), user()]}, "messages.1: `tool_use` ids were found without"),
    ("result not first", {"messages": [user(), says(USE), says(
     block("text", text="so"), GAVE["content"][0], role="user")]},
     "`tool_use` ids were found without `tool_result` blocks immediately after: t1."),
    ("same id twice", {"messages": [user(), says(USE), GAVE, says(USE), GAVE]}, "`tool_use` ids must be unique"),
    ("bad id", {"messages": [user(), says({**USE, "id": "a.b"}), GAVE]},
     "String should match pattern '^[a-zA-Z0-9_-]+$'"),
    ("arguments as text", {"messages": [user(), says({**USE, "input": "{}"}), GAVE]},
     "Input should be a valid dictionary"),
    ("foreign thought", {"messages": [user(), says(block("thinking", thinking="x", signature="abc")), user()]},
     "messages.1.content.0: Invalid `signature` in `thinking` block"),
    ("changed thought", {"messages": [user(), says(block("thinking", thinking="y", signature=sign("anthropic", "x"))),
     user()]}, "Invalid `signature`"),
    ("unsigned thought", {"messages": [user(), says(block("thinking", thinking="x")), user()]},
     "signature: Field required"),
    ("foreign block", {"messages": [user(), says(block("reasoning", text="x")), user()]}, "does not match any of the"),
    ("foreign field", {"messages": [user(), says(block("text", text="x", id="msg_1")), user()]},
     "messages.1.content.0.text.id: Extra inputs are not permitted"),
    ("thought missing", {**THINKING, "messages": [user(), says(USE), GAVE], "tools": [OWN_TOOL]},
     "Expected `thinking` or `redacted_thinking`, but found `tool_use`"),
    ("small budget", {"thinking": {"type": "enabled", "budget_tokens": 10}}, "greater than or equal to 1024"),
    ("budget over tokens", {"thinking": {"type": "enabled", "budget_tokens": 2_000}},
     "must be greater than `thinking.b"),
    ("thinking and heat", {**THINKING, "temperature": 0.5}, "`temperature` may only be set to 1 when thinking is"),
    ("thinking and force", {**THINKING, "tools": [OWN_TOOL], "tool_choice": {"type": "any"}}, "Thinking may not be"),
    ("prefill", {"model": "strict", "messages": [user(), {"role": "assistant", "content": "So"}]},
     "does not support ass"),
    ("prefill with a space", {"messages": [user(), {"role": "assistant", "content": "So "}]}, "trailing whitespace"),
    ("alternation", {"model": "strict", "messages": [user(), user()]}, "roles must alternate"),
    ("tool name", {"tools": [{**OWN_TOOL, "name": "a b"}]}, "tools.0.custom.name: String should match pattern"),
    ("tool schema", {"tools": [{"name": "x", "input_schema": {"properties": {}}}]},
     "input_schema.type: Field required"),
    ("two of a name", {"tools": [OWN_TOOL, OWN_TOOL]}, "tools: Tool names must be unique."),
    ("choice without tools", {"tool_choice": {"type": "any"}}, "may only be specified while providing tools"),
    ("open schema", {"output_config": {"format": {"type": "json_schema", "schema": OBJECT}}},
     "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"),
    ("bounded number", {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object",
     "additionalProperties": False, "properties": {"n": {"type": "integer", "minimum": 1}}}}}},
     "For 'integer' type, properties minimum are not supported"),
    ("too many tokens", {"max_tokens": 1_001},
     "max_tokens: 1001 > 1000, which is the maximum allowed number of output"),
    ("too long", {"messages": [user(words(2_100))]}, "prompt is too long: 2100 tokens > 2000 maximum"),
    ("too long with tokens", {"max_tokens": 900, "messages": [user(words(1_200))]}, "exceed context limit: 1200 + 900"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "said"), [c[1:] for c in ANTHROPIC_REFUSED], ids=[c[0] for c in ANTHROPIC_REFUSED])
async def test_anthropic_refuses(more: dict[str, Any], said: str) -> None:
    error = await refused(MESSAGES, {"model": "m", "max_tokens": 100, "messages": [user()], **more}, said)
    assert error["type"] == "invalid_request_error"


async def test_anthropic_demands_its_fields_and_its_version() -> None:
    await refused(MESSAGES, {"model": "m", "messages": [user()]}, "max_tokens: Field required")
    async with serve(MODELS) as provider:
        headers = {k: v for k, v in HEADERS.items() if k != "anthropic-version"}
        got = await post(provider.url, MESSAGES, {"model": "m", "max_tokens": 9, "messages": [user()]}, headers)
        assert got.json()["error"]["message"] == "anthropic-version: header is required"


async def test_anthropic_asks_for_thoughts_at_the_start_of_a_loop_and_where_they_have_a_budget() -> None:
    thought = block("thinking", thinking="x", signature=sign("anthropic", "x"))
    again = [says({**USE, "id": "t2"}), says({**GAVE["content"][0], "tool_use_id": "t2"}, role="user")]
    asked = {**THINKING, "tools": [OWN_TOOL]}
    await taken(MESSAGES, {**asked, "messages": [user(), says(thought, USE), GAVE, *again]})
    late = [user(), says(USE), GAVE, says(thought, *again[0]["content"]), again[1]]
    await refused(MESSAGES, {**asked, "messages": late}, "messages.1.content.0.type: Expected `thinking`")
    await taken(MESSAGES, {**asked, "thinking": {"type": "adaptive"}, "messages": [user(), says(USE), GAVE]})


async def test_anthropic_takes_turns_in_a_row_and_its_own_thoughts() -> None:
    thought = block("thinking", thinking="x", signature=sign("anthropic", "x"))
    await taken(MESSAGES, {"model": "m", "max_tokens": 50, "messages": [user(), user(), says(USE), GAVE, user("so?")]})
    asked = {**THINKING, "messages": [user(), says(thought, USE), GAVE], "tools": [OWN_TOOL]}
    said = await taken(MESSAGES, asked)
    assert [found["type"] for found in said["content"]] == ["thinking", "text"]
    after = [user(), says(thought, USE), GAVE, {"role": "assistant", "content": said["content"]}, user("more")]
    await taken(MESSAGES, {**asked, "messages": after})


# --- Google ---


def content(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


ASKS = content("user", {"text": "hello"})
G_CALL = {"functionCall": {"name": "weather", "args": {"city": "Rome"}}}
G_GAVE = {"functionResponse": {"name": "weather", "response": {"result": "sunny"}}}


def declared(**more: Any) -> dict[str, Any]:
    return {"tools": [{"functionDeclarations": [{"name": "weather", "parameters": OBJECT, **more}]}]}


GOOGLE_REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no contents", {"contents": []}, "contents is not specified"),
    ("unknown field", {"messages": []}, 'Unknown name "messages": Cannot find field.'),
    ("unknown in config", {"generationConfig": {"maxTokens": 5}}, "Unknown name \"maxTokens\" at 'generation_config'"),
    ("role", {"contents": [content("assistant", {"text": "x"})]}, "Please use a valid role: user, model."),
    ("no parts", {"contents": [content("user")]}, "contents.parts must not be empty"),
    ("empty part", {"contents": [content("user", {"thought": True})]}, "required oneof field 'data' must have one"),
    ("foreign part", {"contents": [content("user", {"type": "text", "text": "x"})]}, 'Unknown name "type"'),
    ("call first", {"contents": [content("model", G_CALL), content("user", G_GAVE)]},
     "function call turn comes immediately"),
    ("orphan response", {"contents": [ASKS, content("user", G_GAVE)]},
     "function response turn comes immediately after"),
    ("responses missing", {"contents": [ASKS, content("model", G_CALL, G_CALL), content("user", G_GAVE)]},
     "number of function response parts is equal to the number of function call parts"),
    ("response not an object", {"contents": [ASKS, content("model", G_CALL), content("user", {"functionResponse":
     {"name": "weather", "response": "sunny"}})]},
     "Invalid value at 'contents[2].parts[0].function_response.response'"),
    ("unanswered call", {"contents": [ASKS, content("model", G_CALL)]}, "single turn requests end with a user role"),
    ("missing signature", {"model": "thinker", "contents": [ASKS, content("model", G_CALL), content("user", G_GAVE)]},
     "Function call is missing a thought_signature in functionCall parts."),
    ("foreign signature", {"contents": [ASKS, content("model", {**G_CALL, "thoughtSignature": sign("anthropic", "x")}),
     content("user", G_GAVE)]}, "Corrupted thought signature."),
    ("signature", {"contents": [content("user", {"text": "x", "thoughtSignature": "!"})]}, "Base64 decoding failed"),
    ("function name", declared(name="1 weather"), "Invalid function name. Must start with a letter"),
    ("additional properties", declared(parameters=STRICT), 'Unknown name "additionalProperties"'),
    ("type list", declared(parameters={"type": "object", "properties": {"a": {"type": ["string", "null"]}}}),
     "Proto field is not repeating, cannot start list."),
    ("no properties", declared(parameters={"type": "object", "properties": {}}), "should be non-empty for OBJECT type"),
    ("two of a name", {"tools": [{"functionDeclarations": [{"name": "a"}, {"name": "a"}]}]}, "Duplicate function"),
    ("tools and json", {**declared(), "generationConfig": {"responseMimeType": "application/json"}}, "is unsupported"),
    ("schema without json", {"generationConfig": {"responseSchema": OBJECT}}, "only allowed with response mime type"),
    ("heat", {"generationConfig": {"temperature": 2.5}}, "temperature must be in the range [0.0, 2.0]"),
    ("too many tokens", {"generationConfig": {"maxOutputTokens": 1_001}},
     "supported range is from 1 (inclusive) to 1001"),
    ("alternation", {"model": "strict", "contents": [ASKS, ASKS]}, "alternate between user and model"),
    ("too long", {"contents": [content("user", {"text": words(2_100)})]}, "The input token count (2100) exceeds"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "said"), [c[1:] for c in GOOGLE_REFUSED], ids=[c[0] for c in GOOGLE_REFUSED])
async def test_google_refuses(more: dict[str, Any], said: str) -> None:
    error = await refused(GENERATE, {"model": "m", "contents": [ASKS], **more}, said)
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")


async def test_google_takes_its_own_signatures_and_the_two_that_stand_for_none() -> None:
    asked = {"model": "thinker", "contents": [content("user", {"text": "the weather"})], **declared()}
    given = (await taken(GENERATE, asked))["candidates"][0]["content"]
    assert given["parts"][0]["thoughtSignature"]
    await taken(GENERATE, {**asked, "contents": [*asked["contents"], given, content("user", G_GAVE)]})
    stand_in = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
    other = content("model", {**G_CALL, "thought_signature": stand_in})
    await taken(GENERATE, {**asked, "contents": [ASKS, other, content("user", G_GAVE)]})


# --- keys and models ---

ASKED = {
    CHAT: {"messages": [user()]},
    RESPONSES: {"input": "hello"},
    MESSAGES: {"messages": [user()], "max_tokens": 10},
    GENERATE: {"contents": [ASKS]},
    EMBED: {"input": "hello"},
}


@pytest.mark.parametrize("path", ASKED)
async def test_keys_and_models_are_checked(path: str) -> None:
    async with serve(MODELS) as provider:
        body = {"model": "m", **ASKED[path]}
        unkeyed = await post(provider.url, path, body, {"anthropic-version": "2023-06-01"})
        wrong = await post(provider.url, path, {**body, "model": "locked"})
        nowhere = await post(provider.url, path, {**body, "model": "nothing"})
        expected = (403, 400, 404) if path == GENERATE else (401, 401, 404)
        assert (unkeyed.status_code, wrong.status_code, nowhere.status_code) == expected
        opened = {**HEADERS, "authorization": "Bearer k2", "x-api-key": "k2", "x-goog-api-key": "k2"}
        assert (await post(provider.url, path, {**body, "model": "locked"}, opened)).status_code == 200
        assert provider.log[-1].key == "k2"


@pytest.mark.parametrize("path", ASKED)
async def test_a_body_that_is_no_json_is_refused_in_the_right_form(path: str) -> None:
    async with serve(MODELS) as provider, httpx.AsyncClient() as client:
        got = await client.post(provider.url + path.format(model="m"), content=b"{nope", headers=HEADERS)
        assert got.status_code == 400
        assert got.json()["error"]["message"]
