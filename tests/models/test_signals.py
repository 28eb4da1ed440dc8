"""What the providers really send becomes the fault that says what can be done about it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai.exceptions import ModelHTTPError

from segue.agent.money import cost_nothing
from segue.core.faults import Fault, FaultKind, classify, rebuild
from segue.errors import BudgetExceeded
from segue.models import BadOutput, ContextTooLong
from segue.models.errors import ContentRefused, ModelFailed, NotAuthorised, RateLimited, RequestRefused
from segue.models.retry_after import asked_for, span, worded
from segue.models.signals import ERRORS, error_of, fault_in, fault_of, made, tells_of_prefill
from tests.models.answers import ALL, ANTHROPIC, NOW, OTHERS, PAGE, Sent, claude, gemini, openai

K = FaultKind


def holds(fault: Fault | None, sent: Sent) -> None:
    assert fault is not None
    assert (fault.kind, fault.retry_after_s, fault.limit) == (sent.kind, pytest.approx(sent.wait_s), sent.limit)
    state = fault.state or {}
    assert state.get("window") == sent.window
    if sent.status != 200:
        assert state["status"] == sent.status


@pytest.mark.parametrize("sent", ALL)
def test_an_answer_of_a_provider_is_the_fault_that_it_stands_for(sent: Sent) -> None:
    holds(fault_in(sent.body, sent.status, sent.headers, now=NOW), sent)


@pytest.mark.parametrize("sent", [p for p in ALL if p.values[0].status >= 400])
def test_the_same_when_pydantic_ai_has_raised_it(sent: Sent) -> None:
    inner = sent.body.get("error", sent.body) if isinstance(sent.body, dict) else sent.body
    unwrapped = inner if isinstance(inner, dict) else sent.body  # OpenAI's SDK keeps the inner object only
    for body in (sent.body, unwrapped):
        holds(fault_of(ModelHTTPError(sent.status, "m", body, headers=sent.headers), now=NOW), sent)


@pytest.mark.parametrize(
    "sent", [p for p in ALL if p.id and p.id.startswith("bedrock") and "Error" in p.values[0].body]
)
def test_the_same_when_botocore_has_raised_it(sent: Sent) -> None:
    from botocore.exceptions import ClientError

    answer = sent.body | {"ResponseMetadata": {"HTTPStatusCode": sent.status, "HTTPHeaders": sent.headers}}
    holds(fault_of(ClientError(answer, "Converse"), now=NOW), sent)


@pytest.mark.parametrize("sent", [p for p in ALL if p.id and p.id.startswith("google")])
def test_the_same_when_google_genai_has_raised_it(sent: Sent) -> None:
    from google.genai.errors import APIError

    holds(fault_of(APIError(sent.status, sent.body), now=NOW), sent)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (openai("The server is currently overloaded.", "server_error", None), K.OVERLOADED),
        (openai("Rate limit reached. Please try again in 2s.", "tokens", "rate_limit_exceeded"), K.RATE_LIMITED),
        (claude("overloaded_error", "Overloaded"), K.OVERLOADED),
        (claude("api_error", "Internal server error"), K.OVERLOADED),
        (gemini(503, "UNAVAILABLE", "The model is overloaded."), K.OVERLOADED),
        ({"error": {"message": "Provider disconnected", "code": 502}}, K.UNREACHABLE),
        ({"error": "something broke"}, K.OVERLOADED),
        (openai("maximum context length is 10 tokens", None, "context_length_exceeded"), K.CONTEXT_TOO_LONG),
        ({"choices": [], "id": "x"}, None),
        ({"error": None, "choices": []}, None),
    ],
)
def test_an_error_inside_of_a_200_is_a_fault(body: dict[str, Any], kind: FaultKind | None) -> None:
    fault = fault_in(body, now=NOW)
    assert (fault.kind if fault else None) == kind


def test_an_error_within_a_stream_says_what_it_is_without_a_status() -> None:
    from botocore.exceptions import EventStreamError
    from pydantic_ai.exceptions import ModelAPIError

    event: Any = {"Error": {"Code": "throttlingException", "Message": "Too many requests"}}
    assert fault_of(EventStreamError(event, "ConverseStream")).kind is K.RATE_LIMITED
    body = {"type": "overloaded_error", "message": "Overloaded"}
    assert fault_of(ModelAPIError("m", "Overloaded", body=body, in_stream=True)).kind is K.OVERLOADED


@pytest.mark.parametrize("code", [429, "429", 503, "rate_limit_exceeded"], ids=repr)
def test_a_number_within_a_stream_is_no_status_by_which_a_call_costs_nothing(code: object) -> None:
    """The SDKs give the number in the body as if it were the answer's: the call had begun, and it cost nothing."""
    import httpx2
    from google.genai.errors import ClientError
    from openai import APIError

    request = httpx2.Request("POST", "http://x/v1")
    said = {"code": code, "message": "Rate limit exceeded", "status": "RESOURCE_EXHAUSTED"}
    raised: list[Exception] = [APIError("An error occurred during streaming", request=request, body=said)]  # pyright: ignore[reportArgumentType]
    if isinstance(code, int):
        raised.append(ClientError(code, {"error": said}, httpx2.Response(200, request=request)))  # pyright: ignore[reportArgumentType]
    assert not any(cost_nothing(fault_of(error)) for error in raised)


def test_a_status_is_one_by_which_a_call_costs_nothing() -> None:
    import httpx2
    from google.genai.errors import ClientError

    answer = httpx2.Response(429, request=httpx2.Request("POST", "http://x/v1"))
    assert cost_nothing(fault_of(ClientError(429, {"error": {"code": 429, "message": "Slow down"}}, answer)))  # pyright: ignore[reportArgumentType]


def transport() -> list[tuple[BaseException, FaultKind]]:
    import httpx
    import httpx2
    from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
    from pydantic_ai.exceptions import ContentFilterError, ModelAPIError, ModelConnectionError, ModelRequestTimeout
    from pydantic_ai.exceptions import UnexpectedModelBehavior as Odd

    dns = ModelConnectionError("m", "Connection error.", phase="connect")
    dns.__cause__ = httpx2.ConnectError("[Errno -2] Name or service not known")
    return [
        (dns, K.UNREACHABLE),
        (httpx.ConnectError("refused"), K.UNREACHABLE),
        (httpx2.ConnectTimeout("slow"), K.UNREACHABLE),
        (httpx2.ReadTimeout("slow"), K.TIMED_OUT),
        (httpx2.PoolTimeout("full"), K.OVERLOADED),
        (httpx2.RemoteProtocolError("peer closed connection without sending complete message body"), K.UNREACHABLE),
        (ModelRequestTimeout("m", 3.0), K.TIMED_OUT),
        (ModelRequestTimeout("m", 3.0, setting="first_event_timeout"), K.TIMED_OUT),
        (ReadTimeoutError(endpoint_url="http://x"), K.TIMED_OUT),
        (EndpointConnectionError(endpoint_url="http://x"), K.UNREACHABLE),
        (ConnectionResetError("reset"), K.UNREACHABLE),
        (socket.gaierror(-2, "Name or service not known"), K.UNREACHABLE),
        (ssl.SSLCertVerificationError("self-signed certificate"), K.UNREACHABLE),
        (TimeoutError(), K.TIMED_OUT),
        (asyncio.IncompleteReadError(b"", 3), K.UNREACHABLE),
        (ModelAPIError("m", "Failed to decode response as JSON: Expecting value"), K.UNREACHABLE),
        (ModelAPIError("m", "Streamed response ended without a `finish_reason`"), K.UNREACHABLE),
        (Odd("Invalid response from openai chat completions endpoint: 1 validation error"), K.UNREACHABLE),
        (Odd("Unexpected empty response"), K.BAD_OUTPUT),
        (ContentFilterError("blocked"), K.CONTENT_REFUSED),
    ]


@pytest.mark.parametrize(("error", "kind"), transport(), ids=repr)
def test_a_failed_connection_is_a_fault(error: Exception, kind: FaultKind) -> None:
    assert fault_of(error).kind is kind


def test_a_refusal_says_that_another_model_may_be_asked() -> None:
    from pydantic_ai.exceptions import ContentFilterError

    remedy = (fault_of(ContentFilterError("blocked")).state or {})["remedy"]
    assert remedy == 'reword the request; with refused="next" another model is asked for it too'


def test_where_nobody_was_is_named_where_nobody_was_alone() -> None:
    import httpx
    from pydantic_ai.exceptions import ContentFilterError, ModelAPIError

    where = "http://127.0.0.1:9/v1"
    lost = fault_of(httpx.ConnectError("All connection attempts failed"), model="m", address=where)
    assert lost.message == f"m: {where}: All connection attempts failed"
    assert (lost.state or {})["remedy"] == f"see that {where} is up and can be reached from here"
    for other in (ModelAPIError("m", "Streamed response ended without a `finish_reason`"), ContentFilterError("no")):
        assert where not in str(fault_of(other, model="m", address=where))


def test_our_own_errors_are_what_they_say() -> None:
    assert fault_of(BudgetExceeded("too dear")).kind is K.BUDGET_EXCEEDED
    assert fault_of(ContextTooLong("too long")) == classify(ContextTooLong("too long"))
    assert fault_of(ZeroDivisionError("x")).error == "builtins:ZeroDivisionError"


def test_a_mistake_while_a_fault_is_handled_is_not_that_fault() -> None:
    try:
        try:
            raise ModelHTTPError(429, "m", "slow down")
        except ModelHTTPError:
            int("x")
    except ValueError as mistake:
        assert fault_of(mistake).kind is K.TOOL_FAILED and error_of(mistake) is mistake


@pytest.mark.parametrize("kind", list(ERRORS))
def test_a_fault_becomes_an_error_of_ours_that_reads_the_same_when_classified_again(kind: FaultKind) -> None:
    fault = made(kind, "fast: 429", status=429, retry_after_s=3.0, limit="requests", remedy="wait")
    error = rebuild(fault)
    assert type(error) is ERRORS[kind]
    again = fault_of(error)
    assert (again.kind, again.message, again.retry_after_s, again.limit) == (kind, "fast: 429", 3.0, "requests")
    assert "do: wait" in str(error)


def test_an_error_of_a_provider_is_raised_as_ours() -> None:
    raised = ModelHTTPError(429, "m", openai("slow down", None, "rate_limit_exceeded"), headers={"Retry-After": "9"})
    error = error_of(raised, model="fast")
    assert isinstance(error, RateLimited)
    assert (error.status, error.said, error.retry_after_s) == (429, "rate_limit_exceeded", 9.0)
    assert str(error).startswith("fast: 429 rate_limit_exceeded: slow down")


def failed_far_away() -> BaseException:
    """What our call raises for a provider's refusal, as it is raised: by a library, through a context manager."""

    @contextmanager
    def named() -> Generator[None]:
        try:
            yield
        except ModelHTTPError as error:
            raise error_of(error, model="chat") from error

    try:
        with named():
            raised = {"error": ModelHTTPError(429, "gpt", None)}
            exec(compile("raise error", "/libraries/vendor.py", "exec"), raised)
    except ModelFailed as error:
        return error
    raise AssertionError("nothing was raised")


def test_what_is_on_record_of_a_providers_refusal_has_its_words_and_no_frames_of_libraries() -> None:
    error = failed_far_away().with_traceback(None)
    said = classify(error).trace.splitlines()
    assert [line.partition(":")[0] for line in said] == [
        "pydantic_ai.exceptions.ModelHTTPError", "segue.models.errors.RateLimited",
    ]  # fmt: skip


def test_where_a_flow_fails_by_it_the_frames_of_the_flow_are_on_record() -> None:
    trace = classify(failed_far_away()).trace
    assert "in failed_far_away" in trace and "vendor.py" not in trace


def test_a_bad_request_names_the_field() -> None:
    fault = fault_in(openai("is too large", "invalid_request_error", "invalid_value", "max_tokens"), 400)
    assert fault is not None and fault.message == "400 invalid_value: max_tokens: is too large"
    refused = rebuild(fault)
    assert isinstance(refused, RequestRefused) and vars(refused)["field"] == "max_tokens"
    complaint = fault_in({"detail": [{"loc": ["body", "top_p"], "msg": "must be below 1"}]}, 422)
    assert complaint is not None and "body.top_p: must be below 1" in complaint.message


def test_a_refused_key_says_what_a_person_must_do_and_does_not_show_the_key() -> None:
    fault = fault_in(openai("Incorrect API key provided: sk-proj-abcdef123456.", None, "invalid_api_key"), 401)
    assert fault is not None
    error = rebuild(fault)
    assert isinstance(error, NotAuthorised) and "key_env" in str(error)
    assert "abcdef" not in str(error)


def test_a_page_of_a_proxy_is_told_in_one_line() -> None:
    fault = fault_in(PAGE.format("502 Bad Gateway") * 50, 502)
    assert fault is not None and "<" not in fault.message and len(fault.message) < 700


def test_a_refused_prefill_is_known() -> None:
    prefill = [s for s in ANTHROPIC if s.name == "prefill"] + [s for s in OTHERS if s.name == "mistral roles"]
    assert all(tells_of_prefill(f) for s in prefill if (f := fault_in(s.body, s.status)))


def test_every_error_of_a_model_is_one_of_ours() -> None:
    assert all(issubclass(e, ModelFailed | ContextTooLong | BadOutput | ContentRefused) for e in ERRORS.values())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "20s"}, 20.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": formatdate(NOW + 90, usegmt=True)}, 90.0),
        ({"retry-after": formatdate(NOW - 90, usegmt=True)}, 0.0),
        ({"retry-after": f"{formatdate(NOW + 30, usegmt=True)}, {formatdate(NOW + 60, usegmt=True)}"}, 60.0),
        ({"retry-after": "1 minute 30 seconds"}, 90.0),
        ({"retry-after": str(int(NOW) + 30)}, 30.0),
        ({"retry-after": str((int(NOW) + 30) * 1000)}, 30.0),
        ({"retry-after": "120, 120"}, 120.0),
        ({"retry-after": "30, 60"}, 60.0),
        ({"retry-after": f"20, {formatdate(NOW + 90, usegmt=True)}"}, 90.0),
        ({"retry-after": "5 seconds"}, 5.0),
        ({"retry-after": "2 min"}, 120.0),
        ({"retry-after": "120;"}, 120.0),
        ({"retry-after": '"30"'}, 30.0),
        ({"retry-after": "5 fortnights"}, None),
        ({"retry-after-ms": "250, 250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"x-ms-retry-after-ms": "1250"}, 1.25),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_for(headers, NOW) == pytest.approx(seconds)


def test_a_date_is_counted_from_the_answers_own_date() -> None:
    headers = {"date": formatdate(NOW, usegmt=True), "retry-after": formatdate(NOW + 60, usegmt=True)}
    fault = fault_in("", 503, headers, now=NOW + 500_000)
    assert fault is not None and fault.retry_after_s == 60.0


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_span_is_read_as_it_is_written(h: int, m: int, s: int, ms: int) -> None:
    seconds = h * 3600 + m * 60 + s + ms / 1000
    assert span(f"{h}h{m}m{s}s{ms}ms") == pytest.approx(seconds)
    assert worded(f"Please try again in {h}h{m}m{s}.{ms:03}s.") == pytest.approx(seconds)


FIELDS = st.sampled_from(["error", "message", "code", "status", "details", "metadata", "x"])
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "x-ratelimit-reset-tokens", "ratelimit", "date"]), st.text(max_size=12)
)


@given(BODIES, st.sampled_from([None, 200, 302, 400, 401, 404, 429, 500, 503]), HEADERS)
def test_whatever_a_server_sends_is_a_fault_or_none(body: Any, status: int | None, headers: dict[str, str]) -> None:
    fault = fault_in(body, status, headers, now=NOW)
    assert fault is None or (fault.kind in ERRORS and Fault.read(fault.body()) == fault)
    if status is not None and status >= 300:
        assert fault is not None
