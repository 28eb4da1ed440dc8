"""The calls that a question has taken so far, as its faults carry them from one attempt to the next."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ..core.faults import Fault, FaultKind
from ..core.records import Usage
from ..models import Model
from ..models.exchange import Reply
from ..models.health import Place
from ..runtime.scope import StepScope
from ..runtime.stories import calls_of
from .failures import DEPLOYMENT, asked_in
from .request import Tried

__all__ = ["answered", "before", "beside", "of_model", "tried_of", "tries_of", "with_tries"]


def of_model(
    fault: Fault, model: Model, reply: Reply | None = None, place: Place | None = None, usage: Usage | None = None
) -> Fault:
    """A fault that names its model and deployment, and what the call took: the next attempt reads it."""
    state: dict[str, Any] = {**(fault.state or {}), "model": model.name}
    if place is not None:
        state[DEPLOYMENT] = place.deployment.name
    if reply is not None:
        usage = reply.usage
        state |= {"text": reply.text[:2000], "seconds": round(reply.latency_s, 3)}
    if usage is not None:
        state |= {"tokens_in": usage.tokens_in, "tokens_out": usage.tokens_out}
        if usage.cost_nano is not None:
            state["cost_nano"] = usage.cost_nano
    return fault._replace(state=state)


def with_tries(fault: Fault, scope: StepScope) -> Fault:
    """With all calls so far, for whoever catches the last error; the longest texts go first where they are many."""
    tries = [*before(scope), _failed(fault)]
    said = json.dumps([{name: getattr(one, name) for name in Tried.__slots__} for one in tries])
    return fault._replace(state={**(fault.state or {}), "tries": said if len(said) < 16_000 else "[]"})


def before(scope: StepScope) -> list[Tried]:
    """The calls before this attempt."""
    return tries_of([a.fault for a in scope.history])


def tries_of(faults: Iterable[Fault | None]) -> list[Tried]:
    """The calls that ended in these faults; an attempt that a crash cut off is none that anybody heard of."""
    return [_failed(fault) for fault in faults if fault is not None and asked_in(fault) is not None]


def _failed(fault: Fault) -> Tried:
    state = fault.state or {}
    return Tried(
        model=asked_in(fault) or "",
        error=fault.message,
        fault=fault.kind.value,
        text=str(state.get("text", "")),
        tokens_in=int(state.get("tokens_in", 0)),
        tokens_out=int(state.get("tokens_out", 0)),
        cost_nano=state.get("cost_nano"),
        seconds=float(state.get("seconds", 0.0)),
    )


def answered(model: Model, reply: Reply) -> Tried:
    """The call that gave the answer."""
    usage = reply.usage
    return Tried(
        model=model.name,
        text=reply.text,
        tokens_in=usage.tokens_in,
        tokens_out=usage.tokens_out,
        cost_nano=usage.cost_nano,
        seconds=round(reply.latency_s, 3),
    )


def beside(model: Model, why: str, usage: Usage | None, seconds: float, fault: Fault | None = None) -> Tried:
    """A call beside that one: it was overtaken, or failed."""
    return Tried(
        model=model.name,
        error=why,
        fault=(FaultKind.INTERRUPTED if fault is None else fault.kind).value,
        tokens_in=0 if usage is None else usage.tokens_in,
        tokens_out=0 if usage is None else usage.tokens_out,
        cost_nano=None if usage is None else usage.cost_nano,
        seconds=round(seconds, 3),
    )


def tried_of(error: Exception) -> tuple[Tried, ...]:
    """The calls of a question that has no answer, as its last error carries them."""
    return tuple(Tried(**call) for call in calls_of(error) if call.keys() <= set(Tried.__slots__))
