"""Rows of budgets: how each stands, and what is set aside in it. Each function is a few statements of the caller's
transaction.

An account is one budget in one currency; a hold is a reservation, which is open until it is settled. A settled one
stays until its run is collected: a later word, that of the provider after an estimate, finds what it replaces.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ..core.records import BudgetScope

AMOUNT_MAX = (1 << 63) - 1
"""What a column holds, in nano-dollars."""
_SIZES = (1, 4, 16, 64, 256)

Key = tuple[str, str, str, str]
"""An account's name, kind, period (empty: for ever) and currency."""
Move = tuple[int, int, int, int]
"""An account's number, and what is added to its spent, held and estimated amounts."""


class Account(NamedTuple):
    """A row of `accounts`: amounts in nano-dollars, `limit` as the last reservation has said it."""

    name: str
    kind: str
    period: str
    currency: str
    no: int
    spent: int
    held: int
    estimated: int
    limit: int | None

    @property
    def key(self) -> Key:
        """What it is known by."""
        return self.name, self.kind, self.period, self.currency


class Hold(NamedTuple):
    """A row of `reservations`: `seq` is its event's, `accounts` a JSON list of numbers, `settled` None while open."""

    run: int
    id: str
    seq: int
    epoch: int
    amount: int
    currency: str
    accounts: str
    settled: int | None = None
    estimated: bool = False
    corrected: bool = False

    @property
    def weight(self) -> tuple[bool, bool, int]:
        """That of its settlement: see `core.budgets.weight`."""
        return bool(self.corrected), not self.estimated, self.settled or 0


def _each(template: str, width: int) -> dict[int, str]:
    row = f"({', '.join('?' * width)})"
    return {n: template.format(", ".join([row] * n)) for n in _SIZES}


_ACCOUNT = "a.name, a.kind, a.period, a.currency, a.no, a.spent_nano, a.held_nano, a.estimated_nano, a.limit_nano"
_HOLD = "run, id, seq, epoch, amount_nano, currency, accounts, settled_nano, estimated, corrected"
_FIND = _each(
    f"select {_ACCOUNT} from (values {{}}) v cross join accounts a"  # so, since `in` would read the whole table
    " on a.name = v.column1 and a.kind = v.column2 and a.period = v.column3 and a.currency = v.column4",
    4,
)
_OPEN = _each(
    "insert into accounts (name, kind, period, currency) values {}"
    " on conflict (name, kind, period, currency) do nothing",
    4,
)
_HELD = _each(
    f"select {_HOLD} from (values {{}}) v cross join reservations r on r.run = v.column1 and r.id = v.column2", 2
)
_KEEP = _each(
    f"insert into reservations ({_HOLD}) values {{}} on conflict (run, id) do update set"
    " settled_nano = excluded.settled_nano, estimated = excluded.estimated, corrected = excluded.corrected",
    10,
)
_MOVE = _each(
    "update accounts set spent_nano = spent_nano + v.column2, held_nano = held_nano + v.column3,"
    " estimated_nano = estimated_nano + v.column4 from (values {}) v where no = v.column1",
    4,
)
_LOSE = """
update accounts set held_nano = held_nano - :amount, spent_nano = spent_nano + :amount,
    estimated_nano = estimated_nano + :amount
where no in (select value from json_each(:accounts))"""


def key_of(scope: BudgetScope, currency: str) -> Key:
    """The account of a scope."""
    return scope.name, str(scope.kind), scope.period or "", currency


def find(connection: sqlite3.Connection, keys: Sequence[Key]) -> list[Account]:
    """Those of the accounts that there are."""
    rows = [row for said in _carried_out(connection, _FIND, keys) for row in said]
    return [Account._make(row) for row in rows]


def open_accounts(connection: sqlite3.Connection, keys: Sequence[Key]) -> None:
    """Make accounts that are not there yet."""
    _run(connection, _OPEN, keys)


def holds(connection: sqlite3.Connection, names: Sequence[tuple[int, str]]) -> list[Hold]:
    """Those of the reservations that there are, by run and id."""
    return [Hold._make(row) for said in _carried_out(connection, _HELD, names) for row in said]


def keep(connection: sqlite3.Connection, made: Sequence[Hold]) -> None:
    """Write reservations that are new or have been settled."""
    _run(connection, _KEEP, made)


def move(connection: sqlite3.Connection, moves: Sequence[Move]) -> None:
    """Add to amounts; at most one move an account."""
    _run(connection, _MOVE, moves)


def limit(connection: sqlite3.Connection, limits: Iterable[tuple[int | None, int]]) -> None:
    """Note the limits of accounts, by number."""
    connection.executemany("update accounts set limit_nano = ? where no = ?", limits)


def lose(connection: sqlite3.Connection, run: int) -> list[Hold]:
    """Settle what a run has left open: each at its full amount, as an estimate. Gives what was open."""
    rows = connection.execute(
        f"select {_HOLD} from reservations where run = ? and settled_nano is null order by seq", (run,)
    ).fetchall()
    if not rows:
        return []
    left = [Hold._make(row) for row in rows]
    connection.executemany(_LOSE, [{"amount": hold.amount, "accounts": hold.accounts} for hold in left])
    connection.execute(
        "update reservations set settled_nano = amount_nano, estimated = 1 where run = ? and settled_nano is null",
        (run,),
    )
    return left


def bury(connection: sqlite3.Connection, run: int, limit: int) -> int:
    """Delete up to `limit` reservations of a collected run: how many. What they took stays in their accounts."""
    some = "select id from reservations where run = ? limit ?"
    return connection.execute(f"delete from reservations where run = ? and id in ({some})", (run, run, limit)).rowcount


def _run(connection: sqlite3.Connection, statements: dict[int, str], rows: Sequence[tuple[Any, ...]]) -> None:
    for _ in _carried_out(connection, statements, rows):
        pass


def _carried_out(
    connection: sqlite3.Connection, statements: dict[int, str], rows: Sequence[tuple[Any, ...]]
) -> Iterator[sqlite3.Cursor]:
    """Few statements of few sizes. What is missing in the last is made up with its last row: said twice, it is once."""
    left = iter(rows)
    while part := list(islice(left, _SIZES[-1])):
        size = next(n for n in _SIZES if n >= len(part))
        part += [part[-1]] * (size - len(part))
        yield connection.execute(statements[size], [value for row in part for value in row])
