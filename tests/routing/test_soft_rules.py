"""A place that is free, and money for a whole answer, are asked for as long as that leaves somebody of the policy's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from segue.core.records import Stage
from segue.models.spec import Catalogue
from segue.routing import Best, Cascade, Cheapest, Features, Hedge, Pinned, Policy, Request, Shadow, Split
from segue.routing.eligible import eligible
from segue.routing.errors import PolicyFailed
from segue.routing.functions import Considered
from segue.routing.policies import NEVER, Arm, Function
from tests.routing.made import Now, asked, by_name, catalogues, chosen, conditions, model, names, routed, situation

EU = {"residency": "eu"}
TIGHT = {"tokens_out": 500.0, "budget_nano": 2_100_000}
"""It pays `mid` for a quarter of the output limit, and `tiny` for everything."""
BUSY = Now("busy", free=0, wait_s=40.0)
POLICIES = [
    Cheapest(name="among", among=("mid", "large"), explore=NEVER),
    Cheapest(name="tags", require=EU, explore=NEVER),
    Cheapest(name="quality", quality_min=0.6, strict=True, explore=NEVER),
    Best(name="best", among=("mid",), explore=NEVER),
    Cascade(name="cascade", steps=("mid", "large")),
    Pinned(name="pinned", model="mid"),
    Function(name="function", function=lambda *_: ["mid", "large"]),
    Split(name="split", arms=(Arm(name="a", policy=Pinned(model="mid"), share=1.0),)),
    Hedge(name="hedge", of=Pinned(model="mid"), after_s=1.0),
]


def catalogue() -> Catalogue:
    return Catalogue.of(
        model("tiny", 0.2, 0.01), model("mid", 0.7, 1.0, tags=EU), model("large", 0.9, 10.0, tags=EU)
    )  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_cheap_model_that_a_route_does_not_choose_takes_nobody_out(policy: Policy) -> None:
    assert chosen(routed(policy, catalogue(), **TIGHT)) == "mid"


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_nor_does_one_that_is_free(policy: Policy) -> None:
    busy = {"mid": BUSY, "large": BUSY}
    assert chosen(routed(policy, catalogue(), now=busy)) == "mid"


@pytest.mark.parametrize(
    "more", [{"now": {"mid": BUSY}}, {**TIGHT, "budget_nano": 22_000_000}], ids=["busy", "short of money"]
)
def test_within_a_route_another_one_comes_first(more: dict[str, Any]) -> None:
    pair = Catalogue.of(model("mid", 0.7, 9.0, tags=EU), model("other", 0.9, 2.0, tags=EU), model("tiny", 0.2, 0.01))
    made = routed(Cascade(name="cascade", steps=("mid", "other")), pair, **more)
    assert chosen(made) == "other"
    assert by_name(made)["mid"].excluded_at in (Stage.LIMIT, Stage.BUDGET)


def test_money_for_a_whole_answer_is_worth_more_than_a_free_place() -> None:
    pair = Catalogue.of(model("short", 0.7, 1.0), model("busy", 0.7, 0.3), model("tiny", 0.2, 0.01))
    made = routed(Cascade(name="cascade", steps=("short", "busy")), pair, now={"busy": BUSY}, **TIGHT)
    assert chosen(made) == "busy"


def test_a_second_one_of_a_hedge_is_of_the_route() -> None:
    made = routed(
        Hedge(name="h", of=Cheapest(name="c", among=("mid", "large"), explore=NEVER), after_s=1.0), catalogue(),
        model="mid", pinned_by="recovery", now={"large": BUSY},
    )  # fmt: skip
    assert made.hedge is not None
    assert names(made, (made.hedge,)) == ["large"]


@given(catalogues(), asked(), conditions())
def test_the_last_try_has_all_that_any_other_has(catalogue: Catalogue, request: dict[str, Any], now: Any) -> None:
    tries = [set(one.rows.tolist()) for one in eligible(situation(catalogue, **request, now=now))]
    assert 1 <= len(tries) <= 4
    assert all(one <= tries[-1] for one in tries)
    assert all(tries[:-1])


def european(request: Request, features: Features, seen: Sequence[Considered]) -> list[str]:
    return [one.name for one in seen if one.tags.get("residency") == "eu"]


def best_european(request: Request, features: Features, seen: Sequence[Considered]) -> str:
    return max((one for one in seen if one.tags), key=lambda one: one.quality or 0.0).name


def first_european(request: Request, features: Features, seen: Sequence[Considered]) -> str | None:
    return next(iter(european(request, features, seen)), None)


def each_european(request: Request, features: Features, seen: Sequence[Considered]) -> Any:
    return (name for name in european(request, features, seen))


EUROPEAN = Function(name="eu", function=european)
BEST = Function(name="best eu", function=best_european)
FIRST = Function(name="first eu", function=first_european)
EACH = Function(name="each eu", function=each_european)
FUNCTIONS = pytest.mark.parametrize("policy", [EUROPEAN, BEST, FIRST, EACH], ids=lambda policy: policy.name)
FAILED = {"mid": "overloaded", "large": "overloaded"}


@FUNCTIONS
@pytest.mark.parametrize("more", [{"now": {"mid": BUSY, "large": BUSY}}, TIGHT], ids=["busy", "short of money"])
def test_a_function_that_finds_nobody_among_few_is_shown_more(policy: Policy, more: dict[str, Any]) -> None:
    assert chosen(routed(policy, catalogue(), **more)) in ("mid", "large")


@FUNCTIONS
def test_a_function_may_find_nobody_among_those_who_are_left(policy: Policy) -> None:
    made = routed(policy, catalogue(), tried=FAILED)
    assert made.choice is None
    assert "the function of " in (by_name(made)["tiny"].reason or "")


def test_where_a_function_raises_over_those_who_are_left_its_error_is_the_reason() -> None:
    made = routed(BEST, catalogue(), tried=FAILED)
    assert "raised ValueError: max()" in (by_name(made)["tiny"].reason or "")


def second_cheapest(request: Request, features: Features, seen: Sequence[Considered]) -> str:
    return sorted(seen, key=lambda one: one.cost_usd or 0.0)[1].name


def not_the_cheapest(request: Request, features: Features, seen: Sequence[Considered]) -> list[str]:
    return [one.name for one in sorted(seen, key=lambda one: one.cost_usd or 0.0)[1:]]


def by_share(request: Request, features: Features, seen: Sequence[Considered]) -> dict[str, float]:
    return dict.fromkeys(not_the_cheapest(request, features, seen), 1.0)


def only_mid(request: Request, features: Features, seen: Sequence[Considered]) -> list[str]:
    return ["mid"]


COMPARES = pytest.mark.parametrize("function", [second_cheapest, not_the_cheapest, by_share])
SHORT = [
    {"tried": {"mid": "overloaded"}}, {"now": {"mid": BUSY}}, {"now": {"mid": Now("broken")}},
    TIGHT | {"budget_nano": 100_000},
]  # fmt: skip
SHOWN = pytest.mark.parametrize("more", SHORT, ids=["failed", "busy", "broken", "too dear"])


@COMPARES
def test_whom_recovery_has_named_is_asked_by_a_function_that_compares(function: Any) -> None:
    policy = Function(name="f", function=function)
    assert chosen(routed(policy, catalogue())) in ("mid", "large")
    made = routed(policy, catalogue(), model="mid", pinned_by="recovery", tried={})
    assert chosen(made) == "mid"


@COMPARES
@SHOWN
def test_a_function_is_shown_all_who_are_able_whoever_can_answer_now(function: Any, more: dict[str, Any]) -> None:
    shown: list[list[str]] = []

    def noted(request: Request, features: Features, seen: Sequence[Considered]) -> Any:
        shown.append([one.name for one in seen])
        return function(request, features, seen)

    deaf = catalogue().with_(model("emb", can=["embeddings"], max_output=0))
    routed(Function(name="f", function=noted), deaf, **more)
    assert shown[0] == ["tiny", "mid", "large"]


@pytest.mark.parametrize("function", [second_cheapest, not_the_cheapest, best_european, european, by_share])
def test_whom_it_would_not_choose_is_not_asked_when_the_others_fail(function: Any) -> None:
    policy, tried, asked = Function(name="f", function=function), dict[str, str](), list[str]()
    first = made = routed(policy, catalogue())
    while made.choice is not None:
        asked.append(str(chosen(made)))
        tried[asked[-1]] = "overloaded"
        made = routed(policy, catalogue(), tried=tried, luck=0.9)
    assert sorted(asked) == ["large", "mid"]
    assert "the function of f " in (by_name(made)["tiny"].reason or "")
    assert not first.order or names(first, first.order) == asked[1:], "the order on record is gone by"


def test_after_weights_the_next_one_is_the_one_on_record() -> None:
    policy = Function(
        name="f", function=lambda _request, _features, seen: {one.name: at for at, one in enumerate(seen, 1)}
    )
    for luck in (0.1, 0.4, 0.9):
        first = routed(policy, catalogue(), luck=luck)
        for again in (0.1, 0.4, 0.9):
            made = routed(policy, catalogue(), luck=again, tried={str(chosen(first)): "overloaded"})
            assert [str(chosen(made)), *names(made, made.order)] == names(first, first.order)


def test_one_that_takes_turns_is_asked_once_for_each_decision() -> None:
    turns = iter(["tiny", "mid", "large"] * 4)
    policy = Function(name="f", function=lambda *_: next(turns))
    assert [chosen(routed(policy, catalogue())) for _ in range(6)] == ["tiny", "mid", "large"] * 2


def test_one_that_has_said_all_it_had_leaves_a_hedge_without_a_second() -> None:
    turns = iter(["mid"])
    made = routed(Hedge(of=Function(name="f", function=lambda *_: next(turns)), after_s=1.0), catalogue())
    assert (chosen(made), made.hedge) == ("mid", None)


def test_of_a_thousand_too_dear_it_is_shown_in_the_end_who_can_answer() -> None:
    calls = 0

    def best(request: Request, features: Features, seen: Sequence[Considered]) -> str:
        nonlocal calls
        calls += 1
        return max(seen, key=lambda one: one.quality or 0.0).name

    dear = [model(f"m{at}", 0.5 + at / 3000, 9.0) for at in range(1000)]
    made = routed(Function(name="f", function=best), catalogue().with_(*dear), tokens_out=500.0, budget_nano=100_000)
    assert (chosen(made), calls <= 20) == ("tiny", True)


NOBODY = pytest.mark.parametrize(
    "function", [lambda *_: [], lambda *_: None, lambda *_: 1 / 0], ids=["empty", "none", "raises"]
)


@NOBODY
def test_an_arm_whose_function_fails_takes_nobody_elses_requests(function: Any) -> None:
    broken = Arm(name="new", policy=Function(name="f", function=function), share=0.5)
    policy = Split(name="s", arms=(broken, Arm(name="old", policy=Pinned(model="mid"), share=0.5)))
    made = [routed(policy, catalogue(), key=f"user-{at}") for at in range(20)]
    assert {chosen(one) for one in made} == {"mid"}
    assert "the function of f" in str(made[0].objective["arm new"])
    with pytest.raises(PolicyFailed, match="the function of f"):
        routed(Split(name="s", arms=(broken,)), catalogue())


def test_a_single_name_in_a_list_is_all_that_may_answer_also_of_a_hedge() -> None:
    policy = Function(name="f", function=only_mid)
    made = routed(Hedge(name="h", of=policy, after_s=1.0), catalogue())
    assert (chosen(made), made.order, made.hedge) == ("mid", (), None)


def test_a_shadow_is_nobody_without_the_tags_that_are_required_here_or_above() -> None:
    own = Shadow(name="w", of=Pinned(model="mid"), shadows=("tiny", "large"), require=EU)
    above = Split(name="s", arms=(Arm(name="a", policy=replace(own, require={}), share=1.0),), require=EU)
    for policy in (own, above, Hedge(of=replace(own, require={}), require=EU, after_s=1.0)):
        for more in ({}, TIGHT):
            made = routed(policy, catalogue(), **more)
            assert names(made, made.shadows) == ["large"]
    free = routed(replace(own, require={}), catalogue())
    assert names(free, free.shadows) == ["tiny", "large"]


LISTS = [
    Function(name="f", function=only_mid),
    Pinned(model="mid"),
    Function(name="g", function=lambda *_: {"mid": 1.0}),
]


@pytest.mark.parametrize("of", LISTS, ids=["list", "pinned", "weights"])
@pytest.mark.parametrize("more", [{}, {"model": "mid", "pinned_by": "recovery"}], ids=["first", "named"])
def test_a_hedge_stays_in_its_arm(of: Policy, more: dict[str, str]) -> None:
    other = Arm(name="old", policy=Pinned(model="large"), share=1.0)
    within = Split(name="s", arms=(Arm(name="new", policy=Hedge(of=of, after_s=1.0), share=1.0), other))
    over = Hedge(of=Split(name="s", arms=(Arm(name="new", policy=of, share=1.0), other)), after_s=1.0)
    for policy in (within, over):
        for key in range(12):
            made = routed(policy, catalogue(), key=f"user-{key}", **more)
            assert made.hedge is None


@FUNCTIONS
def test_a_hedge_keeps_to_whom_the_function_would_choose(policy: Policy) -> None:
    hedge = Hedge(name="h", of=policy, after_s=1.0)
    first = routed(hedge, catalogue(), now={"large": BUSY})
    assert names(first, [first.hedge] if first.hedge is not None else []) in ([], ["large"])
    named = routed(hedge, catalogue(), model="mid", pinned_by="recovery", tried={})
    assert names(named, [named.hedge] if named.hedge is not None else []) == ["large"]


def test_the_tags_of_what_stands_above_a_function_hold_for_whom_it_is_shown() -> None:
    shown: list[list[str]] = []

    def look(request: Request, features: Features, seen: Sequence[Considered]) -> str:
        shown.append([one.name for one in seen])
        return seen[0].name

    arm = Arm(name="a", policy=Function(name="f", function=look, among=("tiny", "mid", "large")), share=1.0)
    assert chosen(routed(Split(name="s", arms=(arm,), require=EU), catalogue(), now={"large": BUSY})) == "mid"
    assert shown[0] == ["mid", "large"]


def test_a_model_that_the_caller_names_is_one_that_the_function_would_come_to() -> None:
    policy = Function(name="f", function=best_european)
    assert chosen(routed(policy, catalogue(), model="mid", pinned_by="caller")) == "mid"
    assert chosen(routed(policy, catalogue(), model="tiny", pinned_by="caller")) is None


@FUNCTIONS
def test_a_hedge_without_a_second_one_asks_the_first(policy: Policy) -> None:
    hedge = Hedge(name="h", of=policy, after_s=1.0)
    made = routed(hedge, catalogue(), model="mid", pinned_by="recovery", tried={"large": "overloaded"})
    assert chosen(made) == "mid"
    assert made.hedge is None


@NOBODY
def test_who_never_answers_is_nobody_that_a_function_waits_for(function: Any) -> None:
    only = catalogue().with_(model("emb", can=["embeddings"], max_output=0), model("short", window=2, max_output=1))
    with pytest.raises(PolicyFailed, match="the function of r "):
        routed(Function(name="r", function=function, among=("tiny", "emb", "short")), only)
