"""Whose calls hold money of budgets: of a run that nobody carries out any more it is said how it is freed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from ..core.lifecycle import RunState
from ..core.shell import command
from ..journal.reading import Reader
from .shelf import Stands
from .story import Story
from .waits import Advice
from .words import plural, printable

__all__ = ["Holder", "holders", "told"]

_OPEN = """
select a.value, r.run, count(*), sum(r.amount_nano) from reservations r, json_each(r.accounts) a
where r.settled_nano is null and a.value in ({}) group by 1, 2 order by 4 desc, 2
"""
_SHOWN = 10
_MOVES = frozenset({RunState.RUNNING, RunState.PARKED})
"""States of a run whose calls end, and are settled, by themselves."""
_LEFT = frozenset({RunState.QUEUED, "interrupted"})
"""States in which its process has left them: whoever takes the run up settles them."""


class Holder(NamedTuple):
    """A run, and what its calls hold of one account, in nano-dollars. `state` is that of `segue runs`."""

    account: int
    run: str
    state: str
    calls: int
    amount: int


def holders(reader: Reader, accounts: Sequence[int]) -> list[Holder]:
    """Who holds what of these accounts, the most first."""
    if not accounts:
        return []
    stands, found = Stands(reader, time.time()), list[Holder]()
    for account, no, calls, amount in reader.query(_OPEN.format(", ".join("?" * len(accounts))), accounts):
        row = reader.find(int(no))
        if row is not None:
            found.append(Holder(account, row.id, stands.of(row, Story()).state, calls, amount))
    return found


def told(found: Sequence[Holder]) -> list[Advice]:
    """A line a run. Of several budgets a call holds the same money, so each run is told once."""
    runs = list({one.run: one for one in found}.values())
    said = [_said(one) for one in runs[:_SHOWN]]
    more = len(runs) - _SHOWN
    return [*said, Advice(f"{plural(more, 'run')} more: --json names them all.")] if more > 0 else said


def _said(one: Holder) -> Advice:
    what = f"{printable(one.run)} holds {one.amount / 1e9:.6f} USD for {plural(one.calls, 'call')}"
    if one.state in _MOVES:
        return Advice(f"{what}: it is {one.state}.")
    do = ("resume", "settles it") if one.state in _LEFT else ("show", "says what it needs")
    return Advice(f"{what}, and is {one.state}.", ((command(do[0], one.run), do[1]),))
