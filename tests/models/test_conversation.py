"""Any conversation, made by any models, is one that the model asked next takes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai.messages import (
    BinaryContent,
    CompactionPart,
    FilePart,
    InstructionBaselinePart,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    NativeToolCallPart,
    NativeToolReturnPart,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UploadedFile,
    UserPromptPart,
)

from segue.models.calls_local import asked
from segue.models.conversation import GO_ON, fit, is_own, stamped
from segue.models.exchange import Call
from segue.models.loops import begins_with_thinking
from segue.models.pairing import NO_RESULT
from segue.models.spec import Capability, Model, Provider

REMOTE = [p for p in Provider if p is not Provider.LOCAL]
SYSTEMS = {Provider.OPENAI_RESPONSES: "openai"}


def model(provider: Provider, *without: Capability, name: str = "", id: str = "some-model") -> Model:
    return Model(
        name=name or f"my-{provider.value}", provider=provider, id="smollm2" if provider is Provider.LOCAL else id,
        capabilities=frozenset(Capability) - {Capability.EMBEDDINGS, *without}, window=4096, max_output=1000,
        url="http://127.0.0.1:9" if provider is not Provider.LOCAL else None,
    )  # fmt: skip


MODELS = [model(provider) for provider in Provider]
IDS = st.sampled_from(["call_1", "toolu_01A", "123456789", "fc/é!", "x" * 70, "", "call_2"])
NAMES = st.sampled_from(["add", "find.user", "1st tool", "t" * 80, "mcp:x"])
TEXTS = st.sampled_from(["Hello.", "", "  \n", "Über", "a" * 50])
ARGS: st.SearchStrategy[Any] = st.sampled_from([{}, {"a": 1}, '{"a": [1]}', '{"a": ', "[1]", "", None])


def part_of(system: str) -> st.SearchStrategy[ModelResponsePart]:
    """What a model of this provider says, sealed."""
    mine = st.just(system)
    maybe = {name: st.sampled_from([None, f"{name}_1"]) for name in ("msg", "rs", "fc")}
    searched = ("web_search", {"query": "x"}, "srv_1")
    return st.one_of(
        st.builds(TextPart, TEXTS, id=maybe["msg"], provider_name=mine),
        st.builds(
            ThinkingPart, TEXTS, signature=st.sampled_from([None, "c2lnbmVk"]), id=maybe["rs"], provider_name=mine
        ),
        st.builds(ToolCallPart, NAMES, ARGS, IDS, id=maybe["fc"], provider_name=mine),
        st.builds(ToolCallPart, NAMES, ARGS, IDS, id=maybe["fc"], provider_name=mine),
        st.just(NativeToolCallPart(*searched, provider_name=system)),
        st.just(NativeToolReturnPart("web_search", "found", "srv_1", provider_name=system)),
        st.builds(CompactionPart, st.sampled_from([None, "We met."]), provider_name=mine),
        st.just(FilePart(BinaryContent(b"png", media_type="image/png"))),
    )


def said_by(made: Model) -> st.SearchStrategy[ModelResponse]:
    system = SYSTEMS.get(made.provider, made.provider.value)
    said = st.builds(
        ModelResponse, st.lists(part_of(system), max_size=4), provider_name=st.just(system),
        model_name=st.just(made.id), provider_response_id=st.sampled_from([None, "resp_1"]),
    )  # fmt: skip
    return said | said.map(lambda one: stamped(one, made.name, made.name))


IMAGE = BinaryContent(b"png", media_type="image/png")
SHOWN: st.SearchStrategy[Any] = st.sampled_from([
    ["Look:", IMAGE], [IMAGE], ["", "  "], ["a", "b"],
    [UploadedFile("file-1", provider_name="openai", media_type="application/pdf")],
])  # fmt: skip
ASKED: st.SearchStrategy[ModelRequestPart] = st.one_of(
    st.builds(UserPromptPart, TEXTS),
    st.builds(UserPromptPart, SHOWN),
    st.builds(SystemPromptPart, TEXTS),
    st.builds(ToolReturnPart, NAMES, st.sampled_from(["5", "", None, {"a": 1}, ["x", IMAGE]]), IDS),
    st.builds(ToolReturnPart, NAMES, st.just("5"), IDS),
    st.just(InstructionBaselinePart(instructions=[])),
)
REQUESTS = st.builds(ModelRequest, st.lists(ASKED, max_size=4), instructions=st.sampled_from([None, "Be brief."]))
RESPONSES = st.one_of(*(said_by(made) for made in MODELS))
TURNS = {True: REQUESTS, False: RESPONSES}
CONVERSATIONS = st.lists(st.booleans().flatmap(TURNS.__getitem__), max_size=7)


@given(CONVERSATIONS, st.sampled_from(MODELS), st.booleans())
def test_a_fitted_conversation_keeps_the_rules_of_all_providers(
    messages: list[ModelMessage], target: Model, tools: bool
) -> None:
    fitted = fit(messages, target, tools=tools)
    kinds = [m.kind for m in fitted]
    assert kinds == ["request" if n % 2 == 0 else "response" for n in range(len(kinds))] and kinds[-1] == "request"
    assert all(m.parts for m in fitted if isinstance(m, ModelResponse))
    holds_pairs(fitted, target, tools)
    holds_no_foreign_seal(messages, fitted, target)
    for part in (p for m in fitted for p in m.parts):
        if isinstance(part, TextPart | SystemPromptPart) or (
            isinstance(part, UserPromptPart) and isinstance(part.content, str)
        ):
            assert isinstance(part.content, str) and part.content.strip()


def holds_pairs(fitted: Sequence[ModelMessage], target: Model, tools: bool) -> None:
    seen: set[str] = set()
    valid = r"[A-Za-z0-9]{9}" if target.provider is Provider.MISTRAL else r"[A-Za-z0-9_-]{1,40}"
    for n, message in enumerate(fitted):
        calls = [(p.tool_call_id, p.tool_name) for p in message.parts if isinstance(p, ToolCallPart)]
        results = [(p.tool_call_id, p.tool_name) for p in message.parts if isinstance(p, ToolReturnPart)]
        if isinstance(message, ModelResponse):
            for call, name in calls:
                assert re.fullmatch(valid, call) and call not in seen
                assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", name)
                seen.add(call)
            after = [(p.tool_call_id, p.tool_name) for p in fitted[n + 1].parts if isinstance(p, ToolReturnPart)]
            assert calls == after
            for part in message.parts:
                if isinstance(part, ToolCallPart):
                    part.args_as_dict(raise_if_invalid=True)
        else:
            first = [isinstance(p, ToolReturnPart) for p in message.parts]
            assert first == sorted(first, reverse=True)
            assert n > 0 or not results
    assert not seen or (tools and target.provider is not Provider.LOCAL)


def holds_no_foreign_seal(messages: Sequence[ModelMessage], fitted: Sequence[ModelMessage], target: Model) -> None:
    own = any(isinstance(m, ModelResponse) and is_own(m, target) for m in messages)
    system = SYSTEMS.get(target.provider, target.provider.value)
    for message in fitted:
        if not isinstance(message, ModelResponse):
            continue
        assert own or message.provider_name is None
        for part in message.parts:
            sealed = (
                getattr(part, "id", None)
                or getattr(part, "signature", None)
                or isinstance(
                    part, NativeToolCallPart | NativeToolReturnPart | ThinkingPart | CompactionPart | FilePart
                )
            )
            if sealed:
                assert message.provider_name == system and getattr(part, "provider_name", None) in (None, system)


@given(CONVERSATIONS, st.sampled_from(MODELS))
def test_fitting_twice_changes_nothing_more(messages: list[ModelMessage], target: Model) -> None:
    once = fit(messages, target)
    assert as_json(fit(once, target)) == as_json(once)


@given(CONVERSATIONS, st.sampled_from(MODELS))
def test_what_was_given_is_left_as_it_was(messages: list[ModelMessage], target: Model) -> None:
    before = as_json(messages)
    fit(messages, target)
    assert as_json(messages) == before


@given(CONVERSATIONS, st.sampled_from(MODELS), st.sampled_from(MODELS))
def test_no_words_of_the_talk_are_lost(messages: list[ModelMessage], first: Model, then: Model) -> None:
    words = [
        part.content for m in messages for part in m.parts
        if isinstance(part, UserPromptPart | TextPart | SystemPromptPart) and isinstance(part.content, str)
    ]  # fmt: skip
    shown = json.dumps(json.loads(as_json(fit(fit(messages, first), then))), ensure_ascii=False)
    assert all(word.strip() in shown for word in words)


def as_json(messages: Sequence[ModelMessage]) -> bytes:
    plain = json.loads(ModelMessagesTypeAdapter.dump_json(list(messages)))
    for message in plain:
        for each in (message, *message["parts"]):
            each.pop("timestamp", None)
    return json.dumps(plain).encode()


# --- one by one -------------------------------------------------------------------------------------------------------

CLAUDE, GPT, GEMINI = model(Provider.ANTHROPIC), model(Provider.OPENAI_RESPONSES), model(Provider.GOOGLE)


def claude_said(*parts: ModelResponsePart, by: str = CLAUDE.name, at: str = "one") -> ModelResponse:
    return stamped(ModelResponse(parts=parts, provider_name="anthropic", model_name="some-model"), by, at)


THOUGHT = ThinkingPart("Hm.", signature="sealed", provider_name="anthropic")
CALLED, GAVE = ToolCallPart("add", {}, "toolu_1"), [ToolReturnPart("add", "2", "toolu_1")]
CALLED_AGAIN, GAVE_AGAIN = ToolCallPart("add", {}, "toolu_2"), [ToolReturnPart("add", "3", "toolu_2")]


def test_a_maker_gets_back_what_it_sealed_and_nobody_else() -> None:
    talk = [
        ModelRequest.user_text_prompt("Hi"),
        claude_said(THOUGHT, TextPart("Hello.")),
        ModelRequest.user_text_prompt("?"),
    ]
    assert fit(talk, CLAUDE)[1].parts == [THOUGHT, TextPart("Hello.")]
    assert fit(talk, GPT)[1].parts == [TextPart("Hello.")]
    other = model(Provider.ANTHROPIC, name="other-claude")
    assert fit(talk, other)[1].parts == [TextPart("Hello.")]


def test_signed_thinking_of_a_claude_goes_to_each_deployment_of_it() -> None:
    talk = [ModelRequest.user_text_prompt("Hi"), claude_said(THOUGHT, TextPart("Hello."), at="east")]
    for place in ("east", "west"):
        assert fit(talk, CLAUDE, deployment=place)[1].parts == [THOUGHT, TextPart("Hello.")]


@pytest.mark.parametrize("id", ["us.anthropic.claude-sonnet-4-20250514-v1:0", "us.deepseek.r1-v1:0"])
def test_of_the_models_of_bedrock_only_a_claude_s_does(id: str) -> None:
    asked, sealed = model(Provider.BEDROCK, id=id), replace(THOUGHT, provider_name="bedrock")
    said = ModelResponse(parts=[sealed, TextPart("Hello.")], provider_name="bedrock")
    talk = [ModelRequest.user_text_prompt("Hi"), stamped(said, asked.name, "east")]
    assert sealed in fit(talk, asked, deployment="east")[1].parts
    assert (sealed in fit(talk, asked, deployment="west")[1].parts) is ("claude" in id)


def test_what_else_is_bound_to_an_account_does_not_go_to_another_deployment() -> None:
    redacted = ThinkingPart("", id="redacted_thinking", signature="sealed", provider_name="anthropic")
    called = NativeToolCallPart("web_search", {}, "srvtoolu_1", provider_name="anthropic")
    for sealed in (redacted, called):
        talk = [ModelRequest.user_text_prompt("Hi"), claude_said(THOUGHT, sealed, TextPart("Hello."), at="east")]
        assert sealed not in fit(talk, CLAUDE, deployment="west")[1].parts
    gpt = stamped(ModelResponse(parts=[THOUGHT, TextPart("Hello.")], provider_name="openai"), GPT.name, "east")
    talk = [ModelRequest.user_text_prompt("Hi"), gpt]
    assert fit(talk, GPT, deployment="west")[1].parts == [TextPart("Hello.")]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], True), ([[TextPart("Hello.")]], True), ([[THOUGHT, CALLED], GAVE], True), ([[CALLED], GAVE], False),
        ([[THOUGHT, CALLED], GAVE, [CALLED_AGAIN], GAVE_AGAIN], True), ([[TextPart("So."), CALLED], GAVE], False),
        ([[CALLED], GAVE, [THOUGHT, CALLED_AGAIN], GAVE_AGAIN], False), ([[CALLED], GAVE, [TextPart("Done.")]], True),
        ([[CALLED], [*GAVE, UserPromptPart("And?")]], False),
    ],
)  # fmt: skip
def test_a_loop_of_tools_begins_with_its_first_call(said: list[list[Any]], expected: bool) -> None:
    talk: list[ModelMessage] = [ModelRequest.user_text_prompt("Hi")]
    for n, parts in enumerate(said):
        talk.append(ModelRequest(parts=parts) if n % 2 else claude_said(*parts))
    assert begins_with_thinking(fit(talk, CLAUDE)) is expected


def test_thinking_that_was_cut_before_its_signature_is_not_sent() -> None:
    talk = [
        ModelRequest.user_text_prompt("Hi"),
        claude_said(ThinkingPart("Hm", provider_name="anthropic"), TextPart("x")),
    ]
    assert fit(talk, CLAUDE)[1].parts == [TextPart("x")]


def test_what_another_ones_native_tool_found_stays_as_text() -> None:
    found = claude_said(
        NativeToolCallPart("web_search", {"query": "x"}, "srv_1", provider_name="anthropic"),
        NativeToolReturnPart("web_search", "42", "srv_1", provider_name="anthropic"),
    )
    text = [part.content for part in fit([ModelRequest.user_text_prompt("?"), found], GPT)[1].parts]
    assert text == ['[called web_search with {"query":"x"}]', "[web_search returned: 42]"]


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    talk = [ModelRequest.user_text_prompt("?"), claude_said(ToolCallPart("add", {"a": 1}, "c1"))]
    last = fit(talk, GPT)[-1]
    assert [(p.tool_call_id, p.content) for p in last.parts if isinstance(p, ToolReturnPart)] == [("c1", NO_RESULT)]


def test_a_late_result_is_moved_to_its_call_and_a_stray_one_becomes_text() -> None:
    talk = [
        ModelRequest(parts=[UserPromptPart("?"), ToolReturnPart("gone", "7", "c0")]),
        claude_said(ToolCallPart("add", {}, "c1"), ToolCallPart("add", {}, "c2")),
        ModelRequest(parts=[ToolReturnPart("add", "2", "c2"), UserPromptPart("and?")]),
        claude_said(TextPart("wait")),
        ModelRequest(parts=[ToolReturnPart("add", "1", "c1"), ToolReturnPart("add", "1 again", "c1")]),
    ]
    fitted = fit(talk, CLAUDE)
    assert "[gone returned: 7]" in str(fitted[0].parts[1])
    assert [p.content for p in fitted[2].parts] == ["1", "2", "and?"]
    assert len(fitted) == 5 and fitted[4].parts[0] == fitted[4].parts[-1]


def test_a_model_without_tools_reads_what_they_did() -> None:
    talk = [
        ModelRequest.user_text_prompt("?"),
        claude_said(ToolCallPart("add", {"a": 1}, "c1")),
        ModelRequest(parts=[ToolReturnPart("add", 2, "c1")]),
    ]
    fitted = fit(talk, model(Provider.OPENAI, Capability.TOOLS))
    assert [p.content for m in fitted for p in m.parts] == [
        "?", '[called add with {"a":1}]', "[add returned: 2]",
    ]  # fmt: skip


def test_a_conversation_that_ends_with_an_answer_is_asked_to_go_on() -> None:
    talk = [ModelRequest.user_text_prompt("Count."), claude_said(TextPart("1, 2,"))]
    assert fit(talk, GPT)[-1].parts[0].content == GO_ON


def test_ids_stay_the_same_where_they_can_and_from_call_to_call() -> None:
    talk = [ModelRequest.user_text_prompt("?"), claude_said(ToolCallPart("add", {}, "toolu_1"))]
    assert fit(talk, CLAUDE)[1].parts[0].tool_call_id == "toolu_1"
    one, other = (fit(talk, model(Provider.MISTRAL))[1].parts[0].tool_call_id for _ in range(2))
    assert one == other != "toolu_1"
    served = model(Provider.OPENAI_COMPATIBLE, id="mistralai/Mixtral-8x7B")
    assert len(fit(talk, served)[1].parts[0].tool_call_id) == 9


def test_what_a_model_cannot_see_is_named() -> None:
    talk = [ModelRequest(parts=[UserPromptPart(["What is this?", BinaryContent(b"x", media_type="image/png")])])]
    blind = fit(talk, model(Provider.OPENAI, Capability.VISION))[0].parts[0]
    assert blind.content == ["What is this?", "[an image that this model cannot see]"]
    assert fit(talk, GPT)[0].parts[0].content == talk[0].parts[0].content


def test_a_later_system_prompt_keeps_its_place() -> None:
    talk = [
        ModelRequest(parts=[SystemPromptPart("A"), UserPromptPart("Hi")]),
        claude_said(TextPart("Hello.")),
        ModelRequest(parts=[SystemPromptPart("B"), UserPromptPart("?")]),
    ]
    assert isinstance(fit(talk, GPT)[2].parts[0], SystemPromptPart)
    assert fit(talk, CLAUDE)[2].parts[0].content == "<system>\nB\n</system>"


def test_a_model_in_this_process_sees_turns_as_examples() -> None:
    talk = [
        ModelRequest(parts=[SystemPromptPart("Sort."), UserPromptPart("an apple")]),
        claude_said(THOUGHT, TextPart("fruit")),
        ModelRequest.user_text_prompt("my card", instructions="One word."),
    ]
    small = model(Provider.LOCAL)
    request = asked(Call(model=small, deployment=small.pool()[0], messages=talk))
    assert (request.prompt, request.input) == ("Sort.\nOne word.", "my card")
    assert [(e.input, e.output) for e in request.examples] == [("an apple", "fruit")]


@pytest.mark.parametrize("target", MODELS, ids=lambda m: m.provider)
def test_no_messages_at_all_are_still_a_request(target: Model) -> None:
    assert [m.kind for m in fit([], target)] == ["request"]
