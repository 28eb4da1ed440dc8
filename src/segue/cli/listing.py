"""`segue runs`: the runs of a database, newest first. It reads the rows that it lists and counts their outcomes."""

from __future__ import annotations

import json
import time
from typing import Any

from rich.table import Table
from rich.text import Text

from ..core.lifecycle import ENDED, OPEN, RunState
from ..errors import InputError
from ..journal import RunRow
from .advice import Standing, brief
from .exits import Exit
from .paint import emit, out, stated, tell
from .shelf import reading, summary
from .story import Story
from .words import age, first_line, printable

_COUNTED = 9999
_COUNT = (
    "select count(*) from (select 1 from events where run = ?"
    f" and type in ('step.completed', 'step.failed', 'child.ended') limit {_COUNTED + 1})"
)
_GROUPS = {"open": OPEN, "ended": ENDED}
STATES = (*(s.value for s in RunState), "paused", *_GROUPS)


def runs(db: str, state: str | None, flow: str | None, limit: int, as_json: bool) -> Exit:
    """List runs, newest first."""
    where, values = _filters(state, flow)
    with reading(db) as reader:
        rows = reader.runs(" and ".join(where), values, limit)
        counts = [int(reader.query(_COUNT, (row.no,))[0][0]) for row in rows]
        owners = {owner: reader.alive(owner) for owner in {row.owner for row in rows}}
    now = time.time()
    standings = [Standing(row=row, story=_rested(row), alive=owners[row.owner]) for row in rows]
    if as_json:
        listed = [summary(s) | {"steps": n} for s, n in zip(standings, counts, strict=True)]
        print(json.dumps(listed, ensure_ascii=False, indent=2))
    elif not rows:
        tell(Text(f"No runs in {db}." if len(where) == 1 else f"No such runs in {db}.", "dim"))
    else:
        emit(out(), table(standings, counts, now))
        if len(rows) == limit:
            tell(Text(f"The newest {limit}. More: segue runs --limit N", "dim"))
    return Exit.DONE


def _filters(state: str | None, flow: str | None) -> tuple[list[str], list[Any]]:
    where, values = ["1"], list[Any]()
    if state is not None:
        if state not in STATES:
            raise InputError(f"--state {state}: no such state", remedy=f"one of: {', '.join(STATES)}")
        if state == "paused":
            where.append("paused")
        else:
            group = sorted(_GROUPS.get(state, {state}))
            where.append(f"state in ({', '.join('?' * len(group))})")
            values += group
    if flow is not None:
        where.append("(flow = ? or substr(flow, -length(?)) = ?)")
        values += [flow, f":{flow}", f":{flow}"]
    return where, values


def _rested(row: RunRow) -> Story:
    """What a row alone tells: what the run waited for when it came to rest."""
    story = Story()
    story.waits = row.detail.get("waits_on", []) if row.state in (RunState.PARKED, RunState.QUEUED) else []
    return story


def table(standings: list[Standing], counts: list[int], now: float) -> Table:
    """One row a run."""
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    made.add_column("run", no_wrap=True, overflow="ellipsis", min_width=8)
    made.add_column("state", no_wrap=True)
    made.add_column("flow", no_wrap=True, overflow="ellipsis", max_width=24)
    made.add_column("age", no_wrap=True, justify="right")
    made.add_column("steps", no_wrap=True, justify="right")
    made.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
    for standing, count in zip(standings, counts, strict=True):
        row = standing.row
        many = f"{_COUNTED:,}+" if count > _COUNTED else f"{count:,}"
        short = printable(row.flow.rpartition(":")[2])
        said = Text(_said(standing, now), "dim")
        state = stated(standing.state)
        made.add_row(Text(printable(row.id)), state, short, age(now - row.created_at), many, said)
    return made


def _said(standing: Standing, now: float) -> str:
    row = standing.row
    if row.state == RunState.STUCK:
        return f"{row.detail.get('reason', '')}: {first_line(str(row.detail.get('message', '')))}"
    return brief(standing.waits, now)
