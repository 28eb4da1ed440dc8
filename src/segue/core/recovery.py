"""The one Recovery protocol: what to do after a failed attempt.

The runtime carries the answer out; steps bring a `Retry`, later rooms bring routing, context and people. There is no
second attempt pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..errors import DefinitionError
from .faults import PERMANENT, Fault, FaultKind


class Attempt(NamedTuple):
    """One attempt that has ended or was lost. `(epoch, n)` is never reused."""

    epoch: int
    n: int
    began: float
    fault: Fault | None
    answer: Answer | Take | Told | None = None
    """What the Recovery said to it; None for the one that has just failed."""


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
    """None: it waits for ever."""
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
    """Errors that are never retried. Faults that would only repeat (bad request, unauthorised, …) never are."""

    def __post_init__(self) -> None:
        """Check the ranges when the decorator runs."""
        if self.attempts < 1:
            raise DefinitionError(f"Retry(attempts={self.attempts}): at least 1", remedy="1 means: no retry")
        if self.backoff_s < 0 or self.backoff_max_s < 0 or self.factor < 1:
            raise DefinitionError("Retry: backoff_s and backoff_max_s are not negative, and factor is at least 1")

    def __call__(self, fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
        """Again while attempts are left and the fault may pass."""
        if len(history) >= self.attempts or fault.kind in PERMANENT or fault.error in self._final():
            return Fail()
        if fault.kind is FaultKind.INTERRUPTED:
            return Again(0.0)
        ceiling = min(self.backoff_max_s, self.backoff_s * self.factor ** (len(history) - 1))
        return Again(max(ceiling * luck, fault.retry_after_s or 0.0))

    def _final(self) -> set[str]:
        return {f"{e.__module__}:{e.__qualname__}" for e in self.give_up_on}


ONCE = Retry(attempts=1)
"""The default: one attempt; an attempt that a crash cut off is made again, since nothing says that it ran."""
