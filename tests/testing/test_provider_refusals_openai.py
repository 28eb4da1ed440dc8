"""What OpenAI refuses is refused, in its words; what it takes is taken."""

from __future__ import annotations

from typing import Any

import pytest

from segue.testing.provider import Served, serve
from segue.testing.provider.marks import sign
from tests.testing.provider_posts import (
    CHAT,
    EMBED,
    MODELS,
    OBJECT,
    RESPONSES,
    STRICT,
    post,
    refused,
    taken,
    user,
    words,
)


def called(id: str = "call_1", arguments: Any = "{}", name: str = "weather") -> dict[str, Any]:
    call = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def result(id: str = "call_1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": "sunny"}


def function(**more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "weather", "parameters": OBJECT, **more}}


# --- OpenAI chat ---

CHAT_REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no messages", {"messages": []}, "Invalid 'messages': empty array."),
    ("unknown parameter", {"foo": 1}, "Unknown parameter: 'foo'."),
    ("top_k", {"top_k": 5}, "Unknown parameter: 'top_k'."),
    ("temperature", {"temperature": 3.0}, "Expected a value <= 2, but got 3.0 instead."),
    ("role", {"messages": [{"role": "model", "content": "x"}]},
     "Invalid value: 'model'. Supported values are: 'system'"),
    ("no content", {"messages": [{"role": "user", "content": None}]}, "expected a string, got null."),
    ("foreign part", {"messages": [user(), {"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}]}]},
     "Invalid value: 'thinking'. Supported values are: 'text' and 'refusal'."),
    ("foreign field", {"messages": [user(), {"role": "assistant", "content": "x", "reasoning_content": "y"}]},
     "Unknown parameter: 'messages[1].reasoning_content'."),
    ("orphan result", {"messages": [user(), result()]}, "must be a response to a preceeding message with 'tool_calls'"),
    ("result of another", {"messages": [user(), called(), result("call_2")]}, "must be a response to a preceeding"),
    ("no result", {"messages": [user(), called(), user()]}, "did not have response messages: call_1"),
    ("no result at the end", {"messages": [user(), called()]}, "did not have response messages: call_1"),
    ("empty calls", {"messages": [user(), {"role": "assistant", "content": "x", "tool_calls": []}]}, "empty array"),
    ("long id", {"messages": [user(), called("x" * 41), result("x" * 41)]}, "string with maximum length 40, but got a"),
    ("arguments", {"messages": [user(), called(arguments={}), result()]}, "expected a string, but got an object"),
    ("called name", {"messages": [user(), called(name="a b"), result()]}, "string does not match pattern"),
    ("tool name", {"tools": [function(name="get weather")]}, "'tools[0].function.name': string does not match pattern"),
    ("long tool name", {"tools": [function(name="x" * 65)]}, "maximum length 64, but got a string with length 65"),
    ("tool schema", {"tools": [function(parameters={"type": "string"})]}, "got 'type: \"string\"'"),
    ("strict tool", {"tools": [function(strict=True)]}, "'additionalProperties' is required to be supplied and to be"),
    ("no tools", {"tools": []}, "Invalid 'tools': empty array."),
    ("choice without tools", {"tool_choice": "auto"}, "'tool_choice' is only allowed when 'tools' are specified."),
    ("choice of another", {"tools": [function()], "tool_choice": {"type": "function", "function": {"name": "x"}}},
     "is not in 'tools'"),
    ("stream options", {"stream_options": {"include_usage": True}}, "only allowed when 'stream' is enabled"),
    ("both limits", {"max_tokens": 5, "max_completion_tokens": 5}, "at the same time is not supported"),
    ("too many tokens", {"max_tokens": 1_001}, "This model supports at most 1000 completion tokens"),
    ("too long", {"messages": [user(words(2_100))]}, "maximum context length is 2000 tokens. However, your messages"),
    ("json without the word", {"response_format": {"type": "json_object"}}, "must contain the word 'json'"),
    ("open schema", {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": OBJECT,
     "strict": True}}}, "Invalid schema for response_format 'x': In context=()"),
    ("optional field", {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True,
     "schema": {**STRICT, "required": []}}}}, "Missing 'city'."),
    ("reasoner's tokens", {"model": "thinker", "max_tokens": 5}, "Use 'max_completion_tokens' instead."),
    ("reasoner's heat", {"model": "thinker", "temperature": 0.5}, "'temperature' does not support 0.5"),
    ("effort", {"reasoning_effort": "low"}, "reasoning_effort"),
    ("prefill", {"model": "strict", "messages": [user(), {"role": "assistant", "content": "So"}]},
     "Expected last role"),
    ("alternation", {"model": "strict", "messages": [user(), user()]}, "roles must alternate"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "said"), [c[1:] for c in CHAT_REFUSED], ids=[c[0] for c in CHAT_REFUSED])
async def test_chat_refuses(more: dict[str, Any], said: str) -> None:
    error = await refused(CHAT, {"model": "m", "messages": [user()], **more}, said)
    assert error["type"] == "invalid_request_error"


async def test_chat_names_the_field_and_the_code() -> None:
    error = await refused(CHAT, {"model": "m", "messages": [user()], "foo": 1}, "foo")
    assert (error["param"], error["code"]) == ("foo", "unknown_parameter")
    error = await refused(CHAT, {"model": "m", "messages": [user(words(2_100))]}, "")
    assert (error["param"], error["code"]) == ("messages", "context_length_exceeded")


async def test_chat_takes_a_conversation_with_calls_and_pictures() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "what is this?"}, picture]},
        called(), result(), {"role": "assistant", "content": "a cat"}, user("and the weather?"),
    ]  # fmt: skip
    said = await taken(CHAT, {"model": "m", "messages": messages, "tools": [function()]})
    assert said["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "weather"


# --- OpenAI responses ---


def item(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, **more}


OURS = "gAAAAAB" + sign("openai", "a thought")
CALL = item("function_call", call_id="c1", name="weather", arguments="{}")
OUTPUT = item("function_call_output", call_id="c1", output="sunny")
RESPONSES_REFUSED: list[tuple[str, dict[str, Any], str, int]] = [
    ("no input", {"input": None}, "Missing required parameter: 'input'.", 400),
    ("unknown parameter", {"messages": []}, "Unknown parameter: 'messages'.", 400),
    ("orphan output", {"input": [user(), OUTPUT]}, "No tool call found for function call output with call_id c1.", 400),
    ("no output", {"input": [user(), CALL]}, "No tool output found for function call c1.", 400),
    ("foreign id", {"input": [{**CALL, "id": "toolu_1"}, OUTPUT]}, "Expected an ID that begins with 'fc'.", 400),
    ("long id", {"input": [{**CALL, "id": "fc" + "x" * 63}, OUTPUT]}, "maximum length 64, but got a string with", 400),
    ("long call id", {"input": [{**CALL, "call_id": "x" * 65}, OUTPUT]}, "maximum length 64", 400),
    ("part of a user", {"input": [{"role": "user", "content": [item("text", text="x")]}]},
     "Invalid value: 'text'", 400),
    ("part of an assistant", {"input": [{"role": "assistant", "content": [item("input_text", text="x")]}]},
     "Supported values are: 'output_text' and 'refusal'.", 400),
    ("unknown reasoning", {"model": "thinker", "input": [item("reasoning", id="rs_1", summary=[]), CALL, OUTPUT]},
     "Item with id 'rs_1' not found.", 404),
    ("not stored", {"model": "thinker", "store": False,
     "input": [item("reasoning", id="rs_1", summary=[]), CALL, OUTPUT]},
     "Items are not persisted when `store` is set to false.", 404),
    ("foreign reasoning", {"model": "thinker",
     "input": [item("reasoning", id="rs_1", summary=[], encrypted_content=sign("anthropic", "x")), CALL, OUTPUT]},
     "could not be verified", 400),
    ("lonely reasoning", {"model": "thinker",
     "input": [item("reasoning", id="rs_1", summary=[], encrypted_content=OURS), user()]},
     "without its required following item", 400),
    ("foreign item", {"input": [item("thinking", thinking="x")]}, "Invalid value: 'thinking'", 400),
    ("unknown native item", {"input": [item("web_search_call", id="ws_1")]}, "Item with id 'ws_1' not found.", 404),
    ("few tokens", {"max_output_tokens": 5}, "Expected a value >= 16, but got 5 instead.", 400),
    ("reasoner's heat", {"model": "thinker", "temperature": 0.2},
     "'temperature' is not supported with this model", 400),
    ("previous", {"previous_response_id": "resp_x"}, "Previous response with id 'resp_x' not found.", 400),
    ("chat's tools", {"tools": [function()]}, "Missing required parameter: 'tools[0].name'.", 400),
    ("required without tools", {"tool_choice": "required"}, "must be specified with 'tools'", 400),
    ("open schema", {"text": {"format": {"type": "json_schema", "name": "x", "schema": OBJECT, "strict": True}}},
     "'additionalProperties' is required to be supplied", 400),
    ("include", {"include": ["everything"]}, "Invalid value: 'everything'.", 400),
    ("too long", {"input": words(2_100)}, "Your input exceeds the context window of this model.", 400),
]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "said", "status"), [c[1:] for c in RESPONSES_REFUSED], ids=[c[0] for c in RESPONSES_REFUSED]
)
async def test_responses_refuse(more: dict[str, Any], said: str, status: int) -> None:
    await refused(RESPONSES, {"model": "m", "input": "hello", **more}, said, status=status)


async def test_responses_take_back_what_they_gave() -> None:
    """Stored by its id, or whole with encrypted thoughts, or by the id of the response."""
    tool = {"type": "function", "name": "weather", "parameters": OBJECT}
    first = {"model": "thinker", "input": "the weather in Rome", "tools": [tool]}
    async with serve(MODELS) as provider:
        for store in (True, False):
            asked = {**first, "store": store, "include": ["reasoning.encrypted_content"]}
            given = (await post(provider.url, RESPONSES, asked)).json()
            assert [found["type"] for found in given["output"]] == ["reasoning", "function_call"]
            answer = item("function_call_output", call_id=given["output"][1]["call_id"], output="sunny")
            both = [user("the weather in Rome"), *given["output"], answer]
            assert (await post(provider.url, RESPONSES, {**asked, "input": both})).status_code == 200
            after = {**asked, "input": [answer], "previous_response_id": given["id"]}
            assert (await post(provider.url, RESPONSES, after)).status_code == (200 if store else 400)


# --- embeddings ---

EMBED_REFUSED = [
    ({"input": ""}, "'$.input' is invalid."),
    ({"input": []}, "'$.input' is invalid."),
    ({"input": ["x"] * 2_049}, "'$.input' is invalid."),
    ({"input": words(2_100)}, "maximum context length is 2000 tokens, however you requested 2100"),
    ({"input": "x", "truncate": True}, "Unknown parameter: 'truncate'."),
    ({"input": "x", "dimensions": 65}, "Expected a value <= 64"),
]


@pytest.mark.parametrize(("body", "said"), EMBED_REFUSED)
async def test_embeddings_refuse(body: dict[str, Any], said: str) -> None:
    await refused(EMBED, {"model": "m", **body}, said)


# --- Mistral ---

MISTRAL_REFUSED: list[tuple[list[dict[str, Any]], str, str]] = [
    ([user(), called(), result()], "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.", "3280"),
    ([user(), called("a" * 9), result("a" * 9), user()], "Unexpected role 'user' after role 'tool'", "3230"),
    ([user(), {"role": "assistant", "content": "x"}], "Expected last role User or Tool", "3230"),
    ([user(), {"role": "assistant", "content": ""}, user()], "either content or tool_calls", "3240"),
]


@pytest.mark.parametrize(("messages", "said", "code"), MISTRAL_REFUSED)
async def test_mistral_refuses_in_its_own_form(messages: list[dict[str, Any]], said: str, code: str) -> None:
    async with serve({"m": Served(mistral=True)}) as provider:
        got = (await post(provider.url, CHAT, {"model": "m", "messages": messages})).json()
        assert (got["object"], got["code"]) == ("error", code)
        assert said in got["message"]


async def test_mistral_takes_back_the_ids_that_it_gave() -> None:
    async with serve({"m": Served(mistral=True)}) as provider:
        asked = {"model": "m", "messages": [user("the weather")], "tools": [function()], "safe_prompt": True}
        given = (await post(provider.url, CHAT, asked)).json()["choices"][0]["message"]
        after = [user("the weather"), {k: v for k, v in given.items() if v}, result(given["tool_calls"][0]["id"])]
        assert (await post(provider.url, CHAT, {**asked, "messages": after})).status_code == 200


async def test_mistral_takes_the_empty_lists_of_its_own_client_and_openai_does_not() -> None:
    async with serve({"m": Served(mistral=True), "o": Served()}) as provider:
        said: dict[str, Any] = {"role": "assistant", "content": [{"type": "text", "text": "x"}], "tool_calls": []}
        asked: dict[str, Any] = {"messages": [user(), {**said, "prefix": False}, user()]}
        assert (await post(provider.url, CHAT, {"model": "m", **asked})).status_code == 200
        call: dict[str, Any] = {**called("a" * 9), "content": list[Any](), "prefix": False}
        asked = {"messages": [user(), call, result("a" * 9)], "tools": [function()]}
        assert (await post(provider.url, CHAT, {"model": "m", **asked})).status_code == 200
    await refused(CHAT, {"model": "m", "messages": [user(), said, user()]}, "empty array")
