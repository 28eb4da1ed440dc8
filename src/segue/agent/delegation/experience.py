"""What past delegations teach: the outcomes of this database, read as they come.

In this order of weight: what was thought of an outcome (`run.feedback`), the check that it passed or did not, and that
somebody failed at it by their own fault. One that nobody judged teaches nothing.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.codec import loads
from ...core.events import Event, EventType
from ...core.faults import FaultKind
from ...routing.fitness import Outcome, Past
from ...runtime.scope import Outside

__all__ = ["Experience"]

_CHOICES = "*delegate[[]*/choose[[]*"
"""How the keys of choices are, as a GLOB."""
_KEPT = 4000
_LOOKS = 20
"""Batches of events that one look reads at most; what is left comes with the next one."""
_ITS_FAULT = frozenset(
    {FaultKind.TOOL_FAILED, FaultKind.BAD_OUTPUT, FaultKind.BAD_REQUEST, FaultKind.CONTENT_REFUSED, FaultKind.BUG}
)


@dataclass(slots=True)
class _Tried:
    """One that was chosen, and what came of it."""

    row: NDArray[np.float32] | None = None
    model: str = ""
    """The embedding's."""
    name: str = ""
    answered: bool = False
    score: float | None = None
    opinions: dict[tuple[str, str], tuple[float, float]] = field(
        default_factory=dict[tuple[str, str], tuple[float, float]]
    )
    """Score and weight, by who said it: their last word."""

    @property
    def judged(self) -> float | None:
        """0 to 1; None: nobody said anything."""
        weight = sum(w for _, w in self.opinions.values())
        return sum(s * w for s, w in self.opinions.values()) / weight if weight > 0 else self.score


class Experience:
    """The outcomes of one database, newest kept."""

    def __init__(self) -> None:
        self.past = Past(_KEPT)
        self._position = -1
        self._tried: OrderedDict[tuple[Any, str], _Tried] = OrderedDict()

    def look(self, outside: Outside, embedding: str) -> None:
        """Read what came since the last look."""
        changed = False
        for _ in range(_LOOKS):
            position, events = outside.outcomes(_CHOICES, self._position)
            for event in events:
                changed |= self._take(event)
            if position <= self._position:
                break
            self._position = position
        while len(self._tried) > _KEPT:
            self._tried.popitem(last=False)
        if changed:
            self.past.put(self._outcomes(embedding))

    def _outcomes(self, embedding: str) -> Iterator[Outcome]:
        for one in self._tried.values():
            score = one.judged
            if score is not None and one.row is not None and one.model == embedding:
                yield Outcome(one.row, one.name, score)

    def _take(self, event: Event) -> bool:
        body, key = loads(event.body), event.key
        if event.type == EventType.FEEDBACK_GIVEN:
            about: dict[str, Any] = body.get("about") or {}
            return self._hear(event.run, about.get("key") or key, body)
        if key is None:
            return False
        one = self._tried.setdefault((event.run, key), _Tried())
        if event.type == EventType.DECISION_MADE:
            one.row, one.model = _row(body.get("embedding")), body.get("embedding_model") or ""
            return False
        one.name, one.answered = body["target"]["name"], body["end"] == "answered"
        one.score = _score(body)
        return one.score is not None

    def _hear(self, run: Any, key: str | None, body: dict[str, Any]) -> bool:
        """An opinion, on all delegations of a run or on those at and below a key, whose outcome was used."""
        score: float | None = body.get("score")
        about = [
            one
            for (of, at), one in self._tried.items()
            if of == run and one.answered and (key is None or at == key or at.startswith(f"{key}/"))
        ]
        if score is None:
            return False
        for one in about:
            one.opinions[body.get("source", ""), body.get("by", "")] = float(score), float(body.get("weight", 1.0))
        return bool(about)


def _score(body: dict[str, Any]) -> float | None:
    checks: list[dict[str, Any]] = body.get("checks") or []
    if checks:
        return min(1.0 if check["passed"] else 0.0 for check in checks)
    fault = body.get("fault")
    return 0.0 if fault is not None and fault.get("kind") in _ITS_FAULT else None


def _row(said: str | None) -> NDArray[np.float32] | None:
    if said is None:
        return None
    row = np.frombuffer(base64.b64decode(said), "<f2").astype(np.float32)
    length = float(np.linalg.norm(row))
    return row / np.float32(length) if length > 0.0 else row
