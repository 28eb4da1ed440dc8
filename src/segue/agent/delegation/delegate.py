"""`delegate`: whoever can do it best does it: a model, a tool, an agent, a flow, a person; when one fails, the next.

In a flow a delegation is a scope `delegate[…]#k/`: `choose[1]#1` is the first choice, with its decision and what came
of it (`decision.made`, `attempt.recorded`), `to[NAME]#1/…` what the chosen one did. So a crash in the middle chooses
nobody anew and repeats nothing that has an outcome, and who delegates within it is known by the keys alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, Unpack, cast, overload

from ...core.codec import fingerprint
from ...core.faults import Fault, FaultKind, classify, rebuild
from ...core.keys import quoted
from ...core.records import AttemptEnd, AttemptRecorded, AttemptWhy, Check, Target, TargetKind
from ...core.recovery import ONCE
from ...errors import InputError, SegueError
from ...models import BadOutput
from ...routing import Policy
from ...runtime.once import ENDED, Noting, noting
from ...runtime.scope import FlowScope, StepScope, here, opened
from ...runtime.stories import story_of
from ...runtime.thread import Thread
from ..ask import ask
from ..form import Check as Checks
from ..form import name_of, told
from ..options import Options, thread_of
from ..people import escalate as ask_after_all
from ..tools.failure import has_happened, may_have_happened
from .carrying import Carrying
from .choosing import Choice, Choosing, choose
from .delegates import Delegate, delegates
from .doubts import done, doubt_in, doubt_of, unsure
from .errors import DelegationLoop, Undelegated
from .inputs import text_of
from .lineage import inline
from .options import DelegateOptions

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["CHOOSE", "FILL", "Delegation", "Handled", "delegate", "delegated"]

T = TypeVar("T")

CHOOSE = "Which of these should handle the request? Answer with its name alone."
"""What a model that chooses among close ones is asked."""
FILL = "Fill in the arguments of this call from the request. Make nothing up."
"""What a model that fills in arguments is asked."""


@dataclass(frozen=True, kw_only=True)
class Handled:
    """One that was chosen, and what came of it. `error` is empty for the one whose result was taken."""

    name: str
    kind: str
    decision: str
    error: str = ""
    fault: str = ""
    """Of what kind it was, in the words of `core.faults.FaultKind`."""


@dataclass(frozen=True, kw_only=True)
class Delegation(Generic[T]):
    """A result, who gave it, and who was asked before."""

    value: T
    by: str
    """Its name; after an escalation that of the person who was asked."""
    kind: str
    tried: tuple[Handled, ...] = ()
    chain: tuple[str, ...] = ()
    """Who had delegated before, from the first one down."""
    key: str = ""
    """Of the delegation, for feedback: `await run.feedback(0.2, key=key)`."""


@dataclass(kw_only=True)
class _Options:
    """How one request is delegated."""

    returns: Any = str
    check: Checks[Any] | None = None
    route: str | Policy | None = None
    needs: Collection[str] = ()
    require: Mapping[str, str] | None = None
    attempts: int = 3
    depth: int = 4
    loops: int = 0
    chooser: str | None = None
    close: float = 0.1
    choose_prompt: str = CHOOSE
    prompt: str = ""
    fill: str | None = None
    fill_prompt: str = FILL
    thread: str | Thread | None = None
    escalate: str | None = None
    budget_usd: float | None = None
    options: Options = field(default_factory=Options)
    key: str | None = None

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.depth < 1 or self.loops < 0 or not 0 <= self.close <= 1:
            raise InputError("delegate: attempts and depth are at least 1, loops is at least 0, close from 0 to 1")


@overload
async def delegate(
    request: object, to: Iterable[object], *, returns: TypeForm[T], check: Checks[T] | None = None,
    **options: Unpack[DelegateOptions],
) -> T: ...  # fmt: skip
@overload
async def delegate(
    request: object, to: Iterable[object], *, check: Checks[str] | None = None, **options: Unpack[DelegateOptions]
) -> str: ...
async def delegate(request: object, to: Iterable[object], **options: Any) -> Any:
    """Let whoever can do it best handle a request, and give the result as a value of the type `returns` (text).

    `to` are the candidates: names of models and routes, steps and functions, agents (any async callable), flows,
    `Person`s; `Delegate(x, about=..., examples=[...])` says more of one. Who gets it is chosen without a model, from
    descriptions, labelled examples, capabilities, cost, latency and what came of such requests before; `route` is
    another policy for it. `chooser`, a route, lets a model choose among those whose scores are within `close` of the
    best. The request is the argument of who takes one, or its fields are the arguments; `fill`, a route, lets a model
    fill them in.

    When the chosen one fails, or its result does not fit `returns` or pass `check`, the next one gets it, up to
    `attempts` in all; but for a `tool` that writes and has done so, or of which nobody knows, and for whoever has
    called what happens once, unless it surely did not. Whoever has the request already is left out (`loops` times they
    may come again), and below `depth` delegations so are agents and flows. `escalate` is a person who gets it, with the
    story, where nobody is left.
    `budget_usd` bounds what the chosen one is expected to cost, `thread` is the conversation that it belongs to,
    `options` are those of `ask` for models, `key` names the call in its run.
    Raises Undelegated (DelegationLoop where loops alone are in the way), from the error of the last one.
    """
    return (await delegated(request, to, **options)).value


@overload
async def delegated(
    request: object, to: Iterable[object], *, returns: TypeForm[T], check: Checks[T] | None = None,
    **options: Unpack[DelegateOptions],
) -> Delegation[T]: ...  # fmt: skip
@overload
async def delegated(
    request: object, to: Iterable[object], *, check: Checks[str] | None = None, **options: Unpack[DelegateOptions]
) -> Delegation[str]: ...
async def delegated(request: object, to: Iterable[object], **options: Any) -> Delegation[Any]:
    """As `delegate`, with who handled it, who was asked before and why that failed."""
    said = hold_options(options)
    with opened("delegate", quoted(said.key) if said.key is not None else _identity(request)) as scope:
        return await _Delegating(delegates(to), request, said, scope).made()


def hold_options(options: Mapping[str, Any]) -> _Options:
    """The options of a delegation. Raises InputError for one that there is not, or of the wrong type."""
    try:
        return _Options(**options)
    except TypeError as error:
        unknown = sorted(options.keys() - _Options.__dataclass_fields__.keys())
        if not unknown:
            raise InputError(f"delegate: an option is of the wrong type: {error}") from error
        names = ", ".join(_Options.__dataclass_fields__)
        raise InputError(f"delegate has no option {unknown[0]!r}", remedy=f"its options are: {names}") from None


class _Delegating:
    """One delegation on its way."""

    def __init__(self, among: tuple[Delegate, ...], request: object, said: _Options, scope: FlowScope | None):
        self.among, self.request, self.said, self.scope = among, request, said, scope
        self.by_name = {one.name: one for one in among}
        self.text = text_of(request)
        self.tried: list[Handled] = []
        self.errors: dict[int, Exception] = {}
        """Of those that were tried, by their place among them."""
        self.doubt = ""
        """What is known of a tool that may have acted, or has: what it does to the world is not done twice."""
        self.once = Noting()
        """The calls of what happens once that the last one has begun."""
        self.carrying = Carrying(
            request=request, returns=said.returns, prompt=said.prompt, fill=said.fill, fill_prompt=said.fill_prompt,
            thread=None if said.thread is None else thread_of(said.thread), options=_bounded(said),
        )  # fmt: skip

    async def made(self) -> Delegation[Any]:
        """Choose, let it be done, and go on with the next until one has done it."""
        pick, before = None, sys.exception()  # what the caller is busy with says nothing of those who are asked here
        if self.said.chooser is not None:
            pick = await self._picked()
        choice = await self._choice(pick)
        while choice.name is not None and len(self.tried) < self.said.attempts:
            one = self.by_name.get(choice.name)
            if one is None:  # the code has changed since it was chosen
                fault = FaultKind.BAD_REQUEST.value
                self.tried.append(
                    Handled(
                        name=choice.name, kind=choice.kind, decision=choice.decision, fault=fault,
                        error="it is no candidate any more",
                    )
                )  # fmt: skip
                choice = await self._choice()
                continue
            try:
                value = await self._tried(one, choice)
            except Exception as error:  # noqa: BLE001  whatever it raises, the next one may do it
                self.errors[len(self.tried) - 1] = error
                self.doubt = doubt_of(one, error) or self._left(one) or doubt_in(error, before)
                if self.doubt or len(self.tried) >= self.said.attempts:
                    break
                self.once.close()
                choice = await self._choice()
            else:
                return self._given(value, one.name, one.kind.value, choice)
        return await self._nobody(choice)

    def _left(self, one: Delegate) -> str:
        """What has happened once by whoever had it, or may have; empty: nothing."""
        known = self.once.known()
        failed = [rebuild(fault) for fault in known if isinstance(fault, Fault)]
        # A run finds out what came of an effect in doubt before it fails; elsewhere nobody does.
        if "open" in known or (self.scope is None and any(map(may_have_happened, failed))):
            return unsure(one)
        return done(one) if "done" in known or any(map(has_happened, failed)) else ""

    def _given(self, value: Any, by: str, kind: str, choice: Choice) -> Delegation[Any]:
        key = "" if self.scope is None else self.scope.path.removesuffix("/")
        return Delegation(value=value, by=by, kind=kind, tried=tuple(self.tried), chain=tuple(choice.chain), key=key)

    async def _choice(self, pick: str | None = None) -> Choice:
        """The next one, with those that have failed left out."""
        tried = {one.name: one.fault for one in self.tried}
        body = self._choosing(after=self.tried[-1].decision if self.tried else None)
        return await self._step(body, f"{len(self.tried) + 1}")(self.text, tried, pick)

    async def _picked(self) -> str | None:
        """Whom a model chooses among those that are close; None where there is one alone, or the model fails."""
        body = self._choosing(close=self.said.close)
        near = (await self._step(body, "close")(self.text, {}, None)).close
        if len(near) < 2:
            return near[0] if near else None
        about = {name: self.by_name[name].about for name in near}
        names: Any = Literal[tuple(near)]
        try:
            return await ask(
                self.said.choose_prompt, about, self.text, returns=names, route=self.said.chooser, thread=None
            )
        except SegueError:
            return None  # who fits best by the words is chosen then

    def _step(self, body: Choosing, ident: str) -> Any:
        return choose.carried_out_by(body.__call__, ONCE).using(key=ident)

    def _choosing(self, close: float | None = None, after: str | None = None) -> Choosing:
        said = self.said
        return Choosing(
            among=self.among, request=self.request, policy=said.route, needs=frozenset(said.needs),
            require=said.require or {}, depth=said.depth, loops=said.loops, budget_usd=said.budget_usd,
            fills=said.fill is not None, waits=self.scope is not None, close=close, after=after,
            open=said.chooser is not None,
        )  # fmt: skip

    async def _tried(self, one: Delegate, choice: Choice) -> Any:
        """Let it be done, with what came of it on record. Raises what went wrong."""
        began = self._now()
        checks: tuple[Check, ...] = ()
        try:
            with self._within(one), noting() as self.once:
                value = await self.carrying.by(one, choice)
            checks = self._checked(value)
            if checks and not checks[0].passed:
                raise BadOutput(f"what {one.name} gave did not pass: {checks[0].why}")
        except Exception as error:
            fault = classify(error)
            self.tried.append(_handled(one, choice, fault))
            self._record(one, choice, began, fault, checks)
            raise
        self.tried.append(_handled(one, choice))
        self._record(one, choice, began, None, checks)
        return value

    def _checked(self, value: Any) -> tuple[Check, ...]:
        """What the caller's check says of a result."""
        check = self.said.check
        if check is None:
            return ()
        why = told(check, value)
        return (Check(name=name_of(check), passed=not why, why=why[:500]),)

    def _now(self) -> float:
        return 0.0 if self.scope is None else self.scope.drive.now

    def _record(
        self, one: Delegate, choice: Choice, began: float, fault: Fault | None, checks: tuple[Check, ...]
    ) -> None:
        n, scope = len(self.tried), here()
        ended = AttemptEnd.ANSWERED if fault is None else AttemptEnd.REJECTED if checks else AttemptEnd.FAILED
        record = AttemptRecorded(
            epoch=0, n=n, target=Target(kind=one.kind, name=one.name), end=ended, fault=_short(fault),
            why=AttemptWhy.PRIMARY if n == 1 else AttemptWhy.FALLBACK, decision=choice.decision, checks=checks,
            latency_s=round(self._now() - began, 3) if self.scope is not None else None,
            details={"delegated": True},
        )  # fmt: skip
        if self.scope is not None:
            self.scope.record(record, f"{self.scope.path}choose[{n}]#1")
        elif isinstance(scope, StepScope):
            scope.record(record)

    @contextmanager
    def _within(self, one: Delegate) -> Generator[None]:
        """The scope of whoever does it, by which those below know of it."""
        if self.scope is not None:
            with opened("to", quoted(one.name)):
                yield
            return
        token = inline.set((*inline.get(), one.name))
        try:
            yield
        finally:
            inline.reset(token)

    async def _nobody(self, choice: Choice) -> Delegation[Any]:
        """Nobody is left: a person gets it, with the story, or it fails. Raises Undelegated."""
        error = self._error(choice)
        said = self.said
        if said.escalate is None or self.scope is None:
            self.once.close(ENDED)
            raise error from (next(reversed(self.errors.values()), None))
        self.once.close()
        question = "Nobody could handle this request. What is the answer?"
        tried = [one for one in (sys.exception(), error) if one is not None]
        value = await ask_after_all(question, self.request, tried=tried, returns=said.returns, by=said.escalate)
        return self._given(value, said.escalate, TargetKind.PERSON.value, choice)

    def _error(self, choice: Choice) -> Undelegated:
        out = {name: why for name, why in choice.excluded.items() if name not in {one.name for one in self.tried}}
        failed = [f"{one.name} failed: {one.error}" for one in self.tried]
        looped = bool(choice.loops) and set(choice.loops) == out.keys() and choice.name is None
        out |= self._unasked(choice)
        told = "; ".join([*failed, *(f"{name}: {why}" for name, why in out.items())][:6])
        kind = DelegationLoop if looped else Undelegated
        error = kind(f"nobody could take the request: {told}", remedy=_LOOP if looped else _remedy(self))
        error.excluded = "\n".join(f"{name}: {why}" for name, why in out.items())
        error.doubt, error.chain = self.doubt, " > ".join(choice.chain)
        error.tried = ", ".join(one.name for one in self.tried)
        error.tell(self._story(out))
        return error

    def _unasked(self, choice: Choice) -> dict[str, str]:
        """Who could have had it next, and why they were not asked; nobody where the last choice found none."""
        why = "nobody else is to do again what was done, or may have been" if self.doubt else ""
        why = why or f"attempts={self.said.attempts} allows no more"
        tried = {one.name for one in self.tried}
        return {} if choice.name is None else {name: why for name in choice.then if name not in tried}

    def _story(self, out: Mapping[str, str]) -> tuple[object, ...]:
        """Of each who was tried, what their error tells; of the others, why they were not."""
        told, busy = list[object](), sys.exception()  # what the caller is busy with none of them has done
        for n, one in enumerate(self.tried):
            said: list[object] = [{"error": one.error, "fault": one.fault}]
            if (error := self.errors.get(n)) is not None:
                said = story_of([error], whole=True, but=busy)
            told += [{"who": one.name, **cast("Mapping[str, object]", what)} for what in said]
        return (*told, *({"who": name, "left out": why} for name, why in out.items()))


_LOOP = "add somebody who does not delegate, or allow more: depth=, loops="


def _bounded(said: _Options) -> Options:
    return said.options if said.budget_usd is None else {"budget_usd": said.budget_usd, **said.options}


def _remedy(of: _Delegating) -> str:
    if of.doubt:
        return of.doubt
    if of.errors:
        return "give escalate=, a person who gets it then, or more candidates (attempts= bounds how many are asked)"
    return "say what they are for, Delegate(x, about=..., examples=[...]), add one that fits, or give escalate="


def _handled(one: Delegate, choice: Choice, fault: Fault | None = None) -> Handled:
    error, kind = ("", "") if fault is None else (fault.message, fault.kind.value)
    return Handled(name=one.name, kind=one.kind.value, decision=choice.decision, error=error, fault=kind)


def _short(fault: Fault | None) -> Fault | None:
    """Without the traceback: the step or the child that failed has it."""
    return None if fault is None else Fault(FaultKind(fault.kind), fault.error, fault.message)


def _identity(request: object) -> str:
    return fingerprint(json.dumps({"request": text_of(request)}, ensure_ascii=False).encode())
