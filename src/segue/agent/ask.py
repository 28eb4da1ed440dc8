"""`ask`: an answer as a typed value, from whichever model the route chooses, in spite of everything.

Each question is one durable step named `ask`. Its attempts follow `recovery`: each is decided, called, judged and
journaled on its own (`decision.made`, `attempt.recorded`), so a crash between two of them loses and repeats none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, cast, overload

from pydantic import TypeAdapter

from ..context import Compaction
from ..core.recovery import Recovery
from ..errors import BudgetExceeded, InputError
from ..models import Capability, Example, Model, ModelError
from ..routing import Policy as RoutingPolicy
from ..runtime.scope import StepScope, here, in_flow
from ..runtime.step import step
from .attempt import Attempting, named_in
from .batch.attempt import Batched
from .batch.recovery import Batching, in_batch, one_by_one
from .batch.ticket import waiting
from .bounds import said_of
from .compacting import Told, roomy
from .escalation import by_person, escalating, told_in
from .form import Check, Form, form_of, misfit
from .gateway import gateway
from .guards import Guard, Guarding, holding
from .guards.verdicts import Verdicts
from .media import Shown, needs_of, split
from .options import Options, checked
from .prompts import Prompt, worded
from .recalling import recalling
from .recovery import Policy
from .remembering import recalled_for
from .request import Given, Question, Tried, by_hand, by_hand_as, shown, unfit
from .rounds import rounds
from .sessions import Session
from .streaming import routed, streaming_of
from .threads import fresh, heard, history
from .tools.box import Tools
from .tries import tried_of
from .whom import Whom

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["Answer", "answer", "ask", "asked"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer(Generic[T]):
    """A value, and the calls that it took: the last one gave it."""

    value: T
    tried: tuple[Tried, ...]

    @property
    def model(self) -> str:
        """Who gave it; empty where that was said in its place: a fork or an override was given the result."""
        return self.tried[-1].model if self.tried else ""


@step(name="ask", upcast=by_hand)
async def asked(
    question: Question, media: list[Shown] | None = None, turns: list[dict[str, Any]] | None = None
) -> Given:
    """The durable step of a question. `ask` gives it its body."""
    raise InputError("this step is made by segue.ask", remedy="call segue.ask")


@overload
async def ask(
    prompt: str | Prompt, *parts: object, returns: TypeForm[T], examples: Sequence[tuple[object, T]] = (),
    check: Check[T] | None = None, **options: Unpack[Options],
) -> T: ...  # fmt: skip
@overload
async def ask(
    prompt: str | Prompt, *parts: object, examples: Sequence[tuple[object, str]] = (), check: Check[str] | None = None,
    **options: Unpack[Options],
) -> str: ...  # fmt: skip
async def ask(prompt: str | Prompt, *parts: object, **options: Any) -> Any:
    """Ask, and give the answer as a value of the type `returns` (text if none is given).

    `prompt` is a text, or a named one of which the run gets a version: `prompt("triage", ticket=ticket)`.
    `parts` are what it is asked about: text, any value, which is shown as JSON, or `Media` (an image, a sound, a
    document), which only a model that can take it is shown. `tools` are functions that it may call. Who answers is said
    by `route`, by `model`, or by the default. `check` says what is wrong with an answer: it is shown to the model, up
    to `repairs` times, then the next one is asked, up to `attempts` calls in all; then `escalate`, a person, is
    asked durably.
    Raises the error of the last attempt: a `models.ModelError`, or InputError where nobody can answer.
    """
    return (await answer(prompt, *parts, **options)).value


@overload
async def answer(
    prompt: str | Prompt, *parts: object, returns: TypeForm[T], examples: Sequence[tuple[object, T]] = (),
    check: Check[T] | None = None, **options: Unpack[Options],
) -> Answer[T]: ...  # fmt: skip
@overload
async def answer(
    prompt: str | Prompt, *parts: object, examples: Sequence[tuple[object, str]] = (), check: Check[str] | None = None,
    **options: Unpack[Options],
) -> Answer[str]: ...  # fmt: skip
async def answer(
    prompt: str | Prompt, *parts: object, returns: Any = str, examples: Sequence[tuple[object, Any]] = (),
    check: Check[Any] | None = None, **options: Unpack[Options],
) -> Answer[Any]:  # fmt: skip
    """As `ask`, with the calls that it took: who was asked, what it used, and why answers were turned down.

    The error that it raises has them as `tried`.
    """
    said, form = checked(options), form_of(returns)
    if check is not None and not callable(check):
        raise InputError(f"ask: check is a function, not {check!r}", remedy="give one that says what is wrong, or None")
    policy = said["route"] if isinstance(said["route"], RoutingPolicy) else None
    guards = tuple(map(Guard.of, said["guards"]))
    tools, (plain, media) = Tools(said["tools"], recalling(guards)), split(parts)
    text, named = await worded(prompt)
    if not text.strip() and not parts:
        raise InputError("ask: nothing is asked: the prompt is empty", remedy="give a prompt, or parts")
    said["system"], role = await worded(said["system"])
    question = _question(text, plain, form, examples, said)
    if not (media or question.prompt.strip() or any(part.strip() for part in question.parts)):
        raise InputError("ask: nothing is asked: no word, and no media", remedy="see that the text is not empty")
    question.prompts.update(named | role)
    also = [name for name in ("tools", "batch") if said[name]]
    question.needs[:] = sorted({*question.needs, *needs_of(media), *also})
    question.tools[:] = tools.definitions
    far = Policy(attempts=said["attempts"], repairs=said["repairs"], refused=said["refused"])
    make = _Make(form, check, policy, far, said, media, guards)
    if said["thread"] is not None:
        question = replace(question, thread=said["thread"], heard=await heard(said["thread"]))
    if said["memory"]:
        those, scopes = partial(make.those, question), [str(one) for one in said["memory"]]
        question = replace(question, recalled=await recalled_for(question, those, scopes, said["memory_tokens"]))
    if said["history"]:
        question = replace(question, before=await fresh(question, said["history"]))
    question = await roomy(question, partial(make.whom, question), partial(_summarised, said["guards"]), media)
    try:
        if said["tools"]:
            given = await rounds(make.request, question, tools, said["rounds"], said["key"])
        else:
            given = await make.request(question, [], said["key"])
    except (ModelError, BudgetExceeded) as error:
        vars(error)["tried"] = tried_of(error)
        raise
    return Answer(value=_valued(form.value, given), tried=tuple(given.tried))


def _question(
    prompt: str, parts: Sequence[object], form: Form, examples: Sequence[tuple[object, Any]], said: Mapping[str, Any]
) -> Question:
    route = said["route"]
    return Question(
        prompt=prompt,
        parts=[shown(part) for part in parts],
        system=said["system"],
        examples=_examples(examples, form),
        schema=form.schema,
        route=route.title if isinstance(route, RoutingPolicy) else route,
        model=said["model"],
        kind=said["kind"],
        needs=sorted(said["needs"]),
        require=dict(said["require"] or {}),
        max_tokens=said["max_tokens"],
        budget_usd=said["budget_usd"],
        settings=said_of(said["settings"]),
        role=said["role"],
        asked_by=said["asked_by"],
    )


def _examples(given: object, form: Form) -> list[Example]:
    """Worked examples as a model is shown them. Raises InputError, which names the one that is none."""
    remedy = 'give pairs of what is asked about and the answer: examples=[("It broke.", "complaint")]'
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise InputError(f"ask: examples is a list of pairs, not a {type(given).__name__}", remedy=remedy)
    made: list[Example] = []
    for at, pair in enumerate(cast("Sequence[object]", given)):
        two = cast("Sequence[object]", pair) if isinstance(pair, tuple | list) else ()
        if len(two) != 2:
            kind = type(cast("object", pair)).__name__
            raise InputError(f"ask: examples[{at}] is no pair, but a {kind}", remedy=remedy)
        about, wanted = two
        try:
            made.append(Example(shown(about), form.written(wanted)))
        except ValueError as error:
            said = f"ask: examples[{at}]: its answer is none of the type that is wanted: {misfit(error)}"
            raise InputError(said, remedy=remedy) from error
    return made


@dataclass(frozen=True, slots=True)
class _Make:
    """What one question's attempts are made with: the parts of it that are no JSON."""

    form: Form
    check: Check[Any] | None
    policy: RoutingPolicy | None
    far: Policy
    said: Mapping[str, Any]
    media: Sequence[Shown] = ()
    guards: tuple[Guard, ...] = ()

    async def request(self, question: Question, turns: Sequence[dict[str, Any]], key: str | None = None) -> Given:
        """The step. What it is shown beside its texts are arguments of their own: each is stored once."""
        aside: dict[str, Any] = {"media": list(self.media), "turns": list(turns)}
        whom = self._whom(replace(question, **aside))
        recovery: Recovery = self.far.recovery(question, whom, whom)
        if in_batch(question):
            in_flow("ask(batch=True)")
            alone = one_by_one(question)
            plain = self._whom(replace(alone, **aside))
            ordinary = self.far.recovery(alone, plain, plain)
            patient = replace(self.far, attempts=None).recovery(question, whom, whom)
            recovery = Batching(question, recovery, ordinary, patient)
        recovery = escalating(recovery, question, self.said["escalate"], self.said["escalate_s"])
        made = asked.carried_out_by(self.attempt, recovery, partial(by_hand_as, self.form), self.form.title)
        made = made if key is None else made.using(key=key)
        return await made(question, **{name: given for name, given in aside.items() if given})

    async def attempt(
        self, question: Question, media: list[Shown] | None = None, turns: list[dict[str, Any]] | None = None
    ) -> Given:
        """The body of the step."""
        question, scope = _QUESTION.validate_python(question), _scope()  # outside of a run what was amended is JSON
        scope.thread = question.thread
        said = told_in(scope.history)
        if said is not None:
            scope.turn_of = question.thread
            return by_person(said, self.form, self.check, scope)
        question = replace(question, media=media or [], turns=turns or [], history=_history(question, scope))
        guards = Guarding(holding(self.guards), Verdicts(scope.history))
        timeout_s = self.said["timeout_s"]
        at = gateway()
        await at.live.begun()
        streaming = routed(streaming_of(self.said), question, self.policy, at.router)
        make = Attempting(at, self.form, self.check, self.policy, timeout_s, self._session(), guards, streaming)
        with guards.verdicts.carried():
            if not in_batch(question):
                return await make(question, scope)
            if _asks_alone(question, scope):
                return await make(one_by_one(question), scope)
            return await Batched(make, self.said["batch_within_s"])(question, scope)

    def whom(self, question: Question) -> Model | None:
        """Who would be asked now."""
        return next(iter(self.those(question)), None)

    def those(self, question: Question) -> list[Model]:
        """Who may be asked now, the one who would be first; nobody where that one cannot be said."""
        at = gateway()
        made = at.decide(question, self.policy, {}, None, session=self._session())
        if made.chosen is None:
            return []
        names = [made.chosen.target.name, *(one.target.name for one in made.candidates if one.eligible)]
        return [at.catalogue.get(name) for name in dict.fromkeys(names)]

    def _whom(self, question: Question) -> Whom:
        return Whom.of(question, self.policy, self._session)

    def _session(self) -> Session:
        scope, said = _scope(), self.said
        return Session(sticky=said["sticky"], conversation=said["thread"], tenant=scope.tenant, run=scope.run)


def _asks_alone(question: Question, scope: StepScope) -> bool:
    """Whether an operator has named a model without batches: it is asked by the ordinary API."""
    name, catalogue = named_in(question, scope), gateway().catalogue
    if name is None or name not in catalogue or waiting(scope.history) is not None:
        return False
    return not catalogue.get(name).can(Capability.BATCH)


def _history(question: Question, scope: StepScope) -> list[dict[str, Any]]:
    """What it goes on from, as much of it as the largest window could hold."""
    windows = [model.window for model in gateway().catalogue.models.values()]
    return list(history(question, scope, max(windows, default=0)))


async def _summarised(
    guards: Sequence[Guard | Callable[[str], Any]], bite: Compaction, check: Callable[[Told], Any]
) -> tuple[Told, str]:
    """A summary, by the cheapest model that can, or by the route `compaction` where there is one."""
    route = "compaction" if "compaction" in gateway().router.routes else None
    made = await answer(
        bite.prompt, bite.text, returns=Told, check=check, route=route, kind="summarise", guards=guards,
        max_tokens=2 * bite.most + _BESIDE, attempts=4, repairs=1,
    )  # fmt: skip
    return made.value, made.model


_BESIDE = 600
"""Tokens for what stands beside a summary, and for the form around it."""


def _scope() -> StepScope:
    scope = here()
    return scope if isinstance(scope, StepScope) else StepScope("", "ask", 1)


_QUESTION = TypeAdapter(Question)


def _valued(read: Any, given: Given) -> Any:
    """The value as today's type. Raises BadOutput for one that was journaled by another."""
    try:
        return read(given.value)
    except ValueError as error:
        raise unfit(misfit(error)) from error
