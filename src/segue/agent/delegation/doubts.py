"""What those who failed may have done: where that is not known, nobody else is to do it again."""

from __future__ import annotations

from typing import Any, cast

from ...runtime.step import Step
from ..tools.careful import Careful
from ..tools.failure import has_happened, may_have_happened
from .delegates import Delegate
from .errors import Undelegated, Unfit

__all__ = ["done", "doubt_in", "doubt_of", "unsure"]


def doubt_of(one: Delegate, error: Exception) -> str:
    """What a tool that writes may have done, though its call has failed; empty: nothing."""
    target: object = one.target
    if not isinstance(target, Step):
        return ""
    options = cast("Step[..., Any]", target).options
    if options.effect == "read" or not isinstance(options.retry, Careful):
        return ""
    if isinstance(error, Unfit) or has_happened(error):
        return done(one)
    return unsure(one) if may_have_happened(error) else ""


def done(one: Delegate) -> str:
    """Of one that was carried out."""
    return f"{one.name} was carried out: see what came of it before somebody else does it"


def unsure(one: Delegate) -> str:
    """Of one of whose call nobody knows."""
    return f"nobody knows whether {one.name} had its effect: find out before somebody else does it"


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
