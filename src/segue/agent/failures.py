"""Who has failed a question so far, and how, as its attempts tell. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..core.faults import Fault, FaultKind
from ..core.recovery import Again, Amend, Attempt, Use

__all__ = [
    "ANYTHING", "BROKEN", "DEPLOYMENT", "ELSEWHERE", "FULL", "HALF", "HELD", "LEAVES", "LOOKED", "MODEL", "PASSES",
    "TOOK", "asked_by", "asked_in", "awaits_money", "awaits_money_for_s", "cuts", "deployments_in", "down_for_s",
    "failed_in", "has_failed", "lacks_money", "lasted_s", "leaves_for", "left_in", "placed_in", "refused_in",
    "repairs", "repeats", "small_in", "so_far", "spent_in", "spoken_in", "turned_away", "turned_down_in",
    "unlucky_in", "unsent",
]  # fmt: skip

ELSEWHERE = frozenset(
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
"""What says nothing of how somebody else would do."""
PASSES = ELSEWHERE - {FaultKind.UNAUTHORISED}
"""Bad luck: the same one may do it a moment later."""
_AWAY = frozenset({FaultKind.RATE_LIMITED, FaultKind.OVERLOADED, FaultKind.UNREACHABLE})
ANYTHING = frozenset(FaultKind)
_BY_SIZE = frozenset({FaultKind.CONTEXT_TOO_LONG, FaultKind.BUDGET_EXCEEDED})
_SAME_AGAIN = _BY_SIZE | {FaultKind.UNAUTHORISED, FaultKind.CONTENT_REFUSED}
"""Who has said this to a question says it again."""
DEPLOYMENT = "deployment"
"""What a fault names the place of its call by."""
MODEL = "model"
"""What a fault names the model by that was asked, or was to be."""
TOOK = "took_nano"
"""What a fault says that its attempt's calls took."""
HELD = "held_for"
"""What the fault of a call says that would fit into its budget if calls under way held less: what was spent and held.
"""
LOOKED = "looked_at"
"""What a fault says that guards have found in its attempt, for the next one."""
LEAVES = "leaves_for"
"""What a fault says of a call that left the line of a busy model: for which one, that was free."""
BROKEN = "broken"
"""What a fault says where all that kept a call away is that calls fail: an open breaker, no more retries."""
_BELIEVED_S = 86_400.0
"""The longest pause that is believed, as by health."""
HALF = "half"
"""What a fault says of an answer whose connection broke off within it."""
FULL = "full"
"""What a fault of an answer says that was cut at the most that its model can write."""


def asked_in(fault: Fault) -> str | None:
    """The model whose attempt ended so."""
    model = (fault.state or {}).get(MODEL)
    return model if isinstance(model, str) and model else None


def asked_by(attempt: Attempt) -> str | None:
    """The model that a failed attempt has asked."""
    return None if attempt.fault is None else asked_in(attempt.fault)


def unsent(attempt: Attempt) -> bool:
    """Whether nothing was sent: it found no place, or no money."""
    fault = attempt.fault
    if fault is None:
        return False
    state = fault.state or {}
    return bool(state.get("unsent")) or (fault.kind is FaultKind.BUDGET_EXCEEDED and not state.get(TOOK))


def lacks_money(attempt: Attempt) -> bool:
    """Whether a budget was exceeded."""
    return attempt.fault is not None and attempt.fault.kind is FaultKind.BUDGET_EXCEEDED


def leaves_for(attempt: Attempt) -> str | None:
    """For which model an attempt has left the line of a busy one."""
    model = None if attempt.fault is None else (attempt.fault.state or {}).get(LEAVES)
    return model if isinstance(model, str) else None


def turned_away(attempt: Attempt) -> bool:
    """Whether a call was sent that met nobody, or was refused: nothing of an answer came, and hardly anything was done
    for it.
    """
    fault = attempt.fault
    if fault is None or unsent(attempt):
        return False
    state = fault.state or {}
    began = any(state.get(name) for name in (HALF, "released", "begun"))
    away = fault.kind in _AWAY or (fault.kind is FaultKind.TIMED_OUT and state.get("status") is not None)
    return bool(state.get("unconnected")) or (away and not began)  # a gateway's 504 came from there


def repeats(history: Sequence[Attempt]) -> int:
    """How many calls came to nothing by bad luck beyond the first one of each place: of all models together."""
    faults = [a.fault for a in history if a.fault is not None and a.fault.kind in PASSES and not unsent(a)]
    return len(faults) - len({(asked_in(fault), (fault.state or {}).get(DEPLOYMENT)) for fault in faults})


def lasted_s(history: Sequence[Attempt]) -> float:
    """Seconds that attempts took, with the pauses between them. Of a gap that is longer than its pause was to be
    nobody carried the run out: the rest of it is no time that was waited.
    """
    ends = [attempt.began if attempt.ended is None else attempt.ended for attempt in history]
    took = sum(max(0.0, ended - attempt.began) for attempt, ended in zip(history, ends, strict=True))
    for attempt, ended, after in zip(history, ends, history[1:], strict=False):
        planned_s = attempt.answer.after_s if isinstance(attempt.answer, Again | Use | Amend) else 0.0
        took += max(0.0, min(after.began - ended, planned_s))
    return took


def so_far(history: Sequence[Attempt], *, calls: int = 0, seconds: float = 0.0) -> str:
    """How often a question has asked, and for how long, with calls that have just ended: ` (14 calls in 152 s)`, or
    ` (nothing was sent in 6 s)`. Empty where it did so once.
    """
    if not history:
        return ""
    calls += sum(not unsent(attempt) for attempt in history)
    answer = history[-1].answer
    seconds += lasted_s(history) + (answer.after_s if isinstance(answer, Again | Use | Amend) else 0.0)
    made = f"{calls} call{'s' * (calls != 1)}" if calls else "nothing was sent"
    return f" ({made} in {seconds:.0f} s)"


def down_for_s(history: Sequence[Attempt]) -> float:
    """Seconds for which a question has met, up to now, nothing but calls that failed and open breakers."""
    since = len(history)
    for attempt in reversed(history):
        fault = attempt.fault
        if fault is None or fault.kind not in PASSES or (unsent(attempt) and not (fault.state or {}).get(BROKEN)):
            break
        since -= 1
    down = history[since:]
    return lasted_s(down) - lasted_s(down[:1])


def awaits_money(attempt: Attempt) -> str:
    """What was spent and held of a budget that calls under way hold too much of, as far as an attempt waited for that:
    it says nothing of any model. Empty where it did not.
    """
    fault = attempt.fault
    money = fault is not None and fault.kind is FaultKind.BUDGET_EXCEEDED and unsent(attempt)
    return str((fault.state or {}).get(HELD, "")) if fault is not None and money else ""


def awaits_money_for_s(history: Sequence[Attempt]) -> float:
    """Seconds for which a question has waited, up to now, for money of which nothing was settled meanwhile."""
    last, since = awaits_money(history[-1]), len(history)
    while last and since and awaits_money(history[since - 1]) == last:
        since -= 1
    return lasted_s(history[since:])


def _faults_of(history: Sequence[Attempt], model: str) -> list[Fault]:
    return [a.fault for a in history if a.fault is not None and asked_in(a.fault) == model]


def failed_in(history: Sequence[Attempt]) -> dict[str, str]:
    """Who has failed, with the kind of the last fault."""
    faults = [a.fault for a in history if a.fault is not None and not awaits_money(a)]
    return {model: fault.kind.value for fault in faults if (model := asked_in(fault))}


def has_failed(model: str, history: Sequence[Attempt]) -> bool:
    """Whether a call of this model was the last thing that failed of it, so that another one is a retry: no repair."""
    sent = [a.fault.kind for a in history if a.fault is not None and asked_in(a.fault) == model and not unsent(a)]
    return bool(sent) and sent[-1] in PASSES


def deployments_in(
    history: Sequence[Attempt], model: str, kinds: Collection[FaultKind] = ANYTHING
) -> frozenset[str]:  # fmt: skip
    """The deployments of a model that have failed, with a fault of one of these kinds."""
    return frozenset(placed_in(history, model, kinds))


def placed_in(history: Sequence[Attempt], model: str, kinds: Collection[FaultKind] = ANYTHING) -> list[str]:
    """As `deployments_in`, one for each fault, in their order."""
    placed = [f for f in _faults_of(history, model) if f.kind in kinds and DEPLOYMENT in (f.state or {})]
    return [str((fault.state or {})[DEPLOYMENT]) for fault in placed]


def refused_in(history: Sequence[Attempt], model: str) -> frozenset[str]:
    """The deployments of a model whose keys were refused."""
    return deployments_in(history, model, {FaultKind.UNAUTHORISED})


def spent_in(history: Sequence[Attempt]) -> dict[str, str]:
    """Who would say the same again, with what they said: a window or a budget counts until the question is cut."""
    spent: dict[str, str] = {}
    for attempt in history:
        fault, model = attempt.fault, asked_by(attempt)
        if fault is not None and model is not None and fault.kind in _SAME_AGAIN and not awaits_money(attempt):
            spent[model] = fault.kind.value
        if cuts(attempt):
            spent = {name: said for name, said in spent.items() if said not in _BY_SIZE}
    others = unlucky_in(history)  # one deployment's key says nothing of the next one's
    return {name: said for name, said in spent.items() if said != FaultKind.UNAUTHORISED or name not in others}


def left_in(history: Sequence[Attempt], bound_nano: int | None, *, freed: bool = False) -> int | None:
    """What is left of the question's own bound, and of the budget that has just refused a call; None: no limit. With
    `freed` as if that budget's calls under way took nothing of what they hold.
    """
    took = [int((a.fault.state or {}).get(TOOK) or 0) for a in history if a.fault is not None]
    last = history[-1].fault
    state = (last.state or {}) if last is not None else {}
    said = state.get("left_nano")
    if freed and isinstance(said, int):
        said += int(state.get("held_nano") or 0)
    left = [bound_nano - sum(took)] if bound_nano is not None else []
    return min([*left, said] if isinstance(said, int) else left, default=None)


def turned_down_in(history: Sequence[Attempt]) -> dict[str, str]:
    """Whose last answer was turned down: shown its mistake, it did no better."""
    return {model: kind for model, kind in failed_in(history).items() if kind == FaultKind.BAD_OUTPUT}


def unlucky_in(history: Sequence[Attempt]) -> dict[str, float]:
    """Whose last call, of one deployment at least, came to nothing for a reason that passes, each with the seconds that
    are left of the pause it asked for.
    """
    waits: dict[str, dict[str, float | None]] = {}
    for attempt in history:
        fault, model = attempt.fault, asked_by(attempt)
        if fault is None or model is None or awaits_money(attempt):
            continue
        place = str((fault.state or {}).get(DEPLOYMENT, ""))
        if not place:
            waits.pop(model, None)  # it speaks of all of them
        waits.setdefault(model, {})[place] = _left_of(fault, attempt, history[-1]) if fault.kind in PASSES else None
    asked = {model: [s for s in places.values() if s is not None] for model, places in waits.items()}
    return {model: min(seconds) for model, seconds in asked.items() if seconds}


def _left_of(fault: Fault, failed: Attempt, last: Attempt) -> float:
    """Seconds of the pause that a failed attempt was asked for, which were left when the last one had failed."""
    gone = 0.0 if failed.ended is None or last.ended is None else last.ended - failed.ended
    return max(0.0, min(fault.retry_after_s or 0.0, _BELIEVED_S) - gone)


def small_in(history: Sequence[Attempt]) -> dict[str, int]:
    """Whose windows the question does not fit into as it stands, with the tokens that they say they hold, or 0.

    One that was over a limit per minute says nothing of its window.
    """
    small: dict[str, int] = {}
    for attempt in history:
        fault, model = attempt.fault, asked_by(attempt)
        if fault is not None and model is not None and fault.kind is FaultKind.CONTEXT_TOO_LONG and not fault.limit:
            small[model] = int((fault.state or {}).get("window", 0))
        if cuts(attempt):
            small.clear()
    return small


def spoken_in(history: Sequence[Attempt]) -> set[str]:
    """Whose words are out that others go on from."""
    spoken, begun = set[str](), ""
    for attempt in history:
        said, model = (attempt.fault.state or {}).get("begun") if attempt.fault is not None else None, asked_by(attempt)
        if said and said != begun and model is not None:
            spoken.add(model)
        begun = str(said or begun)
    return spoken


def repairs(history: Sequence[Attempt], model: str) -> int:
    """How often this model was asked again to mend its answer."""
    mended = [a.fault for a in history if isinstance(a.answer, Amend) and a.fault is not None]
    return sum(fault.kind is FaultKind.BAD_OUTPUT and asked_in(fault) == model for fault in mended)


def cuts(attempt: Attempt) -> bool:
    """Whether the parts were cut after it."""
    too_long = attempt.fault is not None and attempt.fault.kind is FaultKind.CONTEXT_TOO_LONG
    return too_long and isinstance(attempt.answer, Amend)
