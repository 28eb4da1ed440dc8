"""What is queued for batches, and which batches are on their way: a SQLite file beside the database.

An item is a question that waits. It is here from before its run says so until its answer is in the run's inbox, so
whatever dies in between is made up for by whoever comes next: an item is put here, sent and delivered under one id. It
is `ready` to be sent once its run has said on disk that it waits, or an answer could come before anybody waits for it.
An item belongs to no batch, or to one; a batch that was `tried` may be the provider's, also where nobody heard of it.
Until it is tried its items can be withdrawn. One that is stays here, unsent, until what it took is on record: whoever
dies in between finds out again that it was never sent.

WAL with synchronous=FULL: what is queued here is queued nowhere else.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...journal.connect import log_ahead
from ...journal.faults import translate

__all__ = ["Batch", "Item", "Outbox", "Progress", "progress"]

_SCHEMA = """
create table if not exists batches (
    id text primary key, model text not null, deployment text not null, tried_at real, provider_id text,
    sure integer not null default 1, not_ours text not null default '[]', sent_at real, look_at real not null default 0,
    looks integer not null default 0, done integer not null default 0, total integer not null default 0, first_at real,
    complaint text, account text, over_at real
);
create table if not exists items (
    id text primary key, run text not null, key text not null, attempt integer not null, model text not null,
    deployment text not null, body text not null, headers text not null, ticket text not null, at real not null,
    size integer not null, ready integer not null default 0, batch text, place integer,
    dropped integer not null default 0
);
create index if not exists items_batch on items (batch);
create index if not exists items_run on items (run, key);
"""
_ADDED = {"first_at": "real", "complaint": "text", "account": "text", "over_at": "real"}
"""Columns of batches that came later: older files do not have them, and older processes pass over them."""


class Item(NamedTuple):
    """A question that waits for a batch: which attempt of which run's step put it here, and what is to be sent.

    `body`, `headers` and `ticket` are JSON; the ticket is what whoever reads the answer must know.
    """

    id: str
    run: str
    key: str
    attempt: int
    model: str
    deployment: str
    body: str
    headers: str
    ticket: str
    at: float


class Batch(NamedTuple):
    """Items that travel together. `tried_at`: somebody began to send it then. `sure`: it is known to be ours."""

    id: str
    model: str
    deployment: str
    tried_at: float | None
    provider_id: str | None
    sure: bool
    not_ours: list[str]
    sent_at: float | None
    look_at: float
    looks: int
    done: int
    total: int
    complaint: str | None = None
    """What was wrong when it was last to be sent or looked at; None where nothing was."""
    account: str | None = None
    """With which key it was last sent: a mark, not the key."""
    over_at: float | None = None
    """When a submission of which nobody heard whether it was taken was surely over."""


class Group(NamedTuple):
    """Items that may travel together, and are in no batch yet."""

    model: str
    deployment: str
    many: int
    first_at: float
    last_at: float


class Asker(NamedTuple):
    """The attempt that waits for an item; `dropped`: it does so no more."""

    run: str
    key: str
    attempt: int
    dropped: bool


class Progress(NamedTuple):
    """How far the batch of a question is. `sent_at` None: it is still collected, or was sent in vain (`tries`), or it
    may be with the provider, who has not said so (`tried`). `complaint`: what was wrong when it was last sent or
    looked at.
    """

    model: str
    sent_at: float | None
    done: int
    total: int
    tries: int = 0
    tried: bool = False
    complaint: str | None = None


_ITEM = ", ".join(Item._fields)
_BATCH = ", ".join(Batch._fields)
_FREE = "from items where batch is null and ready and at <= ?"
_UNSENT = "(batch is null or batch in (select id from batches where tried_at is null))"
_WITHDRAWN = f"update items set dropped = 1, ready = 0, batch = null where {_UNSENT}"


class Outbox:
    """The file, for any thread of this process and for all processes. Without a path it is in memory.

    Raises StoreError and its kinds, which name the file.
    """

    def __init__(self, path: Path | None):
        self.path = path
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path or ":memory:", timeout=10.0, isolation_level=None, check_same_thread=False)
            log_ahead(self._db, within_s=10.0)
            self._db.execute("pragma synchronous = full")
            self._db.executescript(_SCHEMA)
            self._bring_forward()
        except sqlite3.Error as error:
            raise translate(error, str(path)) from error

    def _bring_forward(self) -> None:
        """A file of before there was all of this."""
        if _ADDED.keys() <= self._columns():
            return
        self._db.execute("begin immediate")  # another process may be about to do the same
        try:
            for name in _ADDED.keys() - self._columns():
                self._db.execute(f"alter table batches add column {name} {_ADDED[name]}")
        finally:
            self._db.execute("commit")

    def _columns(self) -> set[str]:
        return {row[1] for row in self._db.execute("pragma table_info(batches)")}

    def _do(self, *statements: tuple[str, Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Statements in one transaction; the rows of the last one."""
        with self._lock:
            try:
                self._db.execute("begin immediate")
                try:
                    rows: list[tuple[Any, ...]] = []
                    for sql, values in statements:
                        rows = self._db.execute(sql, values).fetchall()
                    self._db.execute("commit")
                except BaseException:
                    self._db.execute("rollback")
                    raise
            except sqlite3.Error as error:
                raise translate(error, str(self.path)) from error
        return rows

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise translate(error, str(self.path)) from error

    # --- what a question does ---

    def add(self, item: Item, size: int) -> None:
        """Queue an item. One of this id that is there already stays as it is."""
        marks = ", ".join("?" * (len(Item._fields) + 1))
        self._do((f"insert into items ({_ITEM}, size) values ({marks}) on conflict do nothing", (*item, size)))

    def find(self, id: str) -> Item | None:
        """The item of this id."""
        rows = self._rows(f"select {_ITEM} from items where id = ?", id)
        return Item._make(rows[0]) if rows else None

    def renumber(self, id: str, attempt: int) -> None:
        """Another attempt waits for the item: the one before it died before it could say so."""
        self._do(("update items set attempt = ?, dropped = 0 where id = ?", (attempt, id)))

    def release(self, run: str, key: str, attempt: int) -> bool:
        """Its run waits, on disk: the item may be sent. False where it was released before."""
        of = "run = ? and key = ? and attempt = ?"
        sql = f"update items set ready = 1, dropped = 0 where {of} and (dropped or not ready) returning id"
        return bool(self._do((sql, (run, key, attempt))))

    def withdraw(self, id: str) -> bool:
        """Nobody waits for the item any more. True where it was not sent, and will not be."""
        rows = self._do((f"{_WITHDRAWN} and id = ? returning id", (id,)))
        if not rows:
            self._do(("update items set dropped = 1 where id = ?", (id,)))
        return bool(rows)

    def withdraw_all(self, run: str, key: str | None = None) -> list[Item]:
        """Nobody waits any more for those of a run, or of one of its steps. Gives those that are not sent."""
        of, values = ("run = ?", (run,)) if key is None else ("run = ? and key = ?", (run, key))
        if not self._rows(f"select 1 from items where {of} limit 1", *values):
            return []
        rows = self._do(
            (f"update items set dropped = 1 where {of}", values),
            (f"{_WITHDRAWN} and {of} returning {_ITEM}", values),
        )
        return [Item._make(row) for row in rows]

    def forget(self, ids: Iterable[str]) -> None:
        """Items that were withdrawn, and of which it is on record what they took."""
        self._do(*[("delete from items where id = ? and batch is null and dropped", (one,)) for one in ids])

    def awaited(self, run: str) -> bool:
        """Whether a run waits for an item."""
        return bool(self._rows("select 1 from items where run = ? and not dropped limit 1", run))

    # --- what the batcher does ---

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self._rows("select 1 from items where ready union all select 1 from batches limit 1")

    def groups(self, now: float) -> list[Group]:
        """What waits to be sent."""
        sql = f"select model, deployment, count(*), min(at), max(at) {_FREE} group by model, deployment"
        return [Group._make(row) for row in self._rows(sql, now)]

    def drafts(self, before: float) -> list[tuple[str, str]]:
        """Items that are not ready since so long, with their runs."""
        rows = self._rows("select id, run from items where not ready and at < ?", before)
        return [(one, run) for one, run in rows]

    def waiting(self, group: Group, most: int, now: float) -> list[tuple[str, str, int]]:
        """The first items of a group, with their runs and sizes."""
        sql = f"select id, run, size {_FREE} and model = ? and deployment = ? order by at, id limit ?"
        rows = self._rows(sql, now, group.model, group.deployment, most)
        return [(one, run, size) for one, run, size in rows]

    def discard(self, id: str) -> None:
        """An item whose run has ended: if no batch has it, it goes."""
        self._do(("delete from items where id = ? and batch is null", (id,)))

    def put_off(self, id: str, until: float) -> None:
        """Look at an item again then: it may be withdrawn by that time."""
        self._do(("update items set at = ? where id = ? and batch is null", (until, id)))

    def form(self, batch: str, group: Group, ids: Sequence[str]) -> None:
        """Put items into a new batch, in this order."""
        put = "update items set batch = ?, place = ? where id = ? and batch is null and not dropped"
        places = [(put, (batch, at, one)) for at, one in enumerate(ids)]
        made = "insert into batches (id, model, deployment, total) values (?, ?, ?, ?)"
        self._do((made, (batch, group.model, group.deployment, len(ids))), *places)

    def batches(self) -> list[Batch]:
        """All that are on their way, or about to be."""
        rows = self._rows(f"select {_BATCH} from batches order by look_at")
        return [Batch._make(row)._replace(sure=bool(row[5]), not_ours=json.loads(row[6])) for row in rows]

    def items(self, batch: str) -> list[Item]:
        """What a batch is made of, in its order."""
        return [
            Item._make(row) for row in self._rows(f"select {_ITEM} from items where batch = ? order by place", batch)
        ]

    def begin(self, batch: str, now: float, account: str) -> list[Item]:
        """What is sent of a batch from here on: it may be the provider's then, and nothing of it is withdrawn."""
        tried = (
            "update batches set tried_at = ?1, first_at = coalesce(first_at, ?1), account = ?3,"
            " over_at = null, total = (select count(*) from items where batch = ?2) where id = ?2"
        )
        items = f"select {_ITEM} from items where batch = ? order by place"
        return [Item._make(row) for row in self._do((tried, (now, batch, account)), (items, (batch,)))]

    def first_tried(self, batch: str) -> float | None:
        """When a batch was sent first, or begun to be."""
        rows = self._rows("select first_at from batches where id = ?", batch)
        return rows[0][0] if rows else None

    def whose(self, batch: str) -> dict[str, Asker]:
        """Who waits for each item of a batch, by the item's id."""
        rows = self._rows("select id, run, key, attempt, dropped from items where batch = ? order by place", batch)
        return {one: Asker(run, key, attempt, bool(dropped)) for one, run, key, attempt, dropped in rows}

    def change(self, batch: str, **values: Any) -> None:
        """Note something of a batch."""
        names = ", ".join(f"{name} = ?" for name in values)
        self._do((f"update batches set {names} where id = ?", (*values.values(), batch)))

    def hurry(self, now: float) -> None:
        """All that the provider has are to be looked at now."""
        self._do(("update batches set look_at = ? where provider_id is not null and look_at > ?", (now, now)))

    def delivered(self, ids: Iterable[str]) -> None:
        """Items whose answers are where they belong."""
        self._do(*[("delete from items where id = ?", (one,)) for one in ids])

    def done(self, batch: str) -> None:
        """A batch of which nothing is left to deliver."""
        self._do(("delete from items where batch = ?", (batch,)), ("delete from batches where id = ?", (batch,)))

    def close(self) -> None:
        """Leave the file."""
        with self._lock:
            self._db.close()


def progress(path: Path, run: str, key: str) -> Progress | None:
    """How far the batch is that a step waits for, for those who only look; None where nothing is known."""
    if not path.exists():
        return None
    sql = (
        "select i.model, b.sent_at, b.done, b.total, b.looks, b.tried_at, {} from items i"
        " left join batches b on b.id = i.batch where i.run = ? and i.key = ? and not i.dropped"
        " order by i.at desc limit 1"
    )
    try:
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            known = {name for _, name, *_ in database.execute("pragma table_info(batches)")}
            complaint = "b.complaint" if "complaint" in known else "null"  # nobody has brought the file forward
            row = database.execute(sql.format(complaint), (run, key)).fetchone()
        finally:
            database.close()
    except sqlite3.Error:
        return None
    if row is None:
        return None
    model, sent_at, done, total, tries, tried_at, complaint = row
    return Progress(model, sent_at, done or 0, total or 0, tries or 0, tried_at is not None, complaint)
