"""What follows a failed call of a tool, by its effect class. Pure.

Where nobody knows whether a call had its effect (the process ended, its time was over, the connection was lost), only
a `read` is made again. A `write` ends there, and whoever called it is told so; a `once` is reconciled by the runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...core.commands import Effect
from ...core.faults import Fault, in_doubt, type_of
from ...core.recovery import ONCE, Again, Amend, Answer, Attempt, Fail, Recovery, Retry, Use

__all__ = ["Careful", "careful", "is_refusal"]

READ = Retry(attempts=3)
"""How often a `read` is made that does not say so itself."""
_SAID_SO = frozenset({"pydantic_ai.exceptions:ModelRetry", "pydantic_ai.exceptions:ToolFailed"})


def is_refusal(error: str) -> bool:
    """Whether the type of this name is a ValueError, or Pydantic AI's word for the same: the arguments will not do."""
    if error in _SAID_SO:
        return True
    kind = type_of(error)
    return kind is not None and issubclass(kind, ValueError)


@dataclass(frozen=True, slots=True)
class Careful:
    """A Recovery that repeats nothing blindly."""

    effect: Effect
    retry: Recovery

    def __call__(self, fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
        """What `retry` says, but for a refusal, and for another attempt while the effect is in doubt."""
        if is_refusal(fault.error):
            return Fail()
        answer = self.retry(fault, history, luck)
        again = isinstance(answer, Again | Use | Amend)
        return Fail() if again and self.effect != "read" and in_doubt(fault.kind, fault.error) else answer


def careful(effect: Effect, retry: Recovery) -> Careful:
    """The Recovery of a tool of this class; a `read` that does not say how often it may be made has three attempts."""
    return Careful(effect, READ if effect == "read" and retry is ONCE else retry)
