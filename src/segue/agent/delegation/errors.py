"""The errors of a delegation."""

from __future__ import annotations

from ...errors import SegueError
from ...models import BadOutput

__all__ = ["DelegationLoop", "Undelegated", "Unfit"]


class Undelegated(SegueError):
    """Nobody can take a request, or all who could have failed.

    `excluded` says of each why, a line each; `tried` who was asked, in order, a comma between them; `chain` who had
    delegated before, from the first one down; `story` what a person is told of each. Its cause is the error of the last
    one that was asked.
    """

    code = "undelegated"
    fault_kind = "tool failed"
    excluded: str = ""
    tried: str = ""
    chain: str = ""
    story: tuple[object, ...] = ()
    doubt: str = ""
    """What one of them has done, or may have: nobody else is to do it again. Empty: nothing."""


class DelegationLoop(Undelegated):
    """Only those are left who have the request already, or too many delegations lie above."""

    code = "delegation-loop"


class Unfit(BadOutput):
    """Whoever had a request has done it, and what they gave is not of the type that was wanted."""

    code = "unfit"
