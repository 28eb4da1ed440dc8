"""OpenAI responses: `POST /v1/responses`, plain and streamed, with what is stored between them."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any, ClassVar

from . import openai_checks as openai
from . import tokens
from .faults import Trouble
from .formats import Format, Words, asked_tokens, event
from .http import Request
from .marks import Ids, sign
from .meter import Over, Standing
from .openai_responses_rules import SEALED, read
from .served import Served
from .speech import Answer, Asked, Body, Finish, Json, Refused, Usage, Wrong, object_of
from .spoiling import Frame

KEPT = 5_000
"""Responses that are remembered; the oldest are forgotten first."""
_FAILED = "An error occurred while processing your request. You can retry your request."
_TOO_LONG = "Your input exceeds the context window of this model. Please adjust your input and try again."
_INCOMPLETE = {Finish.LENGTH: "max_output_tokens", Finish.FILTER: "content_filter"}


class OpenAIResponses(Format):
    """Responses. A model that thinks gives reasoning items, encrypted where the request includes that."""

    name: ClassVar[str] = "openai-responses"
    says: ClassVar = {
        **openai.SAYS,
        Trouble.CONTEXT_TOO_LONG: Words(Wrong.BAD_REQUEST, _TOO_LONG, "input", "context_length_exceeded"),
    }

    def __init__(self) -> None:
        self._items: dict[str, Body] = {}
        self._talks: OrderedDict[str, list[Body]] = OrderedDict()

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
        asked = read(body, served, self._items.get, self._before(body))
        if asked_tokens(asked) > served.window:
            raise openai.bad(_TOO_LONG, "input", "context_length_exceeded")
        return asked

    def _before(self, body: Body) -> list[Body]:
        previous = body.get("previous_response_id")
        if previous and previous not in self._talks:
            message = f"Previous response with id '{previous}' not found."
            raise openai.bad(message, "previous_response_id", "previous_response_not_found")
        return self._talks[previous] if previous else []

    def whole(self, asked: Asked, said: Answer, usage: Usage | None, ids: Ids) -> Body:
        """A `response`."""
        output = _output(asked, said, ids)
        self._keep(asked, ids, output)
        return _response(asked, said, usage, ids, output)

    def _keep(self, asked: Asked, ids: Ids, output: list[Body]) -> None:
        if asked.body.get("store") is False:
            return
        given: Json = asked.body.get("input") or []
        asked_items: list[Body] = [{"role": "user", "content": given}] if isinstance(given, str) else given
        self._talks[ids.of("resp_")] = [*self._before(asked.body), *asked_items, *output]
        self._items |= {item["id"]: item for item in output}
        if len(self._talks) > KEPT:
            for item in self._talks.popitem(last=False)[1]:
                self._items.pop(item.get("id") or "", None)

    def frames(self, asked: Asked, said: Answer, usage: Usage | None, ids: Ids) -> list[Frame]:
        """Created, in progress; each item added, its deltas, done; completed or incomplete."""
        output = _output(asked, said, ids)
        self._keep(asked, ids, output)
        play = _Play()
        opening = {**_response(asked, said, None, ids, []), "status": "in_progress", "incomplete_details": None}
        play.add("head", "response.created", response=opening)
        play.add("head", "response.in_progress", response=opening)
        for i, item in enumerate(output):
            play.item(item, i, said)
        closing = _response(asked, said, usage, ids, output)
        play.add("tail", f"response.{closing['status']}", response=closing)
        return play.frames

    def error(self, refused: Refused, ids: Ids) -> tuple[int, dict[str, str], Body]:
        """Status, headers and body."""
        return openai.error(refused, ids)

    def error_frame(self, ids: Ids) -> bytes:
        """An `error` event, or a failed response: both are seen, so they take turns."""
        if ids.n % 2:
            error: Body = {"type": "error", "code": "server_error", "message": _FAILED, "param": None}
            return event({**error, "sequence_number": 999}, "error")
        failed = {"id": ids.of("resp_"), "object": "response", "created_at": int(time.time()), "status": "failed"}
        failed |= {"error": {"code": "server_error", "message": _FAILED}, "output": [], "usage": None, "model": ""}
        failed |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
        return event({"type": "response.failed", "sequence_number": 999, "response": failed}, "response.failed")

    def headers(self, standing: Standing | None, ids: Ids) -> dict[str, str]:
        """Request id and limits."""
        return openai.headers(standing, ids)

    def too_much(self, over: Over, asked: Asked) -> Refused:
        """429."""
        return openai.too_much(over, asked, asked_tokens(asked))


class _Play:
    """The events of one stream, numbered."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.started = False

    def add(self, part: Any, kind: str, count: int = 0, /, **fields: Json) -> None:
        if part == "between":
            part = "content" if self.started else "head"
        self.started = self.started or part == "content"
        data: Body = {"type": kind, "sequence_number": len(self.frames), **fields}
        self.frames.append(Frame(event(data, kind), part, count))

    def item(self, item: Body, i: int, said: Answer) -> None:
        place: Body = {"item_id": item["id"], "output_index": i}
        field = {"message": "content", "function_call": "arguments"}.get(item["type"], "summary")
        added: Body = {**item, field: "" if field == "arguments" else list[Json]()}
        if field != "summary":
            added["status"] = "in_progress"
        self.add("between", "response.output_item.added", output_index=i, item=added)
        match item["type"]:
            case "message":
                self.message(item, place)
            case "function_call":
                self.call(item, place)
            case _:
                self.reasoning(item, place, said)
        self.add("between", "response.output_item.done", output_index=i, item=item)

    def message(self, item: Body, place: Body) -> None:
        for j, part in enumerate(item["content"]):
            kind = part["type"]
            field = "refusal" if kind == "refusal" else "text"
            at = {**place, "content_index": j}
            self.add("between", "response.content_part.added", **at, part={**part, field: ""})
            more: Body = {} if kind == "refusal" else {"logprobs": []}
            for piece in tokens.split(part[field]):
                self.add("content", f"response.{kind}.delta", 1, **at, delta=piece, **more)
            self.add("between", f"response.{kind}.done", **at, **{field: part[field]}, **more)
            self.add("between", "response.content_part.done", **at, part=part)

    def call(self, item: Body, place: Body) -> None:
        kind, named = "response.function_call_arguments", tokens.count(item["name"])
        for piece in tokens.split(item["arguments"]):
            self.add("content", f"{kind}.delta", 1 + named, **place, delta=piece)
            named = 0
        self.add("between", f"{kind}.done", named, **place, arguments=item["arguments"], name=item["name"])

    def reasoning(self, item: Body, place: Body, said: Answer) -> None:
        hidden = tokens.count(said.thoughts)
        for j, part in enumerate(item["summary"]):
            at = {**place, "summary_index": j}
            self.add("between", "response.reasoning_summary_part.added", **at, part={**part, "text": ""})
            for piece in tokens.split(part["text"]):
                self.add("content", "response.reasoning_summary_text.delta", 1, **at, delta=piece)
                hidden -= 1
            self.add("between", "response.reasoning_summary_text.done", **at, text=part["text"])
            self.add("between", "response.reasoning_summary_part.done", **at, part=part)
        if hidden:
            self.frames[-1] = self.frames[-1]._replace(tokens=self.frames[-1].tokens + hidden)


def _output(asked: Asked, said: Answer, ids: Ids) -> list[Body]:
    found: list[Body] = []
    status = "incomplete" if said.finish in _INCOMPLETE else "completed"
    if said.thoughts:
        found.append(_reasoning(asked, said, ids))
    if said.text or not said.calls:
        part: Body = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
        if said.finish is Finish.REFUSAL:
            part = {"type": "refusal", "refusal": said.text}
        message: Body = {"id": ids.of("msg_"), "type": "message", "status": status, "role": "assistant"}
        found.append({**message, "content": [part] if said.text else []})
    for i, call in enumerate(said.calls):
        item: Body = {"id": ids.of("fc_", i), "type": "function_call", "status": status}
        called = call.id or ids.of("call_", i)
        found.append({**item, "call_id": called, "name": call.name, "arguments": call.arguments})
    return found


def _reasoning(asked: Asked, said: Answer, ids: Ids) -> Body:
    wants = object_of(asked.body.get("reasoning"))
    summary = [{"type": "summary_text", "text": said.thoughts}] if wants.get("summary") else []
    item: Body = {"id": ids.of("rs_"), "type": "reasoning", "summary": summary}
    if "reasoning.encrypted_content" in (asked.body.get("include") or ()):
        item["encrypted_content"] = SEALED + sign("openai", said.thoughts)
    return item


def _response(asked: Asked, said: Answer, usage: Usage | None, ids: Ids, output: list[Body]) -> Body:
    body, why = asked.body, _INCOMPLETE.get(said.finish)
    return {
        "id": ids.of("resp_"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "incomplete" if why else "completed",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": why} if why else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": asked.model,
        "output": output,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": object_of(body.get("reasoning")).get("effort"), "summary": None},
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": None if usage is None else _usage(usage),
        "user": None,
        "metadata": body.get("metadata") or {},
    }


def _usage(usage: Usage) -> Body:
    return {
        "input_tokens": usage.tokens_in,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.tokens_out,
        "output_tokens_details": {"reasoning_tokens": usage.thoughts},
        "total_tokens": usage.tokens_in + usage.tokens_out,
    }
