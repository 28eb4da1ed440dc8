"""What people think of answers, as records: which of two is better, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..core.codec import loads
from ..core.events import Event, EventType
from ..core.records import AnswerRef, AttemptEnd, AttemptRef, AttemptWhy, Feedback
from ..core.shell import command
from ..core.short import short_key
from ..errors import InputError

__all__ = ["answer_of", "preference"]

_ASIDE = (AttemptWhy.SHADOW, AttemptWhy.PROBE)


def preference(
    about: AnswerRef, over: AnswerRef, *, tied: bool, strength: float | None, by: str, note: str
) -> dict[str, Any]:
    """The body of a preference. Raises RecordError for a strength that is not between 0 and 1."""
    said = Feedback(about=about, better_than=over, tied=tied, strength=strength, by=by, note=note)
    return said.to_body()


def answer_of(events: Iterable[Event], run: str, key: str, model: str | None) -> tuple[AnswerRef, AttemptRef | None]:
    """The answer that a step gave, or that `model` gave to the same question: as a hedge, on the side, or before. And
    the attempt that it is of; None where the step has given none yet.

    Raises InputError where no model was asked at that step, or that model was not.
    """
    calls = [e for e in events if e.type == EventType.ATTEMPT_RECORDED and e.key == key]
    if not calls:
        remedy = f"name a step that asked a model: {command('show', run)} lists the steps"
        raise InputError(f"no model was asked at {short_key(key)}", run=run, key=key, remedy=remedy)
    bodies: list[dict[str, Any]] = [loads(call.body) for call in calls]
    if model is None:
        used = [body for body in bodies if body.get("end") == AttemptEnd.ANSWERED and body.get("why") not in _ASIDE]
        return AnswerRef(key=key), _attempt(used[-1]) if used else None
    made = [body for body in bodies if body["target"]["name"] == model]
    if not made:
        asked = ", ".join(sorted({body["target"]["name"] for body in bodies}))
        raise InputError(f"{model} was not asked at {short_key(key)}", run=run, key=key, remedy=f"asked were {asked}")
    attempt = _attempt(made[-1])
    return AnswerRef(key=key, attempt=attempt), attempt


def _attempt(body: Mapping[str, Any]) -> AttemptRef:
    return AttemptRef(epoch=body["epoch"], n=body["n"])
