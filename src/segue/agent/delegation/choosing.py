"""Choosing one of the candidates: a durable step, whose decision is on record as that of any question is.

No model is called for it. Who cannot take the request is excluded with the stage and the reason: an input that does not
fit, a capability, a budget, a loop. Among the others the policy chooses, by what is expected of each.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...core.records import Candidate, Decision, Stage, TargetKind
from ...errors import DefinitionError
from ...models import Model
from ...routing import Explore, Policy, Request, Weighted
from ...routing.embedding import Grams
from ...runtime.scope import StepScope, here, surroundings
from ...runtime.step import step
from ..budgets import Budgets
from ..gateway import Gateway, gateway, shared
from ..money import Bill
from ..request import Question
from .delegates import Delegate
from .experience import Experience
from .inputs import Misfit
from .lineage import Lineage, lineage_of, loops_in
from .panel import Panels

__all__ = ["DEFAULT", "Choice", "Choosing", "choose"]

DEFAULT: Policy = Weighted(
    name="delegate", quality_min=0.01, strict=True, per_usd=1.0, per_s=1e-5, explore=Explore(floor=0.0, ceiling=0.0)
)
"""Who fits best, cheap and quick ones a little before others; nobody whom nothing speaks for. Nothing is explored:
those who take a request may act on it.
"""
ROUTE = "delegate"
"""The route in the decisions of delegations."""
_CLOSE = 8
"""So many at most are shown to a model that chooses."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Who takes a request, and what is to know of it. JSON: the result of the step."""

    decision: str
    """Its id."""
    name: str | None
    """None: nobody can."""
    kind: str = ""
    route: bool = False
    """Whether it is the name of a route, not of a model."""
    quality: float | None = None
    """What is expected of it, 0 to 1."""
    then: list[str] = field(default_factory=list[str])
    """Who is next."""
    close: list[str] = field(default_factory=list[str])
    """Who is nearly as good, itself the first; only where a model may choose among them."""
    chain: list[str] = field(default_factory=list[str])
    """Who was delegated to before."""
    excluded: dict[str, str] = field(default_factory=dict[str, str])
    """Why the others cannot; those of loops are in `loops` too."""
    loops: list[str] = field(default_factory=list[str])


@step(name="choose")
async def choose(prompt: str, tried: dict[str, str], pick: str | None = None) -> Choice:
    """The durable step of a choice. `delegate` gives it its body."""
    raise DefinitionError("this step is made by segue.delegate", remedy="call segue.delegate")


@dataclass(frozen=True, kw_only=True)
class Choosing:
    """Chooses for one delegation: the parts of it that are no JSON."""

    among: Sequence[Delegate]
    request: object
    policy: str | Policy | None = None
    needs: frozenset[str] = frozenset()
    require: Mapping[str, str] = field(default_factory=dict[str, str])
    depth: int = 4
    loops: int = 0
    budget_usd: float | None = None
    fills: bool = False
    """Whether a model fills in the arguments of who takes several."""
    waits: bool = True
    """Whether a person can be asked: in a flow."""
    close: float | None = None
    """How much worse who is shown to a choosing model may be; None: nobody is shown."""
    open: bool = False
    """Whether a model chooses, who may know what words do not say: nobody is left out for want of evidence."""
    after: str | None = None
    """The decision whose choice failed."""

    async def __call__(self, prompt: str, tried: dict[str, str], pick: str | None = None) -> Choice:
        """The body of the step."""
        scope = here()
        scope = scope if isinstance(scope, StepScope) else StepScope("", "choose", 1)
        lineage = lineage_of(scope)
        decision, routes = self._decided(scope, lineage, prompt, tried, pick)
        await scope.commit(decision)
        return self._choice(decision, lineage, routes)

    def _decided(
        self, scope: StepScope, lineage: Lineage, prompt: str, tried: Mapping[str, str], pick: str | None
    ) -> tuple[Decision, Mapping[str, bool]]:
        named = [one for one in self.among if isinstance(one.target, str)]
        at = gateway() if named or isinstance(self.policy, str) else None
        models, routes, lost = _models(at, named, prompt)
        question = Question(prompt=prompt, budget_usd=self.budget_usd)
        bill = Bill.of(question, scope, Budgets() if at is None else at.budgets)
        request = Request(
            text=prompt,
            needs=self.needs,
            require=self.require,
            tokens_out_max=1024,
            budget_nano=bill.left,
            key=scope.run or None,
            model=pick,
            pinned_by="choosing model",
            tried=tried,
            barred={**lost, **self._barred(lineage)},
            stage=len(tried),
            route=f"{ROUTE}/{self.policy}" if isinstance(self.policy, str) else ROUTE,
            after=self.after,
            because=list(tried.values())[-1] if tried else None,
            depth=len(lineage.chain),
        )
        panel = _panels(at).of(self.among, models)
        typed = [one.name for one in self.among if one.inputs is not None and one.name not in request.barred]
        typed = [] if isinstance(self.request, str) else typed
        made = panel.decide(request, self._policy(at), luck=random.random(), typed=typed)
        chain = {"chain": list(lineage.chain)} if lineage.chain else {}
        return replace(made, objective={**made.objective, **chain}), routes

    def _policy(self, at: Gateway | None) -> Policy:
        if isinstance(self.policy, str):
            assert at is not None
            return at.router.route(self.policy)
        return self.policy or (_OPEN if self.open else DEFAULT)

    def _barred(self, lineage: Lineage) -> dict[str, tuple[Stage, str]]:
        barred: dict[str, tuple[Stage, str]] = {}
        for one in self.among:
            if one.kind is TargetKind.PERSON and not self.waits:
                barred[one.name] = Stage.PERSON, "a person is asked in a flow only"
            inputs = one.inputs
            if inputs is None:
                continue
            try:
                inputs.bind(self.request)
            except Misfit as misfit:
                if not self.fills:
                    barred[one.name] = Stage.CAPABILITY, str(misfit)
        return barred | loops_in(self.among, lineage, depth=self.depth, loops=self.loops)

    def _choice(self, decision: Decision, lineage: Lineage, routes: Mapping[str, bool]) -> Choice:
        names = [candidate.target.name for candidate in decision.candidates]
        out = [c for c in decision.candidates if not c.eligible]
        told: dict[str, Any] = {
            "decision": decision.id,
            "chain": list(lineage.chain),
            "excluded": {c.target.name: c.reason or "" for c in out[:_TOLD]},
            "loops": [c.target.name for c in out if c.excluded_at is Stage.DEPTH],
        }
        chosen = decision.chosen
        if chosen is None:
            return Choice(name=None, **told)
        name = chosen.target.name
        return Choice(
            name=name, kind=chosen.target.kind.value, route=routes.get(name, False),
            quality=None if chosen.quality is None else round(chosen.quality.mean, 3),
            then=[names[at] for at in decision.order[:_TOLD]], close=_close(decision, self.close), **told,
        )  # fmt: skip


_TOLD = 12
_OPEN = replace(DEFAULT, quality_min=0.0, strict=False)


def _close(decision: Decision, within: float | None) -> list[str]:
    """The chosen one, and those that score nearly as much."""
    chosen = decision.chosen
    if within is None or chosen is None:
        return []

    def scored(one: Candidate) -> float:
        return one.score if one.score is not None else float("-inf")

    able = sorted((c for c in decision.candidates if c.eligible and c is not chosen), key=scored, reverse=True)
    near = [c.target.name for c in able if scored(c) >= scored(chosen) - within]
    return [chosen.target.name, *near][:_CLOSE]


def _models(
    at: Gateway | None, named: Sequence[Delegate], prompt: str
) -> tuple[dict[str, Model], dict[str, bool], dict[str, tuple[Stage, str]]]:
    """The models that names stand for, which names are routes, and the routes by which nobody can answer."""
    models: dict[str, Model] = {}
    routes: dict[str, bool] = {}
    lost: dict[str, tuple[Stage, str]] = {}
    for one in named:
        assert at is not None
        if one.target in at.catalogue:
            models[one.name] = at.catalogue.get(one.target)
            continue
        at.router.route(one.target)  # it raises, naming those whose names are like it
        routes[one.name] = True
        chosen = at.decide(Question(prompt=prompt, route=one.target), None, {}, None).chosen
        if chosen is None:
            lost[one.name] = Stage.POLICY, "no model can answer by this route"
        else:
            models[one.name] = at.catalogue.get(chosen.target.name)
    return models, routes, lost


def _panels(at: Gateway | None) -> Panels:
    """Those of the engine, which has read what came of past delegations."""
    around = surroundings()
    embedder = (around.given.get("embedder") if around is not None else None) or shared("grams", lambda _: Grams())
    experience = shared("experience", lambda _: Experience())
    if around is not None and around.outside is not None:
        experience.look(around.outside, embedder.name)
    name = "panels" if at is None else "panels with models"
    return shared(name, lambda _: Panels(embedder, experience.past, None if at is None else at.health.view))
