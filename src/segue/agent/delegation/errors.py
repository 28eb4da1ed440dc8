"""The errors of a delegation."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ...errors import SegueError
from ...models import BadOutput
from ...runtime.stories import shortened

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
        self.told = json.dumps(shortened(list(story)))


class DelegationLoop(Undelegated):
    """Only those are left who have the request already, or too many delegations lie above."""

    code = "delegation-loop"


class Unfit(BadOutput):
    """Whoever had a request has done it, and what they gave is not of the type that was wanted."""

    code = "unfit"
