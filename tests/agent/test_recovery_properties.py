"""A question over models that fail in any order, on virtual time: it is answered, and waits no longer than it must."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from segue.agent.recovery import Policy
from segue.agent.request import Question
from segue.core.faults import INTERRUPTED, Fault, FaultKind
from segue.core.recovery import Again, Amend, Answer, Attempt, Fail, Use, plan_of
from segue.models.signals import made

ATTEMPTS = 8
CALL_S = 1.0
PASSING = [FaultKind.RATE_LIMITED, FaultKind.OVERLOADED, FaultKind.TIMED_OUT, FaultKind.UNREACHABLE]


@dataclass
class World:
    """Models with the faults that their next calls meet, `(kind, pause asked for)`; then they answer."""

    plans: Mapping[str, list[tuple[FaultKind, float]]]
    now: float = 0.0
    closed: dict[str, float] = field(default_factory=dict[str, float])
    """Until when a model is to be left alone; for ever where its key was refused."""
    calls: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])

    def __call__(
        self, tried: Mapping[str, str], left_nano: int | None = None, small: Mapping[str, int] | None = None, /
    ) -> str | None:
        return next((name for name in self.plans if name not in tried and not self.ready_in(name, ())), None)

    def resting(self, tried: Mapping[str, str], left_nano: int | None = None, /) -> list[str]:
        return [name for name in self.plans if name not in tried and self.ready_in(name, ())]

    def pays(self, model: str, left_nano: int, /) -> bool:
        return True

    def broken(self, model: str, refused: Collection[str], /) -> bool:
        return False

    def spare(self, model: str, failed: Collection[str], /) -> bool:
        return False

    def ready_in(self, model: str, refused: Collection[str], /) -> float:
        return max(0.0, self.closed.get(model, 0.0) - self.now)

    def call(self, model: str) -> Fault | None:
        """One call; what is left of the model's plan is for the next ones."""
        assert self.ready_in(model, ()) == 0, "nobody is asked before the pause that it asked for is over"
        self.calls.append((model, self.now))
        self.now += CALL_S
        if not self.plans[model]:
            return None
        kind, pause_s = self.plans[model].pop(0)
        if kind is FaultKind.UNAUTHORISED:
            pause_s = float("inf")
        self.closed[model] = self.now + pause_s
        return made(kind, "no", model=model, retry_after_s=pause_s if 0 < pause_s < float("inf") else None)


def ask(world: World, luck: float) -> Fault | None:
    """How it ends: None is an answer."""
    recover = Policy(attempts=ATTEMPTS, repairs=0).recovery(Question(prompt="Which?"), world, world)
    history: list[Attempt] = []
    model: str | None = next(iter(world.plans))
    while model is not None:
        began = world.now
        fault = world.call(model)
        if fault is None:
            return None
        history.append(Attempt(1, len(history) + 1, began, fault, ended=world.now))
        said = recover(fault, history, luck)
        history[-1] = history[-1]._replace(answer=said)
        if isinstance(said, Fail):
            return fault
        model, after_s = whom(said)
        if after_s:
            least = min(world.ready_in(name, ()) for name in world.plans)
            assert after_s <= max(least, 20 * luck) + 1e-6, "no pause is longer than the shortest that was asked for"
        world.now += after_s
    return None


def whom(said: Answer) -> tuple[str, float]:
    if isinstance(said, Amend):
        return said.changes["question"]["first"], said.after_s
    assert isinstance(said, Use)
    return said.candidate, said.after_s


passing = st.tuples(st.sampled_from(PASSING), st.sampled_from([0.0, 0.0, 2.0, 40.0, 3600.0]))
refused = st.tuples(st.just(FaultKind.UNAUTHORISED), st.just(0.0))
plans = st.lists(st.lists(passing, max_size=4), min_size=1, max_size=3)


@given(plans, st.lists(st.booleans(), min_size=3, max_size=3), st.sampled_from([0.0, 0.5, 0.99]))
def test_while_one_of_them_would_answer_there_is_an_answer(
    given: list[list[tuple[FaultKind, float]]], shut: list[bool], luck: float
) -> None:
    named = dict(zip("abc", given, strict=False))
    for name, key_is_refused in zip(named, shut, strict=False):
        if key_is_refused and name != "a":  # one of them at least may be called
            named[name] = [*named[name][:1], (FaultKind.UNAUTHORISED, 0.0)]
    faults = sum(map(len, named.values()))
    ended = ask(world := World(named), luck)
    assert len(world.calls) <= ATTEMPTS
    if faults < ATTEMPTS:
        assert ended is None, "as many calls were left as there were faults"


@given(st.integers(1, 6), st.booleans())
def test_after_a_crash_whoever_was_to_be_asked_still_is(crashes: int, spare: bool) -> None:
    """Another deployment of the first model, or the next model: not whoever would come after that."""
    world = World({"a": [], "b": [], "c": []})
    recover = Policy().recovery(Question(prompt="Which?"), world, _Spare(world) if spare else None)
    fault = made(FaultKind.OVERLOADED, "no", model="a", deployment="one")
    history = [Attempt(1, 1, 0.0, fault)]
    told = recover(fault, history, 0.0)
    assert told == Use("a" if spare else "b")
    history = [history[0]._replace(answer=told)]
    for n in range(crashes):
        answer = recover(INTERRUPTED, [*history, Attempt(2 + n, 1, 0.0, INTERRUPTED)], 0.0)
        assert answer == Again(0.0)
        history.append(Attempt(2 + n, 1, 0.0, INTERRUPTED, answer))
    assert plan_of(history).candidate == ("a" if spare else "b")


@dataclass
class _Spare:
    """Doors of models that have another deployment each."""

    world: World

    def resting(self, tried: Mapping[str, str], left_nano: int | None = None, /) -> list[str]:
        return self.world.resting(tried, left_nano)

    def pays(self, model: str, left_nano: int, /) -> bool:
        return True

    def spare(self, model: str, failed: Collection[str], /) -> bool:
        return True

    def ready_in(self, model: str, refused: Collection[str], /) -> float:
        return 0.0

    def broken(self, model: str, refused: Collection[str], /) -> bool:
        return False
