"""OpenAI chat completions: `POST /v1/chat/completions`, plain and streamed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from . import openai_checks as openai
from . import tokens
from .formats import Format, asked_tokens, event
from .http import Request
from .marks import Ids
from .meter import Over, Standing
from .openai_chat_rules import read
from .served import Served
from .speech import Answer, Asked, Body, Call, Finish, Json, Refused, Usage, Wrong, object_of
from .spoiling import Frame

_FINISH = {
    Finish.STOP: "stop",
    Finish.LENGTH: "length",
    Finish.TOOLS: "tool_calls",
    Finish.FILTER: "content_filter",
    Finish.REFUSAL: "stop",
    Finish.MALFORMED_CALL: "tool_calls",
}


class OpenAIChat(Format):
    """Chat completions. Thoughts of a reasoning model are counted and never shown."""

    name: ClassVar[str] = "openai-chat"
    says = openai.SAYS

    def key(self, request: Request) -> str:
        """The bearer token."""
        return openai.key(request)

    def model(self, request: Request, body: Body) -> str:
        """From the body."""
        return openai.named_model(body)

    def unkeyed(self, key: str) -> Refused:
        """401."""
        return openai.unkeyed(key)

    def unknown(self, model: str) -> Refused:
        """404."""
        return openai.unknown_model(model)

    def unread(self) -> Refused:
        """400."""
        return openai.unread()

    def read(self, request: Request, body: Body, served: Served) -> Asked:
        """What is asked."""
        asked = read(body, served)
        used = asked_tokens(asked)
        if used > served.window:
            raise openai.bad(
                f"This model's maximum context length is {served.window} tokens. However, your messages resulted in"
                f" {used} tokens. Please reduce the length of the messages.",
                "messages",
                "context_length_exceeded",
            )
        return asked

    def whole(self, asked: Asked, said: Answer, usage: Usage | None, ids: Ids) -> Body:
        """A `chat.completion`."""
        refused = said.finish is Finish.REFUSAL
        message: Body = {
            "role": "assistant",
            "content": None if refused or (said.calls and not said.text) else said.text,
            "refusal": said.text if refused else None,
            "annotations": [],
        }
        if said.calls:
            message["tool_calls"] = [_call(asked, call, ids, i) for i, call in enumerate(said.calls)]
        choice: Body = {"index": 0, "message": message, "logprobs": None, "finish_reason": _FINISH[said.finish]}
        body: Body = {**_base(asked, ids, "chat.completion"), "choices": [choice]}
        return body if usage is None else {**body, "usage": _usage(usage)}

    def frames(self, asked: Asked, said: Answer, usage: Usage | None, ids: Ids) -> list[Frame]:
        """Chunks: the role, each token, the finish, the usage where it is asked for, `[DONE]`."""
        base = _base(asked, ids, "chat.completion.chunk")
        with_usage = object_of(asked.body.get("stream_options")).get("include_usage") is True

        def chunk(delta: Json, finish: str | None = None, count: int = 0, part: Any = "content") -> Frame:
            data: Body = {**base, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
            return Frame(event({**data, "usage": None} if with_usage else data), part, count)

        hidden = tokens.count(said.thoughts)
        found = [chunk({"role": "assistant", "content": "", "refusal": None}, part="head")]
        field = "refusal" if said.finish is Finish.REFUSAL else "content"
        for piece in tokens.split(said.text):
            found.append(chunk({field: piece}, count=1 + hidden))
            hidden = 0
        for calls, count in _told(asked, said.calls, ids):
            found.append(chunk({"tool_calls": calls}, count=count + hidden))
            hidden = 0
        found.append(chunk({}, _FINISH[said.finish], hidden, "tail"))
        if asked.mistral:
            data: Body = {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": _FINISH[said.finish]}]}
            data |= {"usage": _usage(usage)} if usage is not None else {}
            found[-1] = found[-1]._replace(data=event({**base, **data}))
        elif with_usage and usage is not None:
            found.append(Frame(event({**base, "choices": [], "usage": _usage(usage)}), "tail"))
        return [*found, Frame(b"data: [DONE]\n\n", "tail")]

    def error(self, refused: Refused, ids: Ids) -> tuple[int, dict[str, str], Body]:
        """Status, headers and body."""
        return openai.error(refused, ids)

    def error_frame(self, ids: Ids) -> bytes:
        """An error object in the place of a chunk."""
        message = "The server had an error while processing your request. Sorry about that!"
        return event(openai.error_body(Refused(why=Wrong.SERVER_ERROR, message=message)))

    def headers(self, standing: Standing | None, ids: Ids) -> dict[str, str]:
        """Request id and limits."""
        return openai.headers(standing, ids)

    def too_much(self, over: Over, asked: Asked) -> Refused:
        """429."""
        return openai.too_much(over, asked, asked_tokens(asked))


def _base(asked: Asked, ids: Ids, kind: str) -> Body:
    return {
        "id": ids.of("chatcmpl-"),
        "object": kind,
        "created": int(time.time()),
        "model": asked.model,
        "service_tier": "default",
        "system_fingerprint": "fp_segue",
    }


def _call(asked: Asked, call: Call, ids: Ids, i: int) -> Body:
    return {
        "id": call.id or (ids.of("", i, length=9) if asked.mistral else ids.of("call_", i)),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _told(asked: Asked, calls: Sequence[Call], ids: Ids) -> Iterator[tuple[list[Body], int]]:
    """The calls as chunks tell of them, with their tokens: the name, then each token; Mistral says all in one chunk."""
    if asked.mistral and calls:
        count = sum(tokens.count(call.name) + tokens.count(call.arguments) for call in calls)
        yield [{**_call(asked, call, ids, i), "index": i} for i, call in enumerate(calls)], count
        return
    for i, call in enumerate(calls):
        yield [{**_call(asked, call._replace(arguments=""), ids, i), "index": i}], tokens.count(call.name)
        for piece in tokens.split(call.arguments):
            yield [{"index": i, "function": {"arguments": piece}}], 1


def _usage(usage: Usage) -> Body:
    return {
        "prompt_tokens": usage.tokens_in,
        "completion_tokens": usage.tokens_out,
        "total_tokens": usage.tokens_in + usage.tokens_out,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.thoughts,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
