"""Whom to ask next, and when: what the Recovery of one question hears of the engine's gateway."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from ..core.records import Decision, Stage
from .gateway import Gateway, gateway
from .request import Question

__all__ = ["Whom"]

_NONE: Mapping[str, int] = {}
_RESTS = frozenset({Stage.HEALTH, Stage.LIMIT})


@dataclass(frozen=True, slots=True)
class Whom:
    """The `Others` and the `Doors` of a question."""

    question: Question
    """Its size is what a model must have room for."""
    decide: Callable[[Gateway, Mapping[str, str], int | None], Decision]
    """Who answers, given who has failed and how, and what a budget has left."""

    def __call__(
        self, tried: Mapping[str, str], left_nano: int | None = None, small: Mapping[str, int] = _NONE, /
    ) -> str | None:
        """The next one, also given whose windows were too small."""
        at = gateway()
        if self._is_brought(at):
            return None
        tried = {**at.no_larger(small), **tried} if small else tried
        chosen = self.decide(at, tried, left_nano).chosen
        return None if chosen is None else chosen.target.name

    def resting(self, tried: Mapping[str, str], /) -> list[str]:
        """Who could answer, and takes no calls now."""
        at = gateway()
        if self._is_brought(at):
            return []
        candidates = self.decide(at, tried, None).candidates
        return [c.target.name for c in candidates if not c.eligible and c.excluded_at in _RESTS]

    def spare(self, model: str, failed: Collection[str], /) -> bool:
        """Whether a model has a deployment beside those that failed, which takes the question now."""
        return gateway().spare(model, failed, self.question)

    def ready_in(self, model: str, refused: Collection[str], /) -> float:
        """Seconds until a deployment of a model, beside those whose keys were refused, takes it; infinite: never."""
        return gateway().ready_in(model, refused, self.question)

    def _is_brought(self, at: Gateway) -> bool:
        """Whether an agent has brought its model itself: there is no other."""
        return self.question.model is not None and self.question.model not in at.catalogue
