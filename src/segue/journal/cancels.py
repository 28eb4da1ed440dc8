"""A cancel that stands in a run's inbox: what the run has asked before helps no more, and no word on it is taken."""

from __future__ import annotations

import sqlite3

from ..core.asked import is_question
from ..core.codec import loads
from ..core.shell import command
from ..errors import RunEnded
from .records import Post

PENDING = "select body from inbox where run = ? and kind = 'cancel' and consumed is null order by no limit 1"
"""The body of the first cancel that a run, by its id, has not taken up."""
ABOVE = (
    "with recursive above(id, parent, key) as (select id, parent, parent_key from runs where id = ?"
    " union select r.id, r.parent, r.parent_key from runs r join above a on r.id = a.parent where a.key is not null)"
    " select i.body from above a join inbox i on i.run = a.id where i.kind = 'cancel' and i.consumed is null"
    " order by i.no limit 1"
)
"""The same of a run or of those that wait for it as their child: who ends gives its children up."""


def told(body: bytes) -> str:
    """Who has asked a run to end, and why, in brackets; empty where neither is said."""
    said = loads(body)
    who = ": ".join(filter(None, (said.get("by"), said.get("why"))))
    return f" ({who})" if who else ""


def refusal(connection: sqlite3.Connection, item: Post) -> RunEnded | None:
    """The error of a person's word that would come after a cancel; None for all else. What the flow asks in its
    cleanup, once it has taken the cancel up, is open to words again.
    """
    if item.kind not in ("decide", "reassign") and not (item.kind == "signal" and is_question(item.name)):
        return None
    row = connection.execute(ABOVE, (item.run,)).fetchone()
    return None if row is None else ending(told(row[0]), item.run)


def ending(who: str, run: str, question: str | None = None, key: str | None = None) -> RunEnded:
    """The error of a word on a question whose run was asked to end."""
    what = "nobody is asked any more" if question is None else f"nobody is asked {question!r} any more"
    return RunEnded(
        f"the run was asked to end{who}: {what}", run=run, key=key,
        remedy=f"to ask again, fork it: {command('fork', run)}",
    )  # fmt: skip
