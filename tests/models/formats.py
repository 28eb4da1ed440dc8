"""Answers in the formats of the providers: whole, and as a stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from segue.models.spec import Capability, Model, Provider
from tests.models.loopback import Asked, Say, sse

ALL = frozenset(Capability) - {Capability.EMBEDDINGS}


@dataclass(frozen=True)
class Format:
    """How one provider says a text."""

    provider: Provider
    path: str
    whole: Callable[[str], Any]
    pieces: Callable[[list[str]], list[Any]]
    """Events of a stream, the sign of the end last."""
    end: int = 1
    """How many of the last events are that sign."""

    def model(self, url: str, **more: Any) -> Model:
        return Model(
            name="m", provider=self.provider, id=more.pop("id", "some-model"), capabilities=ALL, window=100_000,
            max_output=4000, url=url + self.path, key_env="TEST_KEY", **more,
        )  # fmt: skip

    def say(self, asked: Asked, text: str) -> Say:
        """The answer, streamed if the request says so."""
        body: Any = asked.body or {}
        if body.get("stream") or "streamGenerateContent" in asked.path:
            return Say(pieces=self.stream([text[:3], text[3:]]))
        return Say(body=self.whole(text))

    def stream(self, texts: list[str]) -> list[bytes]:
        return sse(*self.pieces(texts), done=self.provider in (Provider.OPENAI, Provider.GROQ, Provider.MISTRAL))


def _chat(text: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "some-model-2026",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25,
                  "prompt_tokens_details": {"cached_tokens": 8}},
    }  # fmt: skip


def _chat_pieces(texts: list[str]) -> list[Any]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "some-model-2026",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }  # fmt: skip

    usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
    last = chunk({}) | {"choices": [], "usage": usage}
    said = [chunk({"role": "assistant", "content": texts[0]}), *(chunk({"content": text}) for text in texts[1:])]
    return [*said, chunk({}, "stop") | {"x_groq": {"id": "req_1", "usage": usage}}, last]


def _response(text: str, status: str = "completed") -> dict[str, Any]:
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}  # fmt: skip
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "some-model-2026", "status": status,
        "output": [item] if text else [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        "usage": {"input_tokens": 20, "output_tokens": 5, "total_tokens": 25, "input_tokens_details":
                  {"cached_tokens": 8}, "output_tokens_details": {"reasoning_tokens": 0}},
    }  # fmt: skip


def _response_pieces(texts: list[str]) -> list[Any]:
    text, here = "".join(texts), {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
    part = {"type": "output_text", "text": "", "annotations": []}
    item: dict[str, Any] = {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress"}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": _response("", "in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": item | {"content": []}},
        {"type": "response.content_part.added", **here, "part": part},
        *({"type": "response.output_text.delta", **here, "delta": t, "logprobs": []} for t in texts),
        {"type": "response.output_text.done", **here, "text": text, "logprobs": []},
        {"type": "response.output_item.done", "output_index": 0, "item": _response(text)["output"][0]},
        {"type": "response.completed", "response": _response(text)},
    ]
    return [(event["type"], event | {"sequence_number": n}) for n, event in enumerate(events)]


def _message(text: str) -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "some-model-2026",
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 12, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 0,
                  "output_tokens": 5},
    }  # fmt: skip


def _message_pieces(texts: list[str]) -> list[Any]:
    start = _message("") | {"content": [], "stop_reason": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": t}} for t in texts),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
         "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]  # fmt: skip
    return [(event["type"], event) for event in events]


def _gemini(text: str, finish: str | None = "STOP") -> dict[str, Any]:
    ended = {"finishReason": finish} if finish else {}
    return {
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0, **ended}],
        "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 5, "totalTokenCount": 25,
                          "cachedContentTokenCount": 8},
        "modelVersion": "some-model-2026", "responseId": "r1",
    }  # fmt: skip


def _gemini_pieces(texts: list[str]) -> list[Any]:
    return [*(_gemini(text, None) for text in texts), _gemini("", "STOP")]


CHAT = Format(Provider.OPENAI, "/v1", _chat, _chat_pieces, 2)
RESPONSES = Format(Provider.OPENAI_RESPONSES, "/v1", _response, _response_pieces)
CLAUDE = Format(Provider.ANTHROPIC, "", _message, _message_pieces, 2)
GEMINI = Format(Provider.GOOGLE, "", _gemini, _gemini_pieces)
MISTRAL = Format(Provider.MISTRAL, "", _chat, _chat_pieces, 2)
GROQ = Format(Provider.GROQ, "", _chat, _chat_pieces, 2)
OLLAMA = Format(Provider.OLLAMA, "", _chat, _chat_pieces, 2)
COMPATIBLE = Format(Provider.OPENAI_COMPATIBLE, "/v1", _chat, _chat_pieces, 2)
FORMATS = [CHAT, RESPONSES, CLAUDE, GEMINI, MISTRAL, GROQ, OLLAMA, COMPATIBLE]


def converse(text: str) -> dict[str, Any]:
    """Bedrock's, whole."""
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}}, "stopReason": "end_turn",
        "usage": {"inputTokens": 20, "outputTokens": 5, "totalTokens": 25}, "metrics": {"latencyMs": 1},
    }  # fmt: skip


def tool_call(provider: Provider, name: str, args: dict[str, Any]) -> Any:
    """A call of a tool, whole."""
    if provider is Provider.ANTHROPIC:
        block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": args}
        return _message("") | {"content": [block], "stop_reason": "tool_use"}
    if provider is Provider.GOOGLE:
        said = _gemini("")
        said["candidates"][0]["content"]["parts"] = [{"functionCall": {"name": name, "args": args}}]
        return said
    if provider is Provider.OPENAI_RESPONSES:
        item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name,
                "arguments": json.dumps(args), "status": "completed"}  # fmt: skip
        return _response("") | {"output": [item]}
    called = {"id": "call_1ab2c", "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
    said = _chat("")
    said["choices"][0] |= {"message": {"role": "assistant", "content": None, "tool_calls": [called]},
                           "finish_reason": "tool_calls"}  # fmt: skip
    return said
