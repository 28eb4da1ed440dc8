"""`ask`: an answer as a typed value, from whichever model the route chooses, in spite of everything.

Each question is one durable step named `ask`. Its attempts follow `recovery`: each is decided, called, judged and
journaled on its own (`decision.made`, `attempt.recorded`), so a crash between two of them loses and repeats none.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from ..errors import InputError
from ..models import BadOutput, Example, ModelError
from ..routing import Policy as RoutingPolicy
from ..runtime.scope import StepScope, here
from ..runtime.step import step
from .attempt import Attempting
from .form import Check, form_of
from .gateway import gateway
from .recovery import Policy, Refused
from .request import Given, Question, Tried, shown

__all__ = ["Answer", "answer", "ask", "asked"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer(Generic[T]):
    """A value, and the calls that it took: the last one gave it."""

    value: T
    tried: tuple[Tried, ...]

    @property
    def model(self) -> str:
        """Who gave it."""
        return self.tried[-1].model


@step(name="ask")
async def asked(question: Question) -> Given:
    """The durable step of a question. `ask` gives it its body."""
    raise InputError("this step is made by segue.ask", remedy="call segue.ask")


@overload
async def ask(
    prompt: str, *parts: object, returns: type[T], route: str | RoutingPolicy | None = None, model: str | None = None,
    system: str = "", examples: Sequence[tuple[object, T]] = (), check: Check[T] | None = None, max_tokens: int = 1024,
    repairs: int = 2, attempts: int = 8, refused: Refused = "fail", timeout_s: float = 60.0, kind: str | None = None,
    needs: Collection[str] = (), require: Mapping[str, str] | None = None, budget_usd: float | None = None,
    settings: Mapping[str, Any] | None = None, key: str | None = None,
) -> T: ...  # fmt: skip
@overload
async def ask(
    prompt: str, *parts: object, route: str | RoutingPolicy | None = None, model: str | None = None,
    system: str = "", examples: Sequence[tuple[object, str]] = (), check: Check[str] | None = None,
    max_tokens: int = 1024, repairs: int = 2, attempts: int = 8, refused: Refused = "fail", timeout_s: float = 60.0,
    kind: str | None = None, needs: Collection[str] = (), require: Mapping[str, str] | None = None,
    budget_usd: float | None = None, settings: Mapping[str, Any] | None = None, key: str | None = None,
) -> str: ...  # fmt: skip
async def ask(prompt: str, *parts: object, **options: Any) -> Any:
    """Ask, and give the answer as a value of the type `returns` (text if none is given).

    `parts` are what it is asked about: text, or any value, which is shown as JSON. Who answers is said by `route` (a
    name of segue.toml, or a policy), by `model`, or by the default: the cheapest that can. `needs` are capabilities,
    `require` tags that it must have. `check` says what is wrong with an answer: it is shown to the model, up to
    `repairs` times, then the next one is asked, up to `attempts` calls in all. `timeout_s` limits one call. `settings`
    go to the model: `temperature`, `seed`. Raises the error of the last attempt: a `models.ModelError`, or InputError
    where nobody can answer.
    """
    return (await answer(prompt, *parts, **options)).value


async def answer(
    prompt: str,
    *parts: object,
    returns: Any = str,
    route: str | RoutingPolicy | None = None,
    model: str | None = None,
    system: str = "",
    examples: Sequence[tuple[object, Any]] = (),
    check: Check[Any] | None = None,
    max_tokens: int = 1024,
    repairs: int = 2,
    attempts: int = 8,
    refused: Refused = "fail",
    timeout_s: float = 60.0,
    kind: str | None = None,
    needs: Collection[str] = (),
    require: Mapping[str, str] | None = None,
    budget_usd: float | None = None,
    settings: Mapping[str, Any] | None = None,
    key: str | None = None,
) -> Answer[Any]:
    """As `ask`, with the calls that it took: who was asked, what it used, and why answers were turned down.

    The error that it raises has them as `tried`.
    """
    if attempts < 1 or repairs < 0 or max_tokens < 1 or timeout_s <= 0:
        raise InputError("ask: attempts and max_tokens are at least 1, repairs at least 0, timeout_s more than 0")
    form, policy = form_of(returns), route if isinstance(route, RoutingPolicy) else None
    question = Question(
        prompt=prompt,
        parts=[shown(part) for part in parts],
        system=system,
        examples=[Example(shown(given), form.written(wanted)) for given, wanted in examples],
        schema=form.schema,
        route=policy.title if policy is not None else route if isinstance(route, str) else None,
        model=model,
        kind=kind,
        needs=sorted(needs),
        require=dict(require or {}),
        max_tokens=max_tokens,
        budget_usd=budget_usd,
        settings=dict(settings or {}),
    )

    async def attempt(question: Question) -> Given:
        scope = here()
        make = Attempting(gateway(), form, check, policy, timeout_s)
        return await make(question, scope if isinstance(scope, StepScope) else StepScope("", "ask", 1))

    def others(tried: Mapping[str, str]) -> str | None:
        chosen = gateway().decide(question, policy, tried, None).chosen
        return None if chosen is None else chosen.target.name

    far = Policy(attempts=attempts, repairs=repairs, refused=refused)
    made = asked.carried_out_by(attempt, far.recovery(question, others))
    made = made if key is None else made.using(key=key)
    try:
        given = await made(question)
    except ModelError as error:
        vars(error)["tried"] = _tried_of(error)
        raise
    return Answer(value=_valued(form.value, given), tried=tuple(given.tried))


def _valued(read: Any, given: Given) -> Any:
    """The value as today's type. Raises BadOutput for one that was journaled by another."""
    try:
        return read(given.value)
    except ValueError as error:
        raise BadOutput(f"the answer on record does not fit today's type: {error}") from error


def _tried_of(error: ModelError) -> tuple[Tried, ...]:
    """The calls of a question that has no answer, as its last error carries them."""
    said: Any = getattr(error, "tries", "[]")
    return tuple(Tried(**one) for one in json.loads(said)) if isinstance(said, str) else ()
