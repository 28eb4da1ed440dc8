"""`segue routes`: what the routes are, and how well the learned router does on labelled requests."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import InputError
from .exits import Exit
from .paint import emit, err, out, tell

_BENCHES = ("pair", "many")
_TITLES = {"learned": "learned", "random": "random", "best_single": "best single", "oracle": "oracle"}


def routes(action: str, what: str | None, train: Sequence[str], test: Sequence[str], as_json: bool) -> Exit:
    """Do what is asked. Raises InputError for an action or a bench that there is not."""
    if action != "bench":
        raise InputError(
            f"no action is called {action!r}", remedy="segue routes bench pair|many --train FILE --test FILE"
        )
    if what not in _BENCHES:
        raise InputError(
            f"no bench is called {what!r}" if what else "which bench?", remedy=f"one of {', '.join(_BENCHES)}"
        )
    return _bench(what, train, test, as_json)


def _bench(what: str, train: Sequence[str], test: Sequence[str], as_json: bool) -> Exit:
    from ..routing import benchmark  # noqa: PLC0415  numpy and scipy, for this command alone

    run = benchmark.pair if what == "pair" else benchmark.many
    if as_json:
        print(json.dumps(run(benchmark.read(train), benchmark.read(test))))
        return Exit.DONE
    said = _watched(lambda report: run(benchmark.read(train), benchmark.read(test), report))
    emit(out(), _table(said))
    about = said["about"]
    models = about.get("models") or [about["weak"], about["strong"]]
    tell(
        Text(
            f"learned from {about['train_rows']:,} rows, asked about {about['test_rows']:,}; {len(models)} models",
            "dim",
        )
    )
    return Exit.DONE


def _watched(work: Callable[[Callable[[str], None]], dict[str, Any]]) -> dict[str, Any]:
    console: Console = err()
    if not (console.is_terminal and sys.stderr.isatty()):
        return work(lambda _: None)
    with console.status("reading") as status:
        return work(status.update)


def _table(said: dict[str, Any]) -> Table:
    columns = [key for key in said["learned"] if key in ("apgr", "cpt50", "cpt80", "accuracy", "usd", "aiq", "saved")]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("router")
    for column in columns:
        table.add_column(column, justify="right")
    for name, title in _TITLES.items():
        figures = [_figure(column, said[name].get(column)) for column in columns]
        table.add_row(title, *figures, style="bold" if name == "learned" else "")
    return table


def _figure(column: str, value: float | None) -> str:
    if value is None:
        return ""
    if column == "saved":
        return f"{value:.0%}"
    return f"{value:.1f}%" if column.startswith("cpt") else f"{value:.3f}"
