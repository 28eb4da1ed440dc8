"""Rows of budgets: how each stands, and what is set aside in it. Each function is a few statements of the caller's
transaction.

An account is one budget in one currency; a hold is a reservation, which is open until it is settled. A settled one
stays until its run is collected: a later word, that of the provider after an estimate, finds what it replaces.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ..core.records import BudgetScope

AMOUNT_MAX = (1 << 63) - 1
"""What a column holds, in nano-dollars."""
_SIZES = (128, 64, 32, 16, 8, 4, 2, 1)
_FEW = 4
"""Rows up to which a statement a row is quicker than one for all. It gives up the interpreter's lock once a row."""

Key = tuple[str, str, str, str]
"""An account's name, kind, period (empty: for ever) and currency."""
Amounts = tuple[int, int, int]
"""What is added to the spent, held and estimated amounts of an account."""


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
        return self[:4]


class Hold(NamedTuple):
    """A row of `reservations`: `seq` is its event's, `accounts` are numbers, `settled` is None while it is open."""

    run: int
    id: str
    seq: int
    epoch: int
    amount: int
    currency: str
    accounts: Sequence[int]
    settled: int | None = None
    estimated: bool = False
    corrected: bool = False

    @property
    def weight(self) -> tuple[bool, bool, int]:
        """That of its settlement: see `core.budgets.weight`."""
        return bool(self.corrected), not self.estimated, self.settled or 0


def _each(template: str, width: int) -> dict[int, str]:
    row = f"({', '.join('?' * width)})" if width > 1 else "?"
    return {n: template.format(", ".join([row] * n)) for n in _SIZES}


_ACCOUNT = "a.name, a.kind, a.period, a.currency, a.no, a.spent_nano, a.held_nano, a.estimated_nano, a.limit_nano"
_HOLD = "run, id, seq, epoch, amount_nano, currency, accounts, settled_nano, estimated, corrected"
_FIND = _each(
    f"select {_ACCOUNT} from (values {{}}) v cross join accounts a"  # so, since `in` would read the whole table
    " on a.name = v.column1 and a.kind = v.column2 and a.period = v.column3 and a.currency = v.column4",
    4,
)
_USED = _each("select no, spent_nano + held_nano from accounts where no in ({})", 1)
_MAKE = _each("insert into accounts (name, kind, period, currency, limit_nano) values {}", 5)
_HELD = _each(
    f"select {_HOLD} from (values {{}}) v cross join reservations r on r.run = v.column1 and r.id = v.column2", 2
)
_HOLD_ON = _each("insert into reservations (run, id, seq, epoch, amount_nano, currency, accounts) values {}", 7)
_SETTLE_ONE = "update reservations set settled_nano = ?, estimated = ?, corrected = ? where run = ? and id = ?"
_SETTLE = _each(
    "update reservations set settled_nano = v.column1, estimated = v.column2, corrected = v.column3"
    " from (values {}) v where run = v.column4 and id = v.column5",
    5,
)
_ADD = "spent_nano = spent_nano + {}, held_nano = held_nano + {}, estimated_nano = estimated_nano + {}"
_MOVE_ALIKE = _each(f"update accounts set {_ADD.format('?', '?', '?')} where no in ({{}})", 1)
_MOVE = _each(
    f"update accounts set {_ADD.format('v.column2', 'v.column3', 'v.column4')} from (values {{}}) v"
    " where no = v.column1",
    4,
)
_LOSE = f"""
update accounts set {_ADD.format(":amount", "-:amount", ":amount")} where no in (select value from json_each(:accounts))
"""


def key_of(scope: BudgetScope, currency: str) -> Key:
    """The account of a scope."""
    return scope.name, str(scope.kind), scope.period or "", currency


def find(connection: sqlite3.Connection, keys: Sequence[Key]) -> list[Account]:
    """Those of the accounts that there are."""
    rows = [row for cursor in _each_of(connection, _FIND, keys) for row in cursor]
    return [Account._make(row) for row in rows]


def make(connection: sqlite3.Connection, made: Sequence[tuple[str, str, str, str, int | None]]) -> None:
    """Make accounts: their keys, and their limits."""
    _write(connection, _MAKE, made)


def used(connection: sqlite3.Connection, numbers: Sequence[int]) -> list[tuple[int, int]]:
    """What is spent and held of accounts, with their numbers."""
    return [row for cursor in _each_of(connection, _USED, [(no,) for no in numbers]) for row in cursor]


def holds(connection: sqlite3.Connection, names: Sequence[tuple[int, str]]) -> list[Hold]:
    """Those of the reservations that there are, by run and id."""
    return [_hold(row) for cursor in _each_of(connection, _HELD, names) for row in cursor]


def _hold(row: tuple[Any, ...]) -> Hold:
    return Hold._make((*row[:6], json.loads(row[6]), *row[7:]))


def hold(connection: sqlite3.Connection, made: Sequence[Hold]) -> None:
    """Write open reservations. Raises IntegrityError for one whose run and id are taken."""
    _write(connection, _HOLD_ON, [(*one[:6], str(list(one.accounts))) for one in made])


def settle(connection: sqlite3.Connection, settled: Sequence[Hold]) -> None:
    """Write how reservations were settled."""
    rows = [(one.settled, one.estimated, one.corrected, one.run, one.id) for one in settled]
    if len(rows) <= _FEW:
        connection.executemany(_SETTLE_ONE, rows)
    else:
        _write(connection, _SETTLE, rows)


def move(connection: sqlite3.Connection, moves: Mapping[int, Amounts]) -> None:
    """Add to the amounts of accounts, by number."""
    alike: dict[Amounts, list[tuple[int]]] = {}
    for no, amounts in moves.items():
        alike.setdefault(amounts, []).append((no,))
    if len(alike) > _FEW:
        _write(connection, _MOVE, [(no, *amounts) for no, amounts in moves.items()])
    else:
        for amounts, numbers in alike.items():
            _write(connection, _MOVE_ALIKE, numbers, amounts)


def limit(connection: sqlite3.Connection, limits: Mapping[int, int | None]) -> None:
    """Note the limits of accounts, by number."""
    connection.executemany("update accounts set limit_nano = ? where no = ?", [(at, no) for no, at in limits.items()])


def lose(connection: sqlite3.Connection, run: int) -> list[Hold]:
    """Settle what a run has left open: each at its full amount, as an estimate. Gives what was open."""
    rows = connection.execute(
        f"select {_HOLD} from reservations where run = ? and settled_nano is null order by seq", (run,)
    ).fetchall()
    if not rows:
        return []
    left = [_hold(row) for row in rows]
    connection.executemany(_LOSE, [{"amount": row[4], "accounts": row[6]} for row in rows])
    connection.execute(
        "update reservations set settled_nano = amount_nano, estimated = 1 where run = ? and settled_nano is null",
        (run,),
    )
    return left


def bury(connection: sqlite3.Connection, run: int, limit: int) -> int:
    """Delete up to `limit` reservations of a collected run: how many. What they took stays in their accounts."""
    some = "select id from reservations where run = ? limit ?"
    return connection.execute(f"delete from reservations where run = ? and id in ({some})", (run, run, limit)).rowcount


def _write(
    connection: sqlite3.Connection,
    statements: Mapping[int, str],
    rows: Sequence[Sequence[object]],
    first: Sequence[object] = (),
) -> None:
    for _ in _each_of(connection, statements, rows, first):
        pass


def _each_of(
    connection: sqlite3.Connection,
    statements: Mapping[int, str],
    rows: Sequence[Sequence[object]],
    first: Sequence[object] = (),
) -> Iterator[sqlite3.Cursor]:
    """Few statements of few sizes, so that each is prepared once; `first` is bound before each one's rows."""
    at = 0
    for size in _SIZES:
        while len(rows) - at >= size:
            yield connection.execute(statements[size], [*first, *chain.from_iterable(rows[at : at + size])])
            at += size
