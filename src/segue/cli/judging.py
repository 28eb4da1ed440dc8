"""`segue routes eval`: what other routes would have cost, answered and taken on past traffic, with 95% intervals."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table
from rich.text import Text

from ..errors import InputError
from ..journal import Journal
from ..models.reading import open_config
from ..models.spec import Catalogue
from .columns import Noted
from .exits import Exit
from .paint import Drawn, emit, out, tell
from .route import dollars, plain
from .routes import Asked, watched
from .words import plural, printable

if TYPE_CHECKING:
    from ..routing import Policy
    from ..routing.judge import Finding, Judgement, Logged
    from ..routing.judge.intervals import Interval
    from ..routing.replayed import Replayed

_NAMES = {
    "reward": "quality",
    "cost_usd": "cost",
    "latency_s": "latency",
    "answered": "answered",
}
_STANDING = {"claimed": "green", "cautious": "yellow", "model estimate": "yellow", "refused": "red"}


class Traffic(NamedTuple):
    """What can be judged of what was read."""

    rows: list[Logged]
    left_out: Counter[str]


def evaluated(new: str, asked: Asked) -> Exit:
    """Print the verdict. 1 where nothing could be said of any measure. Raises InputError, ConfigError, StoreError."""
    from ..routing import load_routes  # noqa: PLC0415
    from ..routing.judge import judge  # noqa: PLC0415
    from ..routing.replayed import Replayed  # noqa: PLC0415

    catalogue = _catalogue(new, asked.config)
    routes = load_routes(new, list(catalogue.models))
    target = Replayed(catalogue, routes, _policy(asked.policy, routes))
    if not routes and target.policy is None:
        raise InputError(f"{new} has no routes", remedy="write one: [routes.NAME]; or judge a plain one: --policy best")
    traffic = watched(lambda report: _traffic(target, asked, report))
    if not traffic.rows:
        raise InputError("there is no past traffic to judge by" + _why(traffic.left_out), remedy=_remedy(traffic, new))
    made = partial(
        judge, traffic.rows, target, onward=target.goes_on, hedged=target.hedged,
        climbs=target.climbs(traffic.rows), hedges=target.hedges(traffic.rows), within_days=asked.days,
    )  # fmt: skip
    verdict = watched(lambda report: _judged(made, report))
    if asked.as_json:
        body = verdict.to_json() | {"left_out": dict(traffic.left_out), "routes": list(routes)}
        print(json.dumps(body, ensure_ascii=False, indent=2))
    else:
        emit(out(), *drawn(verdict))
        tell(*_about(verdict, traffic))
    refused = all(found.standing.value == "refused" for found in verdict.findings.values())
    return Exit.FAILED if refused else Exit.DONE


def _catalogue(new: str, config: str | None) -> Catalogue:
    """Of the new file; where that has routes alone, the usual one."""
    table = open_config(new)
    return Catalogue.load(new if table is not None and "models" in table.values else config)


def _policy(name: str | None, routes: Mapping[str, Policy]) -> Policy | None:
    if name is None:
        return None
    found = routes.get(name) or plain(name)
    if found is None:
        known = f"one of {', '.join(routes)}" if routes else "write [routes.NAME] in it, or name a plain policy: best"
        raise InputError(f"no route is called {name!r}", remedy=known)
    return found


def _traffic(target: Replayed, asked: Asked, report: Callable[[str], None]) -> Traffic:
    from ..routing.past import (  # noqa: PLC0415
        Row,
        logged_rows,
        rows,
    )
    from ..routing.traffic import Traffic as Read  # noqa: PLC0415

    report("reading the journal")
    read = Read(asks_max=asked.last)
    with Journal.open_readonly(asked.db) as reader:
        read.read(reader)
    kept, left_out = list[Row](), Counter[str]()
    for row in rows(read):
        name = row.decision.route or "default"
        if asked.route is not None and name != asked.route:
            left_out["another route"] += 1
        elif (policy := target.policy_for(row.decision)) is None:
            left_out[f"route {name} is not in the file"] += 1
        elif policy.reads() and not row.text:
            left_out["its text is not on record"] += 1
        else:
            kept.append(row)
    past = logged_rows(kept)
    return Traffic(past.rows, left_out + past.left_out)


def _judged(work: Callable[[], Judgement], report: Callable[[str], None]) -> Judgement:
    report("judging")
    return work()


def _why(left_out: Counter[str]) -> str:
    said = "; ".join(f"{many} left out: {printable(why)}" for why, many in left_out.most_common(4))
    return f": {said}" if said else ""


def _remedy(traffic: Traffic, new: str) -> str:
    if any(why.startswith("route ") for why in traffic.left_out):
        return f"give {new} routes of the same names, or judge one of them for all traffic: --policy NAME"
    return "traffic is what ask(...) journals: run flows that ask, on this database"


def drawn(verdict: Judgement) -> list[Drawn]:
    """A row for each measure: now, then, and the change; below it what limits them, and what it would take."""
    rows = [(_NAMES.get(m.value, m.value), *_cells(m.value, found)) for m, found in verdict.findings.items()]

    def table(noted: bool) -> Table:
        made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        made.add_column("per ask", no_wrap=True)
        for head in ("now", "then", "95% interval", "change", "95% interval"):
            made.add_column(head, justify="right", no_wrap=True)
        for row in rows:
            made.add_row(*(row if noted else row[:-1]))
        return made

    said: dict[tuple[str, str], list[str]] = {}
    for measure, found in verdict.findings.items():
        told = [(note, "") for note in found.notes] + ([] if found.need is None else [(found.need.says(), "to claim")])
        for note in told:
            said.setdefault(note, []).append(_NAMES.get(measure.value, measure.value))
    notes: list[Drawn] = []
    for (note, what), names in said.items():
        whose = "" if len(names) == len(verdict.findings) else ", ".join(names)
        head = ", ".join(filter(None, [whose, what]))
        notes.append(Text(f"  {head}: " if head else "  ", "dim").append(printable(note), "default"))
    shown = Noted(table, [(str(row[0]), row[-1]) for row in rows])
    return [shown, *(["", *notes] if notes else [])]


def _cells(measure: str, found: Finding) -> list[str | Text]:
    shown = _amount(measure)
    now = "?" if found.now is None else shown(found.now)
    standing = Text(found.standing.value, _STANDING.get(found.standing.value, ""))
    best = found.best
    if best is not None:
        standing.append(f"  {best.estimator.value}, {math.floor(found.effective)} effective", "dim")
        value, change = best.value, best.difference
        sign = "+" if change.value >= 0 else "−"
        return [
            now, Text(shown(value.value), "bold"), _interval(value, shown), f"{sign}{shown(abs(change.value))}",
            _interval(change, shown), standing,
        ]  # fmt: skip
    if found.modelled is not None:
        standing.append("  what the models expect; no experiment stands behind it", "dim")
        return [now, shown(found.modelled), "", "", "", standing]
    return [now, "", "", "", "", standing]


def _interval(of: Interval, shown: Callable[[float], str]) -> str:
    def signed(value: float) -> str:
        return shown(value) if value >= 0 else f"−{shown(-value)}"

    return f"{signed(of.low)} … {signed(of.high)}"


def _amount(measure: str) -> Callable[[float], str]:
    if measure == "cost_usd":
        return dollars
    if measure == "latency_s":
        return lambda seconds: f"{seconds:.2f} s"
    if measure == "answered":
        return lambda share: f"{share:.1%}"
    return lambda value: f"{value:.3f}"


def _about(verdict: Judgement, traffic: Traffic) -> list[Drawn]:
    days = "" if verdict.days is None else f" in {max(verdict.days, 0.01):.3g} days"
    of = plural(verdict.clusters, "key" if verdict.keyed else "run") + (" of a split" if verdict.keyed else "")
    said = f"{plural(verdict.rows, 'ask')} of {of}{days}, {verdict.weighable} of them drawn"
    if verdict.exploration or not verdict.weighable:  # what a split has dealt explores nothing
        said += f"; {verdict.exploration:.1%} of the traffic explored"
    lines: list[Drawn] = [Text(said, "dim")]
    for why, many in traffic.left_out.most_common(6):
        lines.append(Text(f"{many} left out: {printable(why)}", "dim"))
    return lines
