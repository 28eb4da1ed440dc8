"""`segue routes`: what the routes are, what was learned, and how well other routes would have done."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..core.shell import command
from ..errors import InputError
from .columns import cut
from .exits import Exit
from .paint import emit, err, out, tell

T = TypeVar("T")

_BENCHES = ("pair", "many")
_TITLES = {"learned": "learned", "random": "random", "best_single": "best single", "oracle": "oracle"}
ACTIONS = {
    "list": (),
    "eval": ("NEW.toml",),
    "train": (),
    "versions": (),
    "rollback": ("NAME",),
    "bench": ("many", "--train", "FILE", "--test", "FILE"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the command line says beside the action."""

    db: str
    config: str | None = None
    as_json: bool = False
    train: Sequence[str] = ()
    test: Sequence[str] = ()
    leave_out: Sequence[str] = ()
    route: str | None = None
    policy: str | None = None
    last: int = 10_000
    days: float = 14.0
    by: str = ""


def routes(action: str, what: str | None, asked: Asked) -> Exit:
    """Do what is asked. Raises InputError for an action that there is not, or that lacks its object."""
    if action not in ACTIONS:
        raise InputError(f"no action is called {action!r}", remedy=f"one of {', '.join(ACTIONS)}")
    if action in {"eval", "rollback"} and what is None:
        raise InputError(f"routes {action}: what?", remedy=command("routes", action, *ACTIONS[action]))
    if action == "bench":
        if what not in _BENCHES:
            raise InputError(
                f"no bench is called {what!r}" if what else "which bench?", remedy=f"one of {', '.join(_BENCHES)}"
            )
        if asked.leave_out:
            return _left_out(what, asked)
        return _bench(what, asked.train, asked.test, asked.as_json)
    if action == "eval":
        from . import judging  # noqa: PLC0415  numpy, for the commands that need it

        return judging.evaluated(what or "", asked)
    from . import shelved  # noqa: PLC0415

    if action == "list":
        return shelved.listed(asked)
    if action == "rollback":
        return shelved.rolled_back(what or "", asked)
    return shelved.trained(asked) if action == "train" else shelved.versions(asked)


def _bench(what: str, train: Sequence[str], test: Sequence[str], as_json: bool) -> Exit:
    from ..routing import benchmark  # noqa: PLC0415  numpy and scipy, for this command alone

    run = benchmark.pair if what == "pair" else benchmark.many
    if as_json:
        print(json.dumps(run(benchmark.read(train), benchmark.read(test))))
        return Exit.DONE
    said = watched(lambda report: run(benchmark.read(train), benchmark.read(test), report))
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


def _left_out(what: str, asked: Asked) -> Exit:
    from ..routing import benchmark  # noqa: PLC0415  numpy and scipy, for this command alone

    if what != "many":
        raise InputError(
            "a task is left out of many models' rows", remedy=command("routes", "bench", "many", "--leave-out", "TASK")
        )
    train, test = benchmark.read(asked.train), benchmark.read(asked.test)
    if asked.as_json:
        print(json.dumps(benchmark.left_out(train, test, asked.leave_out)))
        return Exit.DONE
    said = watched(lambda report: benchmark.left_out(train, test, asked.leave_out, report))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("task left out")
    for column in ("rows", "learned", "best single", "difference", "95%", "moved"):
        table.add_column(column, justify="right", no_wrap=True)
    for task, one in said["left_out"].items():
        between = f"{one['low']:+.3f} to {one['high']:+.3f}"
        figures = f"{one['learned']:.3f}", f"{one['best_single']:.3f}", f"{one['difference']:+.3f}", between
        table.add_row(cut(task), f"{one['rows']:,}", *figures, f"{one['moved']:.0%}")
    emit(out(), table)
    tell(Text("moved: asked of another model than the one that is best on the other tasks", "dim"))
    return Exit.DONE


def watched(work: Callable[[Callable[[str], None]], T]) -> T:
    """Do some work, and show a person who looks on how far it is."""
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
        table.add_column(column, justify="right", no_wrap=True)
    for router, title in _TITLES.items():
        figures = [_figure(column, said[router].get(column)) for column in columns]
        table.add_row(title, *figures, style="bold" if router == "learned" else "")
    return table


def _figure(column: str, value: float | None) -> str:
    if value is None:
        return ""
    if column == "saved":
        return f"{value:.0%}"
    return f"{value:.1f}%" if column.startswith("cpt") else f"{value:.3f}"
