"""What goes to consumers that cannot be told to forget: only ever the beginning of one answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.relay import Relay
from segue.core.streams import Ended, Piece, Retracted

K = "ask[1]#1"


def fed(relay: Relay, *events: Any, now: float = 0.0) -> str:
    """What went out."""
    for event in events:
        relay.take(event, now)
        relay.sent(relay.ready(now))
    return relay.out


def test_the_first_bytes_are_held_so_that_an_early_failure_is_not_seen() -> None:
    relay = Relay(hold_ms=300)
    assert fed(relay, Piece(K, (1, 1), 0, "Half an"), now=1.0) == ""
    assert relay.due == 1.3
    assert fed(relay, Retracted(K, (1, 1), "unreachable"), now=1.2) == ""
    assert relay.due is None
    assert fed(relay, Piece(K, (1, 2), 0, "Whole"), now=1.25) == ""
    assert relay.ready(1.54) == "" and relay.ready(1.55) == "Whole"
    assert fed(relay, Ended(K, (1, 2), 5), now=1.5) == "Whole"
    assert relay.ended and relay.broken is None


def test_after_the_first_bytes_a_failure_breaks_it() -> None:
    relay = Relay()
    assert fed(relay, Piece(K, (1, 1), 0, "Half"), Retracted(K, (1, 1), "unreachable")) == "Half"
    assert relay.broken == "unreachable"
    assert fed(relay, Piece(K, (1, 2), 0, "Half"), Ended(K, (1, 2), 4)) == "Half"
    assert not relay.ended


def test_with_rescue_only_an_attempt_that_goes_on_from_there_is_passed_on() -> None:
    relay = Relay(rescue="continue")
    lost, begun = Retracted(K, (1, 1), "unreachable"), Piece(K, (1, 2), 0, "Half an")
    assert fed(relay, Piece(K, (1, 1), 0, "Half"), lost, begun, Piece(K, (1, 2), 7, "swer.")) == "Half answer."
    other = Relay(rescue="continue")
    assert fed(other, Piece(K, (1, 1), 0, "Half"), lost, Piece(K, (1, 2), 0, "Another")) == "Half"
    assert other.broken == "the attempt that followed gave another answer"


def test_within_json_and_tool_calls_there_is_no_rescue() -> None:
    lost = Retracted(K, (1, 1), "unreachable")
    for relay, *said in (
        (Relay(rescue="continue", plain=False), Piece(K, (1, 1), 0, '{"a":')),
        (Relay(rescue="continue"), Piece(K, (1, 1), 0, "I call "), Piece(K, (1, 1), 0, "{", "tool")),
    ):
        fed(relay, *said, lost)
        assert relay.broken == "unreachable"


def test_calls_that_follow_each_other_are_heard_one_after_the_other() -> None:
    first, last, said = "ask/ask#1", "ask/ask#2", list[str]()
    relay = Relay(rescue="continue")
    for event in (
        Piece(first, (0, 1), 0, "I look. "), Piece(first, (0, 1), 0, "{", "tool"), Piece(last, (0, 9), 0, "too early"),
        Ended(first, (0, 1), 8), Piece(last, (0, 1), 0, "A f"), Retracted(last, (0, 1), "unreachable"),
        Piece(last, (0, 2), 0, "A f"), Piece(last, (0, 2), 3, "ox."), Ended(last, (0, 2), 6),
        Retracted(first, (0, 1), "superseded"),
    ):  # fmt: skip
        relay.take(event, 0.0)
        said.append(relay.ready(0.0))
        relay.sent(said[-1])
    assert "".join(said) == "I look. A fox." and relay.broken is None
    assert (relay.ended, relay.key, relay.out) == (True, last, "A fox.")


@pytest.mark.parametrize("whole", [True, False])
def test_of_several_rounds_the_last_one_gives_the_json(whole: bool) -> None:
    relay = Relay(plain=False, whole=whole, rounds=True)
    assert fed(relay, Piece(K, (1, 1), 0, "I look. "), Ended(K, (1, 1), 8)) == "", "no tool's arguments are heard of"
    assert fed(relay, Piece("next", (1, 2), 0, "3"), Ended("next", (1, 2), 1)) == ""
    relay.finish()
    assert relay.ready(0.0) == "3"


def test_an_object_that_is_out_and_was_not_the_answer_breaks_it() -> None:
    relay = Relay(plain=False, rounds=True)
    assert fed(relay, Piece(K, (1, 1), 0, '{"a": 1}'), Ended(K, (1, 1), 8)) == '{"a": 1}' and relay.broken is None
    assert fed(relay, Piece("next", (1, 2), 0, '{"a": 2}'), Ended("next", (1, 2), 8)) == '{"a": 1}'
    assert relay.broken == "another call followed, and what went out was not the answer"


def test_what_comes_with_a_tool_call_is_no_json() -> None:
    relay = Relay(plain=False, rounds=True)
    tool, new = Piece(K, (1, 1), 0, "{", "tool"), Retracted(K, (1, 1), "tidied")
    assert (
        fed(relay, Piece(K, (1, 1), 0, "I look. "), tool, new, Piece(K, (1, 1), 0, "I look."), Ended(K, (1, 1), 7))
        == ""
    )
    assert fed(relay, Piece("next", (1, 2), 0, '{"a": 1}'), Ended("next", (1, 2), 8)) == '{"a": 1}'


TEXTS = st.lists(st.sampled_from(["a", "ß", "b "]), max_size=4)


@given(
    st.lists(st.tuples(TEXTS, st.booleans()), min_size=1, max_size=5), st.sampled_from([0, 50]),
    st.sampled_from(["fail", "continue"]), st.randoms(use_true_random=False),
)  # fmt: skip
def test_what_went_out_is_always_the_beginning_of_one_attempt(
    attempts: list[tuple[list[str], bool]], hold_ms: int, rescue: Any, luck: Any
) -> None:
    relay, now, whole = Relay(hold_ms=hold_ms, rescue=rescue), 0.0, ""
    for n, (pieces, goes_on) in enumerate(attempts, 1):
        words = [relay.out, *pieces] if goes_on and relay.out else pieces
        said, out = "", relay.out
        for word in filter(None, words):
            now += luck.choice([0.0, 0.01, 0.1])
            relay.take(Piece(K, (1, n), len(said.encode()), word), now)
            said += word
            relay.sent(relay.ready(now))
            assert relay.out.startswith(out)
            assert relay.out in (out, *[whole[:i] for i in range(0)]) or said.startswith(relay.out)
        if n < len(attempts):
            relay.take(Retracted(K, (1, n), "unreachable"), now)
        else:
            relay.take(Ended(K, (1, n), len(said.encode())), now)
            relay.sent(relay.ready(now))
            whole = said
    if relay.ended:
        assert relay.out == whole and relay.broken is None
    else:
        assert relay.broken is not None


def test_what_begins_as_no_object_goes_out_whole_since_a_wrapping_may_be_taken_off() -> None:
    first, new = (1, 1), Retracted(K, (1, 1), "tidied")
    wrapped = [Piece(K, first, 0, '{"answer"'), Piece(K, first, 9, ": 3}"), new, Piece(K, first, 0, "3")]
    whole = Relay(plain=False, whole=True)
    assert fed(whole, *wrapped) == "" and whole.due is None
    assert fed(whole, Ended(K, first, 1)) == "3"
    fenced = [Piece(K, first, 0, "```"), Piece(K, first, 3, 'json\n{"a": 1}\n```'), new, Piece(K, first, 0, '{"a": 1}')]
    relay = Relay(plain=False)
    assert fed(relay, *fenced[:2]) == ""
    assert fed(relay, *fenced[2:], Ended(K, first, 8)) == '{"a": 1}' and relay.broken is None


def test_what_follows_an_object_waits_for_the_end_as_it_may_be_words() -> None:
    first, said = (1, 1), [' {"a": "}\\"', '}", "b": {}', "}\nDo ", 'ask {more}."']
    ends = [len("".join(said[:n]).encode()) for n in range(5)]
    pieces = [Piece(K, first, at, text) for at, text in zip(ends, said, strict=False)]
    relay, whole = Relay(plain=False), '{"a": "}\\"}", "b": {}}'
    assert fed(relay, *pieces[:2]) == whole[:-1] and fed(relay, *pieces[2:]) == whole
    assert fed(relay, Retracted(K, first, "tidied"), Piece(K, first, 0, whole), Ended(K, first, len(whole))) == whole
    assert relay.ended and relay.broken is None
    other = Relay(plain=False)
    assert fed(other, *pieces, Retracted(K, first, "bad output")) == whole and other.broken == "bad output"
    changed = Relay(plain=False)
    assert fed(changed, *pieces, Retracted(K, first, "tidied"), Piece(K, first, 0, '{"a": 1}')) == whole
    assert changed.broken == "the attempt that followed gave another answer"
