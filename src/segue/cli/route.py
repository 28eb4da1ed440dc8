"""`segue route`: the decision that would be made for a prompt, as a table: who, why, and why not the others."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..core.records import Candidate, Decision, Estimate, TargetKind
from ..errors import InputError
from ..models.reading import meant
from ..models.spec import Capability, Catalogue
from .exits import Exit
from .fares import health_at
from .paint import emit, out, pairs
from .words import printable

if TYPE_CHECKING:
    from ..routing import Policy, Router

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
    """The router that an engine on this database would have: the catalogue, its routes, what was learned, health."""
    from ..routing import Predictors, Router, load_routes  # noqa: PLC0415
    from ..routing.embedding import Hashed  # noqa: PLC0415
    from ..routing.learned import Learned  # noqa: PLC0415

    catalogue = Catalogue.load(config)
    routes = load_routes(config, list(catalogue.models))
    learned = Learned(db, catalogue, learn=False)
    predictors = Predictors(quality=learned if learned.version != "prior" else None)
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
        shown += [_table(decision, able), ""]
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


def _table(decision: Decision, able: Sequence[Candidate]) -> Table:
    from ..routing.reasons import share  # noqa: PLC0415

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", width=1)
    table.add_column("model", no_wrap=True)
    for head in ("quality", "cost", "latency", "score", "chance"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("", style="dim")
    for one in able:
        chosen = one is decision.chosen
        table.add_row(
            Text("→", "green") if chosen else "",
            _who(one),
            _spread(one.quality, "{:.2f}"),
            _spread(one.cost_usd, "{}", dollars),
            _spread(one.latency_s, "{:.1f} s"),
            "" if one.score is None else f"{one.score + 0.0:.4g}",
            share(one.propensity) if one.propensity else "–",
            _notes(one),
            style="bold" if chosen else "",
        )
    return table


def _who(one: Candidate) -> Text:
    """Its name, and what it is where it is no model."""
    kind = one.target.kind
    return Text(printable(one.target.name)).append("" if kind is TargetKind.MODEL else f" {kind.value}", "dim")


def _spread(estimate: Estimate | None, form: str, of: Any = None) -> Text:
    """`0.72 ±0.08`; a question mark where nothing is known."""
    if estimate is None:
        return Text("?", "dim")
    text = Text(form.format(of(estimate.mean) if of else estimate.mean))
    if estimate.sd is not None:
        text.append(" ±" + (f"{dollars(estimate.sd)}" if of else f"{estimate.sd:.2g}"), "dim")
    return text


def dollars(usd: float) -> str:
    """Two figures of what is small: `$0.00021`, `$1.25`."""
    if usd == 0:
        return "$0"
    if usd >= 0.1:
        return f"${usd:,.2f}"
    return f"${usd:.2g}" if usd >= 1e-4 else f"${usd:.7f}".rstrip("0")


def _notes(one: Candidate) -> str:
    said: list[str] = []
    quality = one.quality
    if quality is not None and quality.source:
        rests = f", {quality.n:.0f} like it" if quality.n and quality.source != "prior" else ""
        said.append(f"{quality.source}{rests}")
    said += [f"{name.replace('_', ' ')} {value}" for name, value in one.facts.items()]
    return printable("; ".join(said))


def _excluded(others: Sequence[Candidate]) -> RenderableType:
    rows: list[tuple[str, RenderableType]] = []
    for one in others:
        why = Text("✗ ", "red").append(f"{one.excluded_at}: ", "dim").append(printable(one.reason or ""), "default")
        rows.append((printable(one.target.name), why))
    return Padding(pairs(rows), (0, 0, 0, 3), expand=False)
