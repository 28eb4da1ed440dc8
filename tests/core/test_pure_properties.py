"""What keys, retries, states and the reading of a journal promise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segue.core.codec import dumps
from segue.core.events import Event, EventType
from segue.core.faults import PERMANENT, Fault, FaultKind
from segue.core.lifecycle import ENDED, OPEN, RunState, allowed
from segue.core.recovery import Again, Attempt, Fail, Retry
from segue.core.replay import Memory

kinds = st.sampled_from(FaultKind)


retries = st.builds(
    Retry,
    attempts=st.integers(1, 8),
    backoff_s=st.floats(0, 10),
    backoff_max_s=st.floats(0, 100),
    factor=st.floats(1, 4),
)


@given(kinds, retries, st.floats(0, 0.999), st.integers(1, 9), st.none() | st.floats(0, 50))
def test_a_retry_keeps_its_bounds(kind: FaultKind, retry: Retry, luck: float, made: int, asked: float | None) -> None:
    fault = Fault(kind, "builtins:OSError", "x", retry_after_s=asked)
    history = [Attempt(1, n, 0.0, fault) for n in range(1, made + 1)]
    answer = retry(fault, history, luck)
    most = retry.backoff_max_s
    if made >= retry.attempts or kind in PERMANENT:
        assert answer == Fail()
    else:
        assert isinstance(answer, Again)
        assert answer.after_s == 0.0 or (asked or 0.0) <= answer.after_s <= max(most, asked or 0.0)


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
            body, n = dumps({"fault": fault.body(), "retry_at": float(seq + 1)}), tries[key]
            events.append(Event(1, seq, 1, float(seq), EventType.ATTEMPT_FAILED, key=key, attempt=n, body=body))
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
