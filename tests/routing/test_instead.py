"""A model that the caller names, and no route: it stands in the place of those that the default route chooses from."""

from __future__ import annotations

from typing import Any

import pytest

from segue.core.records import Decision, Stage
from segue.models.spec import Catalogue
from segue.routing import Best, Cascade, Cheapest, Examples, Hedge, Pinned, Policy, Request, Router, Shadow, Split
from segue.routing.policies import Arm, Example
from tests.routing.made import Letters, Now, by_name, model

EU = {"residency": "eu"}


def options() -> Catalogue:
    return Catalogue.of(
        model("small", 0.5, 0.1, tags=EU), model("large", 0.9, 1.0, tags={"residency": "us", "tier": "gold"}),
        model("mod", 0.3, 0.1, tags=EU, can=["tools"]),
    )  # fmt: skip


def named(policy: Policy, wanted: str = "mod", *, now: Now | None = None, **more: Any) -> Decision:
    """With the policy as the default route; `now` is how the model is."""
    router = Router(
        options(), {"default": policy}, embedder=Letters(), view=lambda one: now if one.name == "mod" else None
    )
    request = Request(text="hello", model=wanted, tokens_in=10, **more)
    return router.decide(request, id="d", luck=0.3)


def pin(name: str, **more: Any) -> Pinned:
    return Pinned(model=name, **more)


NAMING = [
    pin("small"), Cascade(steps=("small", "large")), Cheapest(among=("small",)),
    Split(arms=(Arm(name="a", policy=pin("small"), share=1), Arm(name="b", policy=pin("large"), share=1))),
    Examples(examples=(Example(text="hello", use=pin("large")),), otherwise=pin("small")),
    Hedge(of=pin("small")), Shadow(of=pin("small"), shadows=("large",)),
    Best(name="a cost", cost_usd_max=1e-12), Best(name="a quality", quality_min=0.8, strict=True),
]  # fmt: skip


@pytest.mark.parametrize("policy", NAMING, ids=lambda policy: policy.title)
def test_whom_the_default_route_chooses_from_does_not_matter(policy: Policy) -> None:
    made = named(policy)
    assert made.chosen is not None and made.chosen.target.name == "mod"
    assert (made.pinned_by, made.objective["kind"], made.shadows, made.splits) == ("caller", "pinned", (), ())
    assert by_name(made)["small"].reason == "the caller wants mod"


def test_what_is_asked_of_any_model_holds() -> None:
    policy = Cascade(steps=("small", "large"))
    assert by_name(named(policy, needs=frozenset({"vision"})))["mod"].excluded_at is Stage.CAPABILITY
    assert by_name(named(policy, require={"residency": "us"}))["mod"].excluded_at is Stage.RESIDENCY
    assert by_name(named(policy, budget_nano=0))["mod"].excluded_at is Stage.BUDGET
    assert by_name(named(policy, tokens_out_min=9000))["mod"].excluded_at is Stage.WINDOW
    assert by_name(named(policy, now=Now("broken", "it fails")))["mod"].excluded_at is Stage.HEALTH


def test_where_data_may_go_holds_too() -> None:
    away = [
        Cascade(steps=("small",), require=EU), Shadow(of=Cheapest(require=EU), shadows=("large",)),
        Hedge(of=Cheapest(), require=EU), Cheapest(require={"residency": ("eu", "local")}),
        Split(arms=(Arm(name="a", policy=pin("small", require=EU), share=1),
                    Arm(name="b", policy=pin("mod", require={"residency": "us", "tier": "none"}), share=1))),
        Pinned(model="small", require=EU, otherwise=Cheapest()),
    ]  # fmt: skip
    for policy in away:
        assert by_name(named(policy, "large"))["large"].excluded_at in {Stage.RESIDENCY, Stage.POLICY}, policy
        assert "residency" in str(by_name(named(policy, "large"))["large"].reason)
        assert named(policy, "mod").choice is not None


def test_one_way_through_the_route_is_enough() -> None:
    gold = Cheapest(require={"tier": "gold"})
    apart = Split(arms=(Arm(name="a", policy=Cheapest(require=EU), share=1), Arm(name="b", policy=gold, share=1)))
    assert named(apart, "large").choice is not None and named(apart, "mod").choice is not None
    around = Split(arms=apart.arms, require=EU)
    assert named(around, "large").choice is None


def test_a_route_that_is_named_too_keeps_its_choice() -> None:
    made = named(Cascade(steps=("small", "large")), route="default")
    assert by_name(made)["mod"].reason == "the route leaves it out: it is no step of the cascade"
    assert named(Cascade(steps=("small", "mod")), route="default").choice is not None


def test_whom_the_recovery_names_is_still_one_of_the_route() -> None:
    assert named(Cascade(steps=("small", "large")), pinned_by="recovery").choice is None
