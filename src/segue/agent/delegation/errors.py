"""The errors of a delegation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

from ...errors import SegueError
from ...models import BadOutput

__all__ = ["DelegationLoop", "Undelegated", "Unfit"]


class Undelegated(SegueError):
    """Nobody can take a request, or all who could have failed.

    `excluded` says of each why, a line each; `tried` who was asked, in order, a comma between them; `chain` who had
    delegated before, from the first one down. Its cause is the error of the last one that was asked.
    """

    code = "undelegated"
    fault_kind = "tool failed"
    excluded: str = ""
    tried: str = ""
    chain: str = ""
    doubt: str = ""
    """What one of them has done, or may have: nobody else is to do it again. Empty: nothing."""
    told: str = "[]"
    """The story as JSON: so it is on record with the error, which takes it out of a step and a run."""

    @property
    def story(self) -> tuple[object, ...]:
        """What a person is told of each who was tried, in order, and of those who were left out."""
        return tuple(json.loads(self.told))

    def tell(self, story: Iterable[object]) -> None:
        """Give it its story. Of one that is very long the long texts are cut."""
        lines = list(story)
        told = json.dumps(lines)
        self.told = told if len(told) < _LONG else json.dumps(_cut(lines))


_LONG = 32_000
_SHORT = 300
"""Characters of a story, and of each text in one that is longer."""


def _cut(told: Any) -> Any:
    if isinstance(told, dict):
        return {name: _cut(one) for name, one in cast("dict[str, Any]", told).items()}
    if isinstance(told, list):
        return [_cut(one) for one in cast("list[Any]", told)]
    return f"{told[:_SHORT]}…" if isinstance(told, str) and len(told) > _SHORT else told


class DelegationLoop(Undelegated):
    """Only those are left who have the request already, or too many delegations lie above."""

    code = "delegation-loop"


class Unfit(BadOutput):
    """Whoever had a request has done it, and what they gave is not of the type that was wanted."""

    code = "unfit"
