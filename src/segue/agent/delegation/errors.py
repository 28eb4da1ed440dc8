"""The errors of a delegation."""

from __future__ import annotations

from typing import ClassVar

from ...models import BadOutput
from ...runtime.stories import Told

__all__ = ["DelegationLoop", "Undelegated", "Unfit"]


class Undelegated(Told):
    """Nobody can take a request, or all who could have failed.

    `excluded` says of each who was not asked why, a line each; `tried` who was asked, in order, a comma between them;
    `chain` who had delegated before, from the first one down. Its cause is the error of the last one that was asked.
    """

    code = "undelegated"
    fault_kind = "tool failed"
    complete: ClassVar[bool] = True
    excluded: str = ""
    tried: str = ""
    chain: str = ""
    doubt: str = ""
    """What one of them has done, or may have: nobody else is to do it again. Empty: nothing."""


class DelegationLoop(Undelegated):
    """Only those are left who have the request already, or too many delegations lie above."""

    code = "delegation-loop"


class Unfit(BadOutput):
    """Whoever had a request has done it, and what they gave is not of the type that was wanted."""

    code = "unfit"
