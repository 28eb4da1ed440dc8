"""A question with tools: rounds of a request and the calls that it brings, each a durable step of its own.

In a flow all of it stands in a scope `ask[…]#k/`: `…/ask[…]#1` is the first request, `…/look_up[…]#1` a call. A crash
in the middle repeats no request and no call that has an outcome. Calls of one round are made at once; where one of
them has an effect that happens once, one after the other, in the order in which the model asked for them.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..core.codec import fingerprint
from ..core.keys import quoted
from ..models.errors import ToolsUnending
from ..models.exchange import Reply
from ..runtime.fan import abreast
from ..runtime.scope import StepScope, enter, here, leave, opened, published_to
from .request import Asked, Given, Question, Tried
from .tools.approving import evidence_of
from .tools.box import Tools, as_json

__all__ = ["rounds", "turn"]

Turns = list[dict[str, Any]]
"""Messages as JSON: what the model said, and what its calls gave."""


async def rounds(
    ask: Callable[[Question, Turns], Awaitable[Given]], question: Question, tools: Tools, most: int, key: str | None
) -> Given:
    """Ask until there is an answer. Raises ToolsUnending after `most` rounds, and what a tool raises."""
    turns: Turns = []
    tried: list[Tried] = []
    given = Given(value=None, tried=[])
    tools.thread = None if question.thread is None else (question.thread, question.heard)
    with opened("ask", quoted(key) if key is not None else _identity(question)), _numbered():
        for _ in range(most):
            given = await ask(question, turns)
            _closed()
            tried += given.tried
            if given.said is None:
                return replace(given, tried=tried)
            tools.turns = turns
            turns = [*turns, given.said, await _answered(given, tools)]
            question = replace(question, first=given.tried[-1].model)
    names = ", ".join(dict.fromkeys(one.name for one in given.calls))
    error = ToolsUnending(
        f"after {most} rounds the model still calls tools: {names}",
        remedy="ask with a larger rounds=, or say in the prompt when to stop",
    )
    error.rounds = most
    raise error


@contextmanager
def _numbered() -> Generator[None]:
    """Outside of a run a scope in which the calls of a question are numbered, as in a step: each has its own stream."""
    if here() is not None:
        yield
        return
    token = enter(StepScope("", "ask", 1))
    try:
        yield
    finally:
        leave(token)


def _closed() -> None:
    """The call is over, and so is its stream, for whoever reads it outside of a run; within one the journal says so."""
    scope = here()
    if isinstance(scope, StepScope) and published_to() is not None:
        for outlet in scope.outlets or ():
            outlet.close()


def turn(reply: Reply, tried: list[Tried]) -> Given:
    """A turn that calls tools, in place of an answer."""
    from pydantic_ai.messages import ModelMessagesTypeAdapter  # noqa: PLC0415  heavy, and only who asks needs it

    said: dict[str, Any] = ModelMessagesTypeAdapter.dump_python([reply.message], mode="json")[0]
    calls = [Asked(id=one.tool_call_id, name=one.tool_name, args=as_json(one.args)) for one in reply.tool_calls]
    return Given(value=None, tried=tried, said=said, calls=calls)


async def _answered(given: Given, tools: Tools) -> dict[str, Any]:
    """The message with what the calls gave, in their order. Those that wait for a person's yes wait at once."""
    tools.evidence = _evidence(given)
    if tools.in_order(given.calls):
        ready = await abreast(*(tools.ready(call) for call in given.calls))
        told = [await tools.make(call) for call in ready]
    else:
        told = await abreast(*(tools.call(call) for call in given.calls))
    parts = [
        {"tool_name": call.name, **one.said, "tool_call_id": call.id, "part_kind": "tool-return"}
        for call, one in zip(given.calls, told, strict=True)
    ]
    return {"parts": parts, "kind": "request"}


def _evidence(given: Given) -> dict[str, Any]:
    """What a person is shown beside a call: who asks for it, and what they said."""
    parts: Sequence[Mapping[str, Any]] = (given.said or {}).get("parts", ())
    texts = [str(part["content"]) for part in parts if part.get("part_kind") == "text" and part.get("content")]
    return evidence_of(given.tried[-1].model, texts)


def _identity(question: Question) -> str:
    said: Mapping[str, Sequence[str] | str] = {"prompt": question.prompt, "parts": question.parts}
    return fingerprint(json.dumps(said, ensure_ascii=False).encode())
