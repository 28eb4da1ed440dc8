"""One call to one deployment, over HTTP to a server that speaks the providers' formats."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_ai import UnexpectedModelBehavior
from pydantic_ai.messages import ModelRequest, UserPromptPart
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIStreamedResponse
from pydantic_ai.tools import ToolDefinition

from segue.core.faults import FaultKind, classify
from segue.models import errors
from segue.models.calls import Call, Delta, Reply, call, close, stream
from segue.models.conversation import made_by
from segue.models.providers import address_of
from segue.models.spec import Capability, Limits, Model, Price, Provider
from tests.models.formats import CHAT, CLAUDE, FORMATS, GEMINI, OLLAMA, RESPONSES, Format, converse, tool_call
from tests.models.loopback import CUT, SILENCE, Asked, Say, Server, serve, sse

ASKED = [ModelRequest(parts=[UserPromptPart("How are you?")], instructions="Be brief.")]
ANY = pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.provider)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "k-1")


@asynccontextmanager
async def at(format: Format, say: Callable[[Asked], Say | None], **more: Any) -> AsyncIterator[tuple[Server, Call]]:
    """A server, and a call to it."""
    async with serve(say) as server:
        model = format.model(server.url)
        try:
            yield server, Call(model=model, deployment=model.pool()[0], messages=ASKED, **{"timeout_s": 20.0} | more)
        finally:
            await close()


async def text_of(c: Call) -> tuple[str, Reply]:
    said, last = "", None
    async for item in stream(c):
        if isinstance(item, Delta):
            said += item.text
        last = item
    assert isinstance(last, Reply)
    return said, last


@ANY
async def test_each_provider_answers(format: Format) -> None:
    async with at(format, lambda asked: format.say(asked, "Fine, thanks.")) as (server, c):
        reply = await call(c)
    assert (reply.text, reply.finish, reply.tool_calls) == ("Fine, thanks.", "stop", ())
    assert (reply.usage.tokens_in, reply.usage.tokens_out, reply.usage.estimated) == (20, 5, False)
    assert reply.answered_by == "some-model-2026" and reply.finish_raw
    assert made_by(reply.message) == ("m", "m")
    sent = server.asked[0]
    assert "How are you?" in json.dumps(sent.body) and "Be brief." in json.dumps(sent.body)
    assert any(h.removeprefix("Bearer ") == "k-1" for h in sent.headers.values())


@ANY
async def test_each_provider_streams(format: Format) -> None:
    async with at(format, lambda asked: format.say(asked, "Fine, thanks.")) as (_, c):
        said, reply = await text_of(c)
    assert said == reply.text == "Fine, thanks."
    assert reply.ttft_s is not None and 0 < reply.ttft_s <= reply.latency_s
    assert reply.usage.tokens_out == 5 and reply.finish == "stop"


async def test_bedrock_answers_over_its_own_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(lambda asked: Say(body=converse("Fine."))) as server:
        model = Model(
            name="b", provider=Provider.BEDROCK, id="amazon.nova-lite-v1:0", window=1000, max_output=100,
            url=server.url, region="us-east-1",
        )  # fmt: skip
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "a-key")
        c = Call(model=model, deployment=model.pool()[0], messages=ASKED)
        reply = await call(c)
        assert (reply.text, reply.usage.tokens_in, reply.finish) == ("Fine.", 20, "stop")
        assert "Credential=a-key" in server.asked[0].headers["authorization"]
        server.say = lambda asked: Say(
            429, {"message": "Too many tokens, please wait"}, {"x-amzn-errortype": "ThrottlingException:http://x"}
        )
        with pytest.raises(errors.RateLimited) as limited:
            await call(c)
        assert limited.value.said == "ThrottlingException" and len(server.asked) == 2
        await close()


@ANY
@pytest.mark.parametrize("status", [500, 429, 503])
async def test_no_library_asks_again_by_itself(format: Format, status: int) -> None:
    async with at(format, lambda _: Say(status, {"error": {"message": "no"}}, {"retry-after": "0"})) as (server, c):
        with pytest.raises(errors.ModelFailed) as failed:
            await call(c)
        with pytest.raises(errors.ModelFailed):
            await text_of(c)
    assert len(server.asked) == 2
    assert failed.value.status == status and failed.value.retry_after_s == 0
    assert failed.value.message.startswith("m: ")


def faults() -> list[tuple[str, Say | None, FaultKind]]:
    K = FaultKind  # noqa: N806
    page = "<!doctype html><html><body><h1>Sign in</h1></body></html>"
    return [
        ("reset", None, K.UNREACHABLE),
        ("empty body", Say(body=""), K.UNREACHABLE),
        ("a page", Say(body=page, headers={"content-type": "text/html"}), K.UNREACHABLE),
        ("a page that says it is JSON", Say(body=page), K.UNREACHABLE),
        ("plain text", Say(body="upstream connect error", headers={"content-type": "text/plain"}), K.UNREACHABLE),
        ("cut within JSON", Say(body='{"id": "x", "choices": [{"ind'), K.UNREACHABLE),
        ("cut body", Say(body='{"id": "x"', headers={"content-length": "500", "connection": "close"}), K.UNREACHABLE),
        ("an error within a 200", Say(body={"error": {"message": "Overloaded", "type": "overloaded_error"}}),
         K.OVERLOADED),
        ("a limit within a 200", Say(body={"error": {"message": "slow down", "code": 429}}), K.RATE_LIMITED),
        ("a redirect", Say(302, "", {"location": "http://127.0.0.1:9/login"}), K.UNREACHABLE),
        ("too long", Say(400, {"error": {"message": "This model's maximum context length is 8 tokens.", "code":
                               "context_length_exceeded", "type": "invalid_request_error"}}), K.CONTEXT_TOO_LONG),
        ("key", Say(401, {"error": {"message": "bad key"}}), K.UNAUTHORISED),
        ("gateway", Say(502, page, {"content-type": "text/html"}), K.UNREACHABLE),
    ]  # fmt: skip


@ANY
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_each_fault_is_the_same_for_all_providers(format: Format, streamed: bool) -> None:
    found: dict[str, FaultKind] = {}
    async with at(format, lambda _: None) as (server, c):
        for name, say, _ in faults():
            server.say = lambda _, say=say: say
            try:
                await (text_of(c) if streamed else call(c))
            except errors.ModelError as error:
                found[name] = classify(error).kind
    assert found == {name: kind for name, _, kind in faults()}


@ANY
@pytest.mark.parametrize("end", ["", "brace", "bracket"])
async def test_half_of_an_answer_that_is_framed_well_is_half_whatever_it_ends_with(format: Format, end: str) -> None:
    whole = json.dumps(format.say(Asked("/", {}, {"model": "m"}), "Fine, {you} [too], thanks.").body)
    half = whole[: whole.index({"": "thanks", "brace": " [too]", "bracket": ", thanks"}[end])]
    async with at(format, lambda _: Say(body=half)) as (_, c):
        with pytest.raises(errors.Unreachable, match="m: the answer broke off: ") as broken:
            await call(c)
    state = classify(broken.value).state or {}
    assert state["half"] and state["within"]
    assert "502" not in broken.value.message


@ANY
async def test_who_has_named_no_status_is_not_said_to_have(format: Format) -> None:
    said: list[str] = []
    async with at(format, lambda _: None) as (server, c):
        for body in ("upstream connect error", "", {"error": {"message": "slow down", "code": 429}}):
            server.say = lambda _, body=body: Say(body=body)
            with pytest.raises(errors.ModelError) as failed:
                await call(c)
            said.append(failed.value.message)
    assert said[:2] == ["m: upstream connect error", "m: the answer is empty"]
    assert "429" in said[2]


async def test_an_answer_without_choices_is_none() -> None:
    nothing = Say(body={"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []})
    async with at(CHAT, lambda _: nothing) as (_, c):
        with pytest.raises(errors.Unreachable, match="no whole answer"):
            await call(c)


STREAMS = pytest.mark.parametrize("format", [f for f in FORMATS if f is not OLLAMA], ids=lambda f: f.provider)


@STREAMS
@pytest.mark.parametrize("how", ["cut", "no end", "garbage", "error event"])
async def test_half_a_stream_is_never_an_answer(format: Format, how: str) -> None:
    events = format.pieces(["Fine", ", thanks"])
    begun = sse(*events[: -format.end], done=False)
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded", "code": 503}}
    if format is CLAUDE:
        last: Any = sse(("error", error), done=False)
    elif format is RESPONSES:
        last = sse(("error", {"type": "error", "code": "server_is_overloaded", "message": "Overloaded", "param": None,
                              "sequence_number": 9}), done=False)  # fmt: skip
    elif format is GEMINI:
        last = sse({"error": {"code": 503, "status": "UNAVAILABLE", "message": "Overloaded"}}, done=False)
    else:
        last = sse({"error": error["error"]}, done=False)
    if format is GEMINI and how == "no end":
        begun = begun[:-1]
    pieces = {
        "cut": [*begun, CUT],
        "no end": begun,
        "garbage": [*begun, b"data: {\n\n"],
        "error event": [*begun, *last],
    }
    async with at(format, lambda _: Say(pieces=pieces[how])) as (_, c):
        said: list[str] = []
        with pytest.raises(errors.ModelError) as broken:
            async with aclosing(stream(c)) as items:
                async for item in items:
                    assert isinstance(item, Delta)
                    said.append(item.text)
    assert "".join(said).startswith("Fine")
    wanted = FaultKind.OVERLOADED if how == "error event" else FaultKind.UNREACHABLE
    assert classify(broken.value).kind is wanted, broken.value


@STREAMS
async def test_a_stream_that_goes_silent_ends_at_its_limit(format: Format) -> None:
    begun = sse(*format.pieces(["Fine", "!"])[: -format.end], done=False)
    async with at(format, lambda _: Say(pieces=[*begun, SILENCE]), stall_s=0.1) as (server, c):
        with pytest.raises(errors.TooSlow):
            await text_of(c)
        await asyncio.wait_for(server.gone.wait(), 5)


@ANY
async def test_the_first_token_has_a_limit_of_its_own(format: Format) -> None:
    async with at(format, lambda _: Say(pieces=[SILENCE]), first_token_s=0.1) as (server, c):
        while True:  # on a busy machine the time may be over before the request is on its way
            with pytest.raises(errors.TooSlow) as slow:
                await text_of(c)
            if server.asked:
                break
        await asyncio.wait_for(server.gone.wait(), 5)
    assert "0.1 s" in slow.value.message


async def test_a_call_is_bounded_in_time() -> None:
    async with at(CHAT, lambda _: Say(pieces=[SILENCE]), timeout_s=0.1) as (_, c):
        with pytest.raises(errors.TooSlow):
            await call(c)


async def test_leaving_a_stream_early_closes_it() -> None:
    begun = sse(*CHAT.pieces(["Fine", "!"])[:-2], done=False)
    async with at(CHAT, lambda _: Say(pieces=[*begun, SILENCE])) as (server, c):
        async with aclosing(stream(c)) as items:
            assert await anext(items) == Delta("Fine")
        await asyncio.wait_for(server.gone.wait(), 5)


async def test_cancelling_a_call_closes_it() -> None:
    async with at(CHAT, lambda _: Say(pieces=[SILENCE])) as (server, c):
        task = asyncio.create_task(call(c))
        while not server.asked:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.gone.wait(), 5)


async def test_a_refused_connection_is_unreachable() -> None:
    async with at(CHAT, lambda _: None) as (server, c):
        pass
    with pytest.raises(errors.Unreachable) as failed:
        await call(c)
    await close()
    assert server.asked == []
    address = c.deployment.url
    assert str(failed.value.message).startswith(f"m: {address}: ") and address is not None
    assert failed.value.remedy == f"see that {address} is up and can be reached from here"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://ada:secret@127.0.0.1:9/v1?key=secret#secret", "http://127.0.0.1:9/v1"),
        ("https://x.example.org", "https://x.example.org"),
        (None, "the API of openai"),
    ],
)
def test_an_address_in_words_holds_no_secret(url: str | None, address: str) -> None:
    one = Model(name="m", provider=Provider.OPENAI, window=100, max_output=10, url=url)
    assert address_of(one, one.pool()[0]) == address


@ANY
async def test_a_schema_is_kept_by_a_tool(format: Format) -> None:
    async with at(
        format, lambda _: Say(body=tool_call(format.provider, "answer", {"n": 3})),
        output_schema=SCHEMA, output_mode="tool",
    ) as (server, c):  # fmt: skip
        reply = await call(c)
    assert (json.loads(reply.text), reply.tool_calls, reply.finish) == ({"n": 3}, (), "stop")
    assert "answer" in json.dumps(server.asked[0].body.get("tools"))


@ANY
async def test_a_schema_is_asked_for_where_there_is_no_other_way(format: Format) -> None:
    async with at(
        format, lambda asked: format.say(asked, '```json\n{"n": 3}\n```'), output_schema=SCHEMA, output_mode="prompt"
    ) as (server, c):
        reply = await call(c)
    assert json.loads(reply.text) == {"n": 3}
    body = json.dumps(server.asked[0].body)
    assert "JSON Schema" in body and "Be brief." in body


@pytest.mark.parametrize("format", [CHAT, RESPONSES, GEMINI], ids=lambda f: f.provider)
async def test_a_schema_is_kept_by_the_provider(format: Format) -> None:
    async with at(format, lambda asked: format.say(asked, '{"n": 3}'), output_schema=SCHEMA, output_mode="native") as (
        server,
        c,
    ):
        reply = await call(c)
    assert json.loads(reply.text) == {"n": 3}
    assert '"integer"' in json.dumps(server.asked[0].body).lower()


@ANY
async def test_tools_are_called(format: Format) -> None:
    tool = ToolDefinition(
        name="add", parameters_json_schema={"type": "object", "properties": {"a": {"type": "integer"}}}
    )
    async with at(format, lambda _: Say(body=tool_call(format.provider, "add", {"a": 1})), tools=[tool]) as (_, c):
        reply = await call(c)
    assert [(one.tool_name, one.args_as_dict()) for one in reply.tool_calls] == [("add", {"a": 1})]
    assert reply.text == ""


async def test_settings_of_the_call_come_before_those_of_the_model() -> None:
    async with serve(lambda asked: CHAT.say(asked, "x")) as server:
        model = CHAT.model(server.url, settings={"temperature": 0.5, "seed": 3})
        c = Call(
            model=model, deployment=model.pool()[0], messages=ASKED, settings={"temperature": 0.25}, max_tokens=9000
        )
        await call(c)
        await close()
    body = server.asked[0].body
    assert (body["temperature"], body["seed"]) == (0.25, 3)
    assert body.get("max_tokens", body.get("max_completion_tokens")) == 4000


async def test_usage_that_is_missing_is_our_own_estimate_and_says_so() -> None:
    said = CHAT.whole("Fine, thanks.") | {"usage": None}
    async with serve(lambda _: Say(body=said)) as server:
        model = CHAT.model(server.url, price=Price.dollars("1", "2"))
        reply = await call(Call(model=model, deployment=model.pool()[0], messages=ASKED))
        await close()
    assert reply.usage.estimated and reply.usage.tokens_in > 0 and reply.usage.tokens_out > 0
    assert reply.usage.cost_nano and reply.usage.cost_nano > 0


async def test_cached_tokens_are_counted() -> None:
    async with at(CLAUDE, lambda asked: CLAUDE.say(asked, "x")) as (_, c):
        usage = (await call(c)).usage
    assert (usage.tokens_in, usage.tokens_cache_read) == (20, 8)


async def test_what_the_headers_say_of_limits_and_ids_is_kept() -> None:
    headers = {"x-request-id": "req-7", "x-ratelimit-remaining-requests": "3", "set-cookie": "secret"}
    async with at(CHAT, lambda asked: Say(body=CHAT.whole("x"), headers=headers)) as (_, c):
        reply = await call(c)
    assert reply.request_id == "req-7"
    assert reply.headers == {"x-request-id": "req-7", "x-ratelimit-remaining-requests": "3"}


async def test_a_key_that_is_not_there_is_told_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_KEY")
    async with at(CHAT, lambda _: None) as (server, c):
        with pytest.raises(errors.NotAuthorised, match="TEST_KEY is not set"):
            await call(c)
    assert server.asked == []


async def test_two_deployments_have_their_own_keys_and_places(monkeypatch: pytest.MonkeyPatch) -> None:
    from segue.models.spec import Deployment

    monkeypatch.setenv("OTHER_KEY", "k-2")
    async with serve(lambda asked: CHAT.say(asked, "x")) as server:
        pool = tuple(
            Deployment(name=name, url=f"{server.url}/{name}/v1", key_env=key, limits=Limits(rpm=1))
            for name, key in (("east", "TEST_KEY"), ("west", "OTHER_KEY"))
        )
        model = Model(name="p", provider=Provider.OPENAI, window=1000, max_output=100, deployments=pool)
        replies = [await call(Call(model=model, deployment=one, messages=ASKED)) for one in pool]
        await close()
    assert [(a.path.split("/")[1], a.headers["authorization"]) for a in server.asked] == [
        ("east", "Bearer k-1"), ("west", "Bearer k-2"),
    ]  # fmt: skip
    assert [made_by(reply.message) for reply in replies] == [("p", "east"), ("p", "west")]


async def test_a_model_in_this_process_takes_the_same_conversation(smollm2: str) -> None:
    model = Model(
        name="small", provider=Provider.LOCAL, id=smollm2, capabilities=frozenset({Capability.JSON_SCHEMA}),
        window=4096, max_output=64,
    )  # fmt: skip
    c = Call(
        model=model, deployment=model.pool()[0], messages=ASKED, max_tokens=8, output_mode="native",
        output_schema={"enum": ["well", "badly"]},
    )  # fmt: skip
    said, reply = await text_of(c)
    assert json.loads(reply.text) in ("well", "badly") and said == reply.text
    assert made_by(reply.message) == ("small", "small") and reply.usage.tokens_in > 0


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("expected value"), FaultKind.BAD_OUTPUT), (TypeError("None"), FaultKind.BAD_OUTPUT),
        (UnicodeError("half a character"), FaultKind.BAD_OUTPUT), (RecursionError("too deep"), FaultKind.BAD_OUTPUT),
        (ArithmeticError("how many"), FaultKind.BAD_OUTPUT), (Exception("of its own"), FaultKind.BAD_OUTPUT),
        (ValidationError.from_exception_data("Answer", []), FaultKind.BAD_OUTPUT),
        (UnexpectedModelBehavior("odd"), FaultKind.BAD_OUTPUT), (KeyError("choices"), FaultKind.UNREACHABLE),
        (AttributeError("delta"), FaultKind.UNREACHABLE), (AssertionError("no choice"), FaultKind.UNREACHABLE),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, Exception) else "",
)  # fmt: skip
async def test_whatever_an_adapter_raises_over_an_answer_is_a_fault_of_that_answer(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: FaultKind, streamed: bool
) -> None:
    def odd(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(OpenAIChatModel, "_process_response", odd)
    monkeypatch.setattr(OpenAIStreamedResponse, "_map_part_delta", odd)
    async with at(CHAT, lambda asked: CHAT.say(asked, "Fine.")) as (_, c):
        with pytest.raises(errors.ModelError) as failed:
            await (text_of(c) if streamed else call(c))
    fault = classify(failed.value)
    assert fault.kind is kind
    assert (fault.state or {}).get("unread") or kind is FaultKind.UNREACHABLE
    assert failed.value.message.startswith("m: ")
