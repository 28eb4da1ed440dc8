"""The database's tables, and the way from each older version to the newest."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

APPLICATION_ID = 0x5E60E001
PAGE_SIZE = 2048
"""Bytes, of a new file: a payload of some KB fills its last page in half, so half the page is half the waste."""

_V1 = """
create table runs (
    no integer primary key, id text not null unique, tenant text not null, flow text not null, origin text,
    version integer not null, input_hash text not null, seed text not null, state text not null,
    detail text not null default '{}', owner text, epoch integer not null default 0, wake_at real,
    paused integer not null default 0, parent text, parent_key text,
    memo_run integer, memo_seq integer not null default 0,
    replaced text not null default '{}', created_at real not null, updated_at real not null
);
create index runs_ready on runs (state, owner) where state in ('queued', 'running');
create index runs_wake on runs (wake_at) where wake_at is not null;
create index runs_memo on runs (memo_run) where memo_run is not null;
create index runs_parent on runs (parent) where parent is not null;
create table events (
    pos integer primary key, run integer not null, seq integer not null, epoch integer not null, at real not null,
    type text not null, version integer not null, key text, attempt integer, seen integer, began real,
    body blob, args blob, value blob
);
create unique index events_seq on events (run, seq);
create trigger events_in_order before insert on events begin
    select case
        when new.epoch < (select epoch from runs where no = new.run) then raise(abort, 'stale owner')
        when new.seq is not
            coalesce(
                (select max(seq) from events where run = new.run), (select memo_seq from runs where no = new.run)
            ) + 1 then raise(abort, 'out of order')
    end;
end;
create table inbox (
    no integer primary key, run text not null, kind text not null, id text not null, name text not null,
    at real not null, value blob, body blob, consumed integer
);
create unique index inbox_id on inbox (run, id);
create index inbox_open on inbox (run) where consumed is null;
create table blobs (no integer primary key, hash blob not null unique, size integer not null, data blob, file text);
create table refs (run integer not null, hash blob not null, primary key (run, hash)) without rowid;
create index refs_hash on refs (hash);
create table tombstones (
    id text primary key, state text not null, ended_at real not null, remains integer
) without rowid;
create index tombstones_remains on tombstones (remains) where remains is not null;
create table switches (name text primary key, at real not null, by text not null, why text not null) without rowid;
"""

_V2 = """
create table accounts (
    no integer primary key, kind text not null, name text not null, period text not null, currency text not null,
    spent_nano integer not null default 0, held_nano integer not null default 0,
    estimated_nano integer not null default 0, limit_nano integer,
    check (typeof(spent_nano) = 'integer' and typeof(held_nano) = 'integer' and held_nano >= 0
        and typeof(estimated_nano) = 'integer' and estimated_nano between 0 and spent_nano)
);
create unique index accounts_name on accounts (name, kind, period, currency);
create table reservations (
    run integer not null, id text not null, seq integer not null, epoch integer not null, amount_nano integer not null,
    currency text not null, accounts text not null, settled_nano integer,
    estimated integer not null default 0, corrected integer not null default 0, primary key (run, id)
) without rowid;
"""

_V3 = """
create table acts (
    no integer primary key, at real not null, act text not null, target text not null, by text not null,
    why text not null, body text not null
);
"""

_V4 = """
alter table runs add column continued_seq integer not null default 0;
create index events_asked on events (run) where type = 'approval.asked';
create table turns (
    tenant text not null, thread text not null, no integer not null, run integer not null, seq integer not null,
    primary key (tenant, thread, no)
) without rowid;
"""

_V5 = """
alter table runs add column thread text;
create index runs_thread on runs (tenant, thread, no) where thread is not null;
create index runs_in_turn on runs (tenant, thread, no) where thread is not null and memo_run is null
    and state in ('queued', 'running', 'parked', 'stuck');
create table branches (
    tenant text not null, thread text not null, parent text not null, run integer not null, upto integer not null,
    at real not null, primary key (tenant, thread)
) without rowid;
create table summaries (
    tenant text not null, thread text not null, upto integer not null, run integer not null, seq integer not null,
    primary key (tenant, thread, upto)
) without rowid;
"""

MIGRATIONS: tuple[str, ...] = (_V1, _V2, _V3, _V4, _V5)
"""Entry i takes a database from version i to i+1. Entries are never changed, only added."""


STALE, GAP = "stale owner", "out of order"
"""What the trigger says of an event whose writer has lost the run, and of one whose predecessor is missing."""
TAKEN = "reservations.run, reservations.id"
"""What SQLite says of a second reservation with one id."""


def version_of(connection: sqlite3.Connection) -> int:
    """The schema version of an open database; 0 for an empty one."""
    return int(connection.execute("pragma user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to the newest version, in one transaction: after a crash in between, the old ones are there."""
    if version_of(connection) >= len(MIGRATIONS):
        return
    connection.execute("begin immediate")
    try:
        for step in range(version_of(connection), len(MIGRATIONS)):
            for statement in statements(MIGRATIONS[step]):
                connection.execute(statement)
            connection.execute(f"pragma user_version = {step + 1}")
        connection.execute(f"pragma application_id = {APPLICATION_ID}")
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def statements(script: str) -> Iterator[str]:
    """The statements of a script; a trigger's body, with its semicolons, is one."""
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            if statement.strip("; \n"):
                yield statement
            statement = ""
