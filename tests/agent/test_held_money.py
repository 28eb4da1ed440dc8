"""Money that calls under way hold is waited for, also for a model that takes no calls at the moment."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from segue import testing
from segue.agent.held import affordable
from segue.core.records import Decision
from segue.models import Catalogue
from segue.routing import Cheapest
from segue.routing.policies import NEVER
from tests.routing.made import Now, chosen, model, routed

PAIR = Catalogue.of(model("cheap", 0.8, 1.0), model("dear", 0.9, 50.0))
BROKEN: Mapping[str, Now] = {"cheap": Now("broken", "calls of it fail")}
SHUT: Mapping[str, Now] = {"cheap": Now("shut", "its key was refused")}
HELD_S, REST_S = 8.0, 12.0
ENOUGH = 10_000_000


class Budget:
    """A budget of which a call holds all, for so many seconds."""

    def __init__(self, held_s: float, freed: int = ENOUGH):
        self._clock, self._freed = asyncio.get_running_loop().time, freed
        self._until = self._clock() + held_s

    @property
    def left(self) -> int:
        return 0 if self._clock() < self._until else self._freed

    @property
    def freed(self) -> int | None:
        return self._freed if self._clock() < self._until else None

    @property
    def mark(self) -> str:
        return str(self._clock() < self._until)

    async def cleared(self) -> None:
        """Nothing of it is the attempt's own."""


async def asked(
    budget: Budget, rests_s: float, rest: Mapping[str, Now] = BROKEN
) -> tuple[str | None, str | None, float]:
    """Who answers, who would, and the virtual seconds until that was known."""
    clock = asyncio.get_running_loop().time
    began = clock()

    def decide(left_nano: int | None) -> Decision:
        now = rest if clock() < began + rests_s else {}
        return routed(Cheapest(explore=NEVER), PAIR, now=now, budget_nano=left_nano)

    decision, would = await affordable(budget, decide)
    return chosen(decision), None if would is None else would.target.name, clock() - began


@testing.simulated
async def test_one_that_rests_and_would_fit_is_waited_for() -> None:
    assert (await asked(Budget(HELD_S), 0.5 * HELD_S))[0] == "cheap"


@testing.simulated
async def test_once_nothing_is_held_its_rest_is_waited_for_as_any_other() -> None:
    who, would, took_s = await asked(Budget(HELD_S), REST_S)
    assert (who, would) == (None, None) and HELD_S <= took_s < REST_S


@testing.simulated
async def test_what_is_held_for_long_is_told_with_the_one_that_is_waited_for() -> None:
    who, would, _ = await asked(Budget(600.0), 600.0)
    assert (who, would) == (None, "cheap")


@testing.simulated
async def test_who_would_not_fit_even_then_is_not_waited_for() -> None:
    assert await asked(Budget(HELD_S, freed=10), REST_S) == (None, None, 0.0)


@testing.simulated
async def test_one_whose_key_was_refused_is_not_waited_for() -> None:
    assert await asked(Budget(HELD_S), REST_S, SHUT) == (None, None, 0.0)
