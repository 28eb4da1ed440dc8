"""`segue route`: the decision that would be made for a prompt, as a table: who, why, and why not the others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..core.records import Candidate, Decision, Estimate, TargetKind
from ..errors import InputError
from ..models.reading import meant
from ..models.spec import Capability, Catalogue
from .columns import Noted, cut
from .exits import Exit
from .fares import health_at
from .paint import emit, out, pairs
from .shelf import path_of, reading
from .words import duration, plural, printable

if TYPE_CHECKING:
    from ..routing import Policy, Router

FITNESS = "fitness-"
"""How an estimate names what goes by descriptions, examples and outcomes: see `routing.fitness`."""
_VERSION = re.compile(r"v\d+")
PLAIN = ("cheapest", "best", "fastest", "cascade")
"""Policies that need nothing but their name."""


def route(
    prompt: str,
    policy: str | None,
    db: str,
    config: str | None,
    as_json: bool,
    *,
    kind: str | None = None,
    needs: Sequence[str] = (),
    luck: float = 0.5,
) -> Exit:
    """Print the decision for a prompt. 1 where nobody could answer. Raises InputError, UnknownRoute, ConfigError."""
    from ..routing import Request  # noqa: PLC0415  numpy, for the commands that route

    for word in needs:
        if word not in {c.value for c in Capability}:
            allowed = ", ".join(c.value for c in Capability)
            raise InputError(f"no capability is called {word!r}", remedy=f"one of {allowed}")
    wish = policy or "default"
    request = Request(text=prompt, kind=kind, needs=frozenset(needs), route=wish)
    with router_of(db, config) as router:
        decision = router.decide(request, id="preview", luck=luck, route=named(router, wish))
    if as_json:
        from ..routing.reasons import reasons  # noqa: PLC0415

        print(json.dumps({**decision.to_body(), "reasons": reasons(decision)}, ensure_ascii=False, indent=2))
    else:
        emit(out(), *drawn(decision))
    return Exit.DONE if decision.choice is not None else Exit.FAILED


@contextmanager
def router_of(db: str, config: str | None) -> Generator[Router]:
    """The router that an engine on this database would have: catalogue, routes, what was learned, health. Raises
    a StoreError for a file that cannot be read, or is of an older version.
    """
    from ..routing import Predictors, Router, load_routes  # noqa: PLC0415
    from ..routing.embedding import Hashed  # noqa: PLC0415
    from ..routing.learned import Learned  # noqa: PLC0415
    from ..routing.takes import Takes  # noqa: PLC0415

    catalogue = Catalogue.load(config)
    routes = load_routes(config, list(catalogue.models))
    learned = Learned(db, catalogue, learn=False)
    quality, takes = learned if learned.version != "prior" else None, Takes()
    if Path(path_of(db)).exists():
        with reading(db) as reader:
            takes.read(reader)
    predictors = Predictors(quality=quality, tokens_out=takes.tokens_out, latency=takes.latency)
    with health_at(db) as health:
        embedder = Hashed() if any(policy.compares() for policy in routes.values()) else None
        yield Router(catalogue, routes, predictors=predictors, view=health and health.view, embedder=embedder)


def plain(name: str) -> Policy | None:
    """One of the policies that need no more than their name."""
    from ..routing.policies import POLICIES  # noqa: PLC0415

    return POLICIES[name]() if name in PLAIN else None


def named(router: Router, name: str) -> str | Policy:
    """A route of the file, else a plain policy; without a `default` there, the cheapest. Raises UnknownRoute."""
    if name in router.routes:
        return name
    if name == "default":
        return plain("cheapest") or name
    found = plain(name)
    if found is not None:
        return found
    from ..routing import UnknownRoute  # noqa: PLC0415

    known = [*router.routes, *(one for one in PLAIN if one not in router.routes)]
    close = meant(name, known)
    hint = ": it is a model" if name in router.table.names else f"; did you mean {close}?" if close else ""
    says = f"no route is called {name!r}{hint}"
    raise UnknownRoute(says, remedy=f"one of {', '.join(known)}")


def drawn(decision: Decision) -> list[RenderableType]:
    """The decision as a title, a table of the eligible, those that are not, and the reasons."""
    from ..routing.reasons import reasons  # noqa: PLC0415

    able = sorted((c for c in decision.candidates if c.eligible), key=lambda c: _rank(decision, c))
    others = [c for c in decision.candidates if not c.eligible]
    shown: list[RenderableType] = [_title(decision), _request(decision), ""]
    if able:
        shown += [Noted(partial(_table, decision, able), [(printable(c.target.name), _beneath(c)) for c in able]), ""]
    if others:
        shown += [_excluded(others), ""]
    return [*shown, *(Text("→ " if at == 0 else "  ", "bold").append(one) for at, one in enumerate(reasons(decision)))]


def _rank(decision: Decision, candidate: Candidate) -> tuple[float, ...]:
    """The choice, then those who come next, then by chance."""
    at = decision.candidates.index(candidate)
    next_up = decision.order.index(at) if at in decision.order else len(decision.order)
    return (at != decision.choice, next_up, -candidate.propensity)


def _title(decision: Decision) -> Text:
    from ..routing.reasons import wanted  # noqa: PLC0415

    name = printable(decision.policy)
    return Text(name, "bold").append(f"  {printable(wanted(decision.objective))}", "dim")


def _request(decision: Decision) -> Text:
    said = decision.features
    words = [f"kind {said.get('kind')}", f"difficulty {said.get('difficulty')}", f"{said.get('tokens')} tokens"]
    if said.get("language") not in (None, "und"):
        words.append(str(said["language"]))
    words += [f"{name} {said[name]}" for name in ("code", "maths") if said.get(name)]
    return Text(printable(", ".join(words)), "dim")


def _table(decision: Decision, able: Sequence[Candidate], noted: bool) -> Table:
    from ..routing.reasons import share  # noqa: PLC0415

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", width=1)
    table.add_column("who" if any(c.target.kind is not TargetKind.MODEL for c in able) else "model")
    for head in ("quality", "cost", "latency", *(["score"] if noted else []), "chance"):
        table.add_column(head, justify="right", no_wrap=True)
    for one in able:
        chosen = one is decision.chosen
        table.add_row(
            Text("→", "green") if chosen else "",
            _who(one),
            _spread(one.quality, "{:.2f}".format),
            _spread(one.cost_usd, dollars),
            _spread(one.latency_s, duration),
            *([_score(one)] if noted else []),
            share(one.propensity) if one.propensity else "–",
            *([Text(_notes(one), "dim")] if noted else []),
            style="bold" if chosen else "",
        )
    return table


def _who(one: Candidate) -> Text:
    """Its name, and what it is where it is no model."""
    kind = one.target.kind
    return cut(one.target.name).append("" if kind is TargetKind.MODEL else f" {kind.value}", "dim")


def _spread(estimate: Estimate | None, form: Callable[[float], str]) -> Text:
    """`0.72 ±0.08`, `1 h ±30 min`; a question mark where nothing is known."""
    if estimate is None:
        return Text("?", "dim")
    return Text(form(estimate.mean)).append(f" ±{form(estimate.sd)}" if estimate.sd else "", "dim")


def dollars(usd: float) -> str:
    """Two figures of what is small: `$0.00021`, `$1.25`."""
    if usd == 0:
        return "$0"
    if usd >= 0.1:
        return f"${usd:,.2f}"
    return f"${_plain(usd, 2)}"


def _plain(value: float, figures: int) -> str:
    """So many figures, and never `1e-05`."""
    return f"{Decimal(f'{value:.{figures}g}'):f}"


def _score(one: Candidate) -> str:
    return "" if one.score is None else _plain(one.score + 0.0, 4)


def _beneath(one: Candidate) -> Text:
    """What has no room beside the numbers."""
    score = "" if one.score is None else f"score {_score(one)}"
    return Text("; ".join(filter(None, (score, _notes(one)))), "dim")


def _notes(one: Candidate) -> str:
    said: list[str] = []
    quality = one.quality
    if quality is not None and quality.source:
        said.append(_source(quality))
    said += [f"{name.replace('_', ' ')} {value}" for name, value in one.facts.items()]
    return printable("; ".join(said))


def _source(quality: Estimate) -> str:
    """What an estimate goes by. `n` is a weight: many answers to requests that are little alike weigh as few."""
    kind, _, heard = (quality.source or "").partition("+")
    if kind.startswith(FITNESS):
        return "by what it is for" + (f" and {plural(int(heard), 'outcome')}" if heard.isdecimal() else "")
    weight = f", weighs as {plural(max(1, round(quality.n)), 'answer')}" if quality.n and kind != "prior" else ""
    return ("learned, " if _VERSION.fullmatch(kind) else "") + f"{quality.source}{weight}"


def _excluded(others: Sequence[Candidate]) -> RenderableType:
    rows: list[tuple[str, RenderableType]] = []
    for one in others:
        why = Text("✗ ", "red").append(f"{one.excluded_at}: ", "dim").append(printable(one.reason or ""), "default")
        rows.append((printable(one.target.name), why))
    return Padding(pairs(rows), (0, 0, 0, 3), expand=False)
