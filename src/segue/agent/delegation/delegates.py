"""Who may be delegated to: models, routes, tools, agents, flows, people, each described in the same way."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, cast

from ...core.records import TargetKind
from ...core.recovery import ONCE
from ...errors import DefinitionError
from ...runtime.flow import Flow
from ...runtime.step import Step, step
from ..durable.short import DurableAgent
from ..people import Notify
from ..tools import Tool
from ..tools.careful import careful
from .inputs import Inputs

__all__ = ["Delegate", "Person", "delegate_of", "delegates"]

_REMEDY = "give a name of a model or route, a step or function, an agent, a flow, or Person(...)"


@dataclass(frozen=True, kw_only=True)
class _Described:
    """What all of them may say of themselves."""

    about: str = ""
    """What it is for, in sentences. Of a function, a flow, an agent: its docstring, if nothing is said."""
    examples: Sequence[str] = ()
    """Requests that are its."""
    capabilities: Collection[str] = ()
    """What it can: words that `needs=` may ask for."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    """`residency`, `owner`, or any other that a route may require."""
    cost_usd: float | None = None
    """Of one request. A model's follows from its price."""
    latency_s: float | None = None
    """What it takes. A model's is known from its calls; a person's is an hour if nothing is said."""
    quality: float | None = None
    """How likely it is to do what nothing is known about, 0 to 1: more of who can do most things."""


@dataclass(frozen=True)
class Delegate(_Described):
    """One that may be delegated to, and what it is for."""

    target: Any
    """A name of a model or route, a step, a function, an agent, a flow, or a Person."""
    name: str = ""
    """Unique among the candidates; its own, if nothing is said."""
    kind: TargetKind = field(default=TargetKind.OTHER, kw_only=True)
    """What it is; found out."""
    timeout_s: float | None = field(default=None, kw_only=True)
    """It has failed when it takes longer."""

    @property
    def inputs(self) -> Inputs | None:
        """Its parameters; None of a model and a person, who take anything."""
        if self.kind in (TargetKind.MODEL, TargetKind.PERSON):
            return None
        target: object = self.target
        if isinstance(target, DurableAgent):
            return Inputs.of_run(cast("DurableAgent[Any]", target).__call__, self.name)
        if not callable(self.target):
            return Inputs.of_run(self.target.run, self.name)
        call: Callable[..., Any] = self.target
        try:
            return _inputs(call, self.name)
        except TypeError:  # it cannot be hashed
            return Inputs.of(call, self.name)


@dataclass(frozen=True)
class Person(_Described):
    """A person, or a queue of them, who is asked durably (`ask_human`)."""

    name: str
    """Who: a person or a role. The inbox shows it."""
    question: str = field(default="", kw_only=True)
    """What they are asked; the request itself, if nothing is said and it is a text."""
    timeout_s: float | None = field(default=None, kw_only=True)
    """They have failed when they take longer. None: they have for ever."""
    reassign_s: float | None = field(default=None, kw_only=True)
    """After so long the next of `or_else` is asked instead."""
    or_else: Sequence[str] = field(default=(), kw_only=True)
    remind_s: Sequence[float] = field(default=(), kw_only=True)
    notify: Notify | None = field(default=None, kw_only=True)
    """Called when they were asked, reminded of it, or somebody else is asked instead."""

    def __post_init__(self) -> None:
        """Hold what must be true: a question to nobody would wait for ever."""
        if not isinstance(self.name, str) or not self.name.strip():  # pyright: ignore[reportUnnecessaryIsInstance]  users err
            raise DefinitionError(f"{self.name!r} is no name of a person", remedy='say who: Person("front desk")')


def delegates(to: Iterable[object]) -> tuple[Delegate, ...]:
    """All of them, described. Raises DefinitionError for what cannot be one, and for two of one name."""
    if isinstance(to, str) or not isinstance(to, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise DefinitionError(f"delegate(to={to!r}): a list of candidates was expected", remedy=_REMEDY)
    made = tuple(map(delegate_of, to))
    if not made:
        raise DefinitionError("delegate(to=[]): nobody to choose from", remedy=_REMEDY)
    seen: set[str] = set()
    for one in made:
        if one.name in seen:
            raise DefinitionError(
                f"delegate: two candidates are called {one.name!r}", remedy="name one of them: Delegate(x, name=...)"
            )
        seen.add(one.name)
    return made


def delegate_of(given: object) -> Delegate:
    """One of them, with what is found out about it."""
    if isinstance(given, Delegate):
        found = _found(given.target)
        about = given.about or found.about
        return replace(found, **_said(given), about=about, target=found.target, kind=found.kind)
    return _found(given)


def _said(given: Delegate) -> dict[str, Any]:
    """What was said of it; what was left out is found out."""
    named = ("name", "examples", "capabilities", "tags", "cost_usd", "latency_s", "quality", "timeout_s")
    return {n: value for n in named if (value := getattr(given, n)) not in (None, "", (), {})}


def _found(target: Any) -> Delegate:  # noqa: PLR0911  one for each kind
    if isinstance(target, str):
        return Delegate(target, target, kind=TargetKind.MODEL)
    if isinstance(target, Person):
        told: dict[str, Any] = {n: getattr(target, n) for n in _Described.__dataclass_fields__}
        told["latency_s"] = 3600.0 if target.latency_s is None else target.latency_s
        return Delegate(target, target.name, kind=TargetKind.PERSON, timeout_s=None, **told)
    if isinstance(target, Flow):
        flow = cast("Flow[..., Any]", target)
        return Delegate(flow, flow.short, about=inspect.getdoc(flow.function) or "", kind=TargetKind.FLOW)
    if isinstance(target, Step):
        made = cast("Step[..., Any]", target)
        return Delegate(made, made.name, about=inspect.getdoc(made.function) or "", kind=TargetKind.TOOL)
    if isinstance(target, Tool):
        return _found(_step_of(cast("Tool[..., Any]", target)))
    if isinstance(target, DurableAgent):
        agent = cast("DurableAgent[Any]", target)
        return Delegate(agent, agent.name, about=agent.about, kind=TargetKind.AGENT)
    if inspect.isfunction(target) and not inspect.iscoroutinefunction(target):
        return replace(_found(_as_step(target)), name=target.__name__)
    if isinstance(target, type):
        raise DefinitionError(f"delegate: {target!r} is a class", remedy="give one that was made of it")
    if callable(target) or inspect.iscoroutinefunction(getattr(target, "run", None)):
        name = _text(target, "name") or _text(target, "__name__")
        if not name:
            raise DefinitionError(f"delegate: {target!r} has no name", remedy="name it: Delegate(x, name=...)")
        return Delegate(target, name, about=_about(target), kind=TargetKind.AGENT)
    raise DefinitionError(f"delegate: {target!r} cannot be delegated to", remedy=_REMEDY)


def _step_of(tool: Tool[..., Any]) -> Step[..., Any]:
    if tool.rule is not None:
        raise DefinitionError(
            f"delegate: {tool.name} has approve=, which holds for calls of a model",
            remedy="give an async function that asks `approve` and then calls it",
        )
    return tool.step


def _about(agent: Any) -> str:
    """What an agent says of itself: a description, else the docstring of a function, never that of its class."""
    for name in ("about", "description"):
        if said := _text(agent, name):
            return said
    return inspect.getdoc(agent) or "" if inspect.isroutine(agent) else ""


def _text(of: Any, name: str) -> str:
    said = getattr(of, name, None)
    return said if isinstance(said, str) else ""


@lru_cache(maxsize=4096)
def _as_step(function: Callable[..., Any]) -> Step[..., Any]:
    """A plain function as a step: it may do anything, so it does not run in the flow, and is not repeated in doubt."""
    return step(retry=careful("write", ONCE))(function)


@lru_cache(maxsize=4096)
def _inputs(function: Callable[..., Any], name: str) -> Inputs:
    return Inputs.of(function, name)
