"""One attempt to embed some texts: decide, and for each request of it get a place, call, and put it on record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from ..core.faults import Fault, FaultKind, classify, rebuild
from ..core.records import AttemptEnd, Decision, Usage
from ..core.recovery import Attempt
from ..models import Deployment, Model
from ..models.embedding import fits, parts_of, space
from ..models.errors import VectorsDiffer
from ..models.health import Place
from ..models.signals import made
from ..routing import Cheapest
from ..routing import Policy as RoutingPolicy
from ..routing.instead import has, required
from ..routing.policies import NEVER, Ranked
from ..runtime.scope import StepScope
from .failures import failed_in, so_far
from .gateway import Gateway
from .hashed import DIMENSIONS, HASHED, hashed
from .held import affordable
from .money import Bill, cost_nothing
from .nobody import nobody
from .pool import part_of
from .recorded import Recorded
from .request import Question
from .tries import of_model
from .vectors import Packed, Texts

__all__ = ["Embedding"]

_REMEDY = 'describe a model with capabilities = ["embeddings"], or embed(..., model="hashed") to try things out'
_HASHED = f"{HASHED}@{DIMENSIONS}"


@dataclass(slots=True)
class _Calls:
    """The requests of one attempt."""

    history: Sequence[Attempt]
    """The attempts before it: of a pool, who has failed is passed over."""
    bill: Bill
    size: Question
    """All texts: what is set aside before the first request is sent."""
    usages: list[Usage] = field(default_factory=list[Usage])
    place: Place | None = None
    """Where the last one was sent; None while it waits."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """Makes attempts for one call of `embed`."""

    gateway: Gateway
    policy: RoutingPolicy | None
    timeout_s: float
    like: bool = False
    """Whether the caller has said which vectors these must compare with."""

    async def __call__(self, texts: Texts, scope: StepScope) -> Packed:
        """The vectors. Raises the error of the attempt, which names its model."""
        if self._is_hashed(texts):
            return _hashed(texts)
        size = Question(prompt="", parts=texts.texts, max_tokens=1)
        budget = Bill.of(size, scope, self.gateway.budgets)
        decision, freed = await affordable(
            budget, lambda left_nano: self.decide(texts, failed_in(scope.history), scope.candidate, left_nano)
        )
        await scope.commit(decision)
        if decision.chosen is None:
            since = so_far(scope.history)
            raise budget.nobody(decision, freed, since=since) or nobody(decision, self._remedy(texts), since=since)
        bill = budget.named(decision.id)
        model = self.gateway.catalogue.get(decision.chosen.target.name)
        record = Recorded(scope, decision, model, size)
        usage: Usage | None = None
        calls = _Calls(scope.history, bill, size)
        try:
            await bill.room(model, size)
            vectors = await self._vectors(model, texts.texts, calls)
            usage = _sum(calls.usages)
            found = space(model, len(vectors[0]))
            _hold(found, texts.space or space(model), model, vectors)
        except Exception as error:
            fault = of_model(classify(error), model, place=calls.place)
            if usage is None and calls.usages and cost_nothing(fault):
                usage = _sum(calls.usages)  # the requests before the refused one were answered, and are on the bill
            fault = bill.paid(usage, fault) or fault
            record.ended(AttemptEnd.FAILED, fault=fault, usage=usage, reservation=bill.reservation)
            raise rebuild(fault) from error
        except BaseException:
            bill.given_up()
            raise
        bill.paid(usage, None)
        record.ended(AttemptEnd.ANSWERED, usage=usage, reservation=bill.reservation)
        return Packed.of(vectors, model=model.name, space=found, tokens_in=usage.tokens_in, cost_nano=usage.cost_nano)

    def decide(
        self, texts: Texts, tried: Mapping[str, str], pin: str | None, left_nano: int | None = None,
        *, awaits: bool = False,
    ) -> Decision:  # fmt: skip
        """Who embeds: by the route; once vectors have been made, of those whose vectors compare.

        Raises UnknownModel, VectorsDiffer.
        """
        self.gateway.expect(texts.model)
        longest = max(texts.texts, key=len)
        question = Question(
            prompt=longest, needs=["embeddings"], route=texts.route, model=texts.model, require=texts.require,
            max_tokens=1,
        )  # fmt: skip
        wanted = texts.space or self._begun(tried)
        pinned = texts.model is not None and texts.route is None
        policy = None if pinned else self._policy(texts.route)
        if wanted is None:
            return self.gateway.decide(question, policy, tried, pin, left_nano=left_nano, awaits=awaits)
        same = [name for name, model in self.gateway.catalogue.models.items() if fits(model, wanted)]
        if not same or (texts.model is not None and texts.model not in same):
            raise self._different(wanted, texts.model)
        if policy is not None and self.like and texts.route is None and self.policy is None:
            policy = self._tagged(same)
        elif policy is not None:
            among = tuple(name for name in same if not policy.among or name in policy.among)
            if not among:
                raise self._different(wanted, texts.model, policy.title)
            policy = replace(policy, among=among)
        return self.gateway.decide(question, policy, tried, pin, left_nano=left_nano, awaits=awaits)

    def _tagged(self, same: Sequence[str]) -> RoutingPolicy:
        """The caller has said by `like=` which vectors there are: that is no choice of the default route's any more.
        Its tags say where data may go, and hold.
        """
        catalogue, ways = self.gateway.catalogue, required(self._policy(None))
        may = tuple(name for name in same if any(has(catalogue.get(name).tags, way) for way in ways))
        return Cheapest(name="same space", among=may or tuple(same), require={} if may else ways[0], explore=NEVER)

    def _policy(self, route: str | None) -> RoutingPolicy:
        """That of the route, without exploring: what another model makes can be compared with nothing made so far."""
        policy = self.policy or self.gateway.router.route(route or "default")
        return replace(policy, explore=NEVER) if isinstance(policy, Ranked) else policy

    def _begun(self, tried: Mapping[str, str]) -> str | None:
        """The space of whoever was asked first: nobody else stands in for it."""
        models = self.gateway.catalogue.models
        return next((space(models[name]) for name in tried if name in models), None)

    def _is_hashed(self, texts: Texts) -> bool:
        """Whether that is what was asked for, or all that there is: no file describes any model."""
        if texts.space is not None:
            return texts.space == _HASHED and texts.model in (None, HASHED)
        if texts.model is not None:
            return texts.model == HASHED
        catalogue = self.gateway.catalogue
        embeds = any(model.embeds for model in catalogue.models.values())
        return not embeds and catalogue.source is None and texts.route is None and self.policy is None

    async def _vectors(self, model: Model, texts: Sequence[str], calls: _Calls) -> list[list[float]]:
        """By as many requests as it takes; what each took is put to `calls`, also where a later one fails."""
        vectors: list[list[float]] = []
        for part in parts_of(texts, model.provider):
            vectors += await self._asked(model, part, calls)
        return vectors

    async def _asked(self, model: Model, texts: Sequence[str], calls: _Calls) -> list[list[float]]:
        """One request."""
        from ..models.calls import embed, ready_to_embed  # noqa: PLC0415  heavy, and only who asks needs it

        size = Question(prompt="", parts=list(texts), max_tokens=1)
        calls.place = None
        await ready_to_embed(model)  # who is cancelled meanwhile has no place, and nothing set aside
        part = part_of(model, calls.history, lambda name, out: self.gateway.spare(name, out, size))
        place, _ = await self.gateway.place(part, size, self.timeout_s)
        calls.place = place
        began, tokens = asyncio.get_running_loop().time(), 0
        fault: Fault | None = made(FaultKind.INTERRUPTED, "the call was given up")
        try:
            if not calls.usages:
                await calls.bill.reserve(model, calls.size)
                began = asyncio.get_running_loop().time()
            found, usage = await embed(model, _deployment(place), texts, self.timeout_s)
            fault, tokens = None, usage.tokens_in
        except Exception as error:
            fault = classify(error)
            raise
        finally:
            self.gateway.release(place, fault, asyncio.get_running_loop().time() - began, tokens)
        calls.usages.append(usage)
        return found

    def _remedy(self, texts: Texts) -> str:
        if texts.space is None:
            return _REMEDY
        return f"vectors of {texts.space} are wanted: let the route in who makes them, or embed all texts anew"

    def _different(self, wanted: str, model: str | None, route: str | None = None) -> VectorsDiffer:
        models = self.gateway.catalogue.models
        can = [f"{name} ({space(one)})" for name, one in models.items() if one.embeds]
        whose = "the catalogue" if route is None else f"the route {route}"
        who = f"{model} makes no vectors" if model is not None else f"no model of {whose} makes vectors"
        error = VectorsDiffer(
            f"{who} that compare with those of {wanted}; there are: {', '.join(can) or 'none'}",
            remedy="embed all texts anew with one model, or put that one back into the catalogue",
        )
        error.wanted = wanted
        return error


def _hold(found: str, wanted: str, model: Model, vectors: Sequence[Sequence[float]]) -> None:
    """What came is what was wanted, and all of one length. Raises VectorsDiffer."""
    lengths = sorted({len(vector) for vector in vectors})
    if len(lengths) == 1 and (wanted.endswith("@?") or found == wanted):
        return
    error = VectorsDiffer(
        f"{model.name} made vectors of {' and '.join(map(str, lengths))} numbers; wanted is {wanted}",
        remedy=f"write dimensions = {lengths[0]} at models.{model.name} in the catalogue, and embed all texts anew",
    )
    error.wanted = wanted
    raise error


def _deployment(place: Place) -> Deployment:
    return cast("Deployment", place.deployment)


def _sum(usages: Sequence[Usage]) -> Usage:
    costs = [usage.cost_nano for usage in usages if usage.cost_nano is not None]
    last = usages[-1]
    return Usage(
        tokens_in=sum(usage.tokens_in for usage in usages),
        requests=len(usages),
        cost_nano=sum(costs) if len(costs) == len(usages) else None,
        estimated=any(usage.estimated for usage in usages),
        price_source=last.price_source,
        price_version=last.price_version,
    )


def _hashed(texts: Texts) -> Packed:
    vectors = [hashed(text) for text in texts.texts]
    return Packed.of(vectors, model=HASHED, space=_HASHED, tokens_in=0, cost_nano=0)
