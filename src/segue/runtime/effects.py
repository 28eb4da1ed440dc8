"""What a reconcile function answers about an interrupted `effect="once"` step, and when it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.commands import StepOptions
from ..core.faults import NEVER_SENT, Fault, FaultKind, in_doubt, name_of
from ..errors import UnserialisableResult

_DOUBTFUL = frozenset({FaultKind.TIMED_OUT, FaultKind.UNREACHABLE})
_NOT_STORED = name_of(UnserialisableResult)
_SETTLED = "segue_not_applied"
"""What the error of a once-effect has, once it is known that the effect was not applied."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The effect was applied; `result` is what the step would have returned."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class NotApplied:
    """The effect was not applied: the step is made again."""


def is_looked_into(fault: Fault, options: StepOptions) -> bool:
    """Whether it is found out what came of a once-effect whose attempt failed like this, before its step fails.

    A time limit or a lost connection leaves it open; any other error is the step's own word that it failed. A result
    that cannot be stored came of an effect that was applied. Errors that only have the name of a lost connection, as
    those of HTTP clients do, are looked into where there is a `reconcile`. Before another attempt it always is.
    """
    if options.attempts > 1 or fault.error == _NOT_STORED:
        return True
    lost = fault.kind in _DOUBTFUL and fault.error != NEVER_SENT
    return lost or (options.reconcile is not None and in_doubt(fault.kind, fault.error))


def settle(error: BaseException) -> None:
    """Note on the error of a step that its effect was not applied."""
    object.__setattr__(error, _SETTLED, True)  # a user's own type may refuse new attributes


def is_settled(error: BaseException) -> bool:
    """Whether it is known that the effect of the step that failed with this was not applied."""
    return vars(error).get(_SETTLED) is True
