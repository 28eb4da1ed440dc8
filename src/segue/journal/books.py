"""The budgets of one transaction: read and written in few statements, and checked in between.

Imported with the first budget: the records that it stands on cost 30 ms, which a run without budgets need not pay.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from ..core.budgets import Standing, check, lost, reserved_before, weight
from ..core.codec import dumps
from ..core.events import Event, EventType
from ..core.records import BudgetScope, Reservation, Settlement
from ..errors import InputError, InternalError
from . import accounts
from .accounts import AMOUNT_MAX, Amounts, Hold, Key, key_of
from .records import More, Write

Name = tuple[int, str]
"""A reservation's run and id."""
_NOTHING: Amounts = (0, 0, 0)
_KEPT = 20_000
"""Accounts, and open reservations, that a process remembers."""


class Books:
    """What a transaction reserves and settles: `load` reads for a batch at once, `carry` checks and counts, `flush`
    writes. `forget` follows a rollback, and `give_way` comes before anybody else writes to these tables.

    What is kept from one transaction to the next is what others cannot change: the numbers of accounts, and the open
    reservations of runs that are this process's. Should a run be so no longer, its event is refused, and all of it with
    it.
    """

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection
        self._numbers: dict[Key, int] = {}
        self._limits: dict[int, int | None] = {}
        """What this process knows to be noted."""
        self._holds: dict[Name, Hold] = {}
        self._used: dict[int, int] = {}
        """What is spent and held of accounts with a limit, in this transaction."""
        self._resolved: dict[int, list[int]] = {}
        """The numbers of the accounts of reservations, by their identity in memory."""
        self._moves: dict[int, Amounts] = {}
        self._made: dict[Name, Hold] = {}
        self._settled: dict[Name, Hold] = {}
        self._said: dict[int, int | None] = {}
        """Limits to be noted."""

    def load(self, writes: Iterable[Write]) -> None:
        """Read what these need. What is not read before it is carried out is read then."""
        names: list[Name] = []
        asked: list[Reservation] = []
        for write in writes:
            more = write.more
            if more is not None and more.reserve is not None:
                asked.append(more.reserve)
            elif more is not None and more.settle is not None:
                names.append((write.event.run, more.settle.settles))
        if asked:
            self._resolved = dict(zip(map(id, asked), self._read_accounts(asked), strict=True))
        if names:
            self._read_holds(names)

    def carry(self, event: Event, more: More) -> None:
        """Count what goes with an event. Raises BudgetExceeded, and InputError: then nothing is counted."""
        record = more.reserve or more.settle
        assert record is not None
        if event.type != record.type or (more.reserve is not None and more.settle is not None):
            raise InternalError(f"{event.type} says nothing of this money: it goes with its own {record.type}")
        if record.amount_nano > AMOUNT_MAX:
            raise InputError(f"{record.amount_nano} nano-{record.currency} cannot be stored", remedy="give less")
        if isinstance(record, Reservation):
            self._reserve(event, record)
        else:
            self._settle(event, record)

    def flush(self) -> None:
        """Write what was counted. Raises IntegrityError for a reservation whose id is taken."""
        connection = self._connection
        if self._made:
            accounts.hold(connection, list(self._made.values()))
        if self._settled:
            accounts.settle(connection, list(self._settled.values()))
        if self._moves:
            accounts.move(connection, self._moves)
        if self._said:
            accounts.limit(connection, self._said)
        for changed in (self._resolved, self._used, self._moves, self._made, self._settled, self._said):
            changed.clear()
        if len(self._holds) > _KEPT or len(self._numbers) > _KEPT:
            self.forget()

    def give_way(self) -> None:
        """After `flush`: somebody else may write to these tables, so what they may change is dropped."""
        self._holds.clear()

    def forget(self) -> None:
        """Drop all."""
        kept = self._numbers, self._limits, self._holds
        for known in (*kept, self._resolved, self._used, self._moves, self._made, self._settled, self._said):
            known.clear()

    def _reserve(self, event: Event, asked: Reservation) -> None:
        name, amount = (event.run, asked.id), asked.amount_nano
        if name in self._holds or name in self._settled:
            raise reserved_before(asked)
        numbers = self._resolved.get(id(asked)) or self._read_accounts((asked,))[0]
        used = self._used
        if any(
            scope.limit_nano is not None and amount > scope.limit_nano - used[no]
            for no, scope in zip(numbers, asked.scopes, strict=True)
        ):
            check(asked, [Standing(held=used.get(no, 0)) for no in numbers])
        for no, scope in zip(numbers, asked.scopes, strict=True):
            if self._limits[no] != scope.limit_nano:
                self._limits[no] = scope.limit_nano
                self._said[no] = _stored(scope.limit_nano)
        own = tuple(dict.fromkeys(numbers))
        self._move(own, 0, amount, 0)
        hold = Hold(event.run, asked.id, event.seq, event.epoch, amount, asked.currency, own)
        self._holds[name] = self._made[name] = hold

    def _settle(self, event: Event, took: Settlement) -> None:
        name, amount, estimated = (event.run, took.settles), took.amount_nano, took.estimated
        hold = self._settled.get(name) or self._holds.get(name) or self._read_holds((name,)).get(name)
        if hold is None:
            raise InputError(f"nothing was reserved as {took.settles!r} in this run", remedy="reserve it first")
        if took.currency != hold.currency:
            what = f"reservation {hold.id!r} is in {hold.currency}, not in {took.currency}"
            raise InputError(what, remedy=f"settle it in {hold.currency}")
        weighs = weight(took)
        if hold.settled is None:
            self._move(hold.accounts, amount, -hold.amount, amount * estimated)
        elif weighs > hold.weight:
            more_estimated = amount * estimated - hold.settled * hold.estimated
            self._move(hold.accounts, amount - hold.settled, 0, more_estimated)
        else:
            return  # it says less than what is known
        self._holds.pop(name, None)
        self._settled[name] = hold._replace(settled=amount, estimated=estimated, corrected=weighs[0])

    def _read_accounts(self, asked: Sequence[Reservation]) -> list[list[int]]:
        """The numbers of each one's accounts, in the order of its scopes. What is named for the first time is made."""
        numbers, used = self._numbers, self._used
        keys = [[key_of(scope, one.currency) for scope in one.scopes] for one in asked]
        if not all(key in numbers for some in keys for key in some):
            self._find_or_make(
                [
                    (key, s.limit_nano)
                    for one, some in zip(asked, keys, strict=True)
                    for key, s in zip(some, one.scopes, strict=True)
                ]
            )
        found = [[numbers[key] for key in some] for some in keys]
        unread = {
            no
            for one, some in zip(asked, found, strict=True)
            for no, scope in zip(some, one.scopes, strict=True)
            if scope.limit_nano is not None and no not in used
        }
        if unread:
            used.update(accounts.used(self._connection, list(unread)))
            for no in unread & self._moves.keys():
                used[no] += sum(self._moves[no][:2])
        return found

    def _find_or_make(self, limits: Iterable[tuple[Key, int | None]]) -> None:
        unknown = {key: limit for key, limit in limits if key not in self._numbers}
        self._find(list(unknown))
        new = [(*key, _stored(limit)) for key, limit in unknown.items() if key not in self._numbers]
        if new:
            accounts.make(self._connection, new)
            self._find([row[:4] for row in new])

    def _find(self, keys: Sequence[Key]) -> None:
        for account in accounts.find(self._connection, keys):
            self._numbers[account.key] = account.no
            self._limits[account.no] = account.limit

    def _read_holds(self, names: Iterable[Name]) -> dict[Name, Hold]:
        """Reservations that are not known yet."""
        unknown = [name for name in dict.fromkeys(names) if name not in self._holds and name not in self._settled]
        found = accounts.holds(self._connection, unknown) if unknown else []
        self._holds.update({(hold.run, hold.id): hold for hold in found})
        return self._holds

    def _move(self, numbers: Sequence[int], spent: int, held: int, estimated: int) -> None:
        moves, used = self._moves, self._used
        for no in numbers:
            a, b, c = moves.get(no, _NOTHING)
            moves[no] = (a + spent, b + held, c + estimated)
            if no in used:
                used[no] += spent + held


def _stored(limit: int | None) -> int | None:
    return None if limit is None else max(-AMOUNT_MAX, min(limit, AMOUNT_MAX))


def standings(connection: sqlite3.Connection, scopes: Sequence[BudgetScope], currency: str) -> list[Standing]:
    """How budgets stand; one that nobody has used yet stands at nothing."""
    keys = [key_of(scope, currency) for scope in scopes]
    found = {account.key: account for account in accounts.find(connection, keys)}
    return [
        Standing(account.spent, account.held, account.estimated) if account is not None else Standing()
        for account in map(found.get, keys)
    ]


def lost_event(connection: sqlite3.Connection, hold: Hold, seq: int, epoch: int, at: float) -> Event:
    """What says that a reservation was left open, and counts in full. Its key and attempt are the reservation's."""
    key, attempt = connection.execute(
        "select key, attempt from events where run = ? and seq = ?", (hold.run, hold.seq)
    ).fetchone() or (None, None)
    settlement = lost(Reservation(id=hold.id, amount_nano=hold.amount, scopes=(), currency=hold.currency))
    body = dumps(settlement.to_body())
    return Event(
        hold.run, seq, epoch, at, EventType.USAGE_SETTLED, settlement.version, key=key, attempt=attempt, body=body
    )
