"""`segue pause` and `resume` of a flow and of the engine, and `segue acts`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import redirect_stdout, suppress

from rich.table import Table
from rich.text import Text

from ..core.shell import command
from ..errors import InputError, SegueError
from ..journal import Reader, Switch, Switches
from .advice import named
from .carrying import load
from .columns import cut
from .exits import Exit
from .paint import Copyable, emit, out, tell
from .shelf import acting, reading
from .words import ago, plural, printable


def turn(db: str, flow: str | None, by: str, why: str, *, on: bool, as_json: bool) -> Exit:
    """Pause a flow, or without one the engine, or let it go on."""
    turned = asyncio.run(_turn(db, flow, by, why, on=on))
    with reading(db) as reader:
        left = reader.switches()
        held = _held(reader, left)
        attended = reader.attended()
    if as_json:
        switches = [as_json_of(s) for s in left.on]
        print(json.dumps({"turned": turned, "switches": switches, "held": held}, ensure_ascii=False))
        return Exit.DONE
    what, say = "the engine" if flow is None else f"flow {printable(flow)}", command
    words = ("resume", "--all") if flow is None else ("resume", "--flow", flow)
    if on:
        said = f"{what} is paused" if turned else f"{what} was paused already"
        tell(Text("✓ ", "green").append(f"{said}; {plural(held, 'open run')} held", "default"))
        tell(Copyable(say(*words), "to let it go on"), Copyable(say("resume", "RUN"), "to let one run go on"))
        return Exit.DONE
    if not turned:
        names = ", ".join(named(s) for s in left.on) or "nothing"
        raise InputError(f"{what} is not paused; paused: {names}", remedy=say("runs", "--state", "paused"))
    tell(Text("✓ ", "green").append(f"{what} goes on", "default"))
    for switch in left.on:
        tell(Text(f"Still paused: {named(switch)}.", "dim"))
    if not attended:
        tell(Text("No process carries runs out.", "dim"), Copyable(say("resume"), "to go on here"))
    return Exit.DONE


def _held(reader: Reader, switches: Switches) -> int:
    """How many open runs start nothing new."""
    free, values = switches.free()
    sql = f"select count(*) from runs where state in ('queued', 'running', 'parked') and not ({free})"
    return int(reader.query(sql, values)[0][0])


async def _turn(db: str, flow: str | None, by: str, why: str, *, on: bool) -> bool:
    if on and flow is not None and ":" in flow:
        with redirect_stdout(sys.stderr), suppress(SegueError):  # it need not be importable here, if it has runs
            load(flow)
    async with acting(db) as engine:
        return await (engine.pause if on else engine.resume)(flow=flow, by=by, why=why)


def as_json_of(switch: Switch) -> dict[str, object]:
    """A switch as JSON."""
    return {"flow": switch.flow, "at": switch.at, "by": switch.by, "why": switch.why}


def acts(db: str, limit: int, as_json: bool) -> Exit:
    """What operators did to flows, to the engine and in bulk, newest first."""
    with reading(db) as reader:
        found = reader.acts(limit)
    if as_json:
        print(json.dumps([a._asdict() for a in found], ensure_ascii=False, indent=2))
        return Exit.DONE
    if not found:
        tell(Text("Nothing of the kind is on record.", "dim"))
        return Exit.DONE
    table, now = Table(box=None, padding=(0, 2, 0, 0), header_style="dim"), time.time()
    for head in ("when", "act", "on", "by", "why"):
        table.add_column(head, no_wrap=head in ("when", "act"))
    for one in found:
        target = {"*": "the engine"}.get(one.target, one.target.removeprefix("flow:"))
        many = f" ({plural(int(one.body['runs']), 'run')})" if "runs" in one.body else ""
        table.add_row(ago(now - one.at), one.act, cut(target + many), cut(one.by), printable(one.why))
    emit(out(), table)
    return Exit.DONE
