"""Calls of an agent's tools as steps: what is said of each tool, and a result that is not larger than it may be.

A tool says it in its metadata, under `segue`: `{"effect": "once", "timeout_s": 20}`. `False` in place of it runs the
tool in the flow itself, so that it may wait durably, ask people and call other agents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, Signature
from keyword import iskeyword
from typing import Any, Literal, TypedDict, cast

from pydantic_ai.tools import ToolDefinition
from pydantic_core import to_json

from ...core.commands import Effect
from ...core.recovery import ONCE, Recovery
from ...errors import DefinitionError
from ...runtime.step import step

__all__ = ["METADATA", "ToolRules", "bounded", "call_step", "rules_of"]

METADATA = "segue"
"""Under this key of a tool's metadata stands what is said of its calls."""


class ToolRules(TypedDict, total=False):
    """How the calls of a tool are made: as the options of a `@step`."""

    effect: Effect
    timeout_s: float | None
    retry: Recovery
    reconcile: Callable[..., Any]
    """Of `effect="once"`: called with the arguments of the call."""
    result_max: int
    """Characters of a result that are kept; what is more is cut, and said to be."""


def rules_of(tool: ToolDefinition | None) -> ToolRules | Literal[False]:
    """What a tool says of itself. What an MCP server says: a tool that only reads is made again after a crash."""
    metadata: Mapping[str, Any] = (tool.metadata if tool is not None else None) or {}
    said = metadata.get(METADATA, {})
    if said is False:
        return False
    if not isinstance(said, dict) or said.keys() - ToolRules.__annotations__.keys():
        name = "" if tool is None else tool.name
        raise DefinitionError(
            f"tool {name}: metadata[{METADATA!r}] is {said!r}",
            remedy=f"give False, or a dict of {', '.join(ToolRules.__annotations__)}",
        )
    rules = cast("ToolRules", dict(cast("dict[str, Any]", said)))
    hints = metadata.get("annotations")
    if "effect" not in rules and isinstance(hints, dict) and cast("dict[str, Any]", hints).get("readOnlyHint"):
        rules["effect"] = "read"
    return rules


def call_step(name: str, args: Mapping[str, Any], rules: ToolRules, body: Callable[[], Any]) -> Any:
    """The step of one call, which is still to be called with the arguments: they stand in the journal by their names.

    Those that are no names of Python stand under `arguments`.
    """
    named = all(one.isidentifier() and not iskeyword(one) for one in args)

    async def call(**_: Any) -> Any:
        return await body()

    names = list(args) if named else ["arguments"]
    cast("Any", call).__signature__ = Signature([Parameter(one, Parameter.KEYWORD_ONLY) for one in names])
    reconcile = rules.get("reconcile")
    made = step(
        name=_step_name(name), retry=rules.get("retry") or ONCE, timeout_s=rules.get("timeout_s"),
        effect=rules.get("effect", "write"), reconcile=reconcile if named or reconcile is None else _spread(reconcile),
    )(call)  # fmt: skip
    return made(**args) if named else made(arguments=dict(args))


def _spread(reconcile: Callable[..., Any]) -> Callable[..., Any]:
    def spread(arguments: dict[str, Any]) -> Any:
        return reconcile(**arguments)

    return spread


def _step_name(name: str) -> str:
    return "".join("_" if one in "/[]#" else one for one in name)


@dataclass(slots=True)
class _Room:
    """What is left of the characters that a result may have."""

    left: int


def bounded(payload: Any, most: int) -> Any:
    """A result as JSON with at most so many characters, about: its texts and lists end early, and say so."""
    size = len(to_json(payload))
    if size <= most:
        return payload
    return _cut(payload, _Room(most))


def _cut(value: Any, room: _Room) -> Any:
    if isinstance(value, str):
        kept = value[: max(room.left, 0)]
        room.left -= len(value)
        return value if len(kept) == len(value) else f"{kept}… ({len(value) - len(kept)} characters more were cut)"
    if isinstance(value, list):
        items: list[Any] = []
        for at, one in enumerate(cast("list[Any]", value)):
            if room.left <= 0:
                return [*items, f"… ({len(cast('list[Any]', value)) - at} more were cut)"]
            items.append(_cut(one, room))
            room.left -= 2
        return items
    if isinstance(value, dict):
        made: dict[str, Any] = {}
        for name, one in cast("dict[str, Any]", value).items():
            room.left -= len(name) + 6
            made[name] = _cut(one, room)
        return made
    room.left -= 6
    return value
