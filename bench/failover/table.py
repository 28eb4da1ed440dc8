"""The comparison as a table: one column for each client, the goal beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from .scene import Scene
from .tally import Outage, Tally

VALID = 0.9995
ATTEMPTS = 1.6
Row = tuple[str, str, Callable[[Tally], str], Callable[[Tally], bool | None]]


def show(to: Console, scene: Scene, tallies: Sequence[Tally]) -> None:
    """Print it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for one in tallies:
        table.add_column(f"{one.client}\n[dim]{one.version}", justify="right")
    table.add_column("goal", justify="right", style="dim", no_wrap=True)
    for title, goal, text, met in _rows(scene):
        cells = [_coloured(text(one), met(one)) for one in tallies]
        table.add_row(title, *cells, goal)
    to.print(table)
    to.print(
        f"[dim]{scene.asks:,} asks with a JSON schema at {scene.per_s:g} a second, {scene.processes} processes of each"
        f" client together, three models of which each fails {scene.failing:.0%} of calls. Each allows"
        f" {scene.rpm:,} requests and {scene.tpm:,} tokens a minute, {scene.concurrency} at a time. Timeout of an"
        f" attempt: {scene.timeout_s:g} s. Outage: the cheapest model is {scene.down} for {scene.outage_s:g} s."
    )
    for one in tallies:
        for said, count in list(one.errors.items())[:3]:
            to.print(f"[dim]{one.client}, {count} ×: {said}", markup=True, highlight=False)


def _rows(scene: Scene) -> list[Row]:
    return [
        ("valid answers", f"≥ {VALID:.2%}", lambda t: f"{t.valid:.3%}", lambda t: t.valid >= VALID),
        ("  not valid", "", _ends, lambda _: None),
        ("attempts in the mean", f"≤ {ATTEMPTS}", lambda t: f"{t.attempts:.3f}", lambda t: t.attempts <= ATTEMPTS),
        ("asks answered twice", "0", lambda t: f"{t.twice}", lambda t: t.twice == 0),
        ("latency p50", "", lambda t: _ms(t.p50_s), lambda _: None),
        ("latency p99", "", lambda t: _ms(t.p99_s), lambda _: None),
        ("latency, worst", "", lambda t: _ms(t.worst_s), lambda _: None),
        ("calls over a limit", "0", lambda t: f"{t.limits.refused}", lambda t: t.limits.refused == 0),
        ("  most at a time", f"≤ {scene.concurrency}", lambda t: f"{t.limits.concurrency}", lambda _: None),
        ("  most a minute", f"≤ {scene.rpm:,}", lambda t: f"{t.limits.rpm:,}", lambda _: None),
        ("  tokens a minute", f"≤ {scene.tpm:,}", lambda t: f"{t.limits.tpm:,}", lambda t: t.limits.tpm <= scene.tpm),
        ("tokens accounted / served", "", _tokens, lambda _: None),
        ("answers with wrong tokens", "0", lambda t: f"{t.tokens_wrong}", lambda t: t.tokens_wrong == 0),
        ("budget kept, books right", "yes", _books, lambda t: None if t.books is None else t.books.sound),
        ("  of it estimated", "", _estimated, lambda _: None),
        ("p99 before the outage", "", _of(lambda o: _ms(o.before_s)), lambda _: None),
        ("p99 with one model down", "", _of(lambda o: _ms(o.during_s)), lambda _: None),
        ("  rise", f"< {_ms(scene.timeout_s)}", _of(lambda o: _ms(o.rise_s)), _rise),
        ("  asks lost", "0", _of(lambda o: f"{o.lost} of {o.asks}"), lambda t: t.outage and t.outage.lost == 0),
    ]


def _ends(one: Tally) -> str:
    said = [f"{count} {end}" for end, count in one.ends.items() if end != "valid"]
    return "\n".join(said) or "–"


def _tokens(one: Tally) -> str:
    return f"{one.tokens / one.tokens_served:.1%}" if one.tokens_served else "–"


def _books(one: Tally) -> str:
    if one.books is None:
        return "–"
    wrong = one.books
    return "yes" if wrong.sound else f"no: {wrong.miscounted} miscounted, {wrong.twice} twice, {wrong.held} held"


def _estimated(one: Tally) -> str:
    return "–" if one.books is None or not one.books.spent else f"{one.books.estimated / one.books.spent:.1%}"


def _of(text: Callable[[Outage], str]) -> Callable[[Tally], str]:
    return lambda one: text(one.outage) if one.outage else "–"


def _rise(one: Tally) -> bool | None:
    return None if one.outage is None else one.outage.rise_s < one.outage.timeout_s


def _coloured(text: str, met: bool | None) -> str:
    return text if met is None else f"[{'green' if met else 'red'}]{text}[/]"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"
