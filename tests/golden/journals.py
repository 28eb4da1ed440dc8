"""Journals as JSON lines: writing them, and bringing one back into a fresh database."""

from __future__ import annotations

import base64
import json
import sqlite3
from pathlib import Path
from typing import Any

from segue.core.events import Event
from segue.journal import RunRow

FOLDER = Path(__file__).parent / "journals"
_HERE = f"{Path(__file__).parents[2]}/"
_RUNS = "runs", tuple(f for f in RunRow._fields if f != "origin")  # a path of the machine that wrote it
_EVENTS = "events", Event._fields
_LATER = [("continued_seq", 0)]
"""Columns that older journals do not have, with their defaults."""
_INBOX = "inbox", ("no", "run", "kind", "id", "name", "at", "value", "body", "consumed")


def dump(connection: sqlite3.Connection) -> str:
    """All runs, events and inbox items, a line each."""
    lines: list[str] = []
    for table, fields in (_RUNS, _EVENTS, _INBOX):
        for row in connection.execute(f"select {', '.join(fields)} from {table} order by rowid"):
            record = {f: _text(v) for f, v in zip(fields, row, strict=True) if v is not None and (f, v) not in _LATER}
            lines.append(json.dumps({"table": table, **record}, ensure_ascii=False))
    return "\n".join(lines).replace(_HERE, "") + "\n"  # tracebacks name files


def load(connection: sqlite3.Connection, text: str) -> None:
    """The inverse of `dump`, into empty tables. The guard of events is off meanwhile: old epochs are written here."""
    guard = connection.execute("select sql from sqlite_master where name = 'events_in_order'").fetchone()[0]
    connection.execute("drop trigger events_in_order")
    for line in text.splitlines():
        record: dict[str, Any] = json.loads(line)
        table = record.pop("table")
        names, marks = ", ".join(record), ", ".join("?" * len(record))
        connection.execute(f"insert into {table} ({names}) values ({marks})", [_bytes(v) for v in record.values()])
    connection.execute(guard)


def _text(value: Any) -> Any:
    """JSON payloads stay readable; what is no text is base64."""
    if not isinstance(value, bytes):
        return value
    try:
        return {"json": value.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _bytes(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return value["json"].encode() if "json" in value else base64.b64decode(value["base64"])
