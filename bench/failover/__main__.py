"""`python -m bench failover`: models that fail, and what each client makes of it."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..report import console
from .run import entrants, run
from .scene import Scene
from .table import show

USUAL = Scene()
QUICK = Scene(asks=40, per_s=20, outage_s=0.5)


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print. 0 also where a goal is missed."""
    said = _parser().parse_args(sys.argv[1:] if given is None else given)
    scene = QUICK if said.quick else Scene(asks=said.asks, per_s=said.per_s, outage_s=said.outage_s, down=said.down)
    clients = entrants(_found(said.litellm))
    if said.only:
        clients = [client for client in clients if client.name in said.only]
    if not any(client.name.startswith("litellm") for client in clients):
        print("litellm is left out: --litellm PYTHON names an interpreter that has it", file=sys.stderr)
    bar = Progress(
        TextColumn("[dim]{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("the server", total=None)
        tallies = run(scene, clients, lambda what, n, of: bar.update(task, description=what, completed=n, total=of))
    if said.json:
        print(json.dumps([one.data() for one in tallies], indent=1))
    else:
        show(console(), scene, tallies)
    return 0


def _found(python: str | None) -> str | None:
    if python is not None and shutil.which(python) is None:
        raise SystemExit(f"--litellm: there is no interpreter {python}")
    return python


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench failover", description=__doc__)
    add = parser.add_argument
    add("--asks", type=int, default=USUAL.asks, help="how many asks, of each client (10,000)")
    add("--per-s", type=float, default=USUAL.per_s, help="how many of them come in a second (20)")
    add("--outage-s", type=float, default=USUAL.outage_s, help="how long one model is down (60); 0: not at all")
    add("--down", default=USUAL.down, metavar="FAULT", help="what it does then (silent)")
    add("--litellm", metavar="PYTHON", help="an interpreter that has litellm, to compare with")
    add("--only", action="append", metavar="CLIENT", help="only that client")
    add("--quick", action="store_true", help="tiny sizes: whether it runs")
    add("--json", action="store_true", help="figures as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
