"""A fake producer of traffic: a step named `ask` that journals what a real one does, without asking any model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import segue
from segue import flow, step
from segue.core.faults import Fault, FaultKind
from segue.core.records import (
    AttemptEnd,
    AttemptRecorded,
    AttemptWhy,
    Check,
    Decision,
    NextMove,
    Record,
    Settlement,
    Target,
    TargetKind,
    Usage,
)
from segue.routing import Policy, Request, Router

BAD = Fault(FaultKind.BAD_OUTPUT, "segue.models.errors:BadOutput", "it is empty")
BUSY = Fault(FaultKind.OVERLOADED, "segue.models.errors:Overloaded", "busy")


@dataclass(frozen=True)
class Question:
    """As an ask's argument is journaled."""

    prompt: str
    parts: list[str] = field(default_factory=list[str])
    system: str = ""
    kind: str | None = None


def attempt(model: str, n: int = 1, **more: Any) -> AttemptRecorded:
    """One call that was answered, took a second and cost a thousand nano-dollars, unless told otherwise."""
    values: dict[str, Any] = {
        "epoch": 1, "n": n, "target": Target(kind=TargetKind.MODEL, name=model), "why": AttemptWhy.PRIMARY,
        "end": AttemptEnd.ANSWERED, "usage": Usage(tokens_in=100, tokens_out=10, cost_nano=1000), "latency_s": 1.0,
    }  # fmt: skip
    return AttemptRecorded(**(values | more))


def checked(passed: bool, score: float | None = None) -> dict[str, Any]:
    """What an attempt has to say of a check."""
    return {"checks": (Check(name="cites", passed=passed, score=score),)}


def rejected(model: str, n: int, then: NextMove = NextMove.USE, **more: Any) -> AttemptRecorded:
    """One whose answer was of no use."""
    values: dict[str, Any] = {"end": AttemptEnd.REJECTED, "fault": BAD, "then": then}
    return attempt(model, n, **(values | more))


def settled(reservation: str, nano: int, estimated: bool = False) -> Settlement:
    return Settlement(settles=reservation, amount_nano=nano, estimated=estimated)


_NEXT: list[Sequence[Record]] = []
"""What the next asks journal."""


@step(name="ask")
async def ask(question: Question) -> str:
    """Journals what it was told to."""
    for record in _NEXT.pop(0):
        segue.step_scope().record(record)
    return f"answer to {question.prompt}"


@flow
async def asking(questions: list[Question]) -> int:
    """Asks one after the other."""
    for question in questions:
        await ask(question)
    return len(questions)


def told(*asks: Sequence[Record]) -> None:
    """What the next asks are to journal."""
    _NEXT[:] = asks


Quality = Callable[[str, str], float]


@dataclass
class World:
    """Traffic through a real router: the answers of each model are good or bad by chance."""

    router: Router
    quality: Mapping[str, float]
    usd: Mapping[str, float]

    def records(self, text: str, luck: float, good: float, *, route: str | Policy = "r", id: str = "d") -> list[Record]:
        """The records of an ask; `good` in [0, 1) below the quality of the model chosen passes the check."""
        decision = self.router.decide(Request(text=text, tokens_in=100), id=id, luck=luck, route=route)
        decision = replace(decision, route=route if isinstance(route, str) else None)
        return [decision, self.outcome(decision, good)]

    def outcome(self, decision: Decision, good: float) -> AttemptRecorded:
        assert decision.chosen is not None
        name = decision.chosen.target.name
        passed = good < self.quality[name]
        usage = Usage(tokens_in=100, tokens_out=10, cost_nano=round(self.usd[name] * 1e9))
        return attempt(name, decision=decision.id, usage=usage, **checked(passed))
