"""Calls of an agent's tools as steps, and what is said of each tool.

A tool of `segue.tool` says it itself; one of others in its metadata, under `segue`: `{"effect": "once", "timeout_s":
20}`. `False` in place of it runs the tool in the flow itself, so that it may wait durably, ask people and call other
agents.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from inspect import Parameter, Signature, isawaitable
from keyword import iskeyword
from typing import Any, TypedDict, cast, get_args

from pydantic_ai.tools import RunContext, ToolDefinition
from pydantic_ai.tools import Tool as Theirs
from pydantic_ai.toolsets import AbstractToolset, FunctionToolset

from ...core.commands import Effect
from ...core.recovery import ONCE, Recovery
from ...errors import DefinitionError
from ...runtime.flow import Flow
from ...runtime.step import Step, step
from ..tools import ApprovalRule, Tool
from ..tools.box import as_json
from ..tools.careful import careful
from ..tools.inside import Inside
from ..tools.rule import Approve, rule_of
from ..tools.tool import OnError, hold_options
from .servers import watch

__all__ = [
    "METADATA",
    "Calling",
    "Looking",
    "Making",
    "ToolRules",
    "as_tool",
    "call_step",
    "inside",
    "making_now",
    "put",
    "rules_of",
]

METADATA = "segue"
"""Under this key of a tool's metadata stands what is said of its calls."""


class ToolRules(TypedDict, total=False):
    """How the calls of a tool are made: the options of `segue.tool`, with their meaning."""

    effect: Effect
    timeout_s: float | None
    retry: Recovery
    reconcile: Callable[..., Any]
    """Of `effect="once"`: called with the arguments of the call."""
    approve: Approve
    limit_chars: int | None
    on_error: OnError


@dataclass(frozen=True, kw_only=True, slots=True)
class Calling:
    """How the calls of one tool are made."""

    name: str
    effect: Effect = "write"
    timeout_s: float | None = None
    retry: Recovery = ONCE
    reconcile: Callable[..., Any] | None = None
    rule: ApprovalRule | None = None
    limit_chars: int | None = None
    on_error: OnError = "tell"
    inside: bool = False
    """Whether it runs in the flow itself: what it does there is durable, or has no effect."""
    ours: Tool[..., Any] | None = None
    """The tool, where `segue.tool` made it."""

    @property
    def known(self) -> Effect | None:
        """Its class, where it is a step."""
        return None if self.inside and self.ours is None else self.effect


@dataclass(slots=True)
class Making:
    """The call that is made now."""

    of: int
    """The request that it answers, by its number in the agent's run."""
    ours: Tool[..., Any] | None
    """The tool whose rules it keeps, where `segue.tool` made it."""
    key: str | None = None
    """Of its step, once it is known."""


making_now: ContextVar[Making | None] = ContextVar("segue_agent_call", default=None)


def as_tool(given: Callable[..., Any], theirs: Theirs[Any] | None = None) -> Any:
    """A function, a step or a tool of ours as one of Pydantic AI; what `theirs`, made of it, says beside stays said.

    Raises DefinitionError.
    """
    tool = Tool.of(given)
    said = tool.definition

    async def call(**args: Any) -> Any:
        values, making = tool.read(as_json(args)), making_now.get()
        if making is not None and making.ours is None:  # its metadata says otherwise
            tool.seen()
        elif making is not None:
            making.key = tool.step.key_of(**values)  # now, since an equal call may have been made before it
        return await tool(**values)

    made = Theirs[Any].from_schema(
        call, tool.name, said["description"], said["parameters_json_schema"], sequential=tool.effect == "once"
    )
    made.metadata = {METADATA: tool}
    return made if theirs is None else _over(theirs, made)


def _over(theirs: Theirs[Any], made: Theirs[Any]) -> Theirs[Any]:
    """A tool of Pydantic AI that was made of one of ours, called as ours."""
    if theirs.timeout is not None:
        raise DefinitionError(
            f"tool {theirs.name}: timeout={theirs.timeout:g} would not be the same on a replay",
            remedy="say timeout_s= of the step, or of @tool",
        )
    own = theirs.description != theirs.function_schema.description
    return replace(
        theirs, name=_name(theirs, made.name), function=made.function, function_schema=made.function_schema,
        takes_ctx=False, description=theirs.description if own else made.description,
        sequential=theirs.sequential or made.sequential,
        metadata={**(made.metadata or {}), **(theirs.metadata or {})},
    )  # fmt: skip


def _name(theirs: Theirs[Any], ours: str) -> str:
    """What the model calls it: what it is called here, where nobody has said otherwise there."""
    function: object = theirs.function
    return ours if theirs.name == getattr(function, "__name__", None) else theirs.name


def put(leaf: FunctionToolset[Any], tools: Sequence[Theirs[Any]]) -> None:
    """Let a toolset have these, by their names. Raises DefinitionError for two of one name."""
    by_name = {one.name: one for one in tools}
    if len(by_name) < len(tools):
        raise DefinitionError(f"two of these tools are called alike: {', '.join(one.name for one in tools)}")
    leaf.tools.clear()
    leaf.tools.update(by_name)


def inside(theirs: Theirs[Any]) -> None:
    """Let a flow be called as one. Raises DefinitionError for rules that would not be held."""
    said = (theirs.metadata or {}).get(METADATA, False)
    if said:
        raise DefinitionError(
            f"tool {theirs.name}: metadata[{METADATA!r}] is {said!r}, and it is a flow, which is called as such",
            remedy="say requires_approval=True for one that a person must approve; its steps say all else",
        )
    flow: Flow[..., Any] = cast("Any", theirs.function)
    theirs.name = _name(theirs, flow.short)
    theirs.function_schema.is_async = True
    theirs.metadata = {**(theirs.metadata or {}), METADATA: False}


class Looking:
    """Makes a toolset for a run, in which steps and tools keep their class, and a server that dies has not refused.

    Its call raises DefinitionError for a tool that must be approved, or reconciled: that would not be known there.
    """

    def __init__(self, make: Callable[[RunContext[Any]], Any]):
        self._make = make

    def __call__(self, ctx: RunContext[Any]) -> Any:
        """The toolset; None where there is none."""
        made = self._make(ctx)
        return self._later(made) if isawaitable(made) else _as_json(made)

    async def _later(self, made: Awaitable[Any]) -> Any:
        return _as_json(await made)


def _as_json(made: AbstractToolset[Any] | None) -> AbstractToolset[Any] | None:
    """With the rules of steps and tools as JSON: the list of what is in it is the result of a step."""

    def look(leaf: AbstractToolset[Any]) -> None:
        if hasattr(leaf, "direct_call_tool"):
            watch(leaf)
        if not isinstance(leaf, FunctionToolset):
            return
        for one in leaf.tools.values():
            function: object = one.function
            if isinstance(function, Flow):
                inside(one)
            elif isinstance(function, Tool | Step):
                tool = Tool.of(cast("Callable[..., Any]", function))
                one.name, one.metadata = _name(one, tool.name), {METADATA: _rules_as_json(tool), **(one.metadata or {})}
        put(leaf, list(leaf.tools.values()))

    if made is not None:
        made.apply(look)
    return made


def _rules_as_json(tool: Tool[..., Any]) -> dict[str, Any] | bool:
    """False: an agent, which is called in the flow. Raises DefinitionError."""
    if isinstance(tool.step, Inside):
        return False
    tool.seen()
    options = tool.step.options
    if options.reconcile is not None:
        raise DefinitionError(
            f"tool {tool.name}: its reconcile= is not known where the agent has it from",
            remedy="give it to agent(tools=[...]), or to an Agent with Durable() when it is made",
        )
    return {
        "effect": tool.effect, "timeout_s": options.timeout_s, "limit_chars": tool.limit_chars,
        "on_error": tool.on_error,
    }  # fmt: skip


def rules_of(tool: ToolDefinition | None) -> Calling:
    """What a tool says of itself. What an MCP server says: a tool that only reads is made again after a crash.

    Raises DefinitionError.
    """
    name = "" if tool is None else tool.name
    metadata: Mapping[str, Any] = (tool.metadata if tool is not None else None) or {}
    said = metadata.get(METADATA, {})
    if said is False:
        return Calling(name=name, effect="read", on_error="raise", inside=True)
    if isinstance(said, Tool):
        ours = cast("Tool[..., Any]", said)
        return Calling(
            name=name, effect=ours.effect, rule=ours.rule, limit_chars=ours.limit_chars, on_error=ours.on_error,
            inside=True, ours=ours,
        )  # fmt: skip
    if not isinstance(said, dict) or said.keys() - ToolRules.__annotations__.keys():
        raise DefinitionError(
            f"tool {name}: metadata[{METADATA!r}] is {said!r}",
            remedy=f"give False, or a dict of {', '.join(ToolRules.__annotations__)}",
        )
    rules = dict(cast("dict[str, Any]", said))
    hints = metadata.get("annotations")
    if "effect" not in rules and isinstance(hints, dict) and cast("dict[str, Any]", hints).get("readOnlyHint"):
        rules["effect"] = "read"
    rule = rule_of(rules.pop("approve", False))
    calling = Calling(name=name, rule=rule, **rules)
    _hold(calling, tool)
    return calling


def _hold(calling: Calling, tool: ToolDefinition | None) -> None:
    """Raises DefinitionError for rules that do not fit together, before anything is called."""
    if calling.effect not in get_args(Effect):
        raise DefinitionError(f"tool {calling.name}: effect={calling.effect!r}: one of {', '.join(get_args(Effect))}")
    hold_options(f"tool {calling.name}", calling.on_error, calling.limit_chars)
    if calling.rule is not None and tool is not None:
        calling.rule.holds(list(tool.parameters_json_schema.get("properties", ())), calling.name)


def call_step(calling: Calling, args: Mapping[str, Any], body: Callable[[], Any]) -> tuple[Step[..., Any], Any]:
    """The step of one call, and what it is called with: the arguments stand in the journal by their names.

    Those that are no names of Python stand under `arguments`.
    """
    named = all(one.isidentifier() and not iskeyword(one) for one in args)

    async def call(**_: Any) -> Any:
        return await body()

    names = list(args) if named else ["arguments"]
    cast("Any", call).__signature__ = Signature([Parameter(one, Parameter.KEYWORD_ONLY) for one in names])
    reconcile, effect = calling.reconcile, calling.effect
    made: Step[..., Any] = step(
        name=_step_name(calling.name), timeout_s=calling.timeout_s, effect=effect,
        retry=calling.retry if effect == "once" else careful(effect, calling.retry),
        reconcile=reconcile if named or reconcile is None else _spread(reconcile),
    )(call)  # fmt: skip
    return made, dict(args) if named else {"arguments": dict(args)}


def _spread(reconcile: Callable[..., Any]) -> Callable[..., Any]:
    def spread(arguments: dict[str, Any]) -> Any:
        return reconcile(**arguments)

    return spread


def _step_name(name: str) -> str:
    return "".join("_" if one in "/[]#" else one for one in name)
