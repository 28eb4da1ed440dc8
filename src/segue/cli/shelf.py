"""Opens the database: to be read, without an engine. Gathers what is known of a run from outside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..config import database_from_environment
from ..core.lifecycle import RunState
from ..core.redaction import mask
from ..errors import InputError
from ..journal import Item, Journal, RunRow
from ..journal.reading import Reader
from .advice import Say, Standing
from .story import Story
from .words import command_of


def path_of(db: str) -> str:
    """The file of `--db`. Raises InputError for what is no file."""
    scheme, found, rest = db.partition("://")
    if not found:
        return db
    if scheme != "sqlite":
        raise InputError(
            f"--db {db}: this command reads a file", remedy="name a path such as segue.db, or sqlite:///path"
        )
    return rest[1:]


def say_for(db: str) -> Say:
    """A writer of commands for this database; --db is left out where it is the default."""
    return command_of(db, database_from_environment())


def reading(db: str) -> Reader:
    """The database, to be read. Raises a StoreError that names the file."""
    return Journal.open_readonly(path_of(db))


def standing_of(reader: Reader, row: RunRow, story: Story | None = None) -> Standing:
    """All that is known of a run from outside."""
    posts: Sequence[Item] = reader.items_of(row.no)
    told = story or Story.of(reader.events(row), row)
    return Standing(row=row, story=told, alive=reader.alive(row.owner), attended=reader.attended(), posts=posts)


def parsed(data: bytes | None) -> Any:
    """A payload as the JSON value that it is, secrets masked."""
    return None if data is None else mask(json.loads(data))


def summary(standing: Standing) -> dict[str, Any]:
    """A run as JSON. Times are seconds since the epoch, UTC."""
    row = standing.row
    stuck = row.detail if row.state == RunState.STUCK else {}
    body: dict[str, Any] = {
        "id": row.id, "flow": row.flow, "version": row.version, "tenant": row.tenant, "state": row.state,
        "paused": row.paused, "interrupted": standing.state == "interrupted", "parent": row.parent,
        "created_at": row.created_at, "updated_at": row.updated_at, "waits_on": standing.waits,
        "reason": stuck.get("reason"), "message": stuck.get("message"), "key": stuck.get("key"),
        "remedy": stuck.get("remedy"),
    }  # fmt: skip
    return {k: v for k, v in body.items() if v is not None}
