"""What to do after a failed call of a model: the `Recovery` of a question. Pure, but for whom the gateway asks next.

| fault | what follows |
| --- | --- |
| one of the next two rows | another deployment of the same model, where one takes calls |
| rate limited, overloaded, timed out, unreachable | the next candidate at once; without one the same, after a pause |
| | (those whose answers were turned down count as none, while somebody else may answer) |
| unauthorised | the next candidate |
| bad output | the same model, shown its mistake (a cut answer: given more room, if it has any); then the next one |
| | (what its adapter could not read: nobody is shown that) |
| context too long | the next one with a larger window; else the parts are cut, three times; else whoever is left |
| content refused | failed, unless `refused="next"`: then each one once |
| budget exceeded | the next candidate that may fit into what is left, now or after a pause; the same, where |
| | calls under way hold what it lacks, when they have ended; else failed |
| bad request, bug | failed |
| interrupted | whoever was to be asked; at first the question is decided anew |
| any, once some of the answer is with a consumer that cannot be told | failed, or the next one goes on from it |
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ..core.budgets import nano
from ..core.faults import Fault, FaultKind
from ..core.recovery import Again, Amend, Answer, Attempt, Fail, Use, plan_of
from .failures import (
    ELSEWHERE,
    FULL,
    asked_by,
    asked_in,
    awaits_money,
    awaits_money_for_s,
    cuts,
    deployments_in,
    down_for_s,
    failed_in,
    lacks_money,
    leaves_for,
    left_in,
    refused_in,
    repairs,
    repeats,
    small_in,
    spent_in,
    spoken_in,
    turned_away,
    turned_down_in,
    unlucky_in,
    unsent,
)
from .held import STUCK_S
from .request import Question

__all__ = ["Doors", "Others", "Policy", "Recover", "Refused", "plain_of", "question_of"]

Refused = Literal["fail", "next"]
"""What follows a refusal: by default no detour around it."""


class Others(Protocol):
    """Whom to ask next, given who has failed and how; with `left_nano`, of those that may cost so little.

    `small` are those whose windows the question does not fit into, with the tokens that they hold where they have said
    so, else 0: only larger windows then.
    """

    def __call__(
        self, tried: Mapping[str, str], left_nano: int | None = None, small: Mapping[str, int] = ..., /
    ) -> str | None:
        """The next one; None where there is none."""
        ...


class Doors(Protocol):
    """When the models take a call of a question's size, as health and their limits have it."""

    def resting(self, tried: Mapping[str, str], left_nano: int | None = None, /) -> Collection[str]:
        """Who would answer, beside those that were tried, if all took calls now; with `left_nano` for no more."""
        ...

    def pays(self, model: str, left_nano: int, /) -> bool:
        """Whether a call of a model may cost so little."""
        ...

    def spare(self, model: str, failed: Collection[str], /) -> bool:
        """Whether a model has a deployment beside those that failed, which takes it now."""
        ...

    def ready_in(self, model: str, refused: Collection[str], /) -> float:
        """Seconds until a deployment of a model, beside those whose keys were refused, takes it; infinite: never."""
        ...

    def broken(self, model: str, refused: Collection[str], /) -> bool:
        """Whether open breakers are all that keeps calls from a model's deployments, beside refused keys."""
        ...


class _Open:
    """Doors where nobody knows: nobody is spared, and everybody takes a call whose key was not refused."""

    def resting(self, tried: Mapping[str, str], left_nano: int | None = None, /) -> Collection[str]:
        return ()

    def pays(self, model: str, left_nano: int, /) -> bool:
        return True

    def spare(self, model: str, failed: Collection[str], /) -> bool:
        return False

    def ready_in(self, model: str, refused: Collection[str], /) -> float:
        return math.inf if refused else 0.0

    def broken(self, model: str, refused: Collection[str], /) -> bool:
        return False


_ONWARDS = ELSEWHERE | {FaultKind.CONTEXT_TOO_LONG, FaultKind.BAD_OUTPUT}
"""After which another model goes on from what is out: the one that was to go on may itself have said nothing."""
_SHORT = 2000
"""Characters of a part that is not worth cutting."""
_CUTS = 3
"""How often parts are cut to half."""
_BACKOFF_S, _BACKOFF_MAX_S, _CROWDED_MAX_S = 0.25, 15.0, 5.0
_PATIENCE_S = 30.0
"""How long a pause somebody may ask for, until those whose answers were turned down have another try first."""
_NOBODY: Mapping[str, str] = {}
_DOWN_S = 150.0
"""How long whoever turns calls away is asked again, and open breakers are waited for, where there is nothing else: they
promise nobody's return. An outage of a minute is outlasted, whenever in it a question comes; the pauses of a breaker
grow to that.
"""
_CALLS = 8
"""Calls that may have cost something, and calls at least before an outage is given up."""
_REPEATS = 40
"""Calls at most beyond the first one of each place, whatever stood between them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How far to go for an answer."""

    attempts: int | None = None
    """Calls at most, of all models together. None: eight that may have cost something, and those that were turned away
    for as long as an outage is waited for.
    """
    repairs: int = 2
    """How often one model is shown its mistake."""
    refused: Refused = "fail"

    def recovery(self, question: Question, others: Others, doors: Doors | None = None) -> Recover:
        """The Recovery of a question. `others` names whom to ask next, `doors` know when who takes a call."""
        return Recover(self, question, others, doors or _Open())


@dataclass(frozen=True, slots=True)
class Recover:
    """A `core.recovery.Recovery`."""

    policy: Policy
    question: Question
    others: Others
    doors: Doors = field(default_factory=_Open)

    def __call__(self, fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:  # noqa: PLR0911  one a kind
        """`history` ends with the attempt that has just failed."""
        model, kind = asked_in(fault), fault.kind
        if _worn_out(history, self.policy.attempts) or (model is None and kind is not FaultKind.INTERRUPTED):
            return Fail()  # the latter is no fault of a model: a bug in a check, nobody who can answer
        if kind is FaultKind.INTERRUPTED and plan_of(history).candidate is not None:
            return Again(0.0)  # who was to be asked then still is
        if (free := leaves_for(history[-1])) is not None:
            return Use(free)
        if "released" in (fault.state or {}):
            return self._rescued(fault, history, model, luck)
        if kind is FaultKind.BAD_OUTPUT and model and self._mendable(fault, history, model):
            return self._repaired(fault, history, model)
        if kind is FaultKind.CONTEXT_TOO_LONG:
            cut = None if unsent(history[-1]) else self._shrunk(history, model)  # a limit of ours cuts no text
            return self._larger(history, luck) or cut or self._anyone(history, luck)
        if kind is FaultKind.BUDGET_EXCEEDED:
            return self._within(history, model, luck)
        if kind in ELSEWHERE or kind is FaultKind.BAD_OUTPUT or self._may_detour(kind):
            other = self._elsewhere(history, model, luck)
            if other is not None:
                return self._climbed(fault, history, other) if kind is FaultKind.BAD_OUTPUT else other
        return Again(0.0) if kind is FaultKind.INTERRUPTED else Fail()

    def _within(self, history: Sequence[Attempt], model: str | None, luck: float) -> Answer:
        """Somebody who fits into what is left; else the same one, where calls under way hold what it lacks: each of
        them ends. What nobody has settled a part of for long, nobody may be left to settle. Else somebody who fits
        once nothing is held, and that one finds out whether to wait for it.
        """
        held = bool(model and awaits_money(history[-1])) and awaits_money_for_s(history) < STUCK_S
        last = {model: "calls under way hold what it lacks"} if model and held else {}
        other = self.others({**failed_in(history), **last}, self._left(history))
        if other is not None:
            return Use(other)
        soonest = self._soonest(history, luck)
        if model and held and (soonest is None or soonest.after_s > _PATIENCE_S):
            return Use(model, _crowded(history, luck))
        return soonest or self._soonest(history, luck, freed=True) or Fail()

    def _rescued(self, fault: Fault, history: Sequence[Attempt], model: str | None, luck: float) -> Answer:
        """Somebody who cannot be told to forget has had some of the answer: go on from there, or not at all."""
        begun = (fault.state or {}).get("begun")
        out = spoken_in(history) | turned_down_in(history).keys()  # whoever broke off, or had nothing to add
        onwards = fault.kind in _ONWARDS or self._may_detour(fault.kind)
        other = self._elsewhere(history, model, luck, out) if begun and onwards else None
        if other is None:
            return Fail()
        question = question_of(self.question, plan_of(history).changes)
        return Amend({"question": {**plain_of(question), "begun": begun, "first": other.candidate}}, other.after_s)

    def _climbed(self, fault: Fault, history: Sequence[Attempt], other: Use) -> Answer:
        """The next one up, which is shown what was wrong with the answers before."""
        question = question_of(self.question, plan_of(history).changes)
        room = question.max_tokens * (2 if fault.limit == "max tokens" else 1)
        changed = {
            **plain_of(question),
            "mistakes": _mistakes(question, fault),
            "max_tokens": room,
            "first": other.candidate,
        }
        return Amend({"question": changed}, other.after_s)

    def _larger(self, history: Sequence[Attempt], luck: float) -> Use | None:
        """Whoever has a larger window; one that has failed otherwise too, after a pause."""
        small = small_in(history)
        other = self.others(failed_in(history), self._left(history), small)
        if other is not None:
            return Use(other)
        again = self.others(spent_in(history), self._left(history), small) if small else None
        return None if again is None else Use(again, self._wait_s(history, again, luck))

    def _anyone(self, history: Sequence[Attempt], luck: float) -> Answer:
        """Nobody's window is larger by the catalogue, and nothing is left to cut: the others may count otherwise."""
        other = self.others(failed_in(history), self._left(history))
        return Use(other) if other else self._soonest(history, luck) or Fail()

    def _elsewhere(
        self, history: Sequence[Attempt], model: str | None, luck: float, without: Collection[str] = ()
    ) -> Use | None:
        """Whoever has not failed yet, another deployment first; when all have, another round after a pause. Nobody of
        those that are left out.
        """
        fault = history[-1].fault
        elsewhere = fault is not None and fault.kind in ELSEWHERE and model not in without
        if model is not None and elsewhere and self._has_spare(history, model):
            return Use(model)
        out = dict.fromkeys(without, "it has broken off")
        other = self.others({**failed_in(history), **out}, self._left(history))
        if other is not None:
            return Use(other, _crowded(history, luck))
        return self._another_round(history, model, luck, out)

    def _another_round(
        self, history: Sequence[Attempt], model: str | None, luck: float, out: Mapping[str, str]
    ) -> Use | None:
        """All have failed: whoever did so by bad luck, as soon as it takes calls; those whose answers were turned down
        only where nobody else is left, or that would take long.
        """
        soonest = self._soonest(history, luck, out)
        if soonest is not None and soonest.after_s <= _PATIENCE_S:
            return soonest
        last = {} if model is None else {model: "it has failed just now"}
        unlucky = dict.fromkeys(unlucky_in(history), "it was waited for")
        lost, left = {**spent_in(history), **unlucky, **out}, self._left(history)
        again = self.others({**lost, **last}, left)
        if again is None and soonest is not None:
            again = self.others(lost, left)  # even the last one, before a long pause
        return soonest if again is None else Use(again, _pause(history, luck))

    def _soonest(
        self, history: Sequence[Attempt], luck: float, out: Mapping[str, str] = _NOBODY, *, freed: bool = False
    ) -> Use | None:
        """Of those who have failed by bad luck, or take no calls now, the one that takes a call first; of several the
        one that has failed longest ago. A pool of which one key was refused is among them, as long as another is left.
        Nobody who cannot be paid; nor anybody, where all are down.
        """
        unlucky, spent, left = unlucky_in(history), spent_in(history), self._left(history, freed=freed)
        pools = {n for n, said in spent.items() if said == FaultKind.UNAUTHORISED and refused_in(history, n)}
        among = {*unlucky, *pools, *self.doors.resting({**failed_in(history), **out}, left)} - out.keys()
        among = {name for name in among if name in pools or name not in spent}
        paid = {name for name in among if left is None or self.doors.pays(name, left)}
        if among and not paid and not lacks_money(history[-1]):
            return Use(min(among))  # it says so, when it is asked
        waits = {} if self._down(history, paid) else {name: self._wait_s(history, name, luck) for name in paid}
        last = {name: at for at, attempt in enumerate(history) if (name := asked_by(attempt)) is not None}
        soonest = min(waits, key=lambda name: (waits[name], last.get(name, -1), name), default=None)
        if soonest is None or waits[soonest] < math.inf:
            return None if soonest is None else Use(soonest, waits[soonest])
        lost = min(unlucky.keys() & waits.keys(), default=None)  # it says why, when it is asked
        return None if lost is None else Use(lost, max(_pause(history, luck), unlucky[lost]))

    def _wait_s(self, history: Sequence[Attempt], model: str, luck: float) -> float:
        """Seconds until a model may be asked again: its backoff, the pause it asked for, and when it takes calls. Who
        has just waited in vain looks again less and less often.
        """
        ready_s = self.doors.ready_in(model, refused_in(history, model))
        vain_s = _crowded(history, luck) if unsent(history[-1]) else 0.0
        return max(_pause(history, luck), unlucky_in(history).get(model, 0.0), ready_s, vain_s)

    def _down(self, history: Sequence[Attempt], models: Collection[str]) -> bool:
        """Whether there is nothing but open breakers, and was for long: others find out by their probes, and what they
        find out is no call of this question, so that its calls do not bound how long it waits.
        """
        return down_for_s(history) >= _DOWN_S and all(
            self.doors.broken(name, refused_in(history, name)) for name in models
        )

    def _left(self, history: Sequence[Attempt], *, freed: bool = False) -> int | None:
        """Nano-dollars that a call may cost by now, as far as the question and its last fault know; None: any."""
        bound = self.question.budget_usd
        return left_in(history, None if bound is None else nano(bound), freed=freed)

    def _has_spare(self, history: Sequence[Attempt], model: str) -> bool:
        """Whether another deployment of the model takes calls, and the last one was called at all."""
        failed = deployments_in(history, model)
        return bool(failed) and not unsent(history[-1]) and self.doors.spare(model, failed)

    def _may_detour(self, kind: FaultKind) -> bool:
        return kind is FaultKind.CONTENT_REFUSED and self.policy.refused == "next"

    def _repaired(self, fault: Fault, history: Sequence[Attempt], model: str) -> Answer:
        """The same model, which is shown what was wrong; a cut answer gets more room instead."""
        plan = plan_of(history)
        question = question_of(self.question, plan.changes)
        if fault.limit == "max tokens":
            changed = {**plain_of(question), "max_tokens": question.max_tokens * 2}
        else:
            changed = {**plain_of(question), "mistakes": _mistakes(question, fault)}
        return Amend({"question": {**changed, "first": model}})

    def _mendable(self, fault: Fault, history: Sequence[Attempt], model: str) -> bool:
        """Whether the same model may do better: not where its answer was cut at all that it can write."""
        full = fault.limit == "max tokens" and FULL in (fault.state or {})
        return not full and repairs(history, model) < self.policy.repairs

    def _shrunk(self, history: Sequence[Attempt], model: str | None) -> Answer | None:
        """The same model, with the middles of the parts cut; None where that was done, or there is nothing to cut."""
        question = question_of(self.question, plan_of(history).changes)
        cut = [_without_middle(part) for part in question.parts]
        if sum(map(cuts, history)) >= _CUTS or cut == question.parts:
            return None
        return Amend({"question": {**plain_of(question), "parts": cut, "first": model}})


def _mistakes(question: Question, fault: Fault) -> list[str]:
    """What was wrong with the answers so far. That no adapter could read one is no mistake of who wrote it."""
    said = [] if "unread" in (fault.state or {}) else [fault.message]
    return [*question.mistakes, *said][-3:]


def _pause(history: Sequence[Attempt], luck: float) -> float:
    """Seconds before somebody is asked again, with full jitter: by how often anybody was. Each model and deployment has
    its first call at once, so that one more of them makes it no shorter.
    """
    return luck * min(_BACKOFF_MAX_S, _BACKOFF_S * 2.0 ** min(repeats(history), 30))


def _crowded(history: Sequence[Attempt], luck: float) -> float:
    """Seconds: who finds no place again and again comes back less often, or waiting would be what keeps all busy."""
    full = sum(unsent(a) and asked_by(a) is not None and leaves_for(a) is None for a in history)
    return luck * min(_CROWDED_MAX_S, _BACKOFF_S * 2.0 ** (full - 2)) if full > 1 else 0.0


def _worn_out(history: Sequence[Attempt], attempts: int | None) -> bool:
    """Whether so many calls were made; one that found no place or no money was none. A queue, or a pause that was asked
    for, is waited for however often. Without a number calls that were turned away are bounded by time: who cannot be
    reached answers the ninth call no sooner than the eighth, but a minute later.
    """
    sent = [attempt for attempt in history if not unsent(attempt)]
    if attempts is not None:
        return len(sent) >= attempts
    outage = len(sent) >= _CALLS and down_for_s(history) >= _DOWN_S
    return outage or sum(not turned_away(one) for one in sent) >= _CALLS or repeats(history) >= _REPEATS


def _without_middle(part: str) -> str:
    quarter = len(part) // 4
    return part if len(part) < _SHORT else f"{part[:quarter]}\n[…]\n{part[-quarter:]}"


def question_of(question: Question, changes: Mapping[str, Any]) -> Question:
    """As it stands after what was changed so far."""
    changed = changes.get("question")
    if changed is None:
        return question
    return Question(**{k: v for k, v in changed.items() if k != "examples"}, examples=question.examples)


def plain_of(question: Question) -> dict[str, Any]:
    """A question as JSON, as its codec would write it."""
    from pydantic_core import to_jsonable_python  # noqa: PLC0415

    return to_jsonable_python(question)
