"""Each policy chooses as it says, and says with which chance."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.records import Sampling, Stage
from segue.models.spec import Catalogue, Price
from segue.routing import (
    Affinity,
    Arm,
    Best,
    Cascade,
    Cheapest,
    Considered,
    Conversation,
    Example,
    Examples,
    Explore,
    Fastest,
    Features,
    Function,
    Hedge,
    Held,
    InvalidPolicy,
    Pinned,
    Policy,
    PolicyFailed,
    Predictors,
    Request,
    Router,
    Shadow,
    Split,
    Weighted,
)
from segue.routing.reasons import reasons
from tests.routing.made import Learned, Letters, Now, by_name, catalogues, chosen, model, names, routed, three

NEVER = Explore(floor=0, ceiling=0)


def pin(name: str) -> Pinned:
    return Pinned(model=name)


def ab(share: float = 0.5, **more: Any) -> Split:
    arms = (Arm(name="a", policy=pin("small"), share=1 - share), Arm(name="b", policy=pin("large"), share=share))
    return Split(name="trial", arms=arms, **more)


# --- the ranked four --------------------------------------------------------------------------------------------------


def test_without_exploration_the_first_is_chosen_for_sure() -> None:
    decision = routed(Cheapest(quality_min=0.7, explore=NEVER))
    assert chosen(decision) == "mid"
    assert decision.sampling is Sampling.DETERMINISTIC
    assert [c.propensity for c in decision.candidates] == [0.0, 1.0, 0.0]
    assert names(decision, decision.order) == ["large", "small"]
    assert decision.objective == {"kind": "cheapest", "quality_min": 0.7, "explore": {"floor": 0, "ceiling": 0}}


def test_exploration_keeps_its_floor_when_all_is_known() -> None:
    known = Predictors(quality=Learned({"small": (0.5, 0.001), "mid": (0.8, 0.001), "large": (0.95, 0.001)}))
    decision = routed(Cheapest(quality_min=0.7), predictors=known, luck=0.5)
    assert decision.sampling is Sampling.EXACT
    assert decision.exploration == pytest.approx(0.02)
    assert [c.propensity for c in decision.candidates] == pytest.approx([0.01, 0.98, 0.01])
    assert not decision.explored
    other = routed(Cheapest(quality_min=0.7), predictors=known, luck=0.001)
    assert (chosen(other), other.explored) == ("small", True)
    assert names(other, other.order)[0] == "mid", "when an explored choice fails, the best comes next"


def test_exploration_keeps_its_ceiling_when_nothing_is_known() -> None:
    decision = routed(Best(explore=Explore(floor=0.01, ceiling=0.3)))
    assert decision.exploration == pytest.approx(0.3)


def test_each_goal_has_its_choice() -> None:
    pair = Catalogue.of(model("good", 0.9, 5.0), model("quick", 0.6, 1.0))
    now = {"quick": Now(p95_s=0.5), "good": Now(p95_s=9.0)}
    assert chosen(routed(Best(explore=NEVER), pair, now=now)) == "good"
    assert chosen(routed(Cheapest(explore=NEVER), pair, now=now)) == "quick"
    assert chosen(routed(Fastest(quality_min=0.5, explore=NEVER), pair, now=now)) == "quick"
    assert chosen(routed(Fastest(quality_min=0.8, explore=NEVER), pair, now=now)) == "good"
    assert chosen(routed(Weighted(per_s=0.1, explore=NEVER), pair, now=now)) == "quick"
    assert chosen(routed(Weighted(per_s=0.001, explore=NEVER), pair, now=now)) == "good"


def test_a_promise_on_cost_excludes_and_may_leave_nobody() -> None:
    decision = routed(Best(cost_usd_max=0.01, explore=NEVER))
    assert chosen(decision) == "mid"
    large = by_name(decision)["large"]
    assert (large.eligible, large.excluded_at, large.propensity) == (False, Stage.POLICY, 0.0)
    assert large.cost_usd is not None, "what was expected of it stays on record"
    nobody = routed(Best(cost_usd_max=0.0))
    assert nobody.choice is None
    assert all(not c.eligible for c in nobody.candidates)


def test_names_and_tags_of_a_policy_leave_others_out() -> None:
    decision = routed(Best(among=("small", "mid", "gone"), explore=NEVER, name="r"))
    assert chosen(decision) == "mid"
    assert by_name(decision)["large"].reason == "it is not among those of r"
    tagged = Catalogue.of(model("a", 0.9, tags={"tier": "gold"}), model("b", 0.95))
    assert chosen(routed(Best(require={"tier": "gold"}, explore=NEVER), tagged)) == "a"


def test_a_conversation_prefers_who_holds_its_prefix() -> None:
    price = Price.dollars(10, 0, cache_read=1)
    pair = Catalogue.of(model("a", 0.8, price=price), model("b", 0.8, price=price))
    policy = Cheapest(quality_min=0.5, explore=NEVER)
    assert chosen(routed(policy, pair)) == "a"
    decision = routed(policy, pair, conversation=Conversation(held={"b": Held(800)}))
    assert chosen(decision) == "b"
    assert by_name(decision)["b"].facts == {"tokens_cached": 720}


def test_a_session_stays_while_it_may() -> None:
    policy = Cheapest(quality_min=0.7, affinity=Affinity.SESSION)
    there = Conversation(last="large")
    decision = routed(policy, conversation=there)
    assert (chosen(decision), decision.pinned_by, decision.sampling) == ("large", "session", Sampling.DETERMINISTIC)
    assert chosen(routed(policy, conversation=there, tried={"large": "overloaded"}, luck=0.5)) == "mid"
    assert chosen(routed(policy, conversation=Conversation(last="small"), luck=0.5)) == "mid", "it is not good enough"


@pytest.mark.parametrize("kind", [Cheapest, Best, Fastest, Weighted])
def test_an_affinity_may_be_given_by_its_word(kind: Any) -> None:
    policy = kind(affinity="session")
    assert policy.affinity is Affinity.SESSION and replace(policy, name="stay").affinity is Affinity.SESSION
    assert policy.version() == kind(affinity=Affinity.SESSION).version()
    assert routed(policy, conversation=Conversation(last="large")).pinned_by == "session"


@pytest.mark.parametrize("word", ["sesion", "nothing", "", None, ["session"]])
def test_an_affinity_that_there_is_not_is_refused(word: Any) -> None:
    with pytest.raises(InvalidPolicy, match=r"affinity: cache or session was expected, not ") as caught:
        Cheapest(affinity=word)
    assert caught.value.field == "affinity"


# --- cascade ----------------------------------------------------------------------------------------------------------


def test_a_cascade_begins_cheap_and_climbs() -> None:
    steps = Cascade(steps=("small", "mid", "large"))
    first = routed(steps)
    assert (chosen(first), names(first, first.order)) == ("small", ["mid", "large"])
    then = routed(steps, tried={"small": "bad output"}, stage=1, after=first.id, because="bad output")
    assert (chosen(then), then.stage, then.after, then.because) == ("mid", 1, "d", "bad output")
    last = routed(steps, tried={"small": "", "mid": ""}, stage=2)
    assert (chosen(last), last.order) == ("large", ())
    assert routed(steps, tried={"small": "", "mid": "", "large": ""}, stage=3).choice is None


def test_a_cascade_of_its_own_takes_who_is_better_than_all_cheaper_ones() -> None:
    dominated = three().with_(model("poor", 0.3, 5.0))
    decision = routed(Cascade(), dominated)
    assert [chosen(decision), *names(decision, decision.order)] == ["small", "mid", "large"]
    assert by_name(decision)["poor"].reason == "it is no step of the cascade"
    short = routed(Cascade(steps_max=2))
    assert [chosen(short), *names(short, short.order)] == ["small", "large"]


@pytest.mark.parametrize("policy", [
    Cascade(), Cascade(steps_max=2), Cascade(steps_max=5), Cascade(among=("m1", "m2", "m3", "m5")),
    Cascade(require={"tier": "own"}),
])  # fmt: skip
def test_a_cascade_of_its_own_climbs_the_steps_that_its_first_decision_names(policy: Cascade) -> None:
    """Steps formed anew of those left would begin below the best one each time, and never reach it."""
    own = {"tier": "own"}
    among = Catalogue.of(*(model(f"m{n}", 0.15 * n, float(n), tags={} if n == 3 else own) for n in range(1, 6)))
    first = routed(policy, among)
    said, asked = [chosen(first), *names(first, first.order)], list[str | None]()
    four = bool(policy.among or policy.require)
    assert len(said) == min(policy.steps_max, 4 if four else 5) and said[-1] == "m5"
    while (
        at := routed(policy, among, tried=dict.fromkeys(filter(None, asked), ""), stage=len(asked))
    ).choice is not None:
        asked.append(chosen(at))
    assert asked == said


def test_a_cascade_of_its_own_climbs_past_a_step_that_is_down_and_one_that_a_person_named() -> None:
    decision = routed(Cascade(), tried={"small": ""}, stage=1, now={"mid": Now("shut", "it is down")})
    assert chosen(decision) == "large"
    among = three().with_(model("best", 0.99, 9.0))
    assert chosen(routed(Cascade(among=("small", "mid", "large")), among, tried={"best": ""}, stage=1)) == "small"


def test_a_cascade_skips_a_step_that_would_not_pay() -> None:
    hopeless = Predictors(quality=Learned({"small": (0.001, 0.01), "mid": (0.05, 0.01)}))
    steps = ("small", "mid", "large")
    assert chosen(routed(Cascade(steps=steps), predictors=hopeless)) == "large"
    assert chosen(routed(Cascade(steps=steps, skip=False), predictors=hopeless)) == "small"


def test_a_cascade_may_explore_where_it_begins() -> None:
    steps = Cascade(steps=("small", "mid", "large"), explore=Explore(floor=0.1, ceiling=0.1))
    decision = routed(steps, luck=0.93)
    assert decision.sampling is Sampling.EXACT
    assert [c.propensity for c in decision.candidates] == pytest.approx([0.9, 0.05, 0.05])
    assert (chosen(decision), decision.explored, names(decision, decision.order)) == ("mid", True, ["large"])


# --- split, shadow, hedge ---------------------------------------------------------------------------------------------


def test_a_split_is_sticky_by_key_and_says_so() -> None:
    seen = {key: {chosen(routed(ab(), key=key, luck=luck)) for luck in (0.0, 0.4, 0.99)} for key in map(str, range(30))}
    assert all(len(who) == 1 for who in seen.values())
    decision = routed(ab(0.3), key="someone")
    (split,) = decision.splits
    assert (split.name, split.share) == ("trial", 0.7 if split.arm == "a" else 0.3)
    assert split.by
    assert "someone" not in split.by
    assert [c.propensity for c in decision.candidates] == pytest.approx([0.7, 0.0, 0.3])
    assert decision.sampling is Sampling.EXACT


@pytest.mark.proof
def test_the_shares_of_a_split_are_right() -> None:
    router = Router(three(), {"default": ab(0.2)})

    def share(of: Sequence[tuple[str | None, float]]) -> float:
        dealt = [router.decide(Request(text="", key=key), id="d", luck=luck) for key, luck in of]
        return sum(chosen(decision) == "large" for decision in dealt) / len(of)

    assert share([(f"user {at}", 0.5) for at in range(1500)]) == pytest.approx(0.2, abs=0.035)
    assert share([(None, at / 1500) for at in range(1500)]) == pytest.approx(0.2, abs=0.035)


@given(catalogues(least=2), st.integers(0, 7), st.floats(0.1, 0.9), st.floats(0, 1), st.booleans())
def test_a_cheaper_twin_never_loses_under_cheapest(
    catalogue: Catalogue, at: int, discount: float, least: float, explores: bool
) -> None:
    one = list(catalogue)[at % len(catalogue)]
    if one.price is None:
        return
    cheaper = replace(one.price, per_million_in=int(one.price.per_million_in * discount),
                      per_million_out=int(one.price.per_million_out * discount))  # fmt: skip
    if cheaper == one.price:  # it cost next to nothing
        return
    both = catalogue.with_(replace(one, name="twin", price=cheaper))
    policy = Cheapest(quality_min=least, explore=Explore() if explores else NEVER)
    decision = routed(policy, both, tokens_in=500, tokens_out=100.0)
    seen = by_name(decision)
    assert seen["twin"].eligible == seen[one.name].eligible
    assert seen["twin"].propensity >= seen[one.name].propensity - 1e-6


def test_another_salt_deals_the_keys_anew() -> None:
    keys = [f"user {at}" for at in range(100)]
    dealt = [[chosen(routed(ab(salt=salt), key=key)) for key in keys] for salt in ("x", "y")]
    assert 25 < sum(a == b for a, b in zip(*dealt, strict=True)) < 75


def test_only_the_requests_of_a_dead_arm_are_dealt_anew() -> None:
    arms = tuple(Arm(name=n, policy=pin(n), share=1) for n in ("small", "mid", "large"))
    policy, keys = Split(arms=arms), [f"user {at}" for at in range(60)]
    before = [chosen(routed(policy, key=key)) for key in keys]
    after = [routed(policy, key=key, tried={"mid": "overloaded"}) for key in keys]
    for was, now in zip(before, after, strict=True):
        assert chosen(now) == was if was != "mid" else chosen(now) in ("small", "large")
        assert [c.propensity for c in now.candidates] == pytest.approx([0.5, 0, 0.5])


def test_a_split_of_learning_policies_has_the_chances_of_all_arms() -> None:
    known = Predictors(quality=Learned({"small": (0.5, 0.001), "mid": (0.8, 0.001), "large": (0.95, 0.001)}))
    cheap, best = Cheapest(quality_min=0.7), Best(explore=NEVER)
    policy = Split(arms=(Arm(name="a", policy=cheap, share=3), Arm(name="b", policy=best, share=1)))
    decision = routed(policy, predictors=known)
    assert [c.propensity for c in decision.candidates] == pytest.approx([0.0075, 0.735, 0.2575])
    assert decision.exploration == pytest.approx(0.015)


def test_splits_within_splits_are_all_on_record() -> None:
    inner = Split(name="inner", arms=(Arm(name="x", policy=pin("mid"), share=1),))
    decision = routed(Split(name="outer", arms=(Arm(name="y", policy=inner, share=1),)), key="k")
    assert [(split.name, split.arm) for split in decision.splits] == [("outer", "y"), ("inner", "x")]


def test_a_shadow_answers_beside_if_it_may() -> None:
    policy = Shadow(of=pin("small"), shadows=("large", "small", "gone", "mid"))
    decision = routed(policy, tried={"mid": ""})
    assert (chosen(decision), names(decision, decision.shadows)) == ("small", ["large"])
    sometimes = Shadow(of=pin("small"), shadows=("large",), share=0.25)
    assert 60 < sum(bool(routed(sometimes, luck=at / 400, key="one").shadows) for at in range(400)) < 140


def test_a_hedge_asks_the_next_one_after_the_p95() -> None:
    decision = routed(Hedge(of=Cheapest(explore=NEVER)), now={"small": Now(p95_s=3.5)})
    assert decision.hedge is not None
    assert (chosen(decision), names(decision, [decision.hedge]), decision.hedge_after_s) == ("small", ["mid"], 3.5)
    unseen = routed(Hedge(of=Cheapest(explore=NEVER)))
    assert unseen.chosen is not None
    assert unseen.chosen.latency_s is not None
    assert unseen.hedge_after_s is not None
    assert unseen.hedge_after_s > unseen.chosen.latency_s.mean
    assert routed(Hedge(of=Cheapest(explore=NEVER), after_s=2)).hedge_after_s == 2
    assert routed(Hedge(of=pin("small"))).hedge is None


def test_whom_the_recovery_names_is_hedged_by_the_next_one_that_has_not_failed() -> None:
    hedge = Hedge(of=Cheapest(explore=NEVER), after_s=2)

    def named(policy: Policy, model: str, *tried: str, by: str = "recovery") -> tuple[str, list[str], float | None]:
        made = routed(policy, model=model, pinned_by=by, tried=dict.fromkeys(tried, "overloaded"))
        return chosen(made), names(made, [] if made.hedge is None else [made.hedge]), made.hedge_after_s

    assert named(hedge, "mid", "small") == ("mid", ["large"], 2)
    assert named(hedge, "mid") == ("mid", ["small"], 2)
    assert named(hedge, "large", "small", "mid") == ("large", [], None), "nobody is left"
    assert named(hedge, "mid", by="caller") == ("mid", [], None)
    within = Shadow(of=hedge, shadows=("small",), among=("small", "mid"))
    assert named(within, "mid", "small") == ("mid", [], None), "what is around it leaves the large one out"
    assert named(within, "mid") == ("mid", ["small"], 2)


# --- pinned, examples, function ---------------------------------------------------------------------------------------


def test_a_pinned_model_answers_or_nobody_does() -> None:
    assert chosen(routed(pin("mid"))) == "mid"
    assert routed(pin("mid"), tried={"mid": ""}).choice is None
    assert routed(pin("gone")).choice is None
    instead = Pinned(model="mid", otherwise=Cheapest(explore=NEVER))
    assert chosen(routed(instead, tried={"mid": ""})) == "small"


def test_a_caller_may_pin_within_any_route() -> None:
    decision = routed(Best(), model="small", pinned_by="person")
    assert (chosen(decision), decision.pinned_by) == ("small", "person")
    assert by_name(decision)["large"].reason == "the person wants small"


EXAMPLES = Examples(
    examples=(Example(text="zzz buzz fizz", use=pin("large")), Example(text="aaa banana", use=pin("mid"))),
    otherwise=Cheapest(explore=NEVER),
    similarity_min=0.8,
)


def test_requests_go_where_their_likes_go() -> None:
    decision = routed(EXAMPLES, text="zz fizz buzz", embedder=Letters())
    assert chosen(decision) == "large"
    assert decision.objective["example"] == 0
    assert chosen(routed(EXAMPLES, text="a banana", embedder=Letters())) == "mid"
    unlike = routed(EXAMPLES, text="world wide", embedder=Letters())
    assert (chosen(unlike), unlike.objective["example"]) == ("small", None)
    assert routed(EXAMPLES, text="zzz").objective["why"] == "there is no embedding"


def test_a_model_that_an_example_names_is_gone_around_as_a_pinned_one_is() -> None:
    """A route that it names says itself what follows: it may say where the data may go."""
    like = {"text": "zz fizz buzz", "embedder": Letters()}
    assert "If it fails: cheapest." in reasons(routed(EXAMPLES, **like))
    failed = routed(EXAMPLES, **like, tried={"large": "overloaded"})
    assert (chosen(failed), failed.objective["example"]) == ("small", 0)
    named = Example(text="zzz buzz fizz", use=Pinned(name="only", model="large"))
    strict = Examples(examples=(named,), otherwise=Cheapest(explore=NEVER), similarity_min=0.8)
    assert chosen(routed(strict, **like)) == "large"
    assert routed(strict, **like, tried={"large": "overloaded"}).choice is None


def test_what_follows_a_pinned_model_is_among_the_reasons() -> None:
    assert "If it fails: cheapest." in reasons(routed(Pinned(model="mid", otherwise=Cheapest(explore=NEVER))))
    assert "If it fails: small." in reasons(routed(Pinned(model="mid", otherwise=pin("small"))))
    assert not any("fails" in one for one in reasons(routed(pin("mid"))))


def by_length(request: Request, features: Features, candidates: Sequence[Considered]) -> str:
    return candidates[-1].name if len(request.text) > 20 else candidates[0].name


def test_a_function_chooses_by_name() -> None:
    policy = Function(function=f"{__name__}:by_length")
    short, long = routed(policy, text="hi"), routed(policy, text="x" * 30)
    assert (chosen(short), chosen(long)) == ("small", "large")
    assert not short.order, "it is asked who is next when that is to be known"
    assert short.sampling is Sampling.DETERMINISTIC


def test_a_script_and_whoever_imports_it_call_a_function_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "/somewhere/shop.py", raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    imported = Function(function=by_length).body()
    monkeypatch.setattr(by_length, "__module__", "__main__")
    script = Function(function=by_length).body()
    assert (imported["function"], script["function"]) == (f"{__name__}:by_length", "shop:by_length")


def test_a_function_may_give_candidates_as_it_was_shown_them() -> None:
    best = Function(function=lambda _request, _features, seen: max(seen, key=lambda one: one.quality or 0.0))
    assert chosen(routed(best)) == "large"
    last = Function(function=lambda _request, _features, seen: seen[1:])
    made = routed(last)
    assert (chosen(made), names(made, made.order)) == ("mid", ["large"])


def test_a_function_may_give_an_order_or_a_distribution() -> None:
    ordered = routed(Function(function=lambda *_: ["large", "small"]))
    assert (chosen(ordered), names(ordered, ordered.order)) == ("large", ["small"])
    weighed = routed(Function(function=lambda *_: {"large": 3, "small": 1}), luck=0.1)
    assert [c.propensity for c in weighed.candidates] == pytest.approx([0.25, 0, 0.75])
    assert (chosen(weighed), weighed.sampling) == ("small", Sampling.EXACT)


def test_a_function_sees_the_candidates_with_what_is_expected() -> None:
    seen: list[Considered] = []

    def look(request: Request, features: Features, candidates: Sequence[Considered]) -> str:
        seen.extend(candidates)
        return candidates[0].name

    routed(Function(function=look, among=("mid", "odd")), three().with_(model("odd", 0.4, None)))
    assert [(one.name, one.quality) for one in seen] == [("mid", 0.75), ("odd", 0.4)], "and once, for one decision"
    assert seen[0].cost_usd == pytest.approx(1000e-6 + 80 * 4e-6)
    assert seen[1].cost_usd is None


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Cheapest(among="small"), r"among: names of models were expected, as \('small',\)"),
        (lambda: Cascade(steps="small"), "steps: names of models"),
        (lambda: Shadow(of=Cheapest(), shadows="mid"), "shadows: names of models"),
        (lambda: Hedge(of="small"), r"of: a policy was expected, as Pinned\(model='small'\)"),
        (lambda: Pinned(model="small", otherwise="mid"), "otherwise: a policy was expected"),
        (lambda: Cheapest(explore=0.1), r"explore: as Explore\(floor="),
        (lambda: Cheapest(hold_ms="3"), "hold_ms: a number was expected, not '3'"),
        (lambda: Cheapest(require="eu"), "require: tags were expected"),
        (lambda: Split(arms={"small": 1}), r"arms: as \(Arm\(name="),
        (lambda: Function(function=3), "function: a function, or module:name of one"),
        (
            lambda: Examples(examples=(Example(text=" ", use=Cheapest()),), otherwise=Cheapest()),
            "none of them is empty",
        ),
    ],
)
def test_a_field_of_another_kind_is_told_with_what_to_write(make: Any, says: str) -> None:
    with pytest.raises(InvalidPolicy, match=says):
        make()


@pytest.mark.parametrize(
    ("says", "then"),
    [
        (["large", "small"], ("small", [])),
        (["large"], (None, [])),
        ("large", ("small", ["mid"])),
        ({"large": 3, "mid": 1}, ("mid", [])),
        ({"large": 1, "mid": 0, "small": 0}, ("mid", ["small"])),
        ({"large": 1, "mid": 1e308, "small": 1e308}, ("mid", ["small"])),
    ],
)
def test_whom_a_function_names_and_who_has_failed_is_passed_over(says: Any, then: tuple[str, list[str]]) -> None:
    made = routed(Function(function=lambda *_: says), tried={"large": "overloaded"})
    assert (chosen(made), names(made, made.order)) == then


def test_where_all_that_a_function_names_have_failed_nobody_is_left() -> None:
    made = routed(Function(function=lambda *_: ["large", "mid"]), tried={"large": "overloaded", "mid": "overloaded"})
    assert made.choice is None


def test_a_function_that_has_nobody_beside_whom_has_failed_leaves_nobody() -> None:
    made = routed(Function(function=lambda *_: None, name="r"), tried={"large": "overloaded"})
    assert made.choice is None
    assert {c.reason for c in made.candidates} == {"it was tried: overloaded", "the function of r gave None"}


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda *_: "gone", "chose 'gone', and there is no such model"),
        (lambda *_: None, "^the function of r gave None"),
        (lambda *_: [], "^the function of r gave \\[\\]"),
        (lambda *_: {"small": -1}, "not negative"),
        (lambda *_: 1 / 0, "raised ZeroDivisionError"),
        ("segue.routing:nothing_of_the_kind", "cannot be found"),
        ("no_such_module:f", "cannot be found"),
    ],
)
def test_a_function_that_chooses_nobody_is_an_error(function: Any, says: str) -> None:
    with pytest.raises(PolicyFailed, match=says) as failed:
        routed(Function(function=function, name="r"))
    assert failed.value.remedy


def breaks(*_: object) -> str:
    raise ValueError("no idea")


def test_a_function_that_raises_is_named() -> None:
    with pytest.raises(PolicyFailed, match="the function of r raised ValueError: no idea") as failed:
        routed(Function(function=breaks, name="r"))
    says = "it is called with the request, its features and the candidates"
    assert failed.value.remedy == f"mend {__name__}:breaks: {says}"
