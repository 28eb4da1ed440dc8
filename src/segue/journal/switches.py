"""Switches of an operator: a flow, or the whole engine, starts nothing new until its switch is off again.

A row of `switches` is a switch that is on: `*` for the engine, `flow:NAME` for a flow (with or without its module). A
row `go:RUN` says that this run was let go by name: no switch that is older than it holds the run or its children. Each
act, on and off, is a row of `acts`, which stays.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from math import inf, nextafter
from typing import Any, NamedTuple

ENGINE = "*"
FLOW, GO = "flow:", "go:"
_IS_ON = "(name = '*' or (name >= 'flow:' and name < 'flow;'))"
_IS_GO = "(name >= 'go:' and name < 'go;')"


class Switch(NamedTuple):
    """A switch that is on. `at` is in seconds since the epoch, UTC."""

    name: str
    at: float
    by: str
    why: str

    @property
    def flow(self) -> str | None:
        """The flow that it holds; None for the engine's."""
        return self.name[len(FLOW) :] if self.name.startswith(FLOW) else None

    def holds(self, flow: str) -> bool:
        """Whether it is over this flow (`module:name`)."""
        return self.flow is None or flow == self.flow or flow.endswith(f":{self.flow}")


class Act(NamedTuple):
    """What an operator did to more than one run: a row of `acts`."""

    no: int
    at: float
    act: str
    target: str
    by: str
    why: str
    body: dict[str, Any]


class Switches(NamedTuple):
    """All that are on, with the runs that were let go."""

    on: tuple[Switch, ...] = ()
    freed: frozenset[tuple[str, float]] = frozenset()

    def over(self, flow: str) -> Switch | None:
        """The one that was switched on last, of those over a flow."""
        return max((s for s in self.on if s.holds(flow)), key=lambda s: s.at, default=None)

    def frees(self, run: str) -> bool:
        """Whether none of them holds this run or what is below it: it was let go by name since, or none is on."""
        let_go = max((at for name, at in self.freed if name == f"{GO}{run}"), default=-inf)
        return all(let_go >= switch.at for switch in self.on)

    def free(self) -> tuple[str, list[Any]]:
        """SQL over `runs`: those that no switch holds. `1` where none is on."""
        parts, values = ["1"], list[Any]()
        for switch in self.on:
            let_go = (
                "exists (select 1 from switches g where g.name >= 'go:' and g.name < 'go;' and g.at >= ?"
                " and (substr(g.name, 4) = runs.id or (runs.parent is not null"
                " and substr(runs.id, 1, length(g.name) - 2) = substr(g.name, 4) || '/')))"
            )
            if switch.flow is None:
                parts.append(let_go)
                values.append(switch.at)
            else:
                parts.append(f"(not (runs.flow = ? or substr(runs.flow, -length(?)) = ?) or {let_go})")
                values += [switch.flow, f":{switch.flow}", f":{switch.flow}", switch.at]
        return " and ".join(parts), values


def read(connection: sqlite3.Connection) -> Switches:
    """What is on."""
    rows = connection.execute(
        f"select name, at, by, why from switches where {_IS_ON} or {_IS_GO} order by at, name"
    ).fetchall()
    on = tuple(Switch._make(row) for row in rows if not row[0].startswith(GO))
    return Switches(on, frozenset((name, at) for name, at, *_ in rows if name.startswith(GO)))


def switch_on(connection: sqlite3.Connection, switch: Switch) -> bool:
    """Switch one on. False when it was on: then nothing has changed. It is newer than all that was let go before."""
    (last,) = connection.execute(f"select max(at) from switches where {_IS_GO}").fetchone()
    if last is not None and last >= switch.at:  # in the same instant, or the clock was set back
        switch = switch._replace(at=nextafter(last, inf))
    done = connection.execute("insert or ignore into switches (name, at, by, why) values (?, ?, ?, ?)", switch)
    if done.rowcount == 1:
        record(connection, "pause", switch.name, switch.at, switch.by, switch.why)
    return done.rowcount == 1


def switch_off(connection: sqlite3.Connection, switch: Switch) -> bool:
    """Switch it off; a flow's short name also switches off those with its module. False when none was on.

    With the last one goes who was let go meanwhile.
    """
    done = connection.execute(
        "delete from switches where name = ? or (name >= 'flow:' and name < 'flow;' and substr(name, -length(?)) = ?)",
        (switch.name, f":{switch.flow}", f":{switch.flow}"),
    )
    if done.rowcount:
        record(connection, "resume", switch.name, switch.at, switch.by, switch.why)
        connection.execute(
            f"delete from switches where {_IS_GO} and not exists (select 1 from switches where {_IS_ON})"
        )
    return done.rowcount > 0


def let_go(connection: sqlite3.Connection, run: str, at: float) -> None:
    """A run was resumed or cancelled by name: what is switched on by now does not hold it."""
    connection.execute(
        "insert or replace into switches (name, at, by, why)"
        f" select ?, max(?, (select max(at) from switches where {_IS_ON})), '', ''"
        f" where exists (select 1 from switches where {_IS_ON})",
        (f"{GO}{run}", at),
    )


def record(  # noqa: PLR0917  a row
    connection: sqlite3.Connection, act: str, target: str, at: float, by: str, why: str,
    body: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Put an act on record."""
    said = json.dumps(dict(body or {}), ensure_ascii=False)
    connection.execute(
        "insert into acts (at, act, target, by, why, body) values (?, ?, ?, ?, ?, ?)",
        (at, act, target, by, why, said),
    )


def acts(connection: sqlite3.Connection, limit: int) -> list[Act]:
    """What is on record, newest first."""
    rows = connection.execute("select no, at, act, target, by, why, body from acts order by no desc limit ?", (limit,))
    return [Act._make((*row[:6], json.loads(row[6]))) for row in rows.fetchall()]
