"""A model with several deployments: another key, region or server of it comes before another model.

A deployment that has failed a question is passed over for the rest of it, as long as another one takes calls; once all
have, they take turns. Its health, its limits and its key are its own (`models.health`), so a refused key shuts no
other. A loop of tools goes on where it began, and a conversation where it was last, as long as that one is free: there
is its prompt cache, and what is bound to an account.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.recovery import Attempt
from ..models import Deployment, Limits, Model
from .failures import placed_in
from .request import Question

__all__ = ["Part", "home_of", "part_of"]


@dataclass(frozen=True, slots=True)
class Part:
    """A model with some of its deployments only: a `models.health.state.Model`."""

    model: Model
    without: Collection[str]
    again: bool = False
    """Whether each of its deployments has failed already: it is a retry."""

    @property
    def name(self) -> str:
        """As the whole model."""
        return self.model.name

    @property
    def limits(self) -> Limits:
        """As the whole model."""
        return self.model.limits

    def pool(self) -> Sequence[Deployment]:
        """The deployments that are left."""
        return [one for one in self.model.pool() if one.name not in self.without]


def part_of(model: Model, history: Sequence[Attempt], takes: Callable[[str, Collection[str]], bool]) -> Model | Part:
    """Who may be called: those that have not failed, where one of them `takes` a call now; then whoever failed longest
    ago of those that do; else all of them.
    """
    failed = placed_in(history, model.name) if len(model.deployments) > 1 else []
    latest = list(dict.fromkeys(reversed(failed)))
    for kept in range(len(latest)):
        without = frozenset(latest[: len(latest) - kept])
        if takes(model.name, without):
            return Part(model, without, again=kept > 0)
    return model


def home_of(model: Model | Part, question: Question, last: str | None = None) -> Part | None:
    """The deployment of a pool that has said what a question goes on from, or that its conversation was with `last`; no
    standby, which is asked where all others are out. None where none of them has.
    """
    names = {one.name for one in model.pool()}
    standby = {one.name for one in model.pool() if one.weight <= 0}
    home = _maker(question, model.name) if question.turns else None if last in standby else last
    if len(names) < 2 or home not in names:
        return None
    whole = model.model if isinstance(model, Part) else model
    return Part(whole, {one.name for one in whole.pool()} - {home})


def _maker(question: Question, model: str) -> str | None:
    """The deployment of a model that said the last turn of a question."""
    from ..models.conversation import MAKER  # noqa: PLC0415  heavy, and only who asks needs it

    said = next((turn for turn in reversed(question.turns) if turn["kind"] == "response"), dict[str, Any]())
    metadata: dict[str, Any] = said.get("metadata") or {}
    maker: dict[str, str] = metadata.get(MAKER) or {}
    return maker.get("deployment") if maker.get("model") == model else None
