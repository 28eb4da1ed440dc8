"""`python -m bench`: measure, and report each figure beside its floor and its goal."""

from __future__ import annotations

import argparse
import json
import platform
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from . import history, processes, profiles, report, routers, small, threads, throughput
from .failover import __main__ as failover
from .floor import grouped_rows, single_ms
from .measure import Figure, Plan, Sample

BENCHMARKS: dict[str, Callable[[Plan], list[Figure]]] = {
    "step": throughput.step,
    "runs": throughput.runs,
    "parked": processes.parked,
    "replay": history.replay,
    "fork": history.fork,
    "storage": small.storage,
    "import": small.imports,
    "traceback": small.traceback_frames,
    "takeover": processes.takeover,
    "thread": threads.assembly,
}

COMPARISONS: dict[str, Callable[[Sequence[str]], int]] = {"failover": failover.main, "routers": routers.main}
"""With others at the same work: long, with options of their own: `python -m bench NAME --help`."""


def measure(names: Sequence[str], plan: Plan, tell: Callable[[str], None]) -> tuple[list[Figure], dict[str, Sample]]:
    """Run benchmarks with the floors measured before, between and after them."""
    figures: list[Figure] = []
    floors: dict[str, list[float]] = {"ms a commit": [], "rows/s in groups of 50": []}

    def floor() -> None:
        floors["ms a commit"].append(single_ms(plan))
        floors["rows/s in groups of 50"].append(grouped_rows(plan))

    floor()
    for name in names:
        tell(name)
        made = BENCHMARKS[name](plan)
        figures += [replace(f, met=None) for f in made] if plan.quick else made
        floor()
    return figures, {name: Sample.of(values) for name, values in floors.items()}


def parse(given: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, epilog=f"Apart from these: {', '.join(COMPARISONS)}."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(BENCHMARKS)} (all)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it runs")
    parser.add_argument("--full", action="store_true", help="100,000 parked runs instead of 10,000")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    parser.add_argument("--repeats", type=int, default=5, help="how often to repeat (5)")
    parser.add_argument("--dir", type=Path, default=Path("build/bench"), help="where to write (build/bench)")
    parser.add_argument("--profile", action="store_true", help="the top functions of step, runs, parking or replay")
    options = parser.parse_args(given)
    unknown = [n for n in options.names if n not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Measure what was asked for. 0 also when a goal is missed: a figure is no verdict on a busy machine."""
    given = sys.argv[1:] if given is None else given
    if given and given[0] in COMPARISONS:
        return COMPARISONS[given[0]](given[1:])
    options = parse(given)
    with report.progress(Console(stderr=True)) as (tell, progress):
        plan = Plan(
            folder=options.dir, quick=options.quick, full=options.full, repeats=options.repeats, progress=progress
        )
        if options.profile:
            print(profiles.top(options.names or ["runs"], plan))
            return 0
        figures, floors = measure(options.names or list(BENCHMARKS), plan, tell)
    machine = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.system()}"
    if options.json:
        data = {n: {"median": s.median, "least": s.least, "most": s.most} for n, s in floors.items()}
        print(json.dumps({"machine": machine, "floors": data, "figures": [f.data() for f in figures]}, indent=1))
    else:
        report.show(report.console(), figures, floors, machine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
