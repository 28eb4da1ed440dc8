"""What people think of answers, as records: which of two is better, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..core.codec import loads
from ..core.events import Event, EventType
from ..core.records import AnswerRef, AttemptRef, Feedback
from ..core.shell import command
from ..errors import InputError

__all__ = ["answer_of", "preference"]


def preference(
    about: AnswerRef, over: AnswerRef, *, tied: bool, strength: float | None, by: str, note: str
) -> dict[str, Any]:
    """The body of a preference. Raises RecordError for a strength that is not between 0 and 1."""
    said = Feedback(about=about, better_than=over, tied=tied, strength=strength, by=by, note=note)
    return said.to_body()


def answer_of(events: Iterable[Event], run: str, key: str, model: str | None) -> AnswerRef:
    """The answer that a step gave, or that `model` gave to the same question: as a hedge, on the side, or before.

    Raises InputError where the run has no such step, or that model no answer there.
    """
    calls = [e for e in events if e.type == EventType.ATTEMPT_RECORDED and e.key == key]
    if not calls:
        raise InputError("no model was asked there", run=run, key=key, remedy=f"its steps: {command('show', run)}")
    if model is None:
        return AnswerRef(key=key)
    bodies: list[dict[str, Any]] = [loads(call.body) for call in calls]
    made = [body for body in bodies if body["target"]["name"] == model]
    if not made:
        asked = ", ".join(sorted({body["target"]["name"] for body in bodies}))
        raise InputError(f"{model} was not asked there", run=run, key=key, remedy=f"asked were {asked}")
    return AnswerRef(key=key, attempt=AttemptRef(epoch=made[-1]["epoch"], n=made[-1]["n"]))
