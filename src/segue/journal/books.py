"""The budgets of one transaction: read and written in few statements, and checked in between.

Imported with the first budget: the records that it stands on cost 30 ms, which a run without budgets need not pay.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from ..core.budgets import Standing, check, lost, reserved_before, weight
from ..core.codec import dumps
from ..core.events import Event, EventType
from ..core.records import BudgetScope, Reservation, Settlement
from ..errors import InputError, InternalError
from . import accounts
from .accounts import AMOUNT_MAX, Account, Hold, Key, key_of
from .records import Write

Name = tuple[int, str]
"""A reservation's run and id."""


class Books:
    """What a transaction reserves and settles. Nothing is remembered from one to the next: others write in between.

    `load` reads what a batch needs at once, `carry` checks and counts, `flush` writes, and `clear` drops it all.
    """

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection
        self._accounts: dict[Key, Account] = {}
        self._holds: dict[Name, Hold | None] = {}
        self._changed: set[Name] = set()
        self._moves: dict[int, tuple[int, int, int]] = {}
        self._limits: dict[int, int | None] = {}

    def load(self, writes: Iterable[Write]) -> None:
        """Read what these reserve in and settle. What is not read before it is carried out is read then."""
        names: list[Name] = []
        keys: list[Key] = []
        for write in writes:
            more = write.more
            if more is not None and more.reserve is not None:
                names.append((write.event.run, more.reserve.id))
                keys += [key_of(scope, more.reserve.currency) for scope in more.reserve.scopes]
            elif more is not None and more.settle is not None:
                names.append((write.event.run, more.settle.settles))
        self._read(names, keys)

    def carry(self, write: Write) -> None:
        """Count what goes with an event. Raises BudgetExceeded, and InputError: then nothing is counted."""
        event, more = write.event, write.more
        assert more is not None
        record = more.reserve or more.settle
        assert record is not None
        if event.type != record.type or (more.reserve is not None and more.settle is not None):
            raise InternalError(f"{event.type} says nothing of money: it goes with {record.type}, and one with each")
        if record.amount_nano > AMOUNT_MAX:
            raise InputError(f"{record.amount_nano} nano-{record.currency} cannot be stored", remedy="give less")
        if isinstance(record, Reservation):
            self._reserve(event, record)
        else:
            self._settle(event, record)

    def flush(self) -> None:
        """Write what was counted, and drop what was read."""
        connection = self._connection
        if self._changed:
            made = (self._holds[name] for name in self._changed)
            accounts.keep(connection, [hold for hold in made if hold is not None])
        if self._moves:
            accounts.move(connection, [(no, *amounts) for no, amounts in self._moves.items()])
        if self._limits:
            accounts.limit(connection, [(limit, no) for no, limit in self._limits.items()])
        self.clear()

    def clear(self) -> None:
        """Drop all."""
        if self._accounts or self._holds:
            self._accounts.clear()
            self._holds.clear()
            self._changed.clear()
            self._moves.clear()
            self._limits.clear()

    def _reserve(self, event: Event, asked: Reservation) -> None:
        name = (event.run, asked.id)
        keys = [key_of(scope, asked.currency) for scope in asked.scopes]
        self._read([name], keys)
        if self._holds[name] is not None:
            raise reserved_before(asked)
        found = [self._accounts[key] for key in keys]
        check(asked, [self._standing(account) for account in found])
        for account, scope in zip(found, asked.scopes, strict=True):
            if account.limit != scope.limit_nano:
                self._limits[account.no] = None if scope.limit_nano is None else min(scope.limit_nano, AMOUNT_MAX)
        numbers = list(dict.fromkeys(account.no for account in found))
        for no in numbers:
            self._move(no, 0, asked.amount_nano, 0)
        self._holds[name] = Hold(
            event.run, asked.id, event.seq, event.epoch, asked.amount_nano, asked.currency, json.dumps(numbers)
        )
        self._changed.add(name)

    def _settle(self, event: Event, took: Settlement) -> None:
        name = (event.run, took.settles)
        self._read([name], [])
        hold = self._holds[name]
        if hold is None:
            raise InputError(f"nothing was reserved as {took.settles!r} in this run", remedy="reserve it first")
        if took.currency != hold.currency:
            what = f"reservation {hold.id!r} is in {hold.currency}, not in {took.currency}"
            raise InputError(what, remedy=f"settle it in {hold.currency}")
        if hold.settled is not None and weight(took) <= hold.weight:
            return
        spent, held = (took.amount_nano, -hold.amount) if hold.settled is None else (took.amount_nano - hold.settled, 0)
        estimated = took.amount_nano * took.estimated - (hold.settled or 0) * hold.estimated
        for no in json.loads(hold.accounts):
            self._move(no, spent, held, estimated)
        corrected = weight(took)[0]
        self._holds[name] = hold._replace(settled=took.amount_nano, estimated=took.estimated, corrected=corrected)
        self._changed.add(name)

    def _read(self, names: Iterable[Name], keys: Iterable[Key]) -> None:
        """Read what is not yet known. An account that is named for the first time is made."""
        new = [name for name in dict.fromkeys(names) if name not in self._holds]
        if new:
            self._holds.update(dict.fromkeys(new))
            self._holds.update({(hold.run, hold.id): hold for hold in accounts.holds(self._connection, new)})
        missing = [key for key in dict.fromkeys(keys) if key not in self._accounts]
        if missing:
            self._find(missing)
            missing = [key for key in missing if key not in self._accounts]
        if missing:
            accounts.open_accounts(self._connection, missing)
            self._find(missing)

    def _find(self, keys: Sequence[Key]) -> None:
        self._accounts.update({account.key: account for account in accounts.find(self._connection, keys)})

    def _standing(self, account: Account) -> Standing:
        """As it stands in this transaction."""
        spent, held, estimated = self._moves.get(account.no, (0, 0, 0))
        return Standing(account.spent + spent, account.held + held, account.estimated + estimated)

    def _move(self, no: int, spent: int, held: int, estimated: int) -> None:
        before = self._moves.get(no, (0, 0, 0))
        self._moves[no] = (before[0] + spent, before[1] + held, before[2] + estimated)


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
