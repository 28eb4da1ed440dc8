"""How a question may be asked. Every option has a default; a name that is none is refused with the list of all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypedDict, cast

from ..context import Scope
from ..errors import InputError, NotInAFlow
from ..routing import Policy as RoutingPolicy
from ..runtime.scope import FlowScope, here, surroundings
from ..runtime.thread import Thread, named
from .bounds import hold
from .guards.guard import Guard
from .prompts.filling import Prompt
from .recovery import Refused

__all__ = ["DEFAULTS", "Options", "checked", "own_thread", "thread_of"]


class Options(TypedDict, total=False):
    """What `ask` and `answer` take beside the prompt, its parts, `returns`, `examples` and `check`."""

    route: str | RoutingPolicy | None
    """A name of segue.toml, or a policy. None: the cheapest that can."""
    model: str | None
    """The only one that may answer."""
    system: str | Prompt
    """What the model is told of its role: a text, or a named prompt."""
    kind: str | None
    """The kind of task, where the caller knows it better than the router would guess."""
    needs: Collection[str]
    """Capabilities that the model must have."""
    require: Mapping[str, str] | None
    """Tags that it must have: `{"residency": "eu"}`."""
    max_tokens: int
    """Of the answer."""
    repairs: int
    """How often one model is shown its mistake."""
    attempts: int | None
    """Calls at most, of all models together. None: eight that may have cost something; calls that were turned away are
    made again for as long as an outage is waited for, 150 seconds.
    """
    refused: Refused
    """What follows a refusal: `fail`, or `next` for a detour around it."""
    timeout_s: float
    """For one call, the last token included."""
    escalate: str | None
    """Who is asked when no model's answer will do: a person, a role. None: it fails. In a run only."""
    escalate_s: float | None
    """How long they have before it fails after all. None: they have for ever."""
    budget_usd: float | None
    """What it may cost in all, its attempts together, in USD."""
    settings: Mapping[str, Any] | None
    """For the model: `temperature`, `seed`."""
    sticky: str | None
    """What a split sticks to: a user, say. None: the conversation, else a tenant that has a name, else the run."""
    thread: str | Thread | None
    """The conversation that it goes on with, over all runs of its tenant: the model is shown what was said there, as
    far as its window holds it. Not given: in a turn of a `Thread` that one; None: none. Where the route says so it
    stays with who answered last, or with who holds it cached.
    """
    role: str
    """Who answers, by the name of a role: in the thread what they say stands under it."""
    asked_by: str
    """Whose words the prompt is, where it is not the user's: in the thread it stands under that name."""
    history: Sequence[Mapping[str, str]]
    """What was said before, as a client holds it: `{"role": "user", "content": text}`, or `assistant`. What the thread
    holds already is not said twice, and neither is the question, whether the client sends it with its parts or without.
    """
    memory: Sequence[str | Scope]
    """Whose memory is looked through for what it holds on the question: `user:ann`, `team:sales`; `thread:t` and
    `run:ID` with what was said there.
    """
    memory_tokens: int
    """What that may take in all; each scope may take an equal share of it at least."""
    tools: Sequence[Callable[..., Any]]
    """Functions, steps and `tool`s that the model may call. Each request and each call is a durable step of its own."""
    rounds: int
    """Requests at most, where there are tools."""
    guards: Sequence[Guard | Callable[[str], Any]]
    """More guards than those of the configuration: a function says what is wrong with a text, or nothing."""
    batch: bool
    """Whether the answer may take hours, at the price of the provider's batch API: the run waits durably. In a run
    only.
    """
    batch_within_s: float
    """For batches in all. What has no answer by then is asked by the ordinary API, at its price."""
    stream: bool
    """Whether the answer is published while it comes, for `run.stream()`. What `ask` gives is the same."""
    first_token_s: float | None
    """Until the first token of a stream."""
    stall_s: float | None
    """Between two pieces of a stream."""
    key: str | None
    """Names the call in its run, instead of the fingerprint of the question."""


DEFAULTS: Options = {
    "route": None,
    "model": None,
    "system": "",
    "kind": None,
    "needs": (),
    "require": None,
    "max_tokens": 1024,
    "repairs": 2,
    "attempts": None,
    "refused": "fail",
    "timeout_s": 60.0,
    "escalate": None,
    "escalate_s": None,
    "budget_usd": None,
    "settings": None,
    "sticky": None,
    "thread": None,
    "role": "",
    "asked_by": "",
    "history": (),
    "memory": (),
    "memory_tokens": 1000,
    "tools": (),
    "rounds": 8,
    "guards": (),
    "batch": False,
    "batch_within_s": 86_400.0,
    "stream": False,
    "first_token_s": 20.0,
    "stall_s": 15.0,
    "key": None,
}


def checked(given: Options) -> dict[str, Any]:
    """All options, with their defaults. Raises InputError for one that there is not, and for a bound out of range;
    NotInAFlow for a thread outside of a run.
    """
    unknown = given.keys() - DEFAULTS.keys()
    if unknown:
        names = ", ".join(("returns", "examples", "check", *DEFAULTS))
        raise InputError(f"ask has no option {sorted(unknown)[0]!r}", remedy=f"its options are: {names}")
    said = cast("dict[str, Any]", {**DEFAULTS, **given})
    if said["thread"] is not None:
        said["thread"] = thread_of(said["thread"])
        if here() is None:
            remedy = "ask in a @flow that an Engine runs, or give what was said before as history="
            raise NotInAFlow("ask: thread= outside of a run: a thread lives in the database of its runs", remedy=remedy)
    elif "thread" not in given:
        said["thread"] = own_thread()
    hold(said)
    if not isinstance(said["system"], str | Prompt):
        raise InputError("ask: system is a text, or a prompt by its name", remedy='leave it out, or give ""')
    if said["batch"]:
        _batchable(said)
    if said["escalate_s"] is not None and said["escalate"] is None:
        raise InputError("ask: escalate_s goes with escalate", remedy="give both")
    return said


def thread_of(given: str | Thread) -> str:
    """The thread of this name. In a turn of a branch, and in its steps and its children, a thread that this has left is
    the branch itself.
    """
    name, own = given.id if isinstance(given, Thread) else named("thread", given), [one for one in _threads() if one]
    return own[0] if name in own else name


def own_thread() -> str | None:
    """The thread that the run is a turn of."""
    return next(iter(_threads()), None) or None if isinstance(here(), FlowScope) else None


def _threads() -> Sequence[str]:
    """As `Drive.threads`; within a step those of its run."""
    scope, around = here(), surroundings()
    if isinstance(scope, FlowScope):
        return scope.drive.threads
    outside = None if scope is None or around is None else around.outside
    return () if scope is None or outside is None else outside.threads(scope.run)


def _batchable(said: Mapping[str, Any]) -> None:
    """See that nothing is asked of a batch that it cannot give. Raises InputError."""
    if said["stream"]:
        raise InputError("ask: a batch gives its answers whole", remedy="leave stream=True or batch=True out")
    if said["tools"]:
        raise InputError(
            "ask: tools would take a batch for each round, up to a day each",
            remedy="leave batch=True out, or call the functions first and show their results as parts",
        )
