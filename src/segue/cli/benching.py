"""`segue context`: hands the actions on, and draws the table of the bench."""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ..core.shell import command
from ..errors import InputError
from .exits import Exit
from .paint import emit, out, tell
from .routes import watched

ACTIONS = {"diff": ("RUN:KEY", "RUN:KEY"), "bench": ("FILE",)}


def context(action: str, what: Sequence[str], db: str, as_json: bool, *, full: bool = False) -> Exit:
    """Do what is asked. Raises InputError for an action that there is not, or that lacks its objects."""
    if action not in ACTIONS:
        raise InputError(f"no action is called {action!r}", remedy=f"one of {', '.join(ACTIONS)}")
    if action == "diff":
        from . import seen

        if len(what) != 2:
            raise InputError("diff compares two calls", remedy=command("context", action, *ACTIONS[action]))
        return seen.diff(db, what[0], what[1], full, as_json)
    if not what:
        raise InputError("bench: which files?", remedy=command("context", action, *ACTIONS[action]))
    return _bench(what, as_json)


def _bench(files: Sequence[str], as_json: bool) -> Exit:
    try:
        from ..context.benchmark import measured, read  # numpy, for this command alone
    except ImportError as error:
        raise InputError(f"the bench needs numpy: {error}", remedy="pip install 'segue[context]'") from error

    dialogues = read(files)
    if as_json:
        print(json.dumps(measured(dialogues)))
        return Exit.DONE
    said = watched(lambda report: measured(dialogues, report))
    emit(out(), _table(said))
    about = said["about"]
    tell(
        Text(
            f"{about['questions']:,} questions about {about['turns']:,} turns; tokens of {about['tokenizer']}; each "
            "cell: questions with all evidence shown, and the share of the evidence",
            "dim",
        )
    )
    return Exit.DONE


def _table(said: dict[str, Any]) -> Table:
    ways = [way for way in said if way != "about"]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("context")
    for budget in said[ways[0]]:
        table.add_column(f"{int(budget):,} tokens", justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    for way in ways:
        cells = [f"{100 * f['recall_all']:.1f}%  {100 * f['recall']:.1f}%" for f in said[way].values()]
        table.add_row(way, *cells, f"{said['about']['ms'][way]:.1f}", style="bold" if way == "ours" else "")
    return table
