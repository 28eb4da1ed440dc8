"""Commands to copy, as errors and remedies name them."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Sequence
from contextlib import contextmanager

_named: tuple[str, ...] = ()
"""Of the whole process, in all its threads: a command line works on one database."""


def command(*words: object) -> str:
    """A command of `segue`, quoted for a shell: a child's id holds brackets and a hash sign.

    It ends with what names the database, within `naming`, unless that is among its words already.
    """
    tail = () if "--db" in words else _named
    return "segue " + " ".join(shlex.quote(str(word)) for word in (*words, *tail))


@contextmanager
def naming(words: Sequence[str]) -> Generator[None]:
    """All commands that are written until its end, in whichever thread, name the database by these words."""
    global _named  # noqa: PLW0603  it is of the process
    before, _named = _named, tuple(words)
    try:
        yield
    finally:
        _named = before
