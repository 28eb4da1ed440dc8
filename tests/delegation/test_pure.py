"""What is pure in a delegation: the way in a key, and who fits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from segue.agent.delegation.delegates import Delegate, delegates
from segue.agent.delegation.inputs import Inputs, Misfit
from segue.agent.delegation.lineage import Lineage, loops_in, names_in
from segue.core.keys import Scope, quoted
from segue.core.records import TargetKind
from segue.routing.embedding import Grams
from segue.routing.fitness import Described, Fitness, Outcome, Past
from segue.routing.types import Features

names = st.text(min_size=1, max_size=12)


@given(st.lists(names, max_size=5), st.text(max_size=8))
def test_the_names_on_the_way_to_a_key_are_read_back(chain: list[str], ident: str) -> None:
    path = ""
    for name in chain:
        path = Scope(path).key("delegate", quoted(ident)) + "/"
        path = Scope(path).key("to", quoted(name)) + "/"
        path = Scope(path).key("gather") + "/0/"
    assert names_in(Scope(path).key("choose", "1")) == tuple(chain)


@given(st.lists(st.sampled_from("abc"), max_size=8), st.integers(1, 5), st.integers(0, 3))
def test_a_chain_ends(chain: list[str], depth: int, loops: int) -> None:
    """Whoever is let through has been there at most `loops` times, and agents at most below `depth`."""
    among = [Delegate(len, name, kind=TargetKind.AGENT) for name in "abc"]
    barred = loops_in(among, Lineage(tuple(chain)), depth=depth, loops=loops)
    for one in among:
        if one.name not in barred:
            assert chain.count(one.name) <= loops and len(chain) < depth


def features(text: str) -> Features:
    return Features(text=text, embedding=Grams().embed(text))


TAX = Described("tax", "Answers questions about tax and duties.")
DOGS = Described("dogs", "Walks dogs and feeds cats.")


def quality(fitness: Fitness, text: str) -> dict[str, float]:
    mean, sd, n = fitness.predict(features(text), [one.name for one in fitness.candidates])
    assert np.all((mean >= 0) & (mean <= 1)) and np.all(sd > 0) and np.all(n >= 0)
    return dict(zip((one.name for one in fitness.candidates), mean.tolist(), strict=True))


@given(st.text(max_size=60))
def test_qualities_are_qualities_whatever_is_asked(text: str) -> None:
    quality(Fitness([TAX, DOGS, Described("", "", ("", text), 1.0)], Grams()), text)


@given(st.lists(st.tuples(st.sampled_from(["tax", "dogs"]), st.floats(0, 1)), max_size=12))
def test_a_good_outcome_never_makes_somebody_worse_and_a_bad_one_never_better(said: list[tuple[str, float]]) -> None:
    row = Grams().embed("Is there a tax on dogs?")
    past = Past()
    past.put([Outcome(row, name, score) for name, score in said])
    before = quality(Fitness([TAX, DOGS], Grams(), past), "Is there a tax on dogs?")
    for score, better in ((1.0, True), (0.0, False)):
        more = Past()
        more.put([*(Outcome(row, name, s) for name, s in said), Outcome(row, "dogs", score)])
        after = quality(Fitness([TAX, DOGS], Grams(), more), "Is there a tax on dogs?")
        assert (after["dogs"] >= before["dogs"] - 1e-9) if better else (after["dogs"] <= before["dogs"] + 1e-9)
        assert after["tax"] == pytest.approx(before["tax"])


def test_examples_count_for_whom_they_are() -> None:
    with_examples = DOGS._replace(examples=["Do I pay tax for my dog?"])
    asked = "Do I pay tax for a dog?"
    without, taught = (
        quality(Fitness([TAX, DOGS], Grams()), asked),
        quality(Fitness([TAX, with_examples], Grams()), asked),
    )
    assert without["tax"] > without["dogs"] and taught["dogs"] > taught["tax"]


class Order(BaseModel):
    id: str
    cents: int


def one(order: Order) -> str: ...
def two(id: str, cents: int, note: str = "") -> str: ...
def text(request: str, thread: str | None = None) -> str: ...
def nothing() -> str: ...


@pytest.mark.parametrize(
    ("function", "request_", "bound"),
    [
        (one, Order(id="a", cents=1), {"order": Order(id="a", cents=1)}),
        (one, {"id": "a", "cents": 1}, {"order": Order(id="a", cents=1)}),
        (one, '{"id": "a", "cents": 1}', {"order": Order(id="a", cents=1)}),
        (one, "a", None),
        (two, Order(id="a", cents=1), {"id": "a", "cents": 1}),
        (two, {"id": "a", "cents": "2"}, {"id": "a", "cents": 2}),
        (two, '{"id": "a", "cents": 2}', {"id": "a", "cents": 2}),
        (two, {"id": "a"}, None),
        (two, "pay a", None),
        (text, "pay a", {"request": "pay a"}),
        (text, 7, None),
        (nothing, "go", {}),
    ],
)
def test_a_request_becomes_arguments_where_it_fits(
    function: Callable[..., object], request_: object, bound: object
) -> None:
    inputs = Inputs.of(function, "f")
    if bound is None:
        with pytest.raises(Misfit, match=r"it takes|does not fit"):
            inputs.bind(request_)
    else:
        assert inputs.bind(request_) == bound


def test_a_delegate_keeps_what_was_said_and_finds_out_the_rest() -> None:
    (made,) = delegates([Delegate(two, "pay", examples=["Pay!"], cost_usd=0.5)])
    assert (made.name, made.kind, made.cost_usd, list(made.examples)) == ("pay", "tool", 0.5, ["Pay!"])
