"""Commands to copy, as errors and remedies name them."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Sequence
from contextlib import contextmanager

_named: tuple[str, ...] = ()
"""Of the whole process, in all its threads: a command line works on one database."""
_configured: tuple[str, ...] = ()
_TAKE_CONFIG = frozenset({"models", "prompts", "route", "routes"})
"""The commands that are told of a configuration file."""


def command(*words: object) -> str:
    """A command of `segue`, quoted for a shell: a child's id holds brackets and a hash sign.

    It ends with what names the database and, where the command takes one, the configuration file, within `naming`,
    unless that is among its words already.
    """
    tail = () if "--db" in words else _named
    told = _configured if words and words[0] in _TAKE_CONFIG and "--config" not in words else ()
    return "segue " + " ".join(shlex.quote(str(word)) for word in (*words, *told, *tail))


@contextmanager
def naming(words: Sequence[str], config: Sequence[str] = ()) -> Generator[None]:
    """All commands that are written until its end, in whichever thread, name the database by these words, and the
    configuration file by those.
    """
    global _named, _configured  # of the process
    before = _named, _configured
    _named, _configured = tuple(words), tuple(config)
    try:
        yield
    finally:
        _named, _configured = before
