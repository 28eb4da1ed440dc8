"""One process's view: places, faults, pools."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.faults import FaultKind
from segue.errors import StoreError
from segue.models.health import ConcurrencyRule, Health, Place, Rules, Standing, Wait
from segue.models.health.state import dumps, loads
from tests.models.health.pools import Clock, Model, fault, pool, single
from tests.models.health.pools import Limits as Some

RATE_LIMITED, OVERLOADED, UNAUTHORISED = FaultKind.RATE_LIMITED, FaultKind.OVERLOADED, FaultKind.UNAUTHORISED


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened() -> Iterator[Callable[..., Health]]:
    """Opens a Health, and closes it after the test."""
    with ExitStack() as stack:

        def opened(path: Path | None, **options: Any) -> Health:
            return stack.enter_context(closing(Health(path, **options)))

        yield opened


@pytest.fixture(params=["memory", "disk"])
def health(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock, opened: Callable[..., Health]) -> Health:
    path = tmp_path / "db-health" if request.param == "disk" else None
    return opened(path, clock=clock, luck=lambda: 0.5, key_of={"KEY": "one"}.get)


def place(health: Health, model: Model, tokens: int = 10) -> Place:
    got = health.try_acquire(model, tokens)
    assert isinstance(got, Place), got
    return got


def wait(health: Health, model: Model, tokens: int = 10) -> Wait:
    got = health.try_acquire(model, tokens)
    assert isinstance(got, Wait), got
    return got


def fails(health: Health, model: Model, kind: FaultKind, times: int = 1, retry_after_s: float | None = None) -> None:
    for _ in range(times):
        health.release(place(health, model), fault(kind, retry_after_s), 0.1, 0)


def answers(health: Health, model: Model, times: int = 1, latency_s: float = 1.0) -> None:
    for _ in range(times):
        health.release(place(health, model), None, latency_s, 10)


# --- limits -----------------------------------------------------------------------------------------------------------


def test_places_are_lent_up_to_the_limit_and_come_back(health: Health) -> None:
    model = single(concurrency=2)
    first, _ = place(health, model), place(health, model)
    assert "2 calls" in wait(health, model).reason
    assert health.view(model).free == 0
    health.release(first, None, 1.0, 10)
    assert health.view(model).free == 1
    place(health, model)
    wait(health, model)


def test_a_place_comes_back_once(health: Health) -> None:
    model = single(concurrency=2)
    first, _ = place(health, model), place(health, model)
    for _ in range(3):
        health.release(first, None, 1.0, 10)
    place(health, model)
    wait(health, model)


def test_the_limits_of_the_model_hold_over_its_deployments(health: Health) -> None:
    model = Model(limits=Some(rpm=3), deployments=pool("a", "b", "c", rpm=2).deployments)
    for _ in range(3):
        place(health, model)
    assert "3 requests per minute" in wait(health, model).reason
    model = Model(name="n", limits=Some(concurrency=4), deployments=pool("a", "b").deployments)
    for _ in range(4):
        place(health, model)
    assert "4 calls" in wait(health, model).reason


def test_tokens_are_settled_by_what_was_used(health: Health, clock: Clock) -> None:
    model = single(tpm=100)
    first = place(health, model, 80)
    assert "100 tokens per minute" in wait(health, model, 30).reason
    health.release(first, None, 1.0, 20)
    second = place(health, model, 80)
    health.release(second, fault(FaultKind.TIMED_OUT), 1.0, 0)
    assert 60 < wait(health, model, 30).seconds <= 64, "nobody knows what a call that timed out has used"
    clock.now += 64
    place(health, model, 100)


def test_what_never_fits_is_said(health: Health) -> None:
    refused = wait(health, single(tpm=100), 101)
    assert refused.seconds == math.inf
    assert "101 tokens" in refused.reason


def test_a_minute_passes(health: Health, clock: Clock) -> None:
    model = single(rpm=2)
    answers(health, model, 2)
    view = health.view(model)
    assert view.standing is Standing.BUSY
    seconds = wait(health, model).seconds
    assert view.wait_s == seconds
    clock.now += seconds
    place(health, model)


def test_a_place_that_nobody_gives_back_returns_after_its_lease(health: Health, clock: Clock) -> None:
    model = single(concurrency=1)
    lost = place(health, model)
    clock.now += 899
    wait(health, model)
    clock.now += 2
    fresh = place(health, model)
    health.release(lost, None, 1.0, 10)
    wait(health, model)
    health.release(fresh, None, 1.0, 10)
    place(health, model)


# --- faults -----------------------------------------------------------------------------------------------------------


def test_retry_after_closes_until_then(health: Health, clock: Clock) -> None:
    model = single()
    fails(health, model, RATE_LIMITED, retry_after_s=20)
    assert health.view(model).standing is Standing.PAUSED
    assert wait(health, model).seconds == 20
    fails_meanwhile = fault(RATE_LIMITED, 5)
    clock.now += 19.9
    assert wait(health, model).seconds == pytest.approx(0.1)
    clock.now += 0.2
    health.release(place(health, model), fails_meanwhile, 0.1, 0)
    assert wait(health, model).seconds == pytest.approx(5)


def test_a_shorter_retry_after_does_not_open_earlier(health: Health) -> None:
    model = single()
    first, second = place(health, model), place(health, model)
    health.release(first, fault(OVERLOADED, 30), 0.1, 0)
    health.release(second, fault(OVERLOADED, 1), 0.1, 0)
    assert wait(health, model).seconds == 30


def test_an_absurd_retry_after_is_not_believed(health: Health) -> None:
    model = single()
    fails(health, model, RATE_LIMITED, retry_after_s=1e9)
    assert wait(health, model).seconds == 86_400


def test_a_refused_key_shuts_until_somebody_acts(health: Health, clock: Clock) -> None:
    model = single(key_env="KEY")
    fails(health, model, UNAUTHORISED)
    assert health.view(model).standing is Standing.SHUT
    clock.now += 3000
    assert "key was refused" in wait(health, model).reason
    health.reopen(model)
    answers(health, model, 3)
    assert health.view(model).standing is Standing.OPEN


def test_a_refused_key_is_tried_again_with_one_call_after_a_long_time(health: Health, clock: Clock) -> None:
    model = single(key_env="KEY")
    fails(health, model, UNAUTHORISED)
    clock.now += 3601
    assert health.view(model).standing is Standing.PROBING
    trial = place(health, model)
    assert wait(health, model).standing is Standing.PROBING
    health.release(trial, fault(UNAUTHORISED), 0.1, 0)
    assert wait(health, model).seconds == 3600
    clock.now += 3601
    answers(health, model, 3)


def test_another_key_is_not_held_against_the_first(tmp_path: Path, clock: Clock, opened: Callable[..., Health]) -> None:
    model = single(key_env="KEY")
    old, new = (opened(tmp_path / "h", clock=clock, key_of={"KEY": key}.get) for key in ("old", "new"))
    fails(old, model, UNAUTHORISED)
    assert wait(old, model).standing is Standing.SHUT
    answers(new, model, 2)
    assert wait(old, model).standing is Standing.SHUT
    assert b"old" not in (tmp_path / "h").read_bytes()


def test_an_outage_opens_and_one_probe_closes(health: Health, clock: Clock) -> None:
    model = single()
    fails(health, model, FaultKind.UNREACHABLE, 5)
    assert health.view(model).standing is Standing.BROKEN
    assert health.view(model).error_rate == 1.0
    assert wait(health, model).reason.endswith("its breaker is open (unreachable)")
    clock.now += wait(health, model).seconds
    assert health.view(model).standing is Standing.PROBING
    probe = place(health, model)
    for _ in range(50):
        assert wait(health, model).standing is Standing.PROBING
    health.release(probe, None, 1.0, 10)
    pair = [place(health, model), place(health, model)]
    assert "2 calls are in flight" in wait(health, model).reason, "no herd: one, then two, then four"
    for each in pair:
        health.release(each, None, 1.0, 10)
    for _ in range(4):
        place(health, model)
    wait(health, model)


def test_after_an_outage_calls_from_before_do_not_hold_new_ones_up(health: Health, clock: Clock) -> None:
    model = single()
    hung = [place(health, model) for _ in range(30)]
    for each in hung[:5]:
        health.release(each, fault(FaultKind.UNREACHABLE), 1.0, 0)
    clock.now += wait(health, model).seconds
    answers(health, model)
    doubled = [place(health, model) for _ in range(2)]
    wait(health, model)
    for each in (*hung[5:], *doubled):
        health.release(each, None, 1.0, 10)
    assert isinstance(health.try_acquire(model, 10), Place)


def test_bad_output_is_no_outage(health: Health) -> None:
    model = single()
    fails(health, model, FaultKind.BAD_OUTPUT, 50)
    assert health.view(model).standing is Standing.OPEN


def test_pushbacks_halve_the_places(health: Health) -> None:
    model = single(concurrency=10)
    held = [place(health, model) for _ in range(10)]
    for each in held[:4]:
        health.release(each, fault(RATE_LIMITED), 0.1, 0)
    assert "6 calls are in flight" in wait(health, model).reason
    for each in held[4:7]:
        health.release(each, None, 0.1, 10)
    place(health, model)
    assert "4 calls are in flight" in wait(health, model).reason


def test_silence_is_noticed_before_the_first_timeout(health: Health, clock: Clock) -> None:
    model = single()
    answers(health, model, 20)
    held = [place(health, model) for _ in range(4)]
    clock.now += 3.9
    held.append(place(health, model))
    clock.now += 0.2
    view = health.view(model)
    assert view.standing is Standing.STALLED
    assert "nothing has come back for 4.1 s" in view.reason
    clock.now += view.wait_s
    place(health, model)
    assert wait(health, model).standing is Standing.STALLED, "one now and then"
    health.release(held[0], None, 8.0, 10)
    assert health.view(model).standing is Standing.OPEN


def test_retries_run_out_and_come_back_with_calls(health: Health) -> None:
    model = single()
    assert sum(health.may_retry(model) for _ in range(50)) == 10
    answers(health, model, 30)
    assert sum(health.may_retry(model) for _ in range(50)) == 10
    health.unretried(model)
    assert [health.may_retry(model) for _ in range(2)] == [True, False]


def test_it_is_broken_while_nothing_but_a_breaker_is_in_the_way(health: Health, clock: Clock) -> None:
    model = single()
    fails(health, model, OVERLOADED, 4)
    assert not health.is_broken(model)
    fails(health, model, OVERLOADED)
    assert health.is_broken(model)
    clock.now += health.view(model).wait_s
    assert not health.is_broken(model), "it may be tried"
    tried = place(health, model)
    assert health.is_broken(model), "somebody tries it"
    health.release(tried, fault(OVERLOADED), 0.1, 0)
    assert health.is_broken(model)
    assert not health.is_broken(model, [one.name for one in model.pool()])


# --- pools ------------------------------------------------------------------------------------------------------------


def lucky(clock: Clock) -> Health:
    numbers = iter(range(10**9))
    return Health(None, clock=clock, luck=lambda: next(numbers) * 0.6180339887 % 1)


def shares(health: Health, model: Model, times: int = 1000) -> Counter[str]:
    chosen: Counter[str] = Counter()
    for _ in range(times):
        got = place(health, model)
        chosen[got.deployment.name] += 1
        health.release(got, None, 1.0, 1)
    return chosen


def test_a_pool_is_used_by_weight(clock: Clock) -> None:
    chosen = shares(lucky(clock), pool("a", "b", "c", weights={"a": 3.0, "c": 0.0}))
    assert chosen["a"] == pytest.approx(750, abs=20)
    assert chosen["c"] == 0


def test_a_pool_goes_on_without_the_one_that_fails(clock: Clock) -> None:
    health, model = lucky(clock), pool("a", "b")
    for _ in range(200):
        got = place(health, model)
        bad = got.deployment.name == "a"
        health.release(got, fault(FaultKind.UNREACHABLE) if bad else None, 0.1, 1)
    assert health.views(model)["a"].standing is Standing.BROKEN
    assert health.views(model)["b"].standing is Standing.OPEN
    assert health.view(model).standing is Standing.OPEN
    assert shares(health, model)["a"] == 0


def test_a_deployment_that_fails_often_gets_less(clock: Clock) -> None:
    health, model = lucky(clock), pool("a", "b")
    for n in range(300):
        got = place(health, model)
        health.release(got, fault(OVERLOADED) if got.deployment.name == "a" and n % 3 == 0 else None, 0.1, 1)
    chosen = shares(health, model, 100)
    assert chosen["a"] < chosen["b"]


def test_the_fuller_one_gets_less(clock: Clock) -> None:
    health, model = lucky(clock), pool("a", "b", concurrency=20)
    only_a = pool("a", concurrency=20)
    for _ in range(15):
        place(health, only_a)
    chosen = shares(health, model)
    assert chosen["a"] == pytest.approx(200, abs=40)


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from([None, *FaultKind]), st.floats(0, 9)), max_size=60
    ),
    st.integers(1, 4),
)
def test_a_place_is_only_ever_given_where_there_is_one(
    events: list[tuple[str, FaultKind | None, float]], limit: int
) -> None:
    clock = Clock()
    health, model = lucky(clock), pool("a", "b", "c", concurrency=limit, rpm=3 * limit)
    held: list[Place] = []
    for name, kind, after in events:
        clock.now += after
        standing = health.views(model)
        got = health.try_acquire(model, 5)
        if isinstance(got, Place):
            assert standing[got.deployment.name].wait_s == 0
            held.append(got)
        else:
            assert all(view.wait_s > 0 for view in standing.values())
            assert got.seconds > 0
        counts = Counter(p.deployment.name for p in held)
        assert max(counts.values(), default=0) <= limit
        mine = next((p for p in held if p.deployment.name == name), None)
        if mine is not None:
            held.remove(mine)
            health.release(mine, fault(kind, after or None) if kind else None, after, 5)


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_a_state_reads_back_as_it_was(tmp_path: Path, clock: Clock, opened: Callable[..., Health]) -> None:
    health, model = opened(tmp_path / "h", clock=clock), pool("a", "b", concurrency=9, tpm=10_000)
    for n in range(40):
        got = place(health, model, 100)
        clock.now += 0.7
        if n % 9:
            health.release(got, fault(FaultKind.UNREACHABLE, 0.1) if n % 5 == 0 else None, 0.5, 70)
            clock.now += 3
    state = health._store.read(model.name).state
    assert state.holders
    assert loads(dumps(state)) == state
    assert health.try_acquire(model, 1)


def test_a_new_process_knows_what_the_last_one_learned(
    tmp_path: Path, clock: Clock, opened: Callable[..., Health]
) -> None:
    model = single(rpm=5)
    first = opened(tmp_path / "h", clock=clock)
    answers(first, model, 3)
    fails(first, model, RATE_LIMITED, retry_after_s=30)
    first.close()
    second = opened(tmp_path / "h", clock=clock)
    assert second.view(model).standing is Standing.PAUSED
    clock.now += 31
    place(second, model)
    wait(second, model)


def test_a_machine_that_was_started_again_begins_anew(tmp_path: Path, opened: Callable[..., Health]) -> None:
    model = single(concurrency=1)
    before = opened(tmp_path / "h", clock=Clock(90_000.0))
    fails(before, model, RATE_LIMITED, retry_after_s=3000)
    after = opened(tmp_path / "h", clock=Clock(20.0))
    assert after.view(model).standing is Standing.OPEN
    place(after, model)
    wait(after, model)


@pytest.mark.parametrize(
    "row",
    [
        "[1, 2]", "{", '[1, {"only": [[], [], []]}, {}, []]', "[1, 2, 3, []]", '[1, {}, {"a": 3}, []]',
        '["1", {}, {}, [null, 0]]', '[1, {}, {}, ["1", 0]]', '[1, {}, {"a": ["1", {}]}, [null, 0]]',
        '[1, {}, {"a": [1, {"only": ["1", 0]}]}, [null, 0]]',
        '[1, {"only": [["1"], [], [[]], []]}, {}, [null, 0]]',
        '[1, {"only": [[], [], [[["1", 1, 1]]], ["x"]]}, {}, [null, 0]]',
        '[1, {"only": [[], [], [[[Infinity, 1, 1]]], []]}, {}, [null, 0]]',
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_counts_as_none(
    tmp_path: Path, clock: Clock, opened: Callable[..., Health], row: str
) -> None:
    health, model = opened(tmp_path / "h", clock=clock), single(concurrency=1)
    place(health, model)
    health._store._database.execute("update health_2 set state = ?, version = version + 1", (row,))
    place(opened(tmp_path / "h", clock=clock), model)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "h").write_bytes(b"something else entirely, and long enough to be looked at" * 20)
    with pytest.raises(StoreError, match="h: ") as error:
        Health(tmp_path / "h")
    assert "delete it" in str(error.value)


def test_rules_are_the_callers(clock: Clock) -> None:
    health = Health(None, clock=clock, rules=Rules(shut_s=5.0, concurrency=ConcurrencyRule(cut=0.1)))
    model = single()
    fails(health, model, UNAUTHORISED)
    assert wait(health, model).seconds == 5.0
