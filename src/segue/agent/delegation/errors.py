"""The errors of a delegation."""

from __future__ import annotations

from typing import cast

from ...errors import SegueError
from ...models import BadOutput

__all__ = ["DelegationLoop", "Undelegated", "Unfit", "doubt_in"]


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


class DelegationLoop(Undelegated):
    """Only those are left who have the request already, or too many delegations lie above."""

    code = "delegation-loop"


class Unfit(BadOutput):
    """Whoever had a request has done it, and what they gave is not of the type that was wanted."""

    code = "unfit"


def doubt_in(error: Exception, before: BaseException | None = None) -> str:
    """What a delegation below says of those that it asked, which may be out of sight in a step; empty: nothing.

    It is looked for in what the error holds and comes from too, but for an error that was there `before`.
    """
    seen, left = set[int](), list[BaseException | None]([error])
    while left:
        one = left.pop()
        if one is None or id(one) in seen or (one is before and one is not error):
            continue
        seen.add(id(one))
        if isinstance(one, Undelegated) and one.doubt:
            return one.doubt
        left += (one.__context__, one.__cause__)
        if isinstance(one, BaseExceptionGroup):
            left += cast("BaseExceptionGroup[BaseException]", one).exceptions[::-1]
    return ""
