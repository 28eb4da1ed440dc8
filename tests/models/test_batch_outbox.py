"""The outbox's file: one of an older version is brought forward, by whoever opens it first."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from segue.models.batches import Outbox

OLDER = """
create table batches (
    id text primary key, model text not null, deployment text not null, tried_at real, provider_id text,
    sure integer not null default 1, not_ours text not null default '[]', sent_at real, look_at real not null default 0,
    looks integer not null default 0, done integer not null default 0, total integer not null default 0
);
insert into batches (id, model, deployment, tried_at) values ('b', 'm', 'd', 5.0);
"""


def test_an_older_file_is_brought_forward_once_however_many_open_it(tmp_path: Path) -> None:
    path = tmp_path / "x.db-batches"
    with sqlite3.connect(path) as database:
        database.executescript(OLDER)
    database.close()
    with ThreadPoolExecutor(8) as several:
        opened = list(several.map(lambda _: Outbox(path), range(8)))
    assert [(batch.id, batch.tried_at) for batch in opened[0].batches()] == [("b", 5.0)]
    assert opened[0].first_tried("b") is None
    opened[4].change("b", complaint="no key")
    assert [batch.complaint for batch in opened[0].batches()] == ["no key"]
    opened[1].begin("b", 7.0, "a")
    opened[2].begin("b", 9.0, "a")
    assert opened[3].first_tried("b") == 7.0
    for one in opened:
        one.close()
