"""The comparison of failover: its checker is fooled by nothing, and it runs, with sizes that mean nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bench.__main__ import main
from bench.failover.books import Books
from bench.failover.crew import Done
from bench.failover.scene import Scene
from bench.failover.tally import quantile, tally
from bench.failover.tasks import Ask, Seen, asks, check

ASK = asks(1, "a")[0]
GOOD = {"ticket": ASK.ticket, "topic": "billing", "amount": 7, "summary": "it came twice", "urgent": False}


def entry(answer: dict[str, Any] | str, outcome: str = "answered", **more: Any) -> dict[str, Any]:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return {"prompt": ASK.prompt, "answer": text, "outcome": outcome, "tokens_in": 5, "tokens_out": 3, **more}


def test_an_answer_counts_only_if_the_model_gave_it_whole() -> None:
    seen = Seen([entry(GOOD)])
    text = json.dumps(GOOD)
    assert check(ASK, json.dumps(GOOD, indent=2), seen) == "valid"
    assert check(ASK, None, seen) == "none"
    assert check(ASK, "  ", seen) == "empty"
    assert check(ASK, text[:20], seen) == "cut"
    assert check(ASK, json.dumps({**GOOD, "amount": "7"}), seen) == "wrong schema"
    assert check(ASK, json.dumps({**GOOD, "ticket": "Ta000009"}), seen) == "wrong schema"
    assert check(ASK, json.dumps({**GOOD, "amount": 8}), seen) == "wrong answer"
    assert check(ASK, text, Seen([entry(GOOD, "spoilt")])) == "wrong answer"


def test_the_answer_to_a_repair_is_known_by_its_ticket() -> None:
    seen = Seen([entry("nonsense", "spoilt"), entry(GOOD, prompt="That was no JSON. Again, please.")])
    assert check(ASK, json.dumps(GOOD), seen) == "valid"
    assert seen.calls[ASK.ticket] == 2
    assert seen.twice() == 0


def test_two_whole_answers_to_one_ask_are_seen() -> None:
    assert Seen([entry(GOOD), entry(GOOD)]).twice() == 1


def test_asks_are_the_same_each_time_and_no_two_are_alike() -> None:
    many = asks(200, "a")
    assert many == asks(200, "a")
    assert len({one.ticket for one in many}) == 200


def test_the_figures_hold_the_server_against_the_client() -> None:
    counts = {"calls": 3, "limited": 1, "peak_active": 2, "peak_admitted": 3, "peak_tpm": 16}
    served = {"m": {**counts, "tokens_in": 10, "tokens_out": 6}}
    said = {"text": json.dumps(GOOD), "attempts": 2, "tokens_in": 5, "tokens_out": 3, "own_in": 5, "own_out": 4}
    lost = Ask("Ta000001", "", {})
    done = [Done(ASK, 0.0, 0.5, said), Done(lost, 0.1, 2.0, {"text": None, "error": "no"})]
    made = tally(Scene(), done, Seen([entry(GOOD)]), served, name=("x", "1"))
    assert (made.valid, made.ends) == (0.5, {"valid": 1, "none": 1})
    assert (made.attempts, made.tokens, made.tokens_served, made.tokens_wrong) == (1.5, 8, 16, 1)
    assert not made.limits.kept, "one call was refused for a limit"
    assert made.errors == {"no": 1}


def test_the_faults_of_the_scene_add_up() -> None:
    scene = Scene()
    assert sum(float(f.partition("=")[2]) for f in scene.faults()) == pytest.approx(
        scene.failing + scene.uncounted, abs=1e-4
    )
    assert quantile([3.0, 1.0, 2.0], 0.99) == 3.0


def test_books_that_hide_a_bill_or_count_one_twice_are_not_sound() -> None:
    fine = Books(limit=100, spent=50, estimated=20, billed=45, held=0, overspent=0, miscounted=0, twice=0, agree=True)
    assert fine.sound and replace(fine, billed=52).sound
    for wrong in ({"billed": 29}, {"billed": 53}, {"spent": 101}, {"held": 1}, {"twice": 1}, {"agree": False}):
        assert not replace(fine, **wrong).sound, wrong


@pytest.mark.proof
def test_the_comparison_runs_without_litellm(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["failover", "--quick", "--json", "--only", "segue"]) == 0
    said = capsys.readouterr()
    (figures,) = json.loads(said.out)
    assert "litellm is left out" in said.err
    assert figures["client"] == "segue"
    assert figures["asks"] == 40
    books = figures["books"]
    assert Books(**books).sound, books
    assert books["estimated"] < books["spent"]
    assert figures["valid"] > 0.95
    assert figures["twice"] == 0
    assert figures["outage"]["asks"] == 20
