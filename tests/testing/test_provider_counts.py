"""What the server counts and enforces: calls, places at once, requests and tokens a minute, usage, and the log."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from google.genai import types as google

from segue.errors import UsageError
from segue.testing.provider import (
    Answer,
    Asked,
    Call,
    FaultPlan,
    Faults,
    Outcome,
    Provider,
    Served,
    Trouble,
    mixed,
    serve,
)
from segue.testing.provider.tokens import count
from tests.testing.provider_clients import WEATHER, clients, raw

FORMATS = ("openai-chat", "openai-responses", "anthropic", "google")


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def http(provider: Provider) -> AsyncIterator[Any]:
    """chat(prompt, model="m", **more) over one pool of connections."""
    limits = httpx.Limits(max_connections=400, max_keepalive_connections=400)
    async with httpx.AsyncClient(limits=limits, timeout=20) as client:

        async def chat(prompt: str, model: str = "m", root: str = "", **more: Any) -> httpx.Response:
            body = {"model": model, "messages": [{"role": "user", "content": prompt}], **more}
            url = f"{root or provider.url}/v1/chat/completions"
            return await client.post(url, json=body, headers={"authorization": "Bearer k"})

        yield chat


@pytest.mark.parametrize("format", FORMATS)
async def test_usage_adds_up(format: str) -> None:
    """What the clients were told is what the server counted, to the token."""
    async with serve(["m"]) as provider, clients(provider) as c:
        said = [await c.ask[format](f"question {n} " * n, stream=n % 2 == 1) for n in range(1, 8)]
        counts = provider.counts("m")
        assert sum(got.tokens_in for got in said) == counts.tokens_in == sum(e.tokens_in for e in provider.log)
        assert sum(got.tokens_out for got in said) == counts.tokens_out == sum(e.tokens_out for e in provider.log)
        assert all(got.tokens_out == count(got.text) for got in said)


async def test_a_cut_stream_is_billed_for_what_was_sent() -> None:
    async with serve(["m"], faults=FaultPlan(rates={Trouble.CUT: 1.0})) as provider, clients(provider) as c:
        for _ in range(5):
            with pytest.raises(Exception):  # noqa: B017
                await c.ask["openai-chat"]("one two three four five six", stream=True)
        assert all(0 < entry.tokens_out < 9 for entry in provider.log)
        assert provider.counts("m").tokens_out == sum(entry.tokens_out for entry in provider.log)


async def test_concurrency_is_counted_and_limited() -> None:
    async with serve({"m": Served(concurrency=3, first_token_s=0.1)}) as provider, http(provider) as chat:
        said = await asyncio.gather(*(chat(f"q{n}") for n in range(8)))
        assert sorted(response.status_code for response in said) == [200] * 3 + [429] * 5
        counts = provider.counts("m")
        assert (counts.peak_active, counts.limited, counts.answered, counts.active) == (3, 5, 3, 0)


async def test_requests_a_minute_are_limited_over_any_window() -> None:
    clock = Clock()
    async with serve({"m": Served(rpm=3)}, clock=clock) as provider, http(provider) as chat:
        for second in (0.0, 20.0, 40.0):
            clock.now = 1_000 + second
            assert (await chat("q")).headers["x-ratelimit-limit-requests"] == "3"
        limited = await chat("q")
        assert limited.status_code == 429
        assert limited.json()["error"]["code"] == "rate_limit_exceeded"
        assert limited.headers["retry-after"] == "20"
        assert limited.headers["x-ratelimit-remaining-requests"] == "0"
        clock.now = 1_059.9
        assert (await chat("q")).status_code == 429
        clock.now = 1_060.1
        assert (await chat("q")).status_code == 200
        assert (await chat("q")).status_code == 429
        counts = provider.counts("m")
        assert (counts.peak_admitted, counts.peak_rpm, counts.limited) == (3, 6, 3)


async def test_tokens_a_minute_are_limited() -> None:
    clock = Clock()
    async with serve({"m": Served(tpm=40)}, clock=clock) as provider, http(provider) as chat:
        first = (await chat("one two three four five six seven eight")).json()["usage"]["total_tokens"]
        assert first == 19
        assert (await chat("one two three four five six seven eight")).status_code == 200
        limited = await chat("one two three")
        assert limited.status_code == 429
        assert limited.json()["error"]["type"] == "tokens"
        assert "Request too large" in (await chat("one " * 50)).json()["error"]["message"]
        clock.now += 60
        assert (await chat("one two three")).status_code == 200
        assert provider.counts("m").peak_tpm == 38


async def test_limits_are_told_as_each_provider_tells_them() -> None:
    served = Served(rpm=1, tpm=1_000)
    async with serve({name: served for name in FORMATS}) as provider, clients(provider) as c:
        for name in FORMATS:
            await c.ask[name]("hello", name)
            with pytest.raises(Exception) as caught:
                await c.ask[name]("hello", name)
            error: Any = caught.value
            headers = error.response.headers
            assert 0 < int(headers["retry-after"]) <= 60
            if name == "anthropic":
                assert headers["anthropic-ratelimit-requests-remaining"] == "0"
                assert headers["anthropic-ratelimit-tokens-limit"] == "1000"
            elif name == "google":
                assert error.status == "RESOURCE_EXHAUSTED"
            else:
                assert headers["x-ratelimit-remaining-requests"] == "0"
                assert int(headers["retry-after-ms"]) <= 60_000


async def test_three_hundred_clients_at_once() -> None:
    async with serve({"m": Served(first_token_s=0.5)}) as provider:
        said = await asyncio.gather(*(raw(provider, f"q{n}", stream=n % 2 == 0) for n in range(300)))
        assert set(said) == {200}
        assert provider.counts("m").peak_active >= 250
        assert provider.counts("m").answered == 300


async def test_the_log_shows_what_was_answered_twice() -> None:
    async with serve(["m"]) as provider, http(provider) as chat:
        provider.next("m", Trouble.SERVER_ERROR, None, None, None)
        for prompt in ("a", "a", "b", "b"):
            await chat(prompt)
        assert {prompt: len(found) for prompt, found in provider.log.by_prompt().items()} == {"a": 2, "b": 2}
        assert [entry.trouble for entry in provider.log.by_prompt()["a"]] == [Trouble.SERVER_ERROR, None]
        assert list(provider.log.answered_twice()) == ["b"]


async def test_ids_of_the_log_are_those_of_the_responses() -> None:
    async with serve(["m"]) as provider, http(provider) as chat:
        said = [await chat("q") for _ in range(5)]
        assert [response.headers["x-request-id"] for response in said] == [entry.id for entry in provider.log]
        assert len({entry.id for entry in provider.log}) == 5
        assert provider.log[0].body["messages"][0]["content"] == "q"


async def test_a_client_that_goes_away_is_seen() -> None:
    async with serve({"m": Served(first_token_s=30)}) as provider, http(provider) as chat:
        asking = asyncio.create_task(chat("q"))
        while not provider.counts("m").active:
            await asyncio.sleep(0.005)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await provider.idle()
        assert provider.log[0].outcome is Outcome.ABANDONED
        assert (provider.counts("m").abandoned, provider.counts("m").active) == (1, 0)


async def test_places_of_a_pool_fail_and_count_on_their_own() -> None:
    models = {"eu/m": Served(), "us/m": Served(), "n": Served()}
    faults = FaultPlan(models={"eu/m": Faults(rates={Trouble.OVERLOADED: 1.0})})
    async with serve(models, faults=faults) as provider, http(provider) as chat:
        assert (await chat("q", root=provider.at("eu"))).status_code == 503
        assert (await chat("q", root=provider.at("us"))).status_code == 200
        assert (await chat("q", "n", root=provider.at("us"))).status_code == 200
        assert (await chat("q")).status_code == 404
        assert [provider.counts(name).calls for name in models] == [1, 1, 1]
        assert provider.log[1].place == "us"


async def test_a_test_brings_its_own_model() -> None:
    def model(asked: Asked) -> str | Answer | None:
        if asked.prompt == "call":
            return Answer(text="so:", calls=(Call("weather", '{"city": "Oslo"}'), Call("weather", '{"city": "Rome"}')))
        return "é" * 20 if asked.prompt == "letters" else None

    async with serve({"m": Served(answer=model)}) as provider, clients(provider) as c:
        for name in FORMATS:
            for stream in (False, True):
                assert (await c.ask[name]("letters", stream=stream)).text == "é" * 20
                got = await c.ask[name]("call", tool=True, stream=stream)
                assert got.text == "so:"
                assert got.calls == [("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})]
                assert (await c.ask[name]("else", stream=stream)).text == "You said: else"


async def test_max_tokens_and_stop_sequences_end_an_answer() -> None:
    async with serve(["m"]) as provider, http(provider) as chat:
        short = (await chat("one two three four", max_tokens=4)).json()
        assert short["choices"][0]["finish_reason"] == "length"
        assert short["choices"][0]["message"]["content"] == "You said: one"
        assert short["usage"]["completion_tokens"] == 4
        stopped = (await chat("one two three four", stop=["three"])).json()["choices"][0]
        assert (stopped["message"]["content"], stopped["finish_reason"]) == ("You said: one two ", "stop")


async def test_a_prefix_that_was_seen_is_cached() -> None:
    system = {"role": "system", "content": "rule " * 20}
    first = [system, {"role": "user", "content": "hello"}]
    then = [*first, {"role": "assistant", "content": "hi there"}, {"role": "user", "content": "more"}]
    async with serve({"m": Served(cache=True)}) as provider, http(provider) as chat:
        cached = [
            (await chat("", messages=messages)).json()["usage"]["prompt_tokens_details"]["cached_tokens"]
            for messages in (first, first, then, then)
        ]
        assert cached == [0, count(system["content"]), count(system["content"]), count(system["content"]) + 3]


async def test_a_tool_loop_with_thoughts_goes_round_with_the_real_clients() -> None:
    """What each client sends back of an answer with signed thoughts is taken."""
    async with serve({"m": Served(thinking=True)}) as provider, clients(provider) as c:
        asked: list[Any] = [{"role": "user", "content": "the weather in Rome"}]
        more: dict[str, Any] = {"tools": [{"name": "weather", "input_schema": WEATHER}], "model": "m"}
        more |= {"thinking": {"type": "enabled", "budget_tokens": 1_024}, "max_tokens": 3_000}
        said = await c.anthropic.messages.create(messages=asked, **more)
        assert [part.type for part in said.content] == ["thinking", "tool_use"]
        result = {"type": "tool_result", "tool_use_id": said.content[1].id, "content": "sunny"}
        asked += [{"role": "assistant", "content": said.content}, {"role": "user", "content": [result]}]
        assert (await c.anthropic.messages.create(messages=asked, **more)).stop_reason == "end_turn"

        config = google.GenerateContentConfig(
            tools=[google.Tool(function_declarations=[google.FunctionDeclaration(name="weather")])],
            automatic_function_calling=google.AutomaticFunctionCallingConfig(disable=True),
            thinking_config=google.ThinkingConfig(include_thoughts=True),
        )
        chat = c.google.aio.chats.create(model="m", config=config)
        call = (await chat.send_message("the weather in Rome")).function_calls[0]
        answer = google.Part.from_function_response(name=call.name, response={"result": "sunny"})
        assert (await chat.send_message(answer)).text.startswith("You said")
        assert all(entry.outcome is Outcome.ANSWERED for entry in provider.log)


async def test_embeddings_in_both_formats() -> None:
    async with serve(["m"]) as provider, clients(provider) as c:
        texts = ["the cat sat on the mat", "a cat sat on a mat", "quarterly revenue figures"]
        said = await c.openai.embeddings.create(model="m", input=texts)
        near, far = (
            sum(a * b for a, b in zip(said.data[0].embedding, said.data[i].embedding, strict=True)) for i in (1, 2)
        )
        assert near > 0.4 > far
        assert said.usage.prompt_tokens == provider.log[-1].tokens_in == sum(map(count, texts))
        small = await c.openai.embeddings.create(model="m", input="x", dimensions=8, encoding_format="float")
        assert len(small.data[0].embedding) == 8
        again = await c.google.aio.models.embed_content(model="m", contents=texts)
        assert again.embeddings[0].values == pytest.approx(said.data[0].embedding, abs=1e-6)
        provider.next("m", Trouble.WRONG_SCHEMA)
        with pytest.raises(ValueError, match="No embedding data"):
            await c.openai.embeddings.create(model="m", input=texts)
        async with httpx.AsyncClient() as client:
            body = {"model": "m", "input": "x", "encoding_format": "base64"}
            raw = await client.post(
                provider.openai_url + "/embeddings", json=body, headers={"authorization": "Bearer k"}
            )
        packed = base64.b64decode(raw.json()["data"][0]["embedding"])
        assert len(struct.unpack("64f", packed)) == 64


async def test_its_state_is_seen_and_steered_from_outside() -> None:
    async with serve(["m"]) as provider, http(provider) as chat, httpx.AsyncClient(base_url=provider.url) as desk:
        assert (await desk.post("/-/fail", json={"model": "m", "trouble": "server-error"})).status_code == 200
        assert (await chat("q")).status_code == 500
        assert (await desk.post("/-/heal", json={})).status_code == 200
        assert (await desk.post("/-/next", json={"model": "m", "troubles": ["overloaded", None]})).status_code == 200
        assert [(await chat("q")).status_code for _ in range(3)] == [503, 200, 200]
        assert (await desk.get("/-/counts")).json()["m"]["calls"] == 4
        log = (await desk.get("/-/log", params={"since": "1"})).json()
        assert [entry.get("trouble") for entry in log] == ["overloaded", None, None]
        wrong = await desk.post("/-/fail", json={"model": "m", "trouble": "nonsense"})
        assert (wrong.status_code, "there are: rate-limited" in wrong.json()["error"]) == (400, True)
        for act, body in (
            ("fail", {"model": "m", "fault": "cut"}),
            ("next", {}),
            ("heal", []),
            ("next", {"troubles": 1}),
        ):
            wrong = await desk.post(f"/-/{act}", json=body)
            assert wrong.status_code == 400 and wrong.json()["error"].startswith('the body is {"model": "small"')


async def test_models_are_listed_and_tokens_counted() -> None:
    async with serve(["m", "n"]) as provider, clients(provider) as c:
        assert [model.id async for model in c.openai.models.list()] == ["m", "n"]
        assert [model.id async for model in c.anthropic.models.list()] == ["m", "n"]
        assert [model.name async for model in await c.google.aio.models.list()] == ["models/m", "models/n"]
        asked: Any = [{"role": "user", "content": "one two three"}]
        assert (await c.anthropic.messages.count_tokens(model="m", messages=asked)).input_tokens == 3


async def test_names_that_are_not_served_are_refused() -> None:
    async with serve(["m"]) as provider:
        for act in (lambda: provider.counts("n"), lambda: provider.fail("n", "cut"), lambda: provider.next("n")):
            with pytest.raises(UsageError, match="no model 'n' is served; there are: m"):
                act()


async def test_a_wrong_path_is_not_found() -> None:
    async with serve(["m"]) as provider, httpx.AsyncClient() as client:
        got = await client.post(provider.url + "/v1/nothing", json={})
        assert (got.status_code, "Invalid URL" in json.dumps(got.json())) == (404, True)
        assert len(provider.log) == 0


async def test_a_mixture_of_faults_under_load_leaves_nothing_open() -> None:
    faults = FaultPlan(rates=mixed(0.4), seed=5)
    async with serve({"m": Served(), "n": Served()}, faults=faults) as provider:
        asks = [raw(provider, f"q{n}", "mn"[n % 2], stream=n % 3 == 0) for n in range(400)]
        await asyncio.gather(*asks, return_exceptions=True)
        await provider.idle()
        total = provider.counts()
        assert (total.calls, total.active) == (400, 0)
        assert total.answered + total.spoilt == 400
        assert 0.3 < total.spoilt / 400 < 0.5
        assert total.tokens_out == sum(entry.tokens_out for entry in provider.log)
