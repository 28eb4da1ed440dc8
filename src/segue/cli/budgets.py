"""`segue budgets`: how the budgets of a database stand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from ..core.shell import command
from ..core.short import short_key
from ..errors import InputError
from ..journal.reading import Reader
from .columns import Middle
from .exits import Exit
from .holders import Holder, holders, told
from .paint import advised, emit, out, tell
from .shelf import reading

_COLUMNS = "no, kind, name, period, currency, limit_nano, spent_nano, held_nano, estimated_nano"
_KINDS = ("tenant", "thread", "run", "ask")


class Budget(NamedTuple):
    """One account. Amounts are nano-dollars; `limit` None: it is only counted."""

    no: int
    kind: str
    name: str
    period: str
    currency: str
    limit: int | None
    spent: int
    held: int
    estimated: int

    @property
    def left(self) -> int | None:
        """What a call may cost at most."""
        return None if self.limit is None else max(0, self.limit - self.spent - self.held)


def budgets(db: str, kind: str | None, limit: int, as_json: bool) -> Exit:
    """List budgets: those of tenants and threads, then those of runs and questions, the newest first."""
    if kind is not None and kind not in _KINDS:
        raise InputError(f"--kind {kind}: no such kind of budget", remedy=f"one of: {', '.join(_KINDS)}")
    with reading(db) as reader:
        found = _found(reader, kind, limit)
        held = holders(reader, [one.no for one in found if one.held])
    if as_json:
        print(json.dumps([_json(one, held) for one in found], ensure_ascii=False, indent=2))
    elif not found:
        tell(Text(f"No budgets in {db}: nothing was asked under one.", "dim"))
    else:
        emit(out(), _table(found))
        if held:
            tell("", *advised(told(held)))
        if len(found) == limit:
            tell(Text(f"The first {limit}. More: {command('budgets', '--limit', 'N')}", "dim"))
    return Exit.DONE


def _found(reader: Reader, kind: str | None, limit: int) -> list[Budget]:
    if not reader.query("select 1 from sqlite_master where type = 'table' and name = 'accounts'"):
        return []  # a database of an older version, which no engine has opened since
    ranks = " ".join(f"when '{one}' then {n}" for n, one in enumerate(_KINDS))
    rows = reader.query(
        f"select {_COLUMNS} from accounts where ? in ('', kind) order by case kind {ranks} else 9 end, no desc limit ?",
        (kind or "", limit),
    )
    return [Budget._make(row) for row in rows]


def _json(one: Budget, held: Sequence[Holder]) -> dict[str, Any]:
    """Amounts in USD, as numbers."""
    by = [
        {"run": h.run, "state": h.state, "calls": h.calls, "usd": h.amount / 1e9} for h in held if h.account == one.no
    ]
    amounts = {"limit_usd": one.limit, "spent_usd": one.spent, "held_usd": one.held, "left_usd": one.left}
    amounts |= {"estimated_usd": one.estimated}
    body: dict[str, Any] = {"scope": one.kind, "name": one.name, "period": one.period or None}
    return body | {key: None if value is None else value / 1e9 for key, value in amounts.items()} | {"held_by": by}


def _table(found: list[Budget]) -> Table:
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    made.add_column("scope")
    made.add_column("period", no_wrap=True)
    for head in ("limit", "spent", "held", "estimated", "left"):
        made.add_column(head, justify="right", no_wrap=True)
    for one in found:
        used_up = one.left is not None and one.limit is not None and one.left * 10 < one.limit
        left = Text(_usd(one.left), "yellow" if used_up else "")
        cells = [_usd(one.limit), _usd(one.spent), _usd(one.held), _usd(one.estimated)]
        scope = short_key(one.name) if one.kind == "ask" else one.name
        made.add_row(Middle(f"{one.kind}:{scope}"), one.period or "–", *cells, left)
    return made


def _usd(nano: int | None) -> str:
    return "–" if nano is None else f"{nano / 1e9:.6f}"
