"""Anthropic messages: `POST /v1/messages`, plain and streamed."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any, ClassVar

from . import tokens
from .anthropic_rules import bad, read
from .faults import Trouble
from .formats import Format, Words, asked_tokens, event, retry_after
from .http import Request
from .marks import Ids, sign
from .meter import Over, Standing
from .served import Served
from .speech import Answer, Asked, Body, Call, Finish, Json, Refused, Usage, Wrong
from .spoiling import Frame

_ERRORS = {
    Wrong.BAD_REQUEST: (400, "invalid_request_error"),
    Wrong.NO_KEY: (401, "authentication_error"),
    Wrong.BAD_KEY: (401, "authentication_error"),
    Wrong.FORBIDDEN: (403, "permission_error"),
    Wrong.BILLING: (400, "invalid_request_error"),
    Wrong.NO_MODEL: (404, "not_found_error"),
    Wrong.NOT_FOUND: (404, "not_found_error"),
    Wrong.TOO_LARGE: (413, "request_too_large"),
    Wrong.RATE_LIMITED: (429, "rate_limit_error"),
    Wrong.OVERLOADED: (529, "overloaded_error"),
    Wrong.SERVER_ERROR: (500, "api_error"),
}
_STOP = {
    Finish.STOP: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.TOOLS: "tool_use",
    Finish.FILTER: "refusal",
    Finish.REFUSAL: "refusal",
    Finish.MALFORMED_CALL: "tool_use",
}
_LIMITED = (
    "This request would exceed your organization's rate limit of 50 requests per minute. For details, refer to:"
    " https://docs.claude.com/en/api/rate-limits. You can see the response headers for current usage. Please reduce"
    " the prompt length or the maximum tokens requested, or try again later."
)


class Anthropic(Format):
    """Messages. Thinking is signed, and its signature is checked when it comes back."""

    name: ClassVar[str] = "anthropic"
    says: ClassVar = {
        Trouble.RATE_LIMITED: Words(Wrong.RATE_LIMITED, _LIMITED),
        Trouble.RATE_LIMITED_DATE: Words(Wrong.RATE_LIMITED, _LIMITED),
        Trouble.RATE_LIMITED_OWN: Words(Wrong.RATE_LIMITED, _LIMITED),
        Trouble.OVERLOADED: Words(Wrong.OVERLOADED, "Overloaded"),
        Trouble.SERVER_ERROR: Words(Wrong.SERVER_ERROR, "Internal server error"),
        Trouble.UNAUTHORISED: Words(Wrong.BAD_KEY, "invalid x-api-key"),
        Trouble.FORBIDDEN: Words(
            Wrong.FORBIDDEN, "Your API key does not have permission to use the specified resource."
        ),
        Trouble.BILLING: Words(
            Wrong.BILLING,
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or"
            " purchase credits.",
        ),
        Trouble.BAD_REQUEST: Words(Wrong.BAD_REQUEST, "temperature: Input should be less than or equal to 1"),
        Trouble.CONTEXT_TOO_LONG: Words(Wrong.BAD_REQUEST, "prompt is too long: {used} tokens > {window} maximum"),
        Trouble.PROMPT_BLOCKED: Words(Wrong.BAD_REQUEST, "Output blocked by content filtering policy"),
    }

    def key(self, request: Request) -> str:
        """`x-api-key`, or a bearer token."""
        if "anthropic-version" not in request.headers:
            raise bad("anthropic-version: header is required")
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        return request.headers.get("x-api-key") or bearer

    def model(self, request: Request, body: Body) -> str:
        """From the body."""
        if not isinstance(body.get("model"), str):
            raise bad("model: Field required")
        return body["model"]

    def unkeyed(self, key: str) -> Refused:
        """401."""
        if key:
            return Refused(why=Wrong.BAD_KEY, message="invalid x-api-key")
        return Refused(why=Wrong.NO_KEY, message="x-api-key header is required")

    def unknown(self, model: str) -> Refused:
        """404."""
        return Refused(why=Wrong.NO_MODEL, message=f"model: {model}")

    def read(self, request: Request, body: Body, served: Served) -> Asked:
        """What is asked."""
        asked = read(body, served)
        used = asked_tokens(asked)
        if used > served.window:
            raise bad(f"prompt is too long: {used} tokens > {served.window} maximum")
        if used + asked.max_tokens > served.window:
            raise bad(
                f"input length and `max_tokens` exceed context limit: {used} + {asked.max_tokens} > {served.window},"
                " decrease input length or `max_tokens` and try again"
            )
        return asked

    def whole(self, asked: Asked, said: Answer, usage: Usage | None, ids: Ids) -> Body:
        """A `message`."""
        content: list[Body] = []
        if said.thoughts:
            content.append(_thinking(said.thoughts, sign("anthropic", said.thoughts)))
        if said.text:
            content.append({"type": "text", "text": said.text})
        content += [{**_call(call, ids, i), "input": _input(call)} for i, call in enumerate(said.calls)]
        return {**_message(asked, ids), "content": content, "stop_reason": _STOP[said.finish], "usage": _usage(usage)}

    def frames(self, asked: Asked, said: Answer, usage: Usage | None, ids: Ids) -> list[Frame]:
        """`message_start`; each block started, its deltas, stopped; `message_delta`, `message_stop`."""
        opening: Body = {**_message(asked, ids), "content": [], "usage": {**_usage(usage), "output_tokens": 0}}
        play = _Play()
        play.add("head", "message_start", message=opening)
        if said.thoughts:
            play.block(_thinking("", ""), "thinking_delta", "thinking", said.thoughts)
        if said.text:
            play.block({"type": "text", "text": ""}, "text_delta", "text", said.text)
        for i, call in enumerate(said.calls):
            play.block(_call(call, ids, i), "input_json_delta", "partial_json", call.arguments, tokens.count(call.name))
        delta = {"stop_reason": _STOP[said.finish], "stop_sequence": None}
        spent = usage.tokens_out if usage is not None else 0
        play.add("tail", "message_delta", delta=delta, usage={"output_tokens": spent})
        play.add("tail", "message_stop")
        return play.frames

    def error(self, refused: Refused, ids: Ids) -> tuple[int, dict[str, str], Body]:
        """Status, headers and body."""
        status, kind = _ERRORS[refused.why]
        headers = {**self.headers(None, ids), **retry_after(refused)}
        if refused.retry_after_s is not None and refused.tell == "own":
            headers |= {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": _moment(refused.retry_after_s),
            }
        error: Body = {"type": "error", "error": {"type": kind, "message": refused.message}}
        return status, headers, {**error, "request_id": headers["request-id"]}

    def error_frame(self, ids: Ids) -> bytes:
        """An `error` event."""
        error: Body = {"type": "error", "error": {"details": None, "type": "overloaded_error", "message": "Overloaded"}}
        return event({**error, "request_id": self.request_id(ids)}, "error")

    def request_id(self, ids: Ids) -> str:
        """As `req_011...`."""
        return ids.of("req_011")

    def headers(self, standing: Standing | None, ids: Ids) -> dict[str, str]:
        """Request id and limits."""
        found = {"request-id": self.request_id(ids), "anthropic-organization-id": "segue"}
        if standing is None:
            return found
        for name, limit, left, reset in (
            ("requests", standing.rpm, standing.requests_left, standing.requests_reset_s),
            ("tokens", standing.tpm, standing.tokens_left, standing.tokens_reset_s),
        ):
            if limit is not None:
                found[f"anthropic-ratelimit-{name}-limit"] = str(limit)
                found[f"anthropic-ratelimit-{name}-remaining"] = str(left)
                found[f"anthropic-ratelimit-{name}-reset"] = _moment(reset)
        return found

    def too_much(self, over: Over, asked: Asked) -> Refused:
        """429."""
        if over.limit == "concurrency":
            message = "Number of concurrent connections has exceeded your rate limit. Please try again later or contact"
            message += " sales at https://www.anthropic.com/contact-sales to discuss your options for a rate limit"
            return Refused(why=Wrong.RATE_LIMITED, message=f"{message} increase.")
        what = f"{over.most} {'requests' if over.limit == 'requests' else 'input tokens'} per minute"
        message = f"This request would exceed your organization's rate limit of {what}. For details, refer to:"
        message += " https://docs.claude.com/en/api/rate-limits."
        return Refused(why=Wrong.RATE_LIMITED, message=message, retry_after_s=over.wait_s)


class _Play:
    """The events of one stream."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.blocks = 0

    def add(self, part: Any, kind: str, count: int = 0, /, **fields: Json) -> None:
        self.frames.append(Frame(event({"type": kind, **fields}, kind), part, count))

    def block(self, empty: Body, kind: str, field: str, text: str, first: int = 0) -> None:
        i, begun = self.blocks, self.blocks > 0
        self.add("content" if begun else "head", "content_block_start", index=i, content_block=empty)
        if not begun:
            self.add("head", "ping")
        for piece in tokens.split(text):
            self.add("content", "content_block_delta", 1 + first, index=i, delta={"type": kind, field: piece})
            first = 0
        if field == "thinking":
            signed = {"type": "signature_delta", "signature": sign("anthropic", text)}
            self.add("content", "content_block_delta", index=i, delta=signed)
        self.add("content", "content_block_stop", first, index=i)
        self.blocks += 1


def _message(asked: Asked, ids: Ids) -> Body:
    return {
        "id": ids.of("msg_01"),
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _thinking(text: str, signature: str) -> Body:
    return {"type": "thinking", "thinking": text, "signature": signature}


def _call(call: Call, ids: Ids, i: int) -> Body:
    return {"type": "tool_use", "id": call.id or ids.of("toolu_01", i), "name": call.name, "input": {}}


def _input(call: Call) -> Json:
    """The arguments as an object: text that is no JSON cannot be written in this format, an empty object can."""
    try:
        return json.loads(call.arguments)
    except ValueError:
        return {}


def _usage(usage: Usage | None) -> Body:
    """Input without what was read from the cache."""
    told = usage or Usage(0, 0)
    return {
        "input_tokens": told.tokens_in - told.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": told.cached,
        "output_tokens": told.tokens_out,
        "service_tier": "standard",
    }


def _moment(seconds: float) -> str:
    """That many seconds from now, as RFC 3339 in whole seconds, never too early."""
    whole = int(time.time() + seconds) + 1
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
