"""A model with several deployments: another key, region or server of it comes before another model.

A deployment that has failed a question is passed over for the rest of it, as long as another one takes calls. Its
health, its limits and its key are its own (`models.health`), so a refused key shuts no other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ..core.recovery import Attempt
from ..models import Deployment, Limits, Model
from .failures import deployments_in

__all__ = ["Part", "part_of"]


@dataclass(frozen=True, slots=True)
class Part:
    """A model with some of its deployments only: a `models.health.state.Model`."""

    model: Model
    without: Collection[str]

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
    """Who may be called: those that have not failed, where one of them `takes` a call now; else all of them."""
    without = deployments_in(history, model.name) if len(model.deployments) > 1 else frozenset[str]()
    return Part(model, without) if without and takes(model.name, without) else model
