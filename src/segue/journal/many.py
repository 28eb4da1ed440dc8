"""One statement for many rows: each statement gives up the interpreter's lock just once."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

_SIZES = (256, 64, 16, 4, 1)


class Many:
    """A statement over as many rows as there are: `statement` has `{}` where `row`, with `width` marks, is repeated.

    It is prepared for a few sizes, so that SQLite's cache of statements holds them.
    """

    def __init__(self, statement: str, row: str, width: int):
        self._width = width
        self._statements = {n: statement.format(", ".join([row] * n)) for n in _SIZES}

    def execute(self, connection: sqlite3.Connection, values: Sequence[object]) -> None:
        """Carry it out for rows whose values stand one after the other."""
        width = self._width
        if len(values) == width:
            connection.execute(self._statements[1], values)
            return
        at, left = 0, len(values) // width
        for size, statement in self._statements.items():
            while left >= size:
                end = at + size * width
                connection.execute(statement, values[at:end])
                at, left = end, left - size
