"""How the requests of an agent are asked: the options, which need no library."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypedDict, cast

from ...errors import InputError
from ...routing import Policy as RoutingPolicy
from ..guards import Guard
from ..options import DEFAULTS
from ..recovery import Refused

__all__ = ["Routing", "routing"]

_MAX_TOKENS = 4096


_OTHERWISE = {
    "thread": "keep its conversation: result = await helper.run(...), then helper(..., history=result.all_messages())",
    "escalate": "catch its error in the flow, and call segue.escalate with it",
    "memory": "give it a tool that returns await memory.recall(question, [...]), or ask once with ask(memory=[...])",
    "temperature": "say it in Pydantic AI's way: Agent(model_settings={...}, capabilities=[Durable()])",
    "result_max": "say limit_chars=",
}
"""Options of `ask` and others that an agent does not have, and what to do in their place."""


class Routing(TypedDict, total=False):
    """How the requests of an agent are asked: as the options of `ask`, each for one request."""

    route: str | RoutingPolicy | None
    kind: str | None
    needs: Collection[str]
    require: Mapping[str, str] | None
    max_tokens: int
    """Of one answer, where the agent's settings do not say; 4096."""
    repairs: int
    attempts: int | None
    refused: Refused
    timeout_s: float
    budget_usd: float | None
    """For one request. What all may cost stands on the flow: `@flow(budget_usd=)`."""
    sticky: str | None
    guards: Sequence[Guard | Callable[[str], Any]]
    stream: bool
    """Whether answers are published while they come, also where nothing in the agent asks for a stream."""
    first_token_s: float | None
    stall_s: float | None


def routing(given: Routing) -> dict[str, Any]:
    """All options, with their defaults. Raises InputError for one that there is not."""
    names = Routing.__annotations__
    unknown = sorted(given.keys() - names.keys())
    own = next((name for name in unknown if name in _OTHERWISE), None)
    if own is not None:
        raise InputError(f"an agent has no {own}=", remedy=_OTHERWISE[own])
    if unknown:
        raise InputError(f"Durable has no option {unknown[0]!r}", remedy=f"its options are: {', '.join(names)}")
    defaults = cast("dict[str, Any]", DEFAULTS)
    return {**{name: defaults[name] for name in names}, "max_tokens": _MAX_TOKENS, **given}
