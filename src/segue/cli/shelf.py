"""Opens the database: to be read, without an engine. Gathers what is known of a run from outside."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.asked import is_question
from ..core.lifecycle import ENDED, RunState
from ..core.redaction import mask
from ..errors import InputError
from ..journal import Item, Journal, RunRow
from ..journal.reading import Reader
from ..journal.threads import ahead_of
from ..runtime.ending import asked_to_end
from ..runtime.lacking import REASON, Lacking
from ..runtime.nearly import told as told_of
from .advice import Standing
from .left import left_of
from .story import Story

if TYPE_CHECKING:
    from ..runtime.engine import Engine


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


def reading(db: str, *, acts: bool = False) -> Reader:
    """The database, to be read. One of an older version is refused to who only looks; for who `acts` on what was read
    it is brought forward, as an engine does. Raises a StoreError that names the file.
    """
    path = path_of(db)
    if acts:
        Journal.bring_forward(path)
    return Journal.open_readonly(path)


@contextmanager
def at_one_moment(reader: Reader) -> Generator[None]:
    """All that is read within is as it was at the first look."""
    reader.query("begin")
    try:
        yield
    finally:
        reader.query("commit")


def acting(db: str) -> Engine:
    """An engine that records what is asked of runs, and carries none of them out: its process ends at once, and a step
    that it began would be cut off. Raises StoreError, when it is entered.
    """
    from ..runtime.engine import Engine  # noqa: PLC0415  what only looks needs none

    engine = Engine(path_of(db), recover=False)
    engine.carries = False
    return engine


def works(reader: Reader, owner: str | None) -> bool:
    """Whether the process of this id lives and does not seem to hang, as far as one look can tell."""
    return owner is not None and reader.alive(owner) and reader.silent_s(owner) is None


class Stands:
    """Says where runs stand, as far as their rows and the living processes tell."""

    def __init__(self, reader: Reader, now: float):
        self._reader = reader
        self._alive = dict[str | None, tuple[bool, float | None]]()
        self.lacking, self.switches = Lacking(reader, now), reader.switches()
        self._attended = reader.attended()

    def of(self, row: RunRow, story: Story) -> Standing:
        """One run."""
        if row.owner not in self._alive:
            alive = self._reader.alive(row.owner)
            self._alive[row.owner] = alive, self._reader.silent_s(row.owner) if alive and row.owner else None
        alive, silent_s = self._alive[row.owner]
        held = self.switches.over(row.flow)
        if held is not None and (row.state in ENDED or not self._reader.held(row.no, self.switches)):
            held = None
        return Standing(
            row=row, story=story, alive=alive, silent_s=silent_s, held=held, lack=self.lacking(row),
            ahead=ahead_of(self._reader.query, row), attended=self._attended,
            ending=asked_to_end(self._reader, row, attended=self._attended),
        )  # fmt: skip


def standing_of(reader: Reader, row: RunRow, story: Story | None = None) -> Standing:
    """All that is known of a run from outside."""
    posts: Sequence[Item] = reader.items_of(row.no)
    reader.input_of(row)  # without it the rest would look well
    with reader.reads(row):
        told = story or Story.of(reader.events(row), row)
    left = left_of(reader, row) if row.state in ENDED else []
    standing = replace(Stands(reader, time.time()).of(row, told), posts=posts, left=left)
    if any(is_question(post.name) for post in posts):
        from ..runtime.questions import of_run  # noqa: PLC0415  few runs were just answered

        words = ((found.asked.id, found.asked.word) for found in of_run(reader, row) if found.waits)
        standing = replace(standing, answered={name: word for name, word in words if word is not None})
    keys = [str(w.get("key", "")) for w in standing.waits if "service" in w]
    if not keys:
        return standing
    from ..models.batches.outbox import progress  # noqa: PLC0415  few runs wait for a batch

    found = {key: progress(Path(f"{reader.path}-batches"), row.id, key) for key in keys}
    return replace(standing, batches={key: far for key, far in found.items() if far is not None})


def parsed(data: bytes | None) -> Any:
    """A payload as the JSON value that it is, secrets masked."""
    return None if data is None else mask(json.loads(data))


def summary(standing: Standing) -> dict[str, Any]:
    """A run as JSON. Times are seconds since the epoch, UTC."""
    row = standing.row
    stuck = row.detail if row.state == RunState.STUCK else {}
    if standing.nearly is not None:
        stuck = {**standing.nearly, "reason": None, "message": told_of(standing.nearly)}
    if standing.ending is not None:
        stuck = standing.ending._asdict()
    if standing.lack is not None:
        stuck = {"reason": REASON, **standing.lack._asdict()}
    body: dict[str, Any] = {
        "id": row.id, "flow": row.flow, "version": row.version, "tenant": row.tenant, "state": row.state,
        "paused": row.paused or standing.held is not None, "interrupted": standing.state == "interrupted",
        "silent_s": round(standing.silent_s or 0, 1) if standing.hung else None, "parent": row.parent,
        "created_at": row.created_at, "updated_at": row.updated_at, "waits_on": standing.waits,
        "reason": stuck.get("reason"), "message": stuck.get("message"), "key": stuck.get("key"),
        "remedy": stuck.get("remedy"), "asks": stuck.get("asks"),
        "open_children": [one.body() for one in standing.left] or None,
    }  # fmt: skip
    return {k: v for k, v in body.items() if v is not None}
