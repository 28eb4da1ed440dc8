"""The one Recovery protocol: what to do after a failed attempt.

The runtime carries the answer out; steps bring a `Retry`, later rooms bring routing, context and people. There is no
second attempt pipeline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..errors import DefinitionError
from .faults import PERMANENT, Fault, FaultKind, name_of


class Attempt(NamedTuple):
    """One attempt that has ended or was lost. `(epoch, n)` is never reused."""

    epoch: int
    n: int
    began: float
    fault: Fault | None
    answer: Answer | Take | Told | None = None
    """What the Recovery said to it; None for the one that has just failed."""
    ended: float | None = None
    """When it failed, in seconds since the epoch as `began`; None where nobody knows."""
    decided: bool = False
    """Whether the answer is the word of whoever was asked (`AskPerson`), or the default where nobody said one in time.
    """


class Again(NamedTuple):
    """Try again after `after_s` seconds."""

    after_s: float


class Use(NamedTuple):
    """Try another candidate: a model, a tool, an agent. The step's body finds it in `step_scope().candidate`."""

    candidate: str
    after_s: float = 0.0


class Amend(NamedTuple):
    """Try again with other arguments, which hold from here on: a request that was shrunk, or shows the error."""

    changes: Mapping[str, Any]
    """Arguments by parameter name."""
    after_s: float = 0.0


class Fail(NamedTuple):
    """Give up; the flow sees the error."""


class Take(NamedTuple):
    """This is the step's result: a person has said so."""

    value: Any
    """As JSON would give it."""


class Told(NamedTuple):
    """Try again, with what a person has said: the step's body finds it in the last of `step_scope().history`."""

    value: Any
    by: str = ""


Word = Again | Use | Take | Fail
"""What a person may say to a failed attempt."""


class AskPerson(NamedTuple):
    """Hand it to a person and wait durably, parked, in whichever process: they say `Word`."""

    to: str
    """Who may decide: a person, a role."""
    question: str = ""
    timeout_s: float | None = None
    """None: it waits for ever. A person's word after it is refused; what a service answers is taken up however late."""
    default: Word = Fail()
    """What holds when nobody has answered in time."""
    told: bool = False
    """Whether a result that the person gives is for the step's body to judge (`Told`), in another attempt."""
    shown: Any = None
    """What they are shown, as JSON; None: the step's arguments."""
    form: Mapping[str, Any] | None = None
    """The JSON Schema of a result."""
    service: bool = False
    """Whether it is no person who answers but something outside that takes its time, which `to` names: a batch. Nobody
    is asked for a word, though an operator may say one.
    """


Answer = Again | Use | Amend | AskPerson | Fail


class Plan(NamedTuple):
    """What the answers so far have come to: which candidate is next, and with which arguments changed."""

    candidate: str | None
    changes: Mapping[str, Any]


def plan_of(history: Sequence[Attempt]) -> Plan:
    """The plan for the next attempt."""
    candidate: str | None = None
    changes: dict[str, Any] = {}
    for attempt in history:
        if isinstance(attempt.answer, Use):
            candidate = attempt.answer.candidate
        elif isinstance(attempt.answer, Amend):
            changes |= attempt.answer.changes
    return Plan(candidate, changes)


class Recovery(Protocol):
    """`(fault, history, luck) -> Answer`, pure: `luck` is a random number in [0, 1)."""

    def __call__(self, fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
        """`history` ends with the attempt that has just failed."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """Retry with exponential backoff and full jitter.

    Before attempt n+1 it waits a random time up to `min(backoff_max_s, backoff_s * factor ** (n - 1))` seconds, and
    never less than the other side asked for. Attempts that a crash cut off count: `attempts=4` is four calls.
    """

    attempts: int = 3
    """How often the step is called at most. 1 means no retry."""
    backoff_s: float = 0.5
    backoff_max_s: float = 60.0
    factor: float = 2.0
    give_up_on: tuple[type[Exception], ...] = ()
    """Errors that are never retried, nor is what is derived from them.
    Faults that would only repeat (bad request, unauthorised, …) never are."""

    def __post_init__(self) -> None:
        """Check the ranges when the decorator runs."""
        attempts, times = self.attempts, (self.backoff_s, self.backoff_max_s, self.factor)
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(f"Retry(attempts={attempts!r}): at least 1", remedy="1 means: no retry")
        if not all(_is_number(one) for one in times) or min(times) < 0 or self.factor < 1:
            raise DefinitionError("Retry: backoff_s and backoff_max_s are not negative, and factor is at least 1")
        if not isinstance(self.give_up_on, tuple) or not all(_is_error(one) for one in self.give_up_on):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(
                f"Retry(give_up_on={self.give_up_on!r}): a tuple of errors", remedy="write give_up_on=(MyError,)"
            )

    def __call__(self, fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
        """Again while attempts are left and the fault may pass."""
        if len(history) >= self.attempts or fault.kind in PERMANENT or fault.error in self._final():
            return Fail()
        if fault.kind is FaultKind.INTERRUPTED:
            return Again(0.0)
        try:
            ceiling = min(self.backoff_max_s, self.backoff_s * self.factor ** (len(history) - 1))
        except OverflowError:  # after a thousand attempts
            ceiling = self.backoff_max_s if self.backoff_s else 0.0
        return Again(max(ceiling * luck, fault.retry_after_s or 0.0))

    def _final(self) -> set[str]:
        """The names of these errors and of those derived from them: a fault on disk has no more than a name."""
        found, left = set[type[Any]](), list[type[Any]](self.give_up_on)
        while left:
            one = left.pop()
            if one not in found:
                found.add(one)
                left += one.__subclasses__()
        return {name_of(e) for e in found}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _is_error(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading(Retry):
    """Retry for what the engine only reads: attempts that a crash cut off do not count. What bounds them is how often a
    run is started without progress, `crash_limit`.
    """

    def __call__(self, fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
        """Again while attempts are left and the fault may pass."""
        if fault.kind is FaultKind.INTERRUPTED:
            return Again(0.0)
        made = [one for one in history if one.fault is None or one.fault.kind is not FaultKind.INTERRUPTED]
        return Retry.__call__(self, fault, made, luck)


ONCE = Retry(attempts=1)
"""The default: one attempt; an attempt that a crash cut off is made again, since nothing says that it ran."""
