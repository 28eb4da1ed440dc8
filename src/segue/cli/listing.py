"""`segue runs`: the runs of a database, newest first. It reads the rows that it lists and counts their outcomes."""

from __future__ import annotations

import json
import time
from typing import Any

from rich.cells import cell_len
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
        console = out()
        emit(console, table(standings, counts, now, console.width))
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


def table(standings: list[Standing], counts: list[int], now: float, width: int) -> Table:
    """One row a run. A long id or flow is cut so that each row stays one line; what a run waits for gets the rest."""
    rows = [_row(s, n, now) for s, n in zip(standings, counts, strict=True)]
    heads = ("run", "state", "flow", "age", "steps")
    most = (max(12, width // 3), width, max(8, width // 6), width, width)
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    left = width
    for at, (head, limit) in enumerate(zip(heads, most, strict=True)):
        wide = min(limit, max(cell_len(head), *(cell_len(str(row[at])) for row in rows)))
        left -= wide + 2
        right = head in ("age", "steps")
        made.add_column(head, width=wide, no_wrap=True, overflow="ellipsis", justify="right" if right else "left")
    if left > 8:
        made.add_column("", max_width=left - 2, no_wrap=True, overflow="ellipsis")
    for row in rows:
        made.add_row(*row[: len(made.columns)])
    return made


def _row(standing: Standing, count: int, now: float) -> tuple[Text, ...]:
    row = standing.row
    many = f"{_COUNTED:,}+" if count > _COUNTED else f"{count:,}"
    flow = printable(row.flow.rpartition(":")[2])
    rest = (Text(flow), Text(age(now - row.created_at)), Text(many), Text(_said(standing, now), "dim"))
    return (Text(printable(row.id)), stated(standing.state), *rest)


def _said(standing: Standing, now: float) -> str:
    row = standing.row
    if row.state == RunState.STUCK:
        return f"{row.detail.get('reason', '')}: {first_line(str(row.detail.get('message', '')))}"
    return brief(standing.waits, now)
