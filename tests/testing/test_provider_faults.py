"""Every fault, through the real clients, in every format: only the harmless ones leave a right answer."""

from __future__ import annotations

import asyncio
import email.utils
import itertools
import time
from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx
import pytest

from segue.errors import UsageError
from segue.testing.provider import (
    BAD_OUTPUT,
    HANGING,
    HARMLESS,
    MIXED,
    STATUS,
    FaultPlan,
    Faults,
    Outcome,
    Served,
    Trouble,
    mixed,
    serve,
)
from tests.testing.provider_clients import PERSON, Clients, Got, clients

FORMATS = ("openai-chat", "openai-responses", "anthropic", "google")
PROMPT = "the weather of Rome for Ada Lovelace"
TEXT = f"You said: {PROMPT}"
WAYS: tuple[dict[str, bool], ...] = tuple(
    {"stream": stream, **more}
    for stream, more in itertools.product((False, True), ({}, {"schema": True}, {"tool": True}))
)
GOOD = {"stop", "tool_calls", "completed", "end_turn", "tool_use", "STOP"}
STATUSES: dict[str, dict[Trouble, int]] = {
    name: {
        Trouble.RATE_LIMITED: 429,
        Trouble.RATE_LIMITED_DATE: 429,
        Trouble.RATE_LIMITED_OWN: 429,
        Trouble.OVERLOADED: 529 if name == "anthropic" else 503,
        Trouble.SERVER_ERROR: 500,
        Trouble.UNAUTHORISED: 400 if name == "google" else 401,
        Trouble.FORBIDDEN: 403,
        Trouble.BILLING: {"google": 403, "anthropic": 400}.get(name, 429),
        Trouble.BAD_REQUEST: 400,
        Trouble.CONTEXT_TOO_LONG: 400,
        Trouble.PROMPT_BLOCKED: 200 if name == "google" else 400,
        Trouble.HTML_ERROR: 502,
    }
    for name in FORMATS
}
SILENT_CLIENTS = {
    # Anthropic's client repairs cut arguments of a streamed call and says nothing.
    ("anthropic", Trouble.BAD_ARGUMENTS),
    ("anthropic", Trouble.NOT_JSON),
}


def right(got: Got, *, schema: bool = False, tool: bool = False, stream: bool = False) -> bool:
    """Whether a careful caller may take this for an answer."""
    if got.finish not in GOOD:
        return False
    if tool:
        return [name for name, _ in got.calls] == ["weather"] and isinstance(got.calls[0][1].get("city"), str)
    if schema:
        return fits(got.text)
    return got.text == TEXT


def fits(text: str) -> bool:
    from pydantic import BaseModel, ConfigDict, ValidationError

    class Person(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        name: str
        age: int

    assert set(Person.model_fields) == set(PERSON["required"])
    try:
        return bool(Person.model_validate_json(text))
    except ValidationError:
        return False


def plan(**more: Any) -> FaultPlan:
    return FaultPlan(
        models={t.value: Faults(rates={t: 1.0}) for t in Trouble}, slow_s=0.05, gap_s=0.005, silence_s=30, **more
    )


MODELS = {**{t.value: Served() for t in Trouble}, "m": Served()}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("format", FORMATS)
async def test_only_harmless_faults_leave_a_right_answer(format: str) -> None:
    async with serve(MODELS, faults=plan()) as provider, clients(provider, timeout_s=8) as c:
        with suppress(Exception):  # a client imports at its first call, on a busy machine for seconds
            await c.ask[format](PROMPT, Trouble.NO_USAGE.value)

        async def one(trouble: Trouble, way: dict[str, bool]) -> None:
            try:
                got = await c.ask[format](PROMPT, trouble.value, **way)
            except Exception as error:  # noqa: BLE001  whatever a client makes of it
                assert trouble not in HARMLESS, (trouble, way, error)
                return
            silent = (format, trouble) in SILENT_CLIENTS and way.get("tool") and way["stream"]
            assert silent or right(got, **way) == (trouble in HARMLESS), (trouble, way, got)

        await asyncio.gather(*(one(t, way) for t in Trouble for way in WAYS))
        await provider.idle()
        for entry in provider.log:
            harmless = entry.trouble in HARMLESS
            abandoned = entry.model in HANGING and not harmless
            said = Outcome.ANSWERED if harmless else Outcome.ABANDONED if abandoned else Outcome.SPOILT
            assert entry.outcome is said, entry.as_dict()
        assert all(provider.counts(t).active == 0 for t in Trouble)


@pytest.mark.parametrize("format", FORMATS)
async def test_without_faults_every_way_of_asking_is_answered(format: str) -> None:
    async with serve(["m"]) as provider, clients(provider) as c:
        for way in WAYS:
            got = await c.ask[format](PROMPT, **way)
            assert right(got, **way), got
            assert (got.tokens_in, got.tokens_out) == (provider.log[-1].tokens_in, provider.log[-1].tokens_out)
        assert provider.counts("m").answered == len(WAYS)


@pytest.mark.parametrize("format", FORMATS)
async def test_statuses_are_those_of_the_real_provider(format: str) -> None:
    async with serve(MODELS, faults=plan()) as provider, clients(provider) as c:
        for trouble, status in STATUSES[format].items():
            if status == 200:
                assert (await c.ask[format](PROMPT, trouble)).finish == "PROHIBITED_CONTENT"
                continue
            with pytest.raises(Exception) as caught:
                await c.ask[format](PROMPT, trouble)
            found = getattr(caught.value, "status_code", None) or getattr(caught.value, "code", None)
            assert found == status, (trouble, caught.value)
            assert provider.log[-1].status == status


async def _headers(c: Clients, format: str, trouble: Trouble) -> tuple[httpx.Headers, Any]:
    with pytest.raises(Exception) as caught:
        await c.ask[format](PROMPT, trouble)
    error: Any = caught.value
    return error.response.headers, getattr(error, "body", None) or getattr(error, "details", None)


async def test_when_to_retry_is_told_in_every_form() -> None:
    async with serve(MODELS, faults=plan(retry_after_s=7)) as provider, clients(provider) as c:
        for name in FORMATS:
            headers, _ = await _headers(c, name, Trouble.RATE_LIMITED)
            assert headers["retry-after"] == "7"
            headers, _ = await _headers(c, name, Trouble.RATE_LIMITED_DATE)
            when = email.utils.parsedate_to_datetime(headers["retry-after"]).timestamp()
            assert 4 < when - time.time() < 9
            headers, body = await _headers(c, name, Trouble.RATE_LIMITED_OWN)
            assert "retry-after" not in headers
            if name == "google":
                assert [d["retryDelay"] for d in body["error"]["details"] if "RetryInfo" in d["@type"]] == ["7s"]
            elif name == "anthropic":
                reset = datetime.fromisoformat(headers["anthropic-ratelimit-requests-reset"]).timestamp()
                assert 4 < reset - time.time() < 9
            else:
                assert headers["x-ratelimit-reset-requests"] == "7s"
                assert headers["x-ratelimit-remaining-requests"] == "0"


async def test_the_bodies_of_errors_are_those_of_the_real_provider() -> None:
    async with serve(MODELS, faults=plan()) as provider, clients(provider) as c:
        _, body = await _headers(c, "openai-chat", Trouble.BILLING)
        assert (body["code"], body["type"]) == ("insufficient_quota", "insufficient_quota")
        _, body = await _headers(c, "openai-responses", Trouble.CONTEXT_TOO_LONG)
        assert (body["code"], body["param"]) == ("context_length_exceeded", "input")
        headers, body = await _headers(c, "anthropic", Trouble.OVERLOADED)
        assert body["error"] == {"type": "overloaded_error", "message": "Overloaded"}
        assert body["request_id"] == headers["request-id"] == provider.log[-1].id
        _, body = await _headers(c, "google", Trouble.UNAUTHORISED)
        assert body["error"]["details"][0]["reason"] == "API_KEY_INVALID"


async def test_a_stream_that_goes_wrong_has_begun() -> None:
    """The consumer has seen a part of the answer, and never all of it."""
    broken = (Trouble.CUT, Trouble.CUT_RESET, Trouble.BAD_CHUNK, Trouble.STREAM_ERROR)
    async with serve(MODELS, faults=plan()) as provider, clients(provider) as c:
        for trouble in broken:
            seen = ""
            asked = [{"role": "user", "content": PROMPT}]
            with pytest.raises(Exception):  # noqa: B017
                async for chunk in await c.openai.chat.completions.create(model=trouble, messages=asked, stream=True):
                    seen += chunk.choices[0].delta.content or ""
            assert seen and TEXT.startswith(seen) and seen != TEXT, trouble
            assert provider.log[-1].tokens_out > 0


async def test_a_lost_answer_was_made_and_billed() -> None:
    async with serve(["m"]) as provider, clients(provider) as c:
        provider.next("m", Trouble.ANSWER_LOST)
        with pytest.raises(Exception):  # noqa: B017
            await c.ask["anthropic"](PROMPT)
        entry = provider.log[-1]
        assert (entry.outcome, entry.trouble, entry.answer) == (Outcome.SPOILT, Trouble.ANSWER_LOST, TEXT)
        assert entry.tokens_out == provider.counts("m").tokens_out > 0


async def test_usage_goes_missing_or_wrong_and_the_log_knows_better() -> None:
    async with serve(MODELS, faults=plan()) as provider, clients(provider) as c:
        for name, way in itertools.product(FORMATS, ({}, {"stream": True})):
            missing = await c.ask[name](PROMPT, Trouble.NO_USAGE, **way)
            assert (missing.tokens_in, missing.tokens_out) == ((0, 0) if name == "anthropic" else (-1, -1))
            assert (await c.ask[name](PROMPT, Trouble.WRONG_USAGE, **way))[-2:] == (1, 0)
            assert provider.log[-1].tokens_out > 5


async def test_a_model_that_is_down_stays_down_until_it_is_healed() -> None:
    async with serve(["a", "b"]) as provider, clients(provider) as c:
        provider.fail("a", "overloaded")
        for _ in range(3):
            with pytest.raises(Exception, match="overloaded"):
                await c.ask["openai-chat"](PROMPT, "a")
            assert (await c.ask["openai-chat"](PROMPT, "b")).text == TEXT
        provider.heal("a")
        assert (await c.ask["openai-chat"](PROMPT, "a")).text == TEXT


async def test_a_stopped_server_refuses_connections_and_starts_at_the_same_port() -> None:
    async with serve(["m"]) as provider, clients(provider) as c:
        assert (await c.ask["openai-chat"](PROMPT)).text == TEXT
        port = provider.port
        await provider.stop()
        with pytest.raises(Exception, match="Connection error"):
            await c.ask["openai-chat"](PROMPT)
        await provider.start()
        assert provider.port == port
        assert (await c.ask["openai-chat"](PROMPT)).text == TEXT


async def test_tls_and_dns_fail_as_they_do_in_the_world() -> None:
    async with serve(["m"]) as provider:
        for url in (provider.broken_tls_url, "http://provider.invalid"):
            async with clients(provider, url=url) as c:
                with pytest.raises(Exception, match="Connection error"):
                    await c.ask["openai-chat"](PROMPT)
        assert len(provider.log) == 0


async def test_the_same_seed_brings_the_same_faults_whatever_else_is_called() -> None:
    async def play(*others: str) -> list[Trouble | None]:
        faults = FaultPlan(rates=mixed(0.5), seed=11)
        async with serve(["a", "b"], faults=faults) as provider, clients(provider) as c:
            for other in others:
                await asyncio.gather(c.ask["openai-chat"](PROMPT, other), return_exceptions=True)
            for _ in range(12):
                await asyncio.gather(c.ask["openai-chat"](PROMPT, "a"), return_exceptions=True)
            return [entry.trouble for entry in provider.log.of("a")]

    alone = await play()
    assert alone == await play("b", "b", "b")
    assert any(alone) and None in alone


def test_rates_hold_over_many_calls() -> None:
    faults = FaultPlan(rates=mixed(0.3), seed=3)
    drawn = [faults.draw("m", n).trouble for n in range(20_000)]
    share = sum(t is not None for t in drawn) / len(drawn)
    assert abs(share - 0.3) < 0.015
    assert set(drawn) == {None, *MIXED}


def test_first_calls_cycles_and_rates_follow_each_other() -> None:
    flapping = Faults(first=["rate-limited"], cycle=["server-error", None])  # type: ignore[list-item]
    drawn = [flapping.draw(0.5, n) for n in range(5)]
    assert drawn == [Trouble.RATE_LIMITED, Trouble.SERVER_ERROR, None, Trouble.SERVER_ERROR, None]


@pytest.mark.parametrize("rates", [{"rate-limitd": 0.1}, {"cut": 1.5}, {"cut": 0.6, "stall": 0.6}, {"cut": -0.1}])
def test_a_plan_that_cannot_be_is_refused(rates: Any) -> None:
    with pytest.raises(UsageError):
        Faults(rates=rates)


async def test_a_plan_for_a_model_that_is_not_served_is_refused() -> None:
    with pytest.raises(UsageError, match="there are only: m"):
        async with serve(["m"], faults=FaultPlan(models={"n": Faults()})):
            pass


def test_every_fault_belongs_to_a_group() -> None:
    grouped = {*STATUS, *MIXED, *HANGING, *HARMLESS, *BAD_OUTPUT}
    assert set(Trouble) - grouped == {Trouble.FILTERED, Trouble.REFUSAL, Trouble.ANSWER_LOST}
