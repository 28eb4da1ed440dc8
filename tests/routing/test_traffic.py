"""Past traffic: a journal's decisions, attempts, settlements and feedback, joined."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from segue import Engine, Run
from segue.core.events import EventType
from segue.core.records import (
    AnswerRef,
    AttemptEnd,
    AttemptRef,
    AttemptWhy,
    Decision,
    Feedback,
    NextMove,
    Record,
    Usage,
)
from segue.errors import InputError
from segue.journal import Journal
from segue.routing import Best, Shadow
from segue.routing.lessons import lessons, table_of
from segue.routing.past import Row, logged_rows, rows
from segue.routing.traffic import Ask, Traffic, request_of
from tests.routing.asked import BUSY, Question, asking, attempt, checked, rejected, settled, told
from tests.routing.made import routed

HARD = Question("Summarise.", ["a long text"], "Be brief.")


def decision(id: str = "d1", **more: object) -> Decision:
    return replace(routed(Best(), luck=0.5), id=id, route="r", **more)  # type: ignore[arg-type]


class Bench:
    """An engine on a file, and the traffic that is read from it."""

    def __init__(self, engine: Engine, path: Path):
        self.engine, self.path, self.traffic = engine, path, Traffic()

    async def ask(self, *asks: Sequence[Record], questions: list[Question] | None = None) -> Run[int]:
        told(*asks)
        run = await self.engine.start(asking, questions or [HARD] * len(asks))
        await run.result()
        return run

    def read(self, traffic: Traffic | None = None) -> Traffic:
        traffic = self.traffic if traffic is None else traffic
        with Journal.open_readonly(str(self.path)) as reader:
            traffic.read(reader)
        return traffic

    def asks(self) -> list[Ask]:
        return list(self.read().asks)

    def forget(self, kind: str) -> None:
        """As if events of a type had not been written yet."""
        with sqlite3.connect(self.path) as database:
            database.execute("delete from events where type = ?", (kind,))
        database.close()

    def row(self) -> Row:
        (row,) = rows(self.read())
        return row


def benched(test: Callable[[Bench], Awaitable[None]]) -> Callable[[Path], Awaitable[None]]:
    """A test that is given a bench in a folder of its own."""

    async def run(tmp_path: Path) -> None:
        path = tmp_path / "segue.db"
        async with Engine(str(path), linger_s=0.01, tick_s=0.05) as engine:
            await test(Bench(engine, path))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@benched
async def test_a_decision_is_joined_with_what_came_of_it(bench: Bench) -> None:
    run = await bench.ask([decision(), attempt("large", decision="d1", **checked(True))])
    await run.feedback(0.25, by="ada")
    row = bench.row()
    assert (row.run, row.decision.id, row.answered, row.answered_by) == (run.id, "d1", True, "large")
    assert row.candidates == ("small", "mid", "large") and sum(row.propensities) == pytest.approx(1)
    assert (row.passed, row.score, row.reward) == (1.0, 0.25, 0.25)
    assert (row.cost_nano, row.latency_s, row.tokens_in, row.tokens_out, row.attempts) == (1000, 1.0, 100, 10, 1)
    (ask,) = bench.traffic.asks
    assert ask.request is not None and ask.request.text == "Be brief.\nSummarise.\na long text"
    assert ask.request.task.endswith("/Summarise.") and ask.run.flow in ask.request.task


@benched
async def test_what_follows_a_decision_is_what_came_of_it(bench: Bench) -> None:
    """A repair, a fallback: one ask, whose first decision is judged by all that it cost."""
    second = decision("d2", after="d1", because="bad output")
    await bench.ask(
        [
            decision(),
            rejected("large", 1, NextMove.AMEND, decision="d1"),
            rejected("large", 2, decision="d1", why=AttemptWhy.REPAIR),
            second,
            attempt("small", 3, decision="d2", why=AttemptWhy.FALLBACK, queued_s=0.5),
        ]
    )
    row = bench.row()
    assert row.decision.id == "d1" and row.answered and row.answered_by == "small" and row.attempts == 3
    assert row.cost_nano == 3000 and row.latency_s == 3.5


@benched
async def test_an_ask_that_is_under_way_is_no_row_yet(bench: Bench) -> None:
    await bench.ask([decision(), rejected("large", 1)], [decision()], [attempt("large")])
    bench.forget("step.completed")
    assert rows(bench.read()) == [] and len(bench.traffic) == 3


@benched
async def test_an_ask_that_failed_is_a_row(bench: Bench) -> None:
    await bench.ask([decision(), rejected("large", 1, NextMove.FAIL)])
    row = bench.row()
    assert not row.answered and row.answered_by is None and row.passed == 0.0 and row.score is None


@benched
async def test_a_decision_that_a_crash_left_without_an_attempt_is_still_the_first(bench: Bench) -> None:
    later = attempt("small", 2, decision="d2", why=AttemptWhy.RETRY, follows=AttemptRef(epoch=1, n=1))
    await bench.ask([decision(), decision("d2"), later])
    assert bench.row().decision.id == "d1" and bench.row().attempts == 1


@benched
async def test_asks_within_one_step_are_told_apart(bench: Bench) -> None:
    again = rejected("mid", 1, decision="d2")
    mended = attempt("mid", 2, decision="d3", why=AttemptWhy.REPAIR, follows=AttemptRef(epoch=1, n=1))
    two = [decision("d1"), attempt("large", decision="d1"), decision("d2"), again, decision("d3"), mended]
    await bench.ask(two)
    found = rows(bench.read())
    assert [(row.decision.id, row.attempts, row.answered_by) for row in found] == [("d1", 1, "large"), ("d2", 2, "mid")]


@benched
async def test_what_is_not_known_stays_unknown(bench: Bench) -> None:
    free = Usage(tokens_in=5, tokens_out=1)
    down = attempt("mid", 1, end=AttemptEnd.FAILED, fault=BUSY, usage=None, latency_s=None)
    await bench.ask(
        [decision(), attempt("large", usage=free, latency_s=None)],
        [
            decision(),
            down,
            attempt("large", 2, reservation="r1", usage=free),
            settled("r1", 700, True),
            settled("r1", 5),
        ],
    )
    first, second = rows(bench.read())
    assert first.cost_nano is None and first.reward is None and first.answered
    assert second.cost_nano == 5
    for row in (first, second):  # how long an attempt took is not known: so, from the decision to the end
        assert row.latency_s is not None and 0 <= row.latency_s < 1


@benched
async def test_it_reads_on_from_where_it_was(bench: Bench) -> None:
    run = await bench.ask([decision(), attempt("large")])
    with Journal.open_readonly(str(bench.path)) as reader:
        assert bench.traffic.read(reader) == 2 and bench.traffic.read(reader) == 0
        before = bench.traffic.position
        await run.feedback(1.0)
        assert bench.traffic.read(reader) == 1 and bench.traffic.position > before
    (ask,) = bench.traffic.asks
    assert ask.score == 1.0 and ask.position == bench.traffic.position
    late = Traffic(position=before)
    bench.read(late)
    assert len(late) == 0 and late.passed_over == {"feedback on what is not known": 1}


@benched
async def test_of_many_asks_the_oldest_are_forgotten(bench: Bench) -> None:
    await bench.ask(*[[attempt("large", request_id=str(n), **checked(True))] for n in range(12)])
    few = bench.read(Traffic(asks_max=3))
    assert [ask.attempts[0].request_id for ask in few.asks] == ["9", "10", "11"]
    assert len(lessons(few)) == 3


@benched
async def test_feedback_finds_its_answer(bench: Bench) -> None:
    """A run's is for all of its asks, a key's for that one, and of each person the last word counts."""
    run = await bench.ask([attempt("small")], [attempt("mid")], questions=[Question("a"), Question("b")])
    await run.feedback(1.0, by="ada")
    first, second = bench.asks()
    assert first.score == second.score == 1.0
    await run.feedback(0.0, key=second.key, by="ada")
    await run.feedback(0.5, key=second.key, by="bob")
    with pytest.raises(InputError, match="the run has no step") as refused:
        await run.feedback(0.5, key="nobody[1]#1")
    assert refused.value.run == run.id and refused.value.key == "nobody[1]#1"
    first, second = bench.asks()
    assert (first.score, second.score) == (1.0, 0.25)


@benched
async def test_feedback_on_a_fork_reaches_the_run_that_it_was_made_of(bench: Bench) -> None:
    run = await bench.ask([decision(), attempt("small")])
    fork = await run.fork()
    await fork.result()
    (ask,) = bench.asks()
    await fork.feedback(0.5, key=ask.key)
    assert bench.asks()[0].score == 0.5 and len(bench.traffic) == 1


@benched
async def test_what_cannot_be_read_is_passed_over(bench: Bench) -> None:
    await bench.ask([decision(), attempt("large")], [decision(), attempt("large")])
    with sqlite3.connect(bench.path) as database:
        database.execute(
            'update events set body = \'{"epoch": "?"}\' where pos ='
            " (select min(pos) from events where type = 'attempt.recorded')"
        )
        database.execute("update events set args = null where type = 'step.completed'")
    database.close()
    assert len(rows(bench.read())) == 1
    assert bench.traffic.passed_over == {f"{EventType.ATTEMPT_RECORDED}: RecordError": 1}
    assert [ask.request for ask in bench.traffic.asks] == [None, None] and lessons(bench.traffic) == []


@benched
async def test_shadows_stand_beside(bench: Bench) -> None:
    made = replace(routed(Shadow(of=Best(), shadows=("small",)), luck=0.5), id="d1")
    beside = attempt("small", 2, why=AttemptWhy.SHADOW, end=AttemptEnd.SUPERSEDED, **checked(False))
    await bench.ask([made, attempt("large", **checked(True)), beside])
    row = bench.row()
    place = row.candidates.index("small")
    assert row.cost_nano == 1000 and row.answered_by == "large" and row.shadows[place].reward == 0.0
    (logged,) = logged_rows([row]).rows
    assert logged.shadows[place].cost_nano == 1000 and logged.outcome.reward == 1.0
    assert lessons(bench.traffic)[0].scores == {"large": 1.0, "small": 0.0}


@benched
async def test_a_hedge_that_won_took_its_own_time(bench: Bench) -> None:
    hedged = decision(hedge=0, hedge_after_s=0.25)
    slow = attempt("large", 1, end=AttemptEnd.CANCELLED, usage=None, latency_s=9.0)
    await bench.ask([hedged, slow, attempt("small", 2, why=AttemptWhy.HEDGE)])
    assert bench.row().latency_s == 1.25 and bench.row().answered_by == "small"


@benched
async def test_a_hedge_that_won_a_later_attempt_took_the_time_before_it_too(bench: Bench) -> None:
    first, second = decision(id="d1", hedge=1, hedge_after_s=5.0), decision(id="d2", hedge=0, hedge_after_s=0.25)
    failed = attempt("mid", 1, end=AttemptEnd.FAILED, fault=BUSY, then=NextMove.USE, decision="d1", latency_s=0.5)
    slow = attempt(
        "large", 2, why=AttemptWhy.FALLBACK, end=AttemptEnd.CANCELLED, usage=None, latency_s=9.0, decision="d2"
    )
    won = attempt("small", 3, why=AttemptWhy.HEDGE, decision="d2")
    await bench.ask([first, failed, second, slow, won])
    assert bench.row().latency_s == 1.75


@benched
async def test_a_pinned_decision_is_left_out_of_the_judges_rows(bench: Bench) -> None:
    await bench.ask([decision(pinned_by="caller"), attempt("large")], [decision(), attempt("large")])
    past = logged_rows(rows(bench.read()))
    assert len(past.rows) == 1 and past.left_out == {"pinned by caller": 1}
    assert past.rows[0].cluster != "" and len(past.rows[0].features) == 2


@benched
async def test_lessons_are_what_was_thought_and_what_was_checked(bench: Bench) -> None:
    """Feedback before checks; that a model was busy says nothing of it; that it answered, neither."""
    failed = attempt("mid", 1, end=AttemptEnd.FAILED, fault=BUSY, then=NextMove.USE)
    run = await bench.ask(
        [rejected("small", 1, **checked(False)), attempt("large", 2, **checked(True, 0.75))],
        [failed, attempt("large", 2)],
        [rejected("small", 1), rejected("small", 2, why=AttemptWhy.REPAIR), attempt("small", 3, **checked(True))],
        [attempt("mid", 1)],
        questions=[HARD] * 4,
    )
    keys = [ask.key for ask in bench.asks()]
    await run.feedback(0.5, key=keys[3])
    found = lessons(bench.read())
    assert [one.scores for one in found] == [
        {"small": 0.0, "large": 0.75},
        {"small": pytest.approx(1 / 3)},
        {"mid": 0.5},
    ]
    models, table = table_of(found)
    assert models == ("large", "mid", "small") and table.shape == (3, 3)


@benched
async def test_failures_teach_nothing_where_answers_are_not_checked(bench: Bench) -> None:
    """Else every model would be known by its failures alone."""
    await bench.ask([rejected("small", 1), attempt("large", 2)], [attempt("small")])
    assert lessons(bench.read()) == []


@benched
async def test_a_preference_moves_two_models_apart(bench: Bench) -> None:
    run = await bench.ask([attempt("large", 1), attempt("small", 2, why=AttemptWhy.SHADOW, end=AttemptEnd.SUPERSEDED)])
    (ask,) = bench.asks()
    other = AnswerRef(attempt=AttemptRef(epoch=1, n=2))
    mine = AnswerRef(attempt=AttemptRef(epoch=1, n=1))
    for said in (
        Feedback(better_than=other, about=mine),
        Feedback(better_than=mine, about=other, tied=True),
        Feedback(better_than=AnswerRef(run="gone"), about=mine),
        Feedback(better_than=mine, about=mine),
    ):
        await run._post("feedback", ask.key, said.note or str(id(said)), None, dict(said.to_body()))
    won, tied = lessons(bench.read(), {"large": 0.75, "small": 0.25})
    assert won.scores == {"large": 1.0, "small": 0.0} and tied.scores == {"large": 0.5, "small": 0.5}
    assert sum(bench.traffic.passed_over.values()) == 2


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (b'{"question": {"prompt": "a", "parts": ["b", 3], "system": "s"}}', "s\na\nb"),
        (b'{"request": {"prompt": "a", "input": "b"}}', "a\nb"),
        (b'{"prompt": "a"}', "a"),
        (b'{"n": 3, "prompt": 4}', None),
        (b"[1]", None),
        (None, None),
    ],
)
def test_the_request_is_found_in_a_steps_arguments(args: bytes | None, text: str | None) -> None:
    found = request_of(args, "f")
    assert (found and found.text) == text
