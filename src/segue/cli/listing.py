"""`segue runs`: the runs of a database, newest first. It reads the rows that it lists and counts their outcomes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from ..core.lifecycle import RunState
from ..core.shell import command
from ..errors import StoreCorrupt
from ..journal import Reader, RunRow
from ..journal.damage import REMEDY
from ..journal.faults import fault
from ..runtime.nearly import told
from . import wheres
from .advice import Standing, named
from .columns import Middle
from .exits import Exit
from .faults import as_json as error_json
from .paint import Copyable, complain, emit, out, stated, tell
from .shelf import Stands, path_of, reading, summary
from .story import Story
from .waits import brief
from .words import age, ago, first_line, printable

_COUNTED = 9999
_COUNT = (
    "select count(*) from (select 1 from events where run = ? and seq <= ?"
    f" and type in ('step.completed', 'step.failed', 'child.ended') limit {_COUNTED + 1})"
)


def runs(db: str, where: Sequence[str], limit: int, as_json: bool) -> Exit:
    """List runs, newest first."""
    query, now = wheres.read(where), time.time()
    with reading(db) as reader:
        stands = Stands(reader, now)
        found = reader.runs(*query.sql(now), limit=-1 if query.lacks else limit + 1)
        if query.lacks:
            found = [row for row in found if stands.lacking(row) is not None]
        rows = found[:limit]
        counts = [_steps(reader, row) for row in rows]
        standings = [stands.of(row, _rested(row)) for row in rows]
    if as_json:
        listed = [summary(s) | {"steps": n} for s, n in zip(standings, counts, strict=True)]
        print(json.dumps(listed, ensure_ascii=False, indent=2))
    elif not rows:
        tell(Text(f"No such runs in {db}." if where else f"No runs in {db}.", "dim"))
    else:
        console = out()
        emit(console, table(standings, counts, now, console.width))
        if len(found) > limit:
            same = ("--where", ",".join(where)) if where else ()
            tell(Text(f"The newest {limit}. More: {command('runs', *same, '--limit', 'N')}", "dim"))
    if not as_json:
        for switch in stands.switches.on:
            words = ("--all",) if switch.flow is None else ("--flow", switch.flow)
            tell(Text(f"‖ paused: {named(switch)}", "yellow"), Copyable(command("resume", *words), "to let it go on"))
    damaged = [row for row in rows if "damaged" in row.detail]
    for row in damaged:
        error = fault(StoreCorrupt, path_of(db), row.detail["damaged"], REMEDY)
        print(error_json(error), file=sys.stderr) if as_json else complain(error)
    return Exit.STORE if damaged else Exit.DONE


def _steps(reader: Reader, row: RunRow) -> int:
    """Calls with an outcome: in a fork also those that it has from the run that it was forked from."""
    count, of, upto = 0, row, 1 << 62
    while count <= _COUNTED:
        count += int(reader.query(_COUNT, (of.no, upto))[0][0])
        parent = [] if of.memo_run is None else reader.runs("no = ?", (of.memo_run,))
        if not parent:
            break
        of, upto = parent[0], min(upto, of.memo_seq)
    return count


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
        made.add_row(Middle(row[0].plain), *row[1 : len(made.columns)])
    return made


def _row(standing: Standing, count: int, now: float) -> tuple[Text, ...]:
    row = standing.row
    many = f"{_COUNTED:,}+" if count > _COUNTED else f"{count:,}"
    flow = printable(row.flow.rpartition(":")[2])
    rest = (Text(flow), Text(age(now - row.created_at)), Text(many), Text(_said(standing, now), "dim"))
    return (Text(printable(row.id)), stated(standing.state), *rest)


def _said(standing: Standing, now: float) -> str:
    row = standing.row
    if "damaged" in row.detail:
        return "damaged"
    if standing.lack is not None:
        return first_line(standing.lack.message)
    if standing.held is not None:
        return f"paused: {named(standing.held)}"
    if row.state == RunState.STUCK:
        return f"{row.detail.get('reason', '')}: {first_line(str(row.detail.get('message', '')))}"
    return _held_up(standing, now)


def _held_up(standing: Standing, now: float) -> str:
    """What it waits for, or why it does not go on."""
    if standing.nearly is not None:
        return first_line(told(standing.nearly))
    if standing.hung:
        return f"process {standing.pid} seems to hang, last heard of {ago(standing.silent_s or 0)}"
    return printable(standing.ending.message) if standing.ending is not None else brief(standing.waits, now)
