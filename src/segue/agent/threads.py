"""A thread: what was asked and answered under one name, over all runs, is what the next question goes on from.

Nothing is copied. The outcome of a question is a turn of its thread, noted in the same commit; the next question
journals how far it has read, so that a replay and a later attempt see the same turns. Only as much of the past is read
as the largest window could hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..runtime.scope import StepScope, step_scope, surroundings
from ..runtime.step import step
from .turns import recalled

__all__ = ["heard", "history", "recall"]

_MOST = 8
"""Characters for one token of a window: more than a token has in the mean, so that what is read fills it."""


@step(name="thread")
async def heard(thread: str) -> int:
    """The number of the last turn of a thread: how far it is read; 0 where it has none, and outside of an engine."""
    around = surroundings()
    if around is None or around.outside is None:
        return 0
    return around.outside.heard(step_scope().tenant, thread)


@step(name="recall")
async def recall(thread: str, upto: int, handle: str) -> str | None:
    """What was said in a thread, by the handle that stands in its place; None where nothing has it."""
    around = surroundings()
    if around is None or around.outside is None:
        return None
    said = around.outside.said(step_scope().tenant, thread, upto)
    found = (recalled(list(_turn(json.loads(args), json.loads(value))), handle) for _, args, value in said)
    return next((text for text in found if text is not None), None)


def history(thread: str, upto: int, scope: StepScope, window: int) -> list[dict[str, Any]]:
    """The turns that a question goes on from, as messages of pydantic-ai, oldest first."""
    around = surroundings()
    if around is None or around.outside is None or not upto:
        return []
    turns: list[list[dict[str, Any]]] = []
    left = window * _MOST
    for _, args, value in around.outside.said(scope.tenant, thread, upto):
        turns.append(list(_turn(json.loads(args), json.loads(value))))
        left -= sum(len(str(part.get("content", part.get("args", "")))) for one in turns[-1] for part in one["parts"])
        if left < 0:
            break
    return [message for turn in reversed(turns) for message in turn]


def _turn(args: dict[str, Any], given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One turn: what was asked, what tools gave, and the answer."""
    from ..models.conversation import MAKER  # noqa: PLC0415  heavy, and only who asks needs it

    question: dict[str, Any] = args["question"]
    seen = [f"({one['type']} was shown)" for one in args.get("media", ())]
    asked = "\n".join([question["prompt"], *question.get("parts", ()), *seen])
    yield {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": asked}]}
    yield from args.get("turns", ())
    tried: list[dict[str, Any]] = given["tried"]
    last: dict[str, Any] = tried[-1] if tried else {}
    said = last.get("text") or json.dumps(given["value"], ensure_ascii=False)
    maker = {"metadata": {MAKER: {"model": last["model"], "deployment": None}}} if last.get("model") else {}
    yield {"kind": "response", "parts": [{"part_kind": "text", "content": said}], **maker}
