"""What an adapter or an SDK cannot read: a fault of the answer, not of the program."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from ..core.faults import FaultKind, rebuild
from ..errors import SegueError
from .signals import error_of, made

__all__ = ["cannot_read", "read"]

_TAKEN_FOR_GRANTED = (AssertionError, AttributeError, LookupError)
"""What an adapter raises where something is not there."""
_OTHER = (SegueError, OSError, ImportError, MemoryError, NotImplementedError)
"""What says nothing of an answer."""


@contextmanager
def read(model: str, what: str = "an answer", *, missing: FaultKind = FaultKind.BAD_OUTPUT) -> Generator[None]:
    """Whatever is raised over `what` a model has said, and no rule of `signals` knows, is a fault of that.

    `missing` is its kind where a part of it is not there. Raises BadOutput, or the error of `missing`.
    """
    try:
        yield
    except Exception as odd:
        if isinstance(odd, _OTHER) or error_of(odd) is not odd:
            raise
        if isinstance(odd, _TAKEN_FOR_GRANTED) and missing is not FaultKind.BAD_OUTPUT:
            raise rebuild(made(missing, f"{model}: what came is no whole answer: {odd!r}", unread=1)) from odd
        raise cannot_read(model, what, odd) from odd


def cannot_read(model: str, what: str, odd: Exception) -> Exception:
    """The error for what has come whole, and is not of the provider's form: asked again it would hardly be."""
    return rebuild(made(FaultKind.BAD_OUTPUT, f"{model}: what came cannot be read as {what}: {odd!r}", unread=1))
