"""Whom to ask next, and when: what the Recovery of one question hears of the engine's gateway."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..core.records import Decision
from ..routing import Policy
from .gateway import Gateway, gateway
from .request import Question
from .sessions import Session

__all__ = ["Whom"]

_NONE: Mapping[str, int] = {}
_RESTING = 8
"""Of how many it is asked when they take calls."""


class Decide(Protocol):
    """Who answers, given who has failed and how, and what a budget has left; with `awaits` also who takes no calls."""

    def __call__(
        self, at: Gateway, tried: Mapping[str, str], /, *, left_nano: int | None = None, awaits: bool = False
    ) -> Decision:
        """The decision."""
        ...


@dataclass(frozen=True, slots=True)
class Whom:
    """The `Others` and the `Doors` of a question."""

    question: Question
    """Its size is what a model must have room for."""
    decide: Decide
    """Who answers, given who has failed and how."""

    @classmethod
    def of(cls, question: Question, policy: Policy | None, session: Callable[[], Session]) -> Whom:
        """By the route of a question, or by this policy."""

        def decide(
            at: Gateway, tried: Mapping[str, str], /, *, left_nano: int | None = None, awaits: bool = False
        ) -> Decision:  # fmt: skip
            return at.decide(question, policy, tried, None, session=session(), left_nano=left_nano, awaits=awaits)

        return cls(question, decide)

    def __call__(
        self, tried: Mapping[str, str], left_nano: int | None = None, small: Mapping[str, int] = _NONE, /
    ) -> str | None:
        """The next one, also given whose windows were too small."""
        at = gateway()
        if self._is_brought(at):
            return None
        tried = {**at.no_larger(small), **tried} if small else tried
        chosen = self.decide(at, tried, left_nano=left_nano).chosen
        return None if chosen is None else chosen.target.name

    def resting(self, tried: Mapping[str, str], left_nano: int | None = None, /) -> list[str]:
        """Who would be chosen if they took calls, the first ones first: by all that the route says of them."""
        at, found = gateway(), list[str]()
        while not self._is_brought(at) and len(found) < _RESTING:
            out = {**tried, **dict.fromkeys(found, "it is waited for")}
            chosen = self.decide(at, out, left_nano=left_nano, awaits=True).chosen
            if chosen is None:
                break
            found.append(chosen.target.name)
        return found

    def pays(self, model: str, left_nano: int, /) -> bool:
        """Whether a call of a model may cost so little."""
        at = gateway()
        if self._is_brought(at):
            return True
        others = dict.fromkeys((name for name in at.catalogue.models if name != model), "it is not asked after")
        return self.decide(at, others, left_nano=left_nano, awaits=True).chosen is not None

    def spare(self, model: str, failed: Collection[str], /) -> bool:
        """Whether a model has a deployment beside those that failed, which takes the question now."""
        return gateway().spare(model, failed, self.question)

    def ready_in(self, model: str, refused: Collection[str], /) -> float:
        """Seconds until a deployment of a model, beside those whose keys were refused, takes it; infinite: never."""
        return gateway().ready_in(model, refused, self.question)

    def broken(self, model: str, refused: Collection[str], /) -> bool:
        """Whether open breakers are all that keeps calls from a model's deployments, beside refused keys."""
        at = gateway()
        return model in at.catalogue and at.health.is_broken(at.catalogue.get(model), refused)

    def _is_brought(self, at: Gateway) -> bool:
        """Whether an agent has brought its model itself: there is no other."""
        return self.question.model is not None and self.question.model not in at.catalogue
