"""Once-effects of which nobody knows whether they were applied: no run ends, or is set aside, without naming them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...core.codec import dumps
from ...core.faults import FaultKind
from ...core.replay import Memory
from .carrying import is_between

if TYPE_CHECKING:
    from .execution import Execution

_INTERRUPTED = "the process ended while it was made"
_SET_ASIDE = "the run was set aside while it was made"


def known(execution: Execution) -> dict[str, str]:
    """Those that this process has looked into, and why they are in doubt."""
    return {key: execution.doubts[key] for key in execution.unknowns}


def of(execution: Execution) -> dict[str, str]:
    """All effects in doubt of a run that goes no further here: also those that nobody could look into."""
    on_their_way = {key for key in execution.once if key in execution.tries and not is_between(execution, key)}
    said = execution.overridden
    return {
        **{k: why for k, why in interrupted(execution.memory).items() if k not in said},
        **{k: _SET_ASIDE for k in on_their_way - said},
        **known(execution),
    }


def told(execution: Execution, message: str) -> str:
    """Why a run is set aside, and the effects that come to be in doubt by that."""
    others = of(execution).keys() - execution.unknowns.keys()
    return f"{message}; nobody knows whether {', '.join(sorted(others))} was applied" if others else message


def interrupted(memory: Memory) -> dict[str, str]:
    """The effects that a journal leaves without an outcome, and why they are in doubt."""
    found: dict[str, str] = {}
    for key in memory.effects:
        tries = memory.attempts.get(key)
        fault = tries[-1].fault if tries else None
        if fault is not None and fault.kind is FaultKind.INTERRUPTED:
            found[key] = memory.doubts.get(key, _INTERRUPTED)
    return found


def untold(memory: Memory) -> bool:
    """Whether one of them is not on record as in doubt yet."""
    return not interrupted(memory).keys() <= memory.doubts.keys()


def beside(detail: dict[str, Any], unknown: dict[str, str]) -> bytes:
    """The body of the event that says why a run rests: with the effects in doubt, for whoever asks about them next."""
    return dumps({**detail, "unknown": unknown} if unknown else detail)
