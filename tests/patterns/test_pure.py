"""What is pure in the patterns holds for whatever is given."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from segue.agent.patterns import Ballot, Plan, Task, chunks, tally
from segue.agent.patterns.planning import wrong_with
from segue.agent.patterns.reducing import _calls, _estimated

ballots = st.lists(
    st.builds(
        Ballot[str],
        by=st.text("abc", min_size=1),
        value=st.sampled_from(["Rome", "rome ", "Paris", "Oslo"]),
        weight=st.sampled_from([0.5, 1.0, 2.0]),
        error=st.sampled_from(["", "", "", "it failed"]),
    ),
    max_size=8,
)


@given(ballots)
def test_a_winner_has_as_much_weight_as_anybody(given_: list[Ballot[str]]) -> None:
    made = tally(given_)
    voted = [one for one in given_ if not one.error]
    assert (made.winner is None) == (not voted)
    if made.winner is None:
        return
    weight = {value: sum(b.weight for b in voted if (b.value or "").strip().casefold() == value)
              for value in ("rome", "paris", "oslo")}  # fmt: skip
    best = max(weight.values())
    assert weight[made.winner.strip().casefold()] == best
    ties = [value for value, of in weight.items() if of == best]
    assert len(made.tied) == (len(ties) if len(ties) > 1 else 0)
    assert 0 < made.share <= 1
    assert len(made.abstained) == len(given_) - len(voted)


@given(ballots.filter(bool), st.randoms())
def test_the_order_of_ballots_changes_no_weight(given_: list[Ballot[str]], chance: Random) -> None:
    mixed = list(given_)
    chance.shuffle(mixed)
    one, other = tally(given_), tally(mixed)
    assert abs(one.share - other.share) < 1e-9
    assert {t.strip().casefold() for t in one.tied} == {t.strip().casefold() for t in other.tied}


texts = st.text(st.sampled_from("ab .!?\n\té漢"), max_size=400)


@given(texts, st.integers(1, 40))
def test_pieces_are_the_text_and_each_fits(text: str, tokens: int) -> None:
    pieces = chunks(text, tokens)
    assert "".join(pieces) == text
    assert all(_estimated(piece) <= tokens or len(piece) == 1 for piece in pieces)
    assert chunks(text, tokens) == pieces
    if _estimated(text) <= tokens:
        assert pieces == ([text] if text else [])


def test_pieces_break_at_the_best_place() -> None:
    text = "One two three. Four five six.\n\nSeven eight nine. Ten eleven twelve."
    assert chunks(text, 9, count=lambda said: len(said.split())) == ["One two three. Four five six.\n\n",
                                                                    "Seven eight nine. Ten eleven twelve."]  # fmt: skip


@given(st.integers(1, 500), st.integers(2, 9))
def test_the_calls_of_a_tree_are_bounded(pieces: int, fan: int) -> None:
    assert pieces <= _calls(pieces, fan) <= 2 * pieces + 10


ids = st.sampled_from("abcdef")


@given(st.lists(st.builds(lambda name, needs: Task(id=name, what="x", needs=needs), ids, st.lists(ids, max_size=3)),
                max_size=7))  # fmt: skip
def test_a_plan_that_passes_can_be_carried_out(tasks: list[Task]) -> None:
    wrong = wrong_with(Plan(tasks=tasks), 6)
    done: set[str] = set()
    for _ in tasks:
        done |= {task.id for task in tasks if set(task.needs) <= done}
    able = 0 < len(tasks) <= 6 and len({t.id for t in tasks}) == len(tasks) == len(done)
    assert (wrong is None) == able
