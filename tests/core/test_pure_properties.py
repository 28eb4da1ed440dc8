"""What keys, retries, states and the reading of a journal promise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segue.core.codec import dumps
from segue.core.events import Event, EventType
from segue.core.faults import PERMANENT, Fault, FaultKind, classify, rebuild
from segue.core.keys import Scope, family, name_of
from segue.core.lifecycle import ENDED, OPEN, RunState, allowed
from segue.core.recovery import Again, Attempt, Fail, Retry
from segue.core.replay import Memory

names = st.text(st.characters(exclude_characters="/[]#", exclude_categories=["Cs"]), min_size=1, max_size=8)
kinds = st.sampled_from(FaultKind)


@given(st.lists(names, max_size=3), names, st.lists(st.text(max_size=12), min_size=1, max_size=6))
def test_keys_differ_and_are_of_one_family(path: list[str], name: str, idents: list[str]) -> None:
    scope = Scope("".join(f"{p}#1/" for p in path))
    keys = [scope.key(name, ident) for ident in idents]
    assert len(set(keys)) == len(keys)
    assert {name_of(scope.key(name)), *(name_of(k) for k in keys[:1] if "[" not in idents[0] and "]" not in idents[0])} == {name}


@given(names, st.from_regex(r"[0-9a-f]{12}", fullmatch=True), st.integers(1, 5))
def test_equal_calls_are_counted(name: str, ident: str, times: int) -> None:
    scope = Scope()
    assert [scope.key(name, ident) for _ in range(times)] == [f"{name}[{ident}]#{k}" for k in range(1, times + 1)]
    assert family(f"{name}[{ident}]#1") == name


@given(
    kinds, st.integers(1, 8), st.floats(0, 10), st.floats(0, 100), st.floats(1, 4), st.floats(0, 0.999), st.integers(1, 9),
    st.none() | st.floats(0, 50),
)  # fmt: skip
def test_a_retry_keeps_its_bounds(
    kind: FaultKind, attempts: int, first: float, most: float, factor: float, luck: float, made: int, asked: float | None
) -> None:
    fault = Fault(kind, "builtins:OSError", "x", retry_after_s=asked)
    history = [Attempt(1, n, 0.0, fault) for n in range(1, made + 1)]
    answer = Retry(attempts=attempts, backoff_s=first, backoff_max_s=most, factor=factor)(fault, history, luck)
    if made >= attempts or kind in PERMANENT:
        assert answer == Fail()
    else:
        assert isinstance(answer, Again)
        assert answer.after_s == 0.0 or (asked or 0.0) <= answer.after_s <= max(most, asked or 0.0)


@given(st.sampled_from([ValueError, OSError, KeyError, RuntimeError, ConnectionError]), st.text(max_size=30))
def test_a_fault_rebuilds_its_error(kind: type[Exception], text: str) -> None:
    fault = Fault.read(classify(kind(text)).body())
    assert type(rebuild(fault)) is kind and rebuild(fault).args == (text,)


def test_ends_are_final_and_open_states_can_end() -> None:
    assert set(RunState) == OPEN | ENDED and not OPEN & ENDED
    assert not any(allowed(end, other) for end in ENDED for other in RunState)
    assert all(allowed(state, RunState.CANCELLED) for state in OPEN)


def a_journal(draw: st.DrawFn) -> list[Event]:
    """Attempts and outcomes of some steps, as a run writes them."""
    events = [Event(1, 1, 1, 1.0, EventType.RUN_ACCEPTED, body=dumps({"seed": "s"}), args=b"{}")]
    tries: dict[str, int] = {}
    ended: set[str] = set()
    for seq in range(2, draw(st.integers(2, 30))):
        key = draw(st.sampled_from(["a#1", "b#1", "c#1"]))
        act = draw(st.sampled_from(["start", "fail", "end"]))
        if key in ended:
            act, key = "park", ""
        if act == "start":
            tries[key] = tries.get(key, 0) + 1
            events.append(Event(1, seq, 1, float(seq), EventType.ATTEMPT_STARTED, key=key, attempt=tries[key]))
        elif act == "fail" and tries.get(key):
            fault = Fault(FaultKind.TOOL_FAILED, "builtins:OSError", "x")
            body = dumps({"fault": fault.body(), "retry_at": float(seq + 1)})
            events.append(Event(1, seq, 1, float(seq), EventType.ATTEMPT_FAILED, key=key, attempt=tries[key], body=body))
        elif act == "end":
            ended.add(key)
            events.append(Event(1, seq, 1, float(seq), EventType.STEP_COMPLETED, key=key, value=b"1"))
        else:
            events.append(Event(1, seq, 1, float(seq), EventType.RUN_PARKED, body=b"{}"))
    return events


@given(st.composite(a_journal)())
def test_a_journal_reads_to_what_is_open(events: list[Event]) -> None:
    memory = Memory.of(events)
    ended = [e.key for e in events if e.type == EventType.STEP_COMPLETED]
    assert [e.key for e in memory.outcomes] == ended
    assert not set(memory.attempts) & set(ended) and not set(memory.retry_at) & set(ended)
    for key, tries in memory.attempts.items():
        assert len(tries) == sum(e.type == EventType.ATTEMPT_STARTED and e.key == key for e in events)
        assert [a.n for a in tries] == list(range(1, len(tries) + 1))
    assert memory.last_seq == events[-1].seq
