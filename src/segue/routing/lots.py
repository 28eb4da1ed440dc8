"""What a policy chooses on, and what it comes to: the two ends of every plan.

Places are those among the eligible candidates, in the order of the table. Chance is one number in [0, 1); what needs
another one (an arm, a shadow) takes a hash of it, or of the request's key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ..core.records import Json, Sampling
from ..core.records import Split as SplitRecord
from .arrays import Rows, Vector, numbered
from .choose import only
from .eligible import Eligibility, Exclusion
from .policies import Examples, Policy
from .predict import predict
from .table import Situation
from .types import Predictions, Spread

__all__ = ["Ground", "Lot", "certain", "following", "nobody", "placed", "same_arms", "taken"]

_ORDER_MAX = 32
"""So many of those who come next are named."""


@dataclass(slots=True, eq=False)
class Ground:
    """What a policy chooses on, and the chance that it has."""

    at: Situation
    base: Eligibility
    luck: float
    vectors: Callable[[Examples], NDArray[np.float32]] | None = None
    """The embeddings of the examples of a policy, a row each, of unit length."""
    within: tuple[Policy, ...] = ()
    """The policies above whose own names and tags leave some out."""
    foresee: Callable[[Situation, Rows], Predictions] = predict
    """What is expected of some rows of the table."""
    _expected: list[Predictions] = field(default_factory=list[Predictions])

    @property
    def many(self) -> int:
        """How many are eligible before the policy speaks."""
        return len(self.base.rows)

    @property
    def expected(self) -> Predictions:
        """What is expected of them. Worked out when it is first asked for: a pinned model needs none."""
        if not self._expected:
            self._expected.append(self.foresee(self.at, self.base.rows))
        return self._expected[0]

    @expected.setter
    def expected(self, known: Predictions) -> None:
        self._expected[:] = [known]

    def under(self, policy: Policy) -> Ground:
        """The same for what stands under a policy that leaves some out."""
        return replace(self, within=(*self.within, policy))

    def name(self, place: int) -> str:
        """Who stands at a place."""
        return self.at.table.names[int(self.base.rows[place])]

    def places(self, names: Sequence[str]) -> list[int]:
        """Where those of these names stand who are eligible, in the order of the names."""
        rows = {row: place for place, row in enumerate(numbered(self.base.rows))}
        found = (rows.get(self.at.table.place.get(name, -1)) for name in names)
        return [place for place in found if place is not None]

    def chance(self, of: str, key: str | None = None) -> float:
        """Another number in [0, 1): the same for all requests of one key, else one of this request's own."""
        text = f"{of}\0{repr(self.luck) if key is None else 'key ' + key}"
        return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()[:7], "big") / 2**56


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lot:
    """What a policy came to."""

    p: Vector
    """The chance of each; all 0 where nobody is left."""
    choice: int | None = None
    order: tuple[int, ...] = ()
    """Who is next."""
    barred: Mapping[int, Exclusion] = field(default_factory=dict[int, Exclusion])
    """Whom the policy excludes."""
    score: Vector | None = None
    """NaN: it has none."""
    sampling: Sampling = Sampling.DETERMINISTIC
    samples: int | None = None
    seed: str | None = None
    exploration: float = 0.0
    explored: bool = False
    stage: int = 0
    shadows: tuple[int, ...] = ()
    """Rows of the table: who answers on the side need not be among those who may be chosen."""
    hedge: int | None = None
    """A row of the table. None with a time: it is not among these candidates, since one was named."""
    hedge_after_s: float | None = None
    splits: tuple[SplitRecord, ...] = ()
    pinned_by: str | None = None
    notes: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """What else a reader should know of the objective."""


def same_arms(one: Lot, other: Lot) -> bool:
    """Whether both fell into the same arms of all splits."""
    return [(split.name, split.arm) for split in one.splits] == [(split.name, split.arm) for split in other.splits]


def nobody(ground: Ground, barred: Mapping[int, Exclusion] | None = None) -> Lot:
    """Nobody is left."""
    return Lot(p=np.zeros(ground.many), barred=barred or {})


def certain(ground: Ground, places: Sequence[int], pinned_by: str | None = None) -> Lot:
    """The first of these places; the others are next."""
    first = int(places[0])
    return Lot(p=only(first, ground.many), choice=first, order=following(places, first), pinned_by=pinned_by)


def following(places: Sequence[int], choice: int) -> tuple[int, ...]:
    """Who is next of these places, when the choice fails."""
    return tuple(place for place in places if place != choice)[:_ORDER_MAX]


def placed(values: Vector, seats: Rows, many: int, other: float) -> Vector:
    """The values of some places, in any order, among all."""
    full = np.full(many, other)
    full[seats] = values
    return full


def taken(expected: Predictions, seats: Rows, many: int) -> Predictions:
    """The predictions for some places, in their order."""
    if len(seats) == many:
        return expected

    def at(of: Spread) -> Spread:
        return Spread(of.mean[seats], of.sd[seats], of.n[seats], of.source)

    return Predictions(at(expected.quality), at(expected.cost), at(expected.latency), expected.cached[seats])
