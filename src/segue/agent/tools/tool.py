"""`@tool`: a function that a model may call, with what it does to the world and what must be held of its calls."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, ParamSpec, TypeVar, cast, get_args, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from ...core.commands import Effect
from ...core.recovery import Recovery
from ...errors import DefinitionError
from ...runtime.flow import Flow
from ...runtime.step import Step, step
from .careful import careful
from .inside import inside
from .rule import ApprovalRule, Approve, rule_of

__all__ = ["LIMIT_MIN", "OnError", "Tool", "hold_options", "tool", "unseen"]

P = ParamSpec("P")
R = TypeVar("R")

OnError = Literal["tell", "raise"]
"""What becomes of an error that a tool raises: the model is told of it, or the question fails with it."""
LIMIT_MIN = 400
"""Characters that a limit must leave, for a result to say anything beside that it was cut."""
unseen: ContextVar[str | None] = ContextVar("segue_unseen_tool", default=None)
"""The name of the tool of others that an agent calls now: what it is made of is not known."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Tool(Generic[P, R]):
    """A function that a model may call. Its parameters are those of its signature, its docstring is what it is for.

    Called by the flow itself it is its step, without the approval that a model's call needs.
    """

    step: Step[P, R]
    rule: ApprovalRule | None = None
    limit_chars: int | None = None
    on_error: OnError = "tell"

    def __post_init__(self) -> None:
        """Be read as its function is, by whoever looks at signatures."""
        of = self.step.function
        for name in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__"):
            object.__setattr__(self, name, getattr(of, name, None))
        object.__setattr__(self, "__wrapped__", of)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the step. Raises DefinitionError where an agent calls it that does not know its rule."""
        if unseen.get() == self.name:
            self.seen()
        return await self.step(*args, **kwargs)

    def seen(self) -> None:
        """Raises DefinitionError for a tool with a rule, where the agent that has it does not know of it."""
        if self.rule is not None:
            raise DefinitionError(
                f"tool {self.name}: its approve= is not seen where the agent has it from",
                remedy="give it to agent(tools=[...]), or to an Agent with Durable() when it is made",
            )

    @property
    def name(self) -> str:
        """What the model calls it."""
        return self.step.name

    @property
    def effect(self) -> Effect:
        """What it does to the world."""
        return self.step.options.effect

    @classmethod
    def of(cls, given: Callable[..., Any]) -> Tool[..., Any]:
        """Of a tool, a step, a function, a flow or an agent. Raises DefinitionError for what cannot be a tool."""
        if isinstance(given, Flow):
            flow = cast("Flow[..., Any]", given)
            return cls.inside(flow.function, flow.short, flow)
        own = getattr(given, "as_tool", given)
        return cast("Tool[..., Any]", own) if isinstance(own, Tool) else tool(given)

    @classmethod
    def inside(cls, function: Callable[..., Any], name: str, call: Callable[..., Any]) -> Tool[..., Any]:
        """Of what is called in the flow itself, with the parameters of `function`. Its errors are the caller's."""
        made = Tool(inside(function, name, call), on_error="raise")
        _ = made.definition
        return made

    @cached_property
    def _arguments(self) -> type[BaseModel]:
        function = inspect.unwrap(self.step.function)
        try:
            hints = get_type_hints(function, include_extras=True)
        except NameError as error:
            raise DefinitionError(f"tool {self.name}: an annotation cannot be read: {error}") from error
        fields: dict[str, Any] = {
            name: (hints.get(name, Any), ... if one.default is one.empty else Field(default=one.default))
            for name, one in inspect.signature(function).parameters.items()
        }
        return create_model(self.name, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields)

    @cached_property
    def definition(self) -> dict[str, Any]:
        """What a model is told of it: name, description, schema."""
        schema = self._arguments.model_json_schema()
        schema.pop("title", None)
        about = inspect.getdoc(self.step.function) or ""
        return {"name": self.name, "description": about, "parameters_json_schema": schema}

    def read(self, args: str) -> dict[str, Any]:
        """The arguments that are given. Raises ValueError, worded for the model."""
        try:
            given = self._arguments.model_validate_json(args.strip() or "{}")
        except ValidationError as bad:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in bad.errors()[:4])
            raise ValueError(f"these arguments do not fit: {wrong}") from bad
        return {name: getattr(given, name) for name in given.model_fields_set}

    def whole(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All arguments of a call, with the defaults of those that are not given, in the order of the signature."""
        parameters = inspect.signature(self.step.function).parameters
        return {name: given.get(name, one.default) for name, one in parameters.items()}


def hold_options(what: str, on_error: str, limit_chars: object) -> None:
    """Raises DefinitionError for options that say nothing."""
    if on_error not in get_args(OnError):
        raise DefinitionError(f"{what}: on_error={on_error!r}: one of 'tell', 'raise'")
    if limit_chars is not None and (not isinstance(limit_chars, int) or limit_chars < LIMIT_MIN):
        raise DefinitionError(f"{what}: limit_chars={limit_chars!r}: a whole number from {LIMIT_MIN}")


@overload
def tool(function: Callable[P, Coroutine[Any, Any, R]] | Step[P, R] | Callable[P, R], /) -> Tool[P, R]: ...
@overload
def tool(
    *,
    effect: Effect | None = None,
    timeout_s: float | None = None,
    retry: Recovery | None = None,
    reconcile: Callable[..., Any] | None = None,
    approve: Approve = False,
    limit_chars: int | None = None,
    on_error: OnError = "tell",
    name: str | None = None,
) -> ToolDecorator: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    effect: Effect | None = None,
    timeout_s: float | None = None,
    retry: Recovery | None = None,
    reconcile: Callable[..., Any] | None = None,
    approve: Approve = False,
    limit_chars: int | None = None,
    on_error: OnError = "tell",
    name: str | None = None,
) -> Any:
    """Make a function, or a step, a tool: one for `ask(tools=[...])`.

    `effect` says what it does to the world, and so what follows when nobody knows what came of a call, since the
    process ended, its time was over or the connection was lost. `read`: it is made again. `write` (what a plain
    function is, and the default): it is not; the model is told that nobody knows. `once`: it is reconciled, by
    `reconcile(...)` or by a person, and the run waits for that. `timeout_s` limits one attempt, `retry` says what
    follows one that has surely failed (default: three attempts for a `read`, one for the others).

    `approve` names the calls that a person must approve: True for all, a function of the arguments that is true for
    those that need it, or an `ApprovalRule`. What is approved is exactly what is called; what is denied is not called,
    and the model is told so. It takes a run to wait in.

    Of a longer result than `limit_chars` the middle is cut, and the model can have it piece by piece (`recall`).
    `on_error="raise"`: an error fails the question. Else the model is told of it. A ValueError always goes back to the
    model: it is the tool's word that the arguments will not do.

    What is not said here, a step keeps from its own decorator. Raises DefinitionError.
    """
    made = ToolDecorator(effect, timeout_s, retry, reconcile, rule_of(approve), limit_chars, on_error, name)
    return made if function is None else made(function)


@dataclass(frozen=True)
class ToolDecorator:
    """`@tool(...)` with its options, waiting for the function."""

    effect: Effect | None
    timeout_s: float | None
    retry: Recovery | None
    reconcile: Callable[..., Any] | None
    rule: ApprovalRule | None
    limit_chars: int | None
    on_error: OnError
    name: str | None

    def __post_init__(self) -> None:
        """Hold what must be true."""
        hold_options("tool", self.on_error, self.limit_chars)

    def __call__(self, function: Callable[..., Any], /) -> Tool[..., Any]:
        """Make the tool."""
        if not callable(function):
            raise DefinitionError(f"{function!r} is no tool", remedy="give a function, a step, a flow or an agent")
        if isinstance(function, Tool):
            raise DefinitionError(f"{function.name} is a tool already", remedy="give all options in one @tool(...)")
        given = cast("Step[..., Any]", function) if isinstance(function, Step) else None
        made = self._from(cast("Callable[..., Any]", function)) if given is None else self._over(given)
        if not _NAME.fullmatch(made.name):
            raise DefinitionError(f"{made.name!r} is no name for a tool", remedy="letters, digits, _ and -; at most 64")
        if made.options.effect != "once":
            made = made.using(retry=careful(made.options.effect, made.options.retry))
        if self.rule is not None:
            self.rule.holds(list(inspect.signature(made.function).parameters), made.name)
        tool: Tool[..., Any] = Tool(made, self.rule, self.limit_chars, self.on_error)
        _ = tool.definition
        return tool

    def _from(self, function: Callable[..., Any]) -> Step[..., Any]:
        return step(
            name=self.name, retry=self.retry, timeout_s=self.timeout_s, effect=self.effect or "write",
            reconcile=self.reconcile,
        )(function)  # fmt: skip

    def _over(self, given: Step[..., Any]) -> Step[..., Any]:
        """A step with other options; what makes it another step altogether is said where it is made."""
        for what in ("effect", "reconcile", "name"):
            if getattr(self, what) is not None:
                raise DefinitionError(
                    f"tool({what}=...) of the step {given.name}: a step says that itself",
                    remedy=f"write @step({what}=...), or @tool(...) on the function without @step",
                )
        return given.using(retry=self.retry, timeout_s=self.timeout_s)
