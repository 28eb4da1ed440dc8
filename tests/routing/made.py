"""Catalogues, requests and learned predictors for the tests of routing; and the strategies that make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from segue.core.records import Candidate, Decision
from segue.models.spec import Capability, Catalogue, Model, Price
from segue.routing import Conditions, Features, Policy, Predictors, Request, Router, Situation, Table

WINDOW = 100_000


def model(name: str, quality: float = 0.5, usd: float | None = 1.0, **more: Any) -> Model:
    """A model; `usd` is the price of a million tokens of input, the output costs four times that. None: not known."""
    price = None if usd is None else Price.dollars(usd, 4 * usd)
    values: dict[str, Any] = {"window": WINDOW, "max_output": 8000, "quality": {"any": quality}, "price": price}
    if "priors" in more:
        values["quality"] = more.pop("priors")
    able = frozenset(Capability(word) for word in more.pop("can", ()))
    return Model(name=name, provider="openai", capabilities=able, **(values | more))


def three() -> Catalogue:
    """Cheap, middling and dear."""
    return Catalogue.of(model("small", 0.5, 0.1), model("mid", 0.75, 1.0), model("large", 0.95, 10.0))


@dataclass(frozen=True)
class Learned:
    """What was learned, by model: `(mean, sd)`; NaN for the others."""

    known: Mapping[str, tuple[float, float]]
    version: str = "v1"
    n: float = 10.0

    def predict(self, features: Features, models: Sequence[str]) -> tuple[Any, Any, Any]:
        pairs = [self.known.get(name, (np.nan, np.nan)) for name in models]
        return [mean for mean, _ in pairs], [sd for _, sd in pairs], [self.n] * len(pairs)


class Now(NamedTuple):
    """How a model is."""

    standing: str = "open"
    reason: str = ""
    free: int | None = None
    wait_s: float = 0.0
    p95_s: float | None = None
    ttft_s: float | None = None
    tokens_per_s: float | None = None


class Letters:
    """An embedder of a kind: how often each letter is there."""

    name = "letters-1"

    def embed(self, text: str) -> NDArray[np.float32]:
        row = np.zeros(26, np.float32)
        for letter in text.casefold():
            if "a" <= letter <= "z":
                row[ord(letter) - 97] += 1.0
        return row / max(1.0, float(np.linalg.norm(row)))


def situation(catalogue: Catalogue, features: Features | None = None, **asked: Any) -> Situation:
    """A request of 1000 counted tokens and 500 expected ones, unless told otherwise."""
    now: Mapping[str, Now] = asked.pop("now", {})
    predictors: Predictors = asked.pop("predictors", Predictors())
    table = Table(catalogue, catalogue.version)
    request = Request(**({"text": "hello", "tokens_out": 500.0} | asked))
    known = features or Features(tokens=1000, counted=True)
    return Situation(request, known, table, Conditions(table, lambda option: now.get(option.name)), predictors)


def routed(policy: Policy, catalogue: Catalogue | None = None, luck: float = 0.5, **asked: Any) -> Decision:
    """The decision of a router for a request."""
    kept = {name: asked.pop(name) for name in ("embedder", "predictors") if name in asked}
    now: Mapping[str, Now] = asked.pop("now", {})
    router = Router(
        three() if catalogue is None else catalogue, {"r": policy}, view=lambda option: now.get(option.name), **kept
    )
    return router.decide(Request(**({"text": "hello there", "tokens_in": 1000} | asked)), id="d", luck=luck, route="r")


def chosen(decision: Decision) -> str | None:
    """The name of the choice."""
    return decision.chosen.target.name if decision.chosen else None


def by_name(decision: Decision) -> dict[str, Candidate]:
    """The candidates by name."""
    return {candidate.target.name: candidate for candidate in decision.candidates}


def names(decision: Decision, places: Sequence[int]) -> list[str]:
    """Who stands at these places."""
    return [decision.candidates[place].target.name for place in places]


@st.composite
def catalogues(draw: st.DrawFn, least: int = 1, most: int = 8) -> Catalogue:
    """A few models of any quality, price and capability; some have no price."""
    many = draw(st.integers(least, most))
    return Catalogue.of(
        *(
            model(
                f"m{at}",
                draw(st.floats(0, 1)),
                draw(st.one_of(st.none(), st.floats(0, 100))),
                can=draw(st.sets(st.sampled_from(["tools", "vision"]))),
                window=draw(st.sampled_from([900, 4000, 100_000])),
                max_output=draw(st.integers(1, 900)),
                tags={"residency": draw(st.sampled_from(["eu", "us"]))},
            )
            for at in range(many)
        )
    )


@st.composite
def asked(draw: st.DrawFn) -> dict[str, Any]:
    """What a request may ask for."""
    return {
        "text": draw(st.text(max_size=40)),
        "tokens_in": draw(st.one_of(st.none(), st.integers(0, 5000))),
        "needs": frozenset(draw(st.sets(st.sampled_from(["tools", "vision"])))),
        "require": draw(st.sampled_from([{}, {"residency": "eu"}, {"residency": ("eu", "us")}, {"owner": "me"}])),
        "budget_nano": draw(st.one_of(st.none(), st.integers(0, 10**8))),
        "tried": draw(st.sampled_from([{}, {"m0": "overloaded"}])),
        "key": draw(st.one_of(st.none(), st.text(max_size=5))),
    }


def conditions() -> st.SearchStrategy[dict[str, Now]]:
    """How some of the models are."""
    standing = st.sampled_from(["open", "probing", "busy", "paused", "stalled", "broken", "shut"])
    now = st.builds(
        Now, standing, st.sampled_from(["", "it fails"]), st.one_of(st.none(), st.integers(0, 3)),
        st.one_of(st.floats(0, 100), st.just(float("inf"))), st.one_of(st.none(), st.floats(0.01, 60)),
    )  # fmt: skip
    return st.dictionaries(st.sampled_from([f"m{at}" for at in range(8)]), now)
