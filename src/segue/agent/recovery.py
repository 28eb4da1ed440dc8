"""What to do after a failed call of a model: the `Recovery` of a question. Pure, but for whom the gateway asks next.

| fault | what follows |
| --- | --- |
| one of the next two rows | another deployment of the same model, where one takes calls |
| rate limited, overloaded, timed out, unreachable | the next candidate at once; without one the same, after a pause |
| | (those whose answers were turned down count as none, while somebody else may answer) |
| unauthorised | the next candidate |
| bad output | the same model, shown its mistake (a cut answer: given more room, if it has any); then the next one |
| context too long | the next one with a larger window; else the parts are cut, three times; else whoever is left |
| content refused | failed, unless `refused="next"`: then each one once |
| budget exceeded | the next candidate that may fit into what is left; else failed |
| bad request, bug | failed |
| interrupted | the question is decided anew |
| any, once some of the answer is with a consumer that cannot be told | failed, or the next one goes on from it |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ..core.faults import Fault, FaultKind
from ..core.recovery import Again, Amend, Answer, Attempt, Fail, Use, plan_of
from .request import Question

__all__ = ["Policy", "Refused", "asked_in", "failed_in", "plain_of", "question_of"]

Refused = Literal["fail", "next"]
"""What follows a refusal: by default no detour around it."""


class Others(Protocol):
    """Whom to ask next, given who has failed and how; with `left_nano`, of those that may cost so little.

    `small` are those whose windows the question does not fit into, with the tokens that they hold where they have said
    so, else 0: only larger windows then.
    """

    def __call__(
        self, tried: Mapping[str, str], left_nano: int | None = None, small: Mapping[str, int] = ..., /
    ) -> str | None: ...


class Spare(Protocol):
    """Whether a model has a deployment beside those that failed, which takes calls now."""

    def __call__(self, model: str, failed: Collection[str], /) -> bool: ...


_ELSEWHERE = frozenset(
    {
        FaultKind.RATE_LIMITED,
        FaultKind.OVERLOADED,
        FaultKind.TIMED_OUT,
        FaultKind.UNREACHABLE,
        FaultKind.UNAUTHORISED,
        FaultKind.TOOL_FAILED,
        FaultKind.INTERRUPTED,
    }
)
_AGAIN = _ELSEWHERE - {FaultKind.UNAUTHORISED}
_SAME_AGAIN = frozenset({FaultKind.UNAUTHORISED, FaultKind.CONTENT_REFUSED, FaultKind.CONTEXT_TOO_LONG})
"""Who has said this to a question says it again."""
_SHORT = 2000
"""Characters of a part that is not worth cutting."""
_CUTS = 3
"""How often parts are cut to half."""
_BACKOFF_S, _BACKOFF_MAX_S = 0.25, 20.0
_CROWDED_MAX_S = 5.0
_PATIENCE_S = 30.0
"""How long a pause somebody may ask for, until those whose answers were turned down have another try first."""
_UNSENT = 4
"""How many times as many attempts there may be as calls, where some are not sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How far to go for an answer."""

    attempts: int = 8
    """Calls at most, of all models together."""
    repairs: int = 2
    """How often one model is shown its mistake."""
    refused: Refused = "fail"

    def recovery(self, question: Question, others: Others, spare: Spare | None = None) -> Recover:
        """The Recovery of a question. `others` names whom to ask next, `spare` knows the rest of a pool."""
        return Recover(self, question, others, spare)


@dataclass(frozen=True, slots=True)
class Recover:
    """A `core.recovery.Recovery`."""

    policy: Policy
    question: Question
    others: Others
    spare: Spare | None = None

    def __call__(self, fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:  # noqa: PLR0911  one a kind
        """`history` ends with the attempt that has just failed."""
        model, kind = asked_in(fault), fault.kind
        if _worn_out(history, self.policy.attempts) or (model is None and kind is not FaultKind.INTERRUPTED):
            return Fail()  # the latter is no fault of a model: a bug in a check, nobody who can answer
        if "released" in (fault.state or {}):
            return self._rescued(fault, history, model, luck)
        if kind is FaultKind.BAD_OUTPUT and model and self._mendable(fault, history, model):
            return self._repaired(fault, history, model)
        if kind is FaultKind.CONTEXT_TOO_LONG:
            cut = None if _unsent(history[-1]) else self._shrunk(history, model)  # a limit of ours cuts no text
            return self._larger(history, luck) or cut or self._anyone(history)
        if kind is FaultKind.BUDGET_EXCEEDED:
            other = self.others(failed_in(history), _left_in(fault))
            return Use(other) if other else Fail()
        if kind in _ELSEWHERE or kind is FaultKind.BAD_OUTPUT or self._may_detour(kind):
            other = self._elsewhere(kind, history, model, luck)
            if other is not None:
                return self._climbed(fault, history, other) if kind is FaultKind.BAD_OUTPUT else other
        return self._again(fault, history, model, luck)

    def _rescued(self, fault: Fault, history: Sequence[Attempt], model: str | None, luck: float) -> Answer:
        """Somebody who cannot be told to forget has had some of the answer: go on from there, or not at all."""
        begun = (fault.state or {}).get("begun")
        other = self._elsewhere(fault.kind, history, model, luck) if begun and fault.kind in _AGAIN else None
        if other is None or other.candidate == model:  # whoever broke off does not go on from what it said
            return Fail()
        question = question_of(self.question, plan_of(history).changes)
        return Amend({"question": {**plain_of(question), "begun": begun, "first": other.candidate}}, other.after_s)

    def _climbed(self, fault: Fault, history: Sequence[Attempt], other: Use) -> Answer:
        """The next one up, which is shown what was wrong with the answers before."""
        question = question_of(self.question, plan_of(history).changes)
        mistakes = [*question.mistakes, fault.message][-3:]
        room = question.max_tokens * (2 if fault.limit == "max tokens" else 1)
        changed = {**plain_of(question), "mistakes": mistakes, "max_tokens": room, "first": other.candidate}
        return Amend({"question": changed}, other.after_s)

    def _larger(self, history: Sequence[Attempt], luck: float) -> Use | None:
        """Whoever has a larger window; one that has failed otherwise too, after a pause."""
        small = _small_in(history)
        other = self.others(failed_in(history), None, small)
        if other is not None:
            return Use(other)
        again = self.others(spent_in(history), None, small) if small else None
        return None if again is None else Use(again, _pause(history, again, luck))

    def _anyone(self, history: Sequence[Attempt]) -> Answer:
        """Nobody's window is larger by the catalogue, and nothing is left to cut: the others may count otherwise."""
        other = self.others(failed_in(history))
        return Use(other) if other else Fail()

    def _elsewhere(self, kind: FaultKind, history: Sequence[Attempt], model: str | None, luck: float) -> Use | None:
        """Whoever has not failed yet, another deployment first; when all have, another round after a pause."""
        if kind in _ELSEWHERE and model and self._has_spare(history, model):
            return Use(model)
        other = self.others(failed_in(history))
        if other is not None:
            return Use(other, _crowded(history, luck))
        return self._another_round(kind, history, model, luck)

    def _another_round(self, kind: FaultKind, history: Sequence[Attempt], model: str | None, luck: float) -> Use | None:
        """All have failed: whoever did so by bad luck, as soon as it takes calls; those whose answers were turned down
        only where nobody else is left, or that would take long.
        """
        lost = spent_in(history) | ({} if model is None else {model: kind.value})
        turned_down = turned_down_in(history)
        again = self.others({**lost, **turned_down})
        if again is not None:
            return Use(again, _pause(history, again, luck))
        again, unlucky = self.others(lost), unlucky_in(history)
        soonest = min(reversed(unlucky), key=lambda name: unlucky[name], default=None)
        if soonest is not None and (again is None or unlucky[soonest] <= _PATIENCE_S):  # each has asked for a pause
            return Use(soonest, max(_pause(history, soonest, luck), unlucky[soonest]))
        return None if again is None else Use(again, _pause(history, again, luck))

    def _has_spare(self, history: Sequence[Attempt], model: str) -> bool:
        """Whether another deployment of the model takes calls, and the last one was called at all."""
        failed = deployments_in(history, model)
        return bool(failed) and not _unsent(history[-1]) and self.spare is not None and self.spare(model, failed)

    def _may_detour(self, kind: FaultKind) -> bool:
        return kind is FaultKind.CONTENT_REFUSED and self.policy.refused == "next"

    def _repaired(self, fault: Fault, history: Sequence[Attempt], model: str) -> Answer:
        """The same model, which is shown what was wrong; a cut answer gets more room instead."""
        plan = plan_of(history)
        question = question_of(self.question, plan.changes)
        if fault.limit == "max tokens":
            changed = {**plain_of(question), "max_tokens": question.max_tokens * 2}
        else:
            changed = {**plain_of(question), "mistakes": [*question.mistakes, fault.message][-3:]}
        return Amend({"question": {**changed, "first": model}})

    def _mendable(self, fault: Fault, history: Sequence[Attempt], model: str) -> bool:
        """Whether the same model may do better: not where its answer was cut at all that it can write."""
        full = fault.limit == "max tokens" and FULL in (fault.state or {})
        return not full and _repairs(history, model) < self.policy.repairs

    def _shrunk(self, history: Sequence[Attempt], model: str | None) -> Answer | None:
        """The same model, with the middles of the parts cut; None where that was done, or there is nothing to cut."""
        question = question_of(self.question, plan_of(history).changes)
        cut = [_without_middle(part) for part in question.parts]
        if sum(map(_was_cut, history)) >= _CUTS or cut == question.parts:
            return None
        return Amend({"question": {**plain_of(question), "parts": cut, "first": model}})

    def _again(self, fault: Fault, history: Sequence[Attempt], model: str | None, luck: float) -> Answer:
        """There is nobody else: the same one after a pause, if that may help."""
        if fault.kind is FaultKind.INTERRUPTED:
            return Again(0.0)
        if fault.kind not in _AGAIN or model is None:
            return Fail()
        return Use(model, max(_pause(history, model, luck), fault.retry_after_s or 0.0))


def _pause(history: Sequence[Attempt], model: str, luck: float) -> float:
    """Seconds before a model is asked again, with full jitter: by how often it has failed, whatever others did."""
    failed = sum(a.fault is not None and asked_in(a.fault) == model and not _unsent(a) for a in history)
    return luck * min(_BACKOFF_MAX_S, _BACKOFF_S * 2.0 ** max(failed - 1, 0))


def _crowded(history: Sequence[Attempt], luck: float) -> float:
    """Seconds: who finds no place again and again comes back less often, or waiting would be what keeps all busy."""
    full = sum(_unsent(a) for a in history)
    return luck * min(_CROWDED_MAX_S, _BACKOFF_S * 2.0 ** (full - 2)) if full > 1 else 0.0


def _worn_out(history: Sequence[Attempt], attempts: int) -> bool:
    """Whether so many calls were made; one that found no place or no money was none, but cannot go on for ever."""
    return sum(not _unsent(a) for a in history) >= attempts or len(history) >= attempts * _UNSENT


def _unsent(attempt: Attempt) -> bool:
    fault = attempt.fault
    return fault is not None and (fault.kind is FaultKind.BUDGET_EXCEEDED or bool((fault.state or {}).get("unsent")))


def has_failed(model: str, history: Sequence[Attempt]) -> bool:
    """Whether a call of this model was the last thing that failed of it, so that another one is a retry: no repair."""
    sent = [a.fault.kind for a in history if a.fault is not None and asked_in(a.fault) == model and not _unsent(a)]
    return bool(sent) and sent[-1] in _AGAIN


def asked_in(fault: Fault) -> str | None:
    """The model whose attempt ended so."""
    model = (fault.state or {}).get("model")
    return model if isinstance(model, str) and model else None


DEPLOYMENT = "deployment"
"""What a fault names the place of its call by."""


def deployments_in(history: Sequence[Attempt], model: str) -> frozenset[str]:
    """The deployments of a model that have failed."""
    faults = [a.fault for a in history if a.fault is not None and asked_in(a.fault) == model]
    return frozenset(str((f.state or {})[DEPLOYMENT]) for f in faults if DEPLOYMENT in (f.state or {}))


FULL = "full"
"""What a fault of an answer says that was cut at the most that its model can write."""


def spent_in(history: Sequence[Attempt]) -> dict[str, str]:
    """Who would say the same again, with what they said: a window counts until the question is cut."""
    spent: dict[str, str] = {}
    for attempt in history:
        fault, model = attempt.fault, None if attempt.fault is None else asked_in(attempt.fault)
        if fault is not None and model is not None and fault.kind in _SAME_AGAIN:
            spent[model] = fault.kind.value
        if _was_cut(attempt):
            spent = {name: said for name, said in spent.items() if said != FaultKind.CONTEXT_TOO_LONG}
    others = unlucky_in(history)  # one deployment's key says nothing of the next one's
    return {name: said for name, said in spent.items() if said != FaultKind.UNAUTHORISED or name not in others}


def turned_down_in(history: Sequence[Attempt]) -> dict[str, str]:
    """Whose last answer was turned down: shown its mistake, it did no better."""
    return {model: kind for model, kind in failed_in(history).items() if kind == FaultKind.BAD_OUTPUT}


def unlucky_in(history: Sequence[Attempt]) -> dict[str, float]:
    """Whose last call, of one deployment at least, came to nothing for a reason that passes, each with the seconds that
    are left of the pause it asked for.
    """
    waits: dict[str, dict[str, float | None]] = {}
    for attempt in history:
        fault, model = attempt.fault, None if attempt.fault is None else asked_in(attempt.fault)
        if fault is None or model is None:
            continue
        place = str((fault.state or {}).get(DEPLOYMENT, ""))
        if not place:
            waits.pop(model, None)  # it speaks of all of them
        waits.setdefault(model, {})[place] = _left_of(fault, attempt, history[-1]) if fault.kind in _AGAIN else None
    asked = {model: [s for s in places.values() if s is not None] for model, places in waits.items()}
    return {model: min(seconds) for model, seconds in asked.items() if seconds}


def _left_of(fault: Fault, failed: Attempt, last: Attempt) -> float:
    """Seconds of the pause that a failed attempt was asked for, which were left when the last one had failed."""
    gone = 0.0 if failed.ended is None or last.ended is None else last.ended - failed.ended
    return max(0.0, (fault.retry_after_s or 0.0) - gone)


def _small_in(history: Sequence[Attempt]) -> dict[str, int]:
    """Whose windows the question does not fit into as it stands, with the tokens that they say they hold, or 0.

    One that was over a limit per minute says nothing of its window.
    """
    small: dict[str, int] = {}
    for attempt in history:
        fault, model = attempt.fault, None if attempt.fault is None else asked_in(attempt.fault)
        if fault is not None and model is not None and fault.kind is FaultKind.CONTEXT_TOO_LONG and not fault.limit:
            small[model] = int((fault.state or {}).get("window", 0))
        if _was_cut(attempt):
            small.clear()
    return small


def _left_in(fault: Fault) -> int | None:
    """What the budget that refused a call had left."""
    said = (fault.state or {}).get("left_nano")
    return said if isinstance(said, int) else None


def failed_in(history: Sequence[Attempt]) -> dict[str, str]:
    """Who has failed, with the kind of the last fault."""
    faults = [a.fault for a in history if a.fault is not None]
    return {model: fault.kind.value for fault in faults if (model := asked_in(fault))}


def _repairs(history: Sequence[Attempt], model: str) -> int:
    """How often this model was asked again to mend its answer."""
    mended = [a.fault for a in history if isinstance(a.answer, Amend) and a.fault is not None]
    return sum(fault.kind is FaultKind.BAD_OUTPUT and asked_in(fault) == model for fault in mended)


def _without_middle(part: str) -> str:
    quarter = len(part) // 4
    return part if len(part) < _SHORT else f"{part[:quarter]}\n[…]\n{part[-quarter:]}"


def _was_cut(attempt: Attempt) -> bool:
    """Whether the parts were cut after it."""
    too_long = attempt.fault is not None and attempt.fault.kind is FaultKind.CONTEXT_TOO_LONG
    return too_long and isinstance(attempt.answer, Amend)


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
