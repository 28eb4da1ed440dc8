"""How contexts go wrong in the field, and that this one does not. `test_invariants` has the random histories."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from segue.context.assembly import assemble
from segue.context.errors import ContextOverflow, InvalidContext
from segue.context.pairs import NO_RESULT
from segue.context.tokens import estimate
from segue.context.types import Assembly, Budget, Context, Kind, Part, Role, Target
from segue.core.records import Fate

TOKENS, OURS = estimate(), Target(model="ours")


def system(text: str) -> Part:
    return Part(role=Role.SYSTEM, text=text)


def user(text: str, **more: object) -> Part:
    return replace(Part(role=Role.USER, text=text), **more)


def said(text: str) -> Part:
    return Part(role=Role.ASSISTANT, text=text)


def call(name: str) -> Part:
    return Part(role=Role.ASSISTANT, kind=Kind.CALL, tool="look", call=name, text="{}")


def result(name: str, text: str) -> Part:
    return Part(role=Role.TOOL, kind=Kind.RESULT, tool="look", call=name, text=text)


def fitted(parts: list[Part], window: int, **more: object) -> Assembly:
    return assemble(parts, replace(Budget(window=window, reserved_out=0), **more), OURS, TOKENS)


def test_what_fits_is_shown_as_it_is() -> None:
    parts = [system("s"), user("u"), call("a"), result("a", "r"), said("done")]
    assert fitted(parts, 10_000).parts == [replace(p, asks=True) if p.text == "u" else p for p in parts]


def test_a_call_that_was_cut_off_is_closed_honestly_and_right_behind_what_was_said() -> None:
    made = fitted([user("u"), call("a"), call("b"), result("b", "r"), user("go on")], 10_000)
    assert [(p.kind, p.call) for p in made.parts[1:5]] == [
        (Kind.CALL, "a"), (Kind.CALL, "b"), (Kind.RESULT, "a"), (Kind.RESULT, "b"),
    ]  # fmt: skip
    assert made.parts[3].text == NO_RESULT


def test_a_dangling_call_is_left_out_like_any_other_when_room_is_short() -> None:
    parts = [user("old " * 30), call("a"), *(user("more " * 30) for _ in range(9))]
    made = fitted(parts, 200)
    assert made.tokens <= 200
    assert not [p for p in made.parts if p.call]


@pytest.mark.parametrize("parts", [[result("a", "r")], [call("a"), result("a", "1"), result("a", "2")]])
def test_a_result_that_answers_nothing_is_left_out_and_says_why(parts: list[Part]) -> None:
    made = fitted([user("u"), *parts], 10_000)
    assert [one.why for one in made.shown if one.fate is Fate.DROPPED] in (["no call"], ["a second result"])


def test_parallel_calls_stay_or_go_together() -> None:
    parts = [user("u"), call("a"), call("b"), result("b", "x " * 40), result("a", "y " * 40)]
    parts += [user("more " * 40), said("ok " * 40), user("and now?")]
    for window in range(60, 400, 7):
        try:
            shown = [p.call for p in fitted(parts, window).parts if p.call]
        except ContextOverflow:
            continue
        assert sorted(shown) in ([], ["a", "a", "b", "b"])


def test_sealed_thinking_goes_back_to_its_maker_only() -> None:
    sealed = [
        Part(role=Role.ASSISTANT, kind=Kind.THINKING, text="t", bound=name, data={"signature": "s"})
        for name in ("ours", "theirs")
    ]
    made = fitted([user("u"), *sealed, said("a")], 10_000)
    assert [p.bound for p in made.parts if p.bound] == ["ours"]
    assert [one.why for one in made.left_out] == ["other provider"]


def test_old_results_are_cleared_before_turns_go_and_can_be_recalled() -> None:
    parts = [user("u")]
    for n in range(8):
        parts += [call(f"c{n}"), result(f"c{n}", f"{n} " + "some long result " * 30)]
    made = fitted(parts, 700, results_kept=2)
    cut = [one for one in made.shown if one.why == "old tool result"]
    assert cut
    assert all(one.recall and one.recall in (one.as_ or one.part).text for one in cut)
    assert [p.text for p in made.parts[-1:]] == [parts[-1].text]


@pytest.mark.parametrize(
    ("turns", "words", "window", "more"),
    [(33, 40, 4_000, {}), (30, 20, 3_000, {"results_kept": 5, "step": 0.5})],
    ids=["by tokens", "by results"],
)
def test_results_are_cleared_in_steps_so_that_the_prefix_holds_for_several_turns(
    turns: int, words: int, window: int, more: dict[str, Any]
) -> None:
    """Cleared one at a time, each turn would change what the one before it was shown."""
    parts, cleared, breaks = [user("Read the book.")], list[int](), list[int]()
    before = list[str]()
    for n in range(turns):
        parts += [call(f"c{n}"), result(f"c{n}", f"{n} " + "some long result " * words), said(f"{n} " + "ok " * 30)]
        made = fitted(parts, window, **more)
        assert not any(one.fate is Fate.DROPPED for one in made.shown)
        shown = [part.text for part in made.parts]
        cleared.append(sum(one.why == "old tool result" for one in made.shown))
        if shown[: len(before)] != before:
            breaks.append(n)
        before = shown
    assert len(breaks) >= 3 and cleared == sorted(cleared) and cleared[-1] > 2 * len(breaks)
    assert min(later - earlier for earlier, later in pairwise(breaks)) >= 3, breaks


def test_a_result_that_was_given_before_is_said_once_where_room_is_short() -> None:
    long = "the same thing again " * 20
    parts = [user("u"), call("a"), result("a", long), call("b"), result("b", long), user("v")]
    whole = fitted(parts, 10_000)
    assert sum(long == p.text for p in whole.parts) == 2
    made = fitted(parts, whole.tokens - 1, result_share=1.0, results_kept=9)
    assert sum(long == p.text for p in made.parts) == 1
    assert made.shown[4].into == parts[2].hash
    assert "begins 'the same thing" in made.parts[4].text


@pytest.mark.parametrize("again", [True, False])
def test_results_that_repeat_others_are_cleared_like_those_that_do_not_before_a_turn_goes(again: bool) -> None:
    """Six files, each read twice, and then talk."""
    files = [f"file {n}: " + "some words of it " * 40 for n in range(6)]
    parts = [user("My name is Ann.")]
    for n, text in enumerate([*files, *(text if again else text.upper() for text in files)]):
        parts += [user("Read on."), call(str(n)), result(str(n), text)]
    parts += [part for n in range(6) for part in (user(f"And {n}?"), said("Well, " * 20))]
    whole = fitted([*parts, user("v")], 100_000)
    made = fitted([*parts, user("v")], whole.tokens // 2)
    assert "My name is Ann." in [p.text for p in made.parts]
    assert {one.why for one in made.shown} <= {"", "old tool result", "too long"}


def test_a_result_points_at_none_that_another_one_could_be_taken_for() -> None:
    """The balance of an account, asked for four times; the second and third are told from the first by their middle."""
    said = [
        f"The balance of the account of Ann and Bob, as it was told by the bank: {n} euros. {'As always. ' * 9}"
        for n in (12, 20, 12)
    ]
    parts = [user("u")]
    for n, text in enumerate([said[0], *said]):
        parts += [call(str(n)), result(str(n), text)]
    parts.append(user("v"))
    made = fitted(parts, fitted(parts, 10_000).tokens - 1, result_share=1.0, results_kept=9)
    shown = [p.text for p in made.parts if p.kind is Kind.RESULT]
    assert shown[0] == said[0] and shown[1].startswith("[as before") and shown[2:] == said[1:]


def test_what_points_at_a_part_that_is_gone_says_it_itself() -> None:
    long = "the same thing again " * 20
    parts = [user("u"), call("a"), result("a", long), *(said("x " * 100) for _ in range(3))]
    parts += [user("w"), call("b"), result("b", long), user("v")]
    made = fitted(parts, 300, result_share=1.0, results_kept=9)
    assert [p.text for p in made.parts if p.kind is Kind.RESULT] == [long]


def test_calls_that_were_just_made_are_heard_of_beside_a_long_document() -> None:
    parts = [replace(user("a long document " * 100), asks=True), *(call(str(n)) for n in range(3))]
    parts += [result(str(n), f"{n} " * 100) for n in range(3)]
    made = fitted(parts, fitted(parts[:1], 10_000).tokens + 150, result_share=1.0)
    assert [p.kind for p in made.parts[1:]] == [Kind.CALL] * 3 + [Kind.RESULT] * 3
    assert all("cleared; recall" in p.text for p in made.parts[4:])


@pytest.mark.parametrize("relevance", [(0.9, 0.1), (0.1, 0.9), (0.5, 0.5)])
def test_what_is_recalled_twice_gives_way_whichever_is_more_relevant(relevance: tuple[float, float]) -> None:
    notes = [Part(role=Role.USER, kind=Kind.MEMORY, text="a note " * 60, relevance=of) for of in relevance]
    parts = [user("u"), *notes, user("v")]
    must = fitted([user("u"), user("v")], 10_000).tokens
    assert [p.text for p in fitted(parts, must + 9).parts] == ["u", "v"]


def test_the_beginning_stays_the_same_over_many_calls() -> None:
    parts, starts = [system("rules " * 10)], []
    for n in range(120):
        parts += [user(f"question {n} " * 5), said(f"answer {n} " * 5)]
        starts.append(fitted(parts, 1000).parts[1].text)
    assert len(set(starts)) < 20


def test_a_summary_stands_where_what_it_covers_stood_and_a_call_is_never_cut_in_two() -> None:
    parts = [system("s"), user("one"), call("a"), result("a", "r"), user("two"), said("ok")]
    summary = Part(
        role=Role.USER, kind=Kind.SUMMARY, text="so far", made_of=tuple(p.hash for p in parts[1:3])
    )  # fmt: skip
    made = fitted([*parts, summary, user("three")], 10_000)
    assert [p.text for p in made.parts] == ["s", "so far", "{}", "r", "two", "ok", "three"]
    assert [one.fate for one in made.shown if one.part.text == "one"] == [Fate.SUMMARISED]


def test_a_summary_goes_where_nothing_else_is_left_to_go() -> None:
    old = [user("one"), said("two")]
    covers = tuple(p.hash for p in old)
    summary = Part(role=Role.USER, kind=Kind.SUMMARY, text="so far " * 20, made_of=covers, source="turns 1 to 1")
    state, document = Part(role=Role.USER, kind=Kind.STATE, text="task"), user("document " * 100, asks=True)
    whole = fitted([*old, summary, state, said("newest"), document], 10_000).tokens
    parts = [*old, summary, state, said("newest"), document]
    assert [p.kind for p in fitted(parts, whole - 1).parts] == [Kind.SUMMARY, Kind.STATE, Kind.TEXT]
    assert [p.kind for p in fitted(parts, whole - 30).parts] == [Kind.STATE, Kind.TEXT]
    (out,) = [one for one in fitted(parts, whole - 30).shown if one.part is summary]
    assert (out.fate, out.why) == (Fate.DROPPED, "window")


def test_an_equal_part_that_was_said_after_the_summary_is_not_covered() -> None:
    ok = user("ok")
    summary = Part(role=Role.USER, kind=Kind.SUMMARY, text="so far", made_of=(ok.hash,))
    made = fitted([ok, said("a"), summary, ok, said("b"), user("c")], 10_000)
    assert [p.text for p in made.parts] == ["so far", "a", "ok", "b", "c"]


def test_what_must_stay_and_does_not_fit_is_said_not_cut() -> None:
    with pytest.raises(ContextOverflow, match="there is room for 100") as caught:
        fitted([system("long " * 200), user("u")], 100)
    assert caught.value.remedy


def test_a_window_that_the_answer_fills_is_refused() -> None:
    with pytest.raises(InvalidContext, match="nothing is left"):
        Budget(window=100, reserved_out=90, tools=20)


def test_a_thread_of_ten_thousand_turns_is_assembled_quickly() -> None:
    parts = [system("s"), *(user(f"turn {n} is about this and that") for n in range(10_000))]
    fitted(parts, 4000)
    seconds: list[float] = []
    for n in range(5):
        parts.append(user(f"and turn {n}"))
        began = time.process_time()
        made = fitted(parts, 4000)
        seconds.append(time.process_time() - began)
    assert min(seconds) < 0.1, "some 15 ms on a quiet machine"
    assert made.parts[-1].text == "and turn 4"


def test_a_far_past_is_left_out_and_what_must_stay_is_not() -> None:
    parts = [system("s"), user("never forget this", pinned=True), *(said(f"turn {n} of many") for n in range(2000))]
    made = fitted([*parts, user("now")], 500)
    assert [p.text for p in made.parts[:2]] == ["s", "never forget this"]
    assert len(made.shown) == len(parts) + 1


@pytest.mark.parametrize("gap", [0, 90, 250])
def test_a_pinned_result_keeps_its_call_however_far_apart_they_are(gap: int) -> None:
    parts = [Part(role=Role.USER, text=f"m{n} " + "word " * 20) for n in range(700)]
    parts[430] = Part(role=Role.ASSISTANT, kind=Kind.CALL, call="k", tool="look", text="{}")
    parts.insert(431 + gap, Part(role=Role.TOOL, kind=Kind.RESULT, call="k", tool="look", text="kept", pinned=True))
    made = assemble(parts, Budget(window=4000, reserved_out=100), OURS, TOKENS)
    assert [part.text for part in made.parts if part.call] == ["{}", "kept"]
    assert made.tokens <= 3900


def test_a_client_that_sends_the_whole_history_doubles_nothing() -> None:
    context = Context([user("a"), said("b")])
    assert context.merge([user("a"), said("b"), user("c")]) == 1
    assert context.merge([user("c"), said("d")]) == 1
    assert context.merge([user("a"), said("b"), user("c"), said("d"), user("c")]) == 1
    assert [part.text for part in context] == ["a", "b", "c", "d", "c"]


def test_what_was_left_out_can_be_recalled_by_its_handle() -> None:
    context = Context([user("u"), call("a"), result("a", "the whole long result " * 40), user("v")])
    (cut,) = fitted(list(context), 400, result_share=0.1).left_out
    assert cut.recall
    assert context.part(cut.recall) == cut.part
    assert context.part("nothing") is None


def test_a_summary_covers_nothing_that_comes_after_it() -> None:
    ok = user("ok")
    summary = Part(role=Role.USER, kind=Kind.SUMMARY, text="so far", made_of=(ok.hash,))
    assert [p.text for p in fitted([said("a"), summary, ok, user("c")], 10_000).parts] == ["a", "so far", "ok", "c"]
