"""An answer that arrived is judged: refused, cut, empty or of the wrong form, it is none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter
from pydantic_ai.messages import BinaryContent, FilePart, ModelRequest, ModelResponse, TextPart, ToolCallPart

from segue.core.faults import Fault, FaultKind
from segue.core.records import Usage
from segue.models.calls import Call, Reply, call, close
from segue.models.verdict import judge, misfits
from tests.models.formats import CHAT, CLAUDE, GEMINI, RESPONSES, Format
from tests.models.loopback import Say, serve


class Person(BaseModel):
    name: str
    age: int | None = None
    friends: list[Person] = []


SCHEMA = TypeAdapter(Person).json_schema()


def reply(text: str = "", *, calls: tuple[ToolCallPart, ...] = (), **more: Any) -> Reply:
    message = ModelResponse(parts=[TextPart(text), *calls])
    return Reply(message=message, text=text, tool_calls=calls, usage=Usage(tokens_out=3), **more)


def kind(fault: Fault | None) -> FaultKind | None:
    return fault.kind if fault else None


@pytest.mark.parametrize(
    ("answer", "schema", "fault"),
    [
        (reply("Fine."), None, None),
        (reply('{"name": "Ada"}'), SCHEMA, None),
        (reply('{"name": "Ada", "friends": [{"name": "Bob", "age": 3}]}'), SCHEMA, None),
        (reply('"x"'), {"enum": ["x", "y"]}, None),
        (reply(""), None, FaultKind.BAD_OUTPUT),
        (reply(" \n"), None, FaultKind.BAD_OUTPUT),
        (reply("I think it is Ada"), SCHEMA, FaultKind.BAD_OUTPUT),
        (reply('{"name": "Ad'), SCHEMA, FaultKind.BAD_OUTPUT),
        (reply('{"name": 3}'), SCHEMA, FaultKind.BAD_OUTPUT),
        (reply('{"age": 3}'), SCHEMA, FaultKind.BAD_OUTPUT),
        (reply('{"name": "Ada", "friends": [{"name": null}]}'), SCHEMA, FaultKind.BAD_OUTPUT),
        (reply('"z"'), {"enum": ["x", "y"]}, FaultKind.BAD_OUTPUT),
        (reply('{"name": "Ada"}', finish="length"), SCHEMA, FaultKind.BAD_OUTPUT),
        (reply("Once upon a", finish="length"), None, FaultKind.BAD_OUTPUT),
        (reply("Sorry", finish="content_filter"), None, FaultKind.CONTENT_REFUSED),
        (reply("", refusal="I cannot help with that."), SCHEMA, FaultKind.CONTENT_REFUSED),
        (reply("", finish="error", finish_raw="MALFORMED_FUNCTION_CALL"), None, FaultKind.BAD_OUTPUT),
        (reply("half of", finish_raw="error"), None, FaultKind.OVERLOADED),
        (reply("half of", finish_raw="insufficient_system_resource"), None, FaultKind.OVERLOADED),
        (reply("half of", finish_raw="OTHER"), None, FaultKind.BAD_OUTPUT),
        (reply("half of", finish_raw="pause_turn"), None, FaultKind.BAD_OUTPUT),
        (reply("half of", finish_raw="model_length"), None, FaultKind.CONTEXT_TOO_LONG),
        (reply("half", finish="length", finish_raw="model_context_window_exceeded"), None, FaultKind.CONTEXT_TOO_LONG),
        (reply(calls=(ToolCallPart("add", '{"a": 1}'),)), SCHEMA, None),
        (reply(calls=(ToolCallPart("add", ""),)), None, None),
        (reply(calls=(ToolCallPart("add", '{"a": '),)), None, FaultKind.BAD_OUTPUT),
        (reply(calls=(ToolCallPart("add", "[1]"),)), None, FaultKind.BAD_OUTPUT),
        (reply(calls=(ToolCallPart("add", '{"a": 1}'),), finish="length"), None, FaultKind.BAD_OUTPUT),
    ],
)
def test_only_an_answer_passes(answer: Reply, schema: dict[str, Any] | None, fault: FaultKind | None) -> None:
    assert kind(judge(answer, schema)) == fault


def test_a_cut_text_may_be_fine_but_cut_json_never_is() -> None:
    assert judge(reply("Once upon a", finish="length"), cut_is_fine=True) is None
    assert judge(reply('{"name": "A"}', finish="length"), SCHEMA, cut_is_fine=True) is not None


def test_a_cut_answer_says_which_limit_it_met() -> None:
    fault = judge(reply("Once", finish="length"))
    assert fault is not None and fault.limit == "max tokens" and "larger max_tokens" in str(fault.state)


def test_a_tool_that_is_not_there_is_named() -> None:
    fault = judge(reply(calls=(ToolCallPart("sub", "{}"),)), tools=("add",))
    assert fault is not None and fault.message == "it called 'sub'; its tools are: add"


def test_a_picture_is_an_answer() -> None:
    picture = ModelResponse(parts=[FilePart(BinaryContent(b"x", media_type="image/png"))])
    assert judge(replace(reply(), message=picture)) is None


def test_a_misfit_says_where() -> None:
    assert list(misfits({"name": "A", "friends": [{"name": 1}]}, SCHEMA)) == ["friends.0.name: not string"]
    assert list(misfits({"x": 1}, {"additionalProperties": False})) == ["x: nothing may stand here"]


PEOPLE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3) | st.floats(allow_nan=False, width=16),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "age", "friends", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(PEOPLE)
def test_what_pydantic_takes_is_not_turned_down(value: Any) -> None:
    try:
        Person.model_validate_json(json.dumps(value), strict=True)
    except ValueError:
        return
    assert list(misfits(value, SCHEMA)) == []


def ending(format: Format, how: str) -> Any:
    """An answer that the provider says it refused, or cut."""
    said = format.whole("Once upon a")
    if format is CLAUDE:
        return said | {"stop_reason": {"refused": "refusal", "cut": "max_tokens"}[how]}
    if format is RESPONSES:
        why = {"refused": "content_filter", "cut": "max_output_tokens"}[how]
        return said | {"status": "incomplete", "incomplete_details": {"reason": why}}
    if format is GEMINI:
        said["candidates"][0]["finishReason"] = {"refused": "SAFETY", "cut": "MAX_TOKENS"}[how]
    else:
        said["choices"][0]["finish_reason"] = {"refused": "content_filter", "cut": "length"}[how]
    return said


@pytest.mark.parametrize("format", [CHAT, RESPONSES, CLAUDE, GEMINI], ids=lambda f: f.provider)
@pytest.mark.parametrize(("how", "fault"), [("refused", FaultKind.CONTENT_REFUSED), ("cut", FaultKind.BAD_OUTPUT)])
async def test_each_provider_says_that_it_refused_or_cut(
    format: Format, how: str, fault: FaultKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", "k")
    async with serve(lambda _: Say(body=ending(format, how))) as server:
        model = format.model(server.url)
        asked = [ModelRequest.user_text_prompt("?")]
        answer = await call(Call(model=model, deployment=model.pool()[0], messages=asked))
        await close()
    assert kind(judge(answer)) == fault


async def test_a_marked_refusal_and_a_blocked_prompt_are_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "k")
    refusal = CHAT.whole("")
    refusal["choices"][0]["message"] = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}
    for spoken, body in ((CHAT, refusal), (GEMINI, blocked)):
        async with serve(lambda _, body=body: Say(body=body)) as server:
            model = spoken.model(server.url)
            asked = [ModelRequest.user_text_prompt("?")]
            answer = await call(Call(model=model, deployment=model.pool()[0], messages=asked))
            await close()
        assert kind(judge(answer)) is FaultKind.CONTENT_REFUSED
        fault = judge(answer)
        assert fault is not None and 'refused="next"' in (fault.state or {})["remedy"]
