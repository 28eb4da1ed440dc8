"""A request of an agent as a durable step named `ask`: attempts, guards, budgets and manifests are those of a question.

In a flow it stands in the agent's scope, `agent[name]#1/ask[…]#1`. Outside of one, and inside of a step, it simply
asks.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

from pydantic import TypeAdapter

from ...core.faults import Fault, rebuild
from ...core.records import AttemptEnd, AttemptRecorded, AttemptWhy, Target, TargetKind, Usage
from ...core.recovery import Recovery
from ...errors import InputError
from ...models.signals import fault_of
from ...routing import Policy as RoutingPolicy
from ...runtime.scope import StepScope, here
from ...runtime.step import step
from ..attempt import Attempting
from ..bounds import hold_settings
from ..form import form_of
from ..gateway import gateway
from ..guards import Guard, Guarding, holding
from ..media import Shown
from ..recovery import Policy
from ..request import Given, Question, by_hand
from ..sessions import Session
from ..streaming import Streaming, routed
from ..whom import Whom
from .conversation import Asking, asking, given_of
from .model import Attempted, Tap, now_asked
from .routing import Routing, routing

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models import ModelRequestParameters

__all__ = ["Requests", "catalogued", "requested"]

_TEXT = form_of(str)
_QUESTION = TypeAdapter(Question)


@step(name="ask", upcast=by_hand)
async def requested(
    question: Question,
    media: list[Shown] | None = None,
    history: list[dict[str, Any]] | None = None,
    turns: list[dict[str, Any]] | None = None,
) -> Given:
    """The durable step of a request. `Durable` gives it its body."""
    raise InputError("this step is made by an agent", remedy="run the agent")


@step(name="model", effect="read")
async def catalogued(name: str) -> str | None:
    """The name in the catalogue of a model that an agent names: by that name, by `provider:id`, or by its id."""
    models = gateway().catalogue.models
    if name in models:
        return name
    return next((one.name for one in models.values() if name in (f"{one.provider.value}:{one.id}", one.id)), None)


@dataclass(frozen=True, slots=True)
class Requests:
    """Asks for one agent: the parts of its requests that are no JSON."""

    said: Mapping[str, Any]
    policy: RoutingPolicy | None
    guards: tuple[Guard, ...]

    @classmethod
    def of(cls, **given: Unpack[Routing]) -> Requests:
        """With these options. Raises InputError for one that there is not."""
        said = routing(given)
        route = said["route"]
        policy = route if isinstance(route, RoutingPolicy) else None
        return cls(said, policy, tuple(map(Guard.of, said["guards"])))

    def wanted(self, pin: str | None) -> Question:
        """A question that says only of whom it is asked, and how."""
        said, route = self.said, self.said["route"]
        return Question(
            prompt="", route=route.title if isinstance(route, RoutingPolicy) else route, model=pin, kind=said["kind"],
            needs=sorted(said["needs"]), require=dict(said["require"] or {}), max_tokens=said["max_tokens"],
            budget_usd=said["budget_usd"],
        )  # fmt: skip

    async def __call__(
        self, messages: list[ModelMessage], settings: Any, parameters: ModelRequestParameters, pin: str | None,
        tap: Tap | None = None, /,
    ) -> tuple[Given, Question]:  # fmt: skip
        """Ask whoever the route chooses. Raises as `ask` does."""
        asked = asking(messages, settings, parameters, self.wanted(pin))

        async def answer(at: Attempted) -> None:
            await at.answer(tap)

        return await self.made(asked, answer, stream=tap is not None), asked.question

    async def made(
        self, asked: Asking, answer: Callable[[Attempted], Awaitable[ModelResponse | None]], *, stream: bool
    ) -> Given:
        """The step. `answer` asks within an attempt, or gives what a model has said that the agent brought itself."""
        body = _Body(self, answer, stream)
        made = requested.carried_out_by(body, self._recovery(asked.question))
        return await made(asked.question, **_aside(asked))

    def last_key(self, asked: Asking) -> str:
        """The key of such a request that was made last, in a flow."""
        of, _, count = (requested.key_of(asked.question, **_aside(asked)) or "").rpartition("#")
        return f"{of}#{int(count or 1) - 1}"

    def _recovery(self, question: Question) -> Recovery:
        far = Policy(attempts=self.said["attempts"], repairs=self.said["repairs"], refused=self.said["refused"])
        whom = Whom.of(question, self.policy, self.session)
        return far.recovery(question, whom, whom)

    def session(self) -> Session:
        """Whose requests they are."""
        scope = _scope()
        return Session(sticky=self.said["sticky"], tenant=scope.tenant, run=scope.run)

    def attempting(self, question: Question, tap: Tap | None, *, stream: bool) -> Attempting:
        """What makes an attempt."""
        guards, at, said = Guarding(holding(self.guards)), gateway(), self.said
        streaming = None
        if stream or said["stream"]:
            streaming = Streaming(first_token_s=said["first_token_s"], stall_s=said["stall_s"], tap=tap)
            streaming = routed(streaming, question, self.policy, at.router)
        return Attempting(
            at, _TEXT, None, self.policy, said["timeout_s"], self.session(), guards, streaming, whole=True
        )


@dataclass(frozen=True, slots=True)
class _Body:
    """The body of the step."""

    requests: Requests
    answer: Callable[[Attempted], Awaitable[ModelResponse | None]]
    stream: bool

    async def __call__(
        self, question: Question, media: list[Shown] | None = None, history: list[dict[str, Any]] | None = None,
        turns: list[dict[str, Any]] | None = None,
    ) -> Given:  # fmt: skip
        """One attempt. Raises its error."""
        scope = _scope()
        question = _QUESTION.validate_python(question)  # outside of a run what was amended is JSON
        question = replace(question, media=media or [], history=history or [], turns=turns or [])

        async def make(tap: Tap | None) -> Given:
            hold_settings(question.settings, of="model_settings")
            return await self.requests.attempting(question, tap, stream=self.stream)(question, scope)

        at, began = Attempted(question, make), time.monotonic()
        token = now_asked.set(at)
        try:
            response = await self.answer(at)
        except Exception as error:
            if question.model is None or question.model in gateway().catalogue:
                raise
            raise self._failed(error, question.model, scope) from error
        finally:
            now_asked.reset(token)
        if at.given is not None:
            return at.given
        assert response is not None
        given = given_of(response, question.model or "", time.monotonic() - began)
        _record(scope, question.model or "", given)
        return given

    def _failed(self, error: Exception, model: str, scope: StepScope) -> Exception:
        """The error of a model that the agent brought itself, as the Recovery reads it."""
        fault = fault_of(error, model=model)
        fault = fault._replace(state={**(fault.state or {}), "model": model})
        _record(scope, model, None, fault)
        return rebuild(fault)


def _record(scope: StepScope, model: str, given: Given | None, fault: Fault | None = None) -> None:
    """What a call took whose model is in no catalogue: its price is not known."""
    tried = None if given is None else given.tried[-1]
    scope.record(
        AttemptRecorded(
            epoch=scope.epoch, n=scope.attempt, target=Target(kind=TargetKind.MODEL, name=model),
            why=AttemptWhy.RETRY if scope.history else AttemptWhy.PRIMARY,
            end=AttemptEnd.ANSWERED if fault is None else AttemptEnd.FAILED, fault=fault,
            usage=None if tried is None else Usage(tokens_in=tried.tokens_in, tokens_out=tried.tokens_out),
            latency_s=None if tried is None else tried.seconds,
        )
    )  # fmt: skip


def _aside(asked: Asking) -> dict[str, Any]:
    """What belongs to a question and is given beside it."""
    aside: dict[str, Any] = {"media": asked.media, "history": asked.history, "turns": asked.turns}
    return {name: given for name, given in aside.items() if given}


def _scope() -> StepScope:
    scope = here()
    return scope if isinstance(scope, StepScope) else StepScope("", "ask", 1)
