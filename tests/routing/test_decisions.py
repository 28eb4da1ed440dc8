"""What holds for the decisions of every policy: they are whole, what is drawn from, and have a version."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.records import Decision, Sampling
from segue.models.spec import Catalogue
from segue.routing import (
    Affinity,
    Arm,
    Best,
    Cascade,
    Cheapest,
    Conversation,
    Examples,
    Explore,
    Fastest,
    Function,
    Hedge,
    InvalidPolicy,
    Pinned,
    Policy,
    Shadow,
    Split,
    Weighted,
)
from tests.routing.made import catalogues, chosen, model, routed
from tests.routing.test_policies import NEVER, ab, pin

POLICIES: list[Policy] = [
    Cheapest(quality_min=0.5), Best(cost_usd_max=0.01), Fastest(quality_min=0.3, strict=True), Weighted(per_usd=5),
    Weighted(per_usd=5, quality_min=0.4), Cheapest(explore=NEVER), Cascade(),
    Best(affinity=Affinity.SESSION, among=("m0", "m1", "m2")),
    Cascade(steps=("m1", "m0", "m9"), explore=Explore()), pin("m1"), Pinned(model="m1", otherwise=Best()),
    Split(arms=(Arm(name="a", policy=Best(), share=2), Arm(name="b", policy=pin("m0"), share=1))),
    Shadow(of=Best(), shadows=("m1",), share=0.5), Hedge(of=Fastest()),
    Function(function=lambda _request, _features, seen: {one.name: 1.0 for one in seen}),
]  # fmt: skip


@given(
    st.sampled_from(POLICIES), catalogues(), st.floats(0, 1, exclude_max=True),
    st.sampled_from([{}, {"needs": frozenset({"tools"})}, {"tried": {"m0": "x"}, "require": {"residency": "eu"}}]),
    st.sampled_from(["", "k"]),
)  # fmt: skip
def test_every_decision_is_whole(policy: Policy, catalogue: Catalogue, luck: float, request: Any, key: str) -> None:
    """Propensities have the sum 1, nobody excluded is drawn, and the record can be written and read."""
    last = Conversation(last="m1")
    decision = routed(policy, catalogue, luck, **request, key=key or None, conversation=last, tokens_in=300)
    total = sum(c.propensity for c in decision.candidates)
    assert len(decision.candidates) == len(catalogue)
    for candidate in decision.candidates:
        assert candidate.eligible or (candidate.propensity == 0 and candidate.reason and candidate.excluded_at)
    if decision.chosen is None:
        assert total == 0
    else:
        assert total == pytest.approx(1.0, abs=1e-6)
        assert decision.chosen.eligible
        assert decision.chosen.propensity > 0
        assert decision.choice not in decision.order
        assert all(decision.candidates[place].eligible for place in decision.order)
    assert Decision.from_body(decision.to_body()) == decision
    again = routed(policy, catalogue, luck, **request, key=key or None, conversation=last, tokens_in=300)
    assert again.to_body() | {"took_s": 0} == decision.to_body() | {"took_s": 0}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("policy", POLICIES[:6] + POLICIES[8:9] + POLICIES[-1:], ids=lambda policy: policy.version())
def test_what_is_on_record_is_what_is_drawn(policy: Policy) -> None:
    catalogue = Catalogue.of(*(model(f"m{at}", 0.3 + at / 10, 1 + at) for at in range(6)))
    decisions = [routed(policy, catalogue, luck=(at + 0.5) / 400) for at in range(400)]
    if decisions[0].sampling is Sampling.ESTIMATED:
        mean = sum(d.chosen.propensity for d in decisions if d.chosen) / 400
        assert 0 < mean <= 1
        return
    drawn = Counter(chosen(decision) for decision in decisions)
    for candidate in decisions[0].candidates:
        assert drawn[candidate.target.name] / 400 == pytest.approx(candidate.propensity, abs=0.005)


def test_a_version_changes_with_what_a_policy_says_and_not_with_its_name() -> None:
    versions = {
        p.version() for p in (Cheapest(), Cheapest(quality_min=0.1), Best(), ab(0.5), ab(0.4), pin("a"), pin("b"))
    }
    assert len(versions) == 7
    assert Cheapest(name="x").version() == Cheapest().version()
    assert (
        Cheapest(require={"residency": {"b", "a"}}).version() == Cheapest(require={"residency": {"a", "b"}}).version()
    )


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Explore(floor=0.2, ceiling=0.1), "explore.ceiling"),
        (lambda: Explore(floor=-0.1), "explore.floor"),
        (lambda: Split(arms=()), "arms"),
        (lambda: Split(arms=(Arm(name="a", policy=pin("x"), share=0),)), "arms"),
        (lambda: Shadow(of=pin("x"), shadows=()), "shadows"),
        (lambda: Hedge(of=pin("x"), after_s=0), "after_s"),
        (lambda: Cascade(steps=("a", "a")), "steps"),
        (lambda: Examples(examples=(), otherwise=pin("x")), "examples"),
        (lambda: Function(function="nothing"), "function"),
        (lambda: Pinned(model=""), "model"),
    ],
    ids=map(str, range(10)),
)
def test_what_cannot_be_names_its_field(make: Any, field: str) -> None:
    with pytest.raises(InvalidPolicy) as caught:
        make()
    assert caught.value.field == field
