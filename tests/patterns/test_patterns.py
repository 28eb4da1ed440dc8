"""The patterns: what they make of answers, of failures, of a budget; and that a crash repeats no answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue import RunFailed, Thread, ask, delegate, flow, step
from segue.agent import patterns
from segue.agent.patterns import Score, Side, debate, improve, map_reduce, plan_and_work, vote
from segue.models import Catalogue
from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, catalogue, model, opened


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


def says(**by_start: Any) -> Any:
    """A model that answers by the words that its instruction begins with (`_` for a space)."""

    def answer(asked: Asked) -> str:
        told = f"{asked.system} {asked.prompt}"
        for start, said in by_start.items():
            if start.replace("_", " ") in told:
                return said(asked) if callable(said) else said
        return "?"

    return answer


# --- voting -----------------------------------------------------------------------------------------------------------


@flow
async def votes(
    question: str, by: list[str], weights: dict[str, float], tie: str = "first", attempts: int = 1
) -> dict[str, Any]:
    made = await vote(question, by=by, weights=weights, tie=tie, options={"attempts": attempts})  # pyright: ignore[reportArgumentType]
    return {
        "winner": made.winner, "share": made.share, "tied": list(made.tied), "lost": [b.by for b in made.abstained],
    }  # fmt: skip


async def test_most_votes_win_weights_count_and_who_fails_is_named(tmp_path: Path) -> None:
    answers = {"chat": "Rome", "claude": "Rome ", "gpt": "Paris", "gemini": "Paris"}
    models = {name: Served(answer=lambda _, said=said: said) for name, said in answers.items()}
    three, four = ["chat", "claude", "gpt"], list(answers)
    async with serve(models) as server, opened(tmp_path, server, *models) as engine:
        assert (await engine.run(votes, "a?", three, {}))["winner"] == "Rome"
        assert (await engine.run(votes, "b?", three, {"gpt": 5.0}))["winner"] == "Paris"
        tied = await engine.run(votes, "c?", four, {})
        assert (tied["winner"], tied["tied"], tied["share"]) == ("Rome", ["Rome", "Paris"], 0.5)
        server.fail("gpt", "overloaded")
        lost = await engine.run(votes, "d?", three, {})
        assert lost["lost"] == ["gpt"] and lost["winner"] == "Rome" and lost["share"] == pytest.approx(2 / 3)
        with pytest.raises(RunFailed) as failed:
            await engine.run(votes, "e?", ["chat", "gemini"], {}, "raise")
    error = failed.value.__cause__
    assert isinstance(error, patterns.NoMajority) and error.tied == "Rome\nParis"


@flow
async def samples(question: str) -> list[str]:
    made = await vote(question, by=5, limit=2)
    return [one.value or "" for one in made.ballots]


async def test_samples_of_one_model_differ_in_their_seed(tmp_path: Path) -> None:
    seeds: list[Any] = []

    def answer(asked: Asked) -> str:
        seeds.append(asked.body.get("seed"))
        return "yes"

    async with serve({"chat": Served(answer=answer)}) as server, opened(tmp_path, server, "chat") as engine:
        assert await engine.run(samples, "Is it?") == ["yes"] * 5
    assert sorted(seeds) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("commit", range(0, 12))
async def test_a_crash_at_any_write_of_a_vote_repeats_no_answer(commit: int) -> None:
    """A vote of three takes ten commits or so; 0 is no crash."""
    models = {name: Served(answer=lambda _: "Rome") for name in ("chat", "claude", "gpt")}

    async def scenario(engine: InMemory) -> Any:
        return await engine.run(votes, "a?", list(models), {}, "first", 3, id="v")

    async with serve(models) as server:
        made, engine = await play(
            scenario, [Crash(commit)] if commit else [], resources={"catalogue": catalogue(server, *models)}
        )
        done = [e.key for e in engine.history("v") if e.type == "step.completed"]
        assert made["winner"] == "Rome" and len(done) == len(set(done)) == 3
        assert server.counts().calls <= 6


# --- debate -----------------------------------------------------------------------------------------------------------


@flow
async def debated(question: str) -> dict[str, Any]:
    sides = [Side("yes", "It is good.", options={"model": "chat", "attempts": 1}),
             Side("no", options={"model": "gpt", "attempts": 1})]  # fmt: skip
    made = await debate(question, sides=sides, returns=bool, rounds=2, judged={"model": "claude"})
    return {"verdict": made.verdict, "said": [(s.side, s.round, s.text) for s in made.speeches],
            "silent": [s.side for s in made.silent]}  # fmt: skip


async def test_sides_see_what_was_said_and_the_judge_all_of_it(tmp_path: Path) -> None:
    seen: list[str] = []

    def judges(asked: Asked) -> str:
        seen.append(asked.prompt)
        return "true"

    def argues(name: str) -> Any:
        return lambda asked: f"{name} after {asked.prompt.count('round')}"

    models = {
        "chat": Served(answer=argues("pro")),
        "gpt": Served(answer=argues("con")),
        "claude": Served(answer=judges),
    }
    async with serve(models) as server, opened(tmp_path, server, *models) as engine:
        made = await engine.run(debated, "Is it good?")
        assert made["verdict"] is True
        assert made["said"] == [["yes", 1, "pro after 0"], ["no", 1, "con after 0"], ["yes", 2, "pro after 2"],
                                ["no", 2, "con after 2"]]  # fmt: skip
        assert "[yes, round 2] pro after 2" in seen[0]
        server.fail("gpt", "overloaded")
        silent = await engine.run(debated, "Is it bad?")
        assert silent["silent"] == ["no", "no"] and "[no, round 1] (it could not speak)" in seen[1]
        server.fail("chat", "overloaded")
        with pytest.raises(RunFailed) as failed:
            await engine.run(debated, "Is it anything?")
        assert isinstance(failed.value.__cause__, patterns.Nobody)


# --- planner and workers ----------------------------------------------------------------------------------------------

ORDER: list[str] = []


@step
async def measure(request: str) -> str:
    """Measures rooms: lengths and widths."""
    ORDER.append("measure")
    return "4 by 5 metres"


async def price(request: str) -> str:
    """Prices paint: what so many litres cost."""
    ORDER.append("price" if "4 by 5 metres" in request else "price of nothing")
    return "80 EUR"


async def tiles(request: str) -> str:
    """Lays tiles on roofs."""
    raise ConnectionError("the roof is away")


@flow
async def painted(goal: str) -> dict[str, Any]:
    made = await plan_and_work(goal, workers=[measure, price, tiles])
    return {"value": made.value, "by": [d.by for d in made.done], "failed": {d.task.id: d.error for d in made.failed}}


PLAN = {"tasks": [
    {"id": "cost", "what": "What does the paint cost? Price the litres.", "needs": ["size"]},
    {"id": "size", "what": "Measure the room: its length and width.", "needs": []},
]}  # fmt: skip
ROOF = {"tasks": [*PLAN["tasks"], {"id": "roof", "what": "Lay the tiles on roofs.", "needs": []},
                  {"id": "after", "what": "Price the paint of the roof.", "needs": ["roof"]}]}  # fmt: skip
CIRCLE = {"tasks": [{"id": "a", "what": "a", "needs": ["b"]}, {"id": "b", "what": "b", "needs": ["a"]}]}


async def test_workers_are_chosen_and_shown_what_they_need_and_failures_are_told(tmp_path: Path) -> None:
    plans = [json.dumps(CIRCLE), json.dumps(PLAN), json.dumps(ROOF)]
    seen: list[str] = []

    def finishes(asked: Asked) -> str:
        seen.append(asked.prompt)
        return "Done."

    models = {"chat": Served(answer=says(Make_a_plan=lambda _: plans.pop(0), Reach_the_goal=finishes))}
    ORDER.clear()
    async with serve(models) as server, opened(tmp_path, server, *models) as engine:
        made = await engine.run(painted, "Paint the room.")  # the plan in a circle goes back to the planner
        assert made == {"value": "Done.", "by": ["price", "measure"], "failed": {}}
        assert ORDER == ["measure", "price"] and "80 EUR" in seen[0]
        roof = await engine.run(painted, "Paint the room and the roof.")
    assert "the roof is away" in roof["failed"]["roof"] and roof["failed"]["after"] == "it needs roof, which failed"
    assert "(it failed:" in seen[1]


# --- evaluator and optimiser ------------------------------------------------------------------------------------------


@flow
async def improved(task: str, rounds: int) -> dict[str, Any]:
    made = await improve(task, returns=int, evaluator={"model": "gpt"}, options={"model": "chat"}, rounds=rounds)
    return {"value": made.value, "score": made.score, "n": len(made.versions), "stopped": made.stopped}


async def test_the_best_is_kept_and_rounds_are_bounded(tmp_path: Path) -> None:
    answers, scores = [3, 7, 5, 9], {3: 0.3, 7: 0.7, 5: 0.5, 9: 1.0}
    left = list(answers)
    shown: list[str] = []

    def answer(asked: Asked) -> str:
        shown.append(asked.prompt)
        return str(left.pop(0))

    def judge(asked: Asked) -> str:
        n = int(asked.prompt.rpartition("The answer:\n")[2])
        return json.dumps({"score": scores[n], "why": f"{n} is too small"})

    models = {"chat": Served(answer=answer), "gpt": Served(answer=judge)}
    async with serve(models) as server, opened(tmp_path, server, "chat", "gpt") as engine:
        made = await engine.run(improved, "Which number?", 3)
        assert made == {"value": 7, "score": 0.7, "n": 3, "stopped": "rounds"}
        assert "7 is too small" in shown[2]  # the best so far is shown, not the last
        left[:] = answers
        assert (await engine.run(improved, "Which other number?", 9))["stopped"] == "enough"
        left[:] = answers
        server.next("chat", None, None, "prompt-blocked")
        broken = await engine.run(improved, "Which third number?", 4)
    assert broken["value"] == 7 and broken["n"] == 2 and "flagged" in broken["stopped"]


@flow
async def improved_by_hand(task: str) -> float | None:
    def judged(value: str) -> Score:
        raise ValueError("who knows")

    return (await improve(task, evaluator=judged, rounds=2)).score


async def test_what_nobody_could_judge_is_still_an_answer(tmp_path: Path) -> None:
    models = {"chat": Served(answer=lambda _: "hm")}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        assert await engine.run(improved_by_hand, "What?") is None


@flow
async def improved_by_nobody(task: str) -> str:
    return (await improve(task, evaluator={"model": "gtp"})).value


async def test_an_evaluator_that_cannot_be_asked_is_told_before_more_is_paid_for(tmp_path: Path) -> None:
    models = {"chat": Served(answer=lambda _: "hm")}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        with pytest.raises(RunFailed, match="no model is called 'gtp'"):
            await engine.run(improved_by_nobody, "What?")
        assert server.counts("chat").calls == 1


@flow
async def improved_by_a_small_one(task: str) -> dict[str, Any]:
    made = await improve(task, evaluator={"model": "chat"}, options={"model": "gpt"}, rounds=3)
    return {"value": made.value[:20], "score": made.score, "errors": [bool(one.error) for one in made.versions]}


@pytest.mark.parametrize("long", [{1, 2}, {0}, {0, 1, 2}])
async def test_an_answer_too_long_for_the_evaluator_costs_no_other_one(long: set[int]) -> None:
    """All that had been judged was thrown away."""
    made: list[str] = []

    def writes(_: Asked) -> str:
        made.append("many long words here " * 200 if len(made) in long else "a short answer")
        return made[-1]

    models = {"gpt": Served(answer=writes), "chat": Served(answer=lambda _: '{"score": 0.5, "why": "fair"}')}
    async with serve(models) as server:
        small = replace(model(server, "chat"), window=1_000, max_output=500)
        known = Catalogue.of(model(server, "gpt"), small)
        async with InMemory(resources={"catalogue": known}) as engine:
            told = await engine.run(improved_by_a_small_one, "Write.")
    assert told["errors"] == [n in long for n in range(3)] and len(made) == 3
    assert told["score"] == (None if len(long) == 3 else 0.5)
    assert told["value"].startswith("many" if len(long) == 3 else "a short")


# --- map and reduce ---------------------------------------------------------------------------------------------------

BOOK = "\n\n".join(f"Chapter {n}. " + f"The number of chapter {n} is {n * n}. " * 6 for n in range(1, 10))


@flow(budget_usd=1.0)
async def summed(book: str, missing_max: float = 0.0) -> dict[str, Any]:
    made = await map_reduce(
        "Add the numbers up.", book, returns=int, tokens=120, fan=3, missing_max=missing_max,
        options={"attempts": 1, "repairs": 0},
    )  # fmt: skip
    return {"value": made.value, "pieces": made.pieces, "missing": list(made.missing), "levels": made.levels}


def sums(asked: Asked) -> str:
    """Adds the numbers of one piece, or the results of several."""
    if "put together" in asked.system or "results of the same task" in asked.system:
        numbers = [int(line) for line in asked.prompt.splitlines() if line.strip().isdigit()]
        return str(sum(numbers))
    return str(sum(n * n for n in range(1, 10) if f"Chapter {n}." in asked.prompt))


async def test_a_long_document_is_read_in_pieces_and_put_together_in_a_tree(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=sums)}) as server, opened(tmp_path, server, "chat") as engine:
        made = await engine.run(summed, BOOK)
    assert made["value"] == sum(n * n for n in range(1, 10))
    assert made["pieces"] >= 9 and made["levels"] >= 2 and made["missing"] == []


async def test_missing_pieces_are_allowed_for_or_an_error_that_names_them(tmp_path: Path) -> None:
    told: list[str] = []

    def broken(asked: Asked) -> str:
        told.append(asked.system)
        return "no number" if "Chapter 4." in asked.prompt else sums(asked)

    async with serve({"chat": Served(answer=broken)}) as server, opened(tmp_path, server, "chat") as engine:
        made = await engine.run(summed, BOOK, 0.2)
        joins = [asked for asked in told if "put together" in asked or "results of the same task" in asked]
        assert joins and all("Pieces that could not be read: 4." in one for one in joins)
        assert len(made["missing"]) == 1 and made["value"] == sum(n * n for n in range(1, 10)) - 16
        with pytest.raises(RunFailed) as failed:
            await engine.run(summed, BOOK, 0.0)
    error = failed.value.__cause__
    assert isinstance(error, patterns.Incomplete) and error.missing == str(made["missing"][0])


@flow
async def counted(document: str) -> list[int]:
    made = await map_reduce("What is said?", document, tokens=5, count=len)
    return [made.pieces, made.levels]


async def test_a_piece_without_a_word_is_not_asked_about(tmp_path: Path) -> None:
    async with serve({"chat": Served(answer=lambda _: "fine")}) as server, opened(tmp_path, server, "chat") as engine:
        assert await engine.run(counted, "one" + "\n \n" * 20 + "two") == [2, 1]
        assert server.counts("chat").calls == 3


# --- in a turn of a thread --------------------------------------------------------------------------------------------


@flow
async def talk(text: str) -> str:
    if "vote" in text:
        return (await vote(text, by=3)).winner or ""
    if "read" in text:
        return (await map_reduce("Risks?", "word " * 900, tokens=400)).value
    if "plan" in text:
        return (await plan_and_work(text, workers=["chat"])).value
    if "pick" in text:
        return await delegate(text, to=["chat", "gpt"], chooser="default")
    return await ask(text)


async def test_a_pattern_in_a_turn_is_no_part_of_the_talk(tmp_path: Path) -> None:
    """Voters see no other votes, and the user's thread holds what the user and the flow said."""
    heard: list[list[str]] = []

    def answer(asked: Asked) -> str:
        heard.append([turn.text for turn in asked.turns])
        if "Make a plan" in str(asked.body):
            return json.dumps({"tasks": [{"id": "a", "what": "What is to be done?"}]})
        return "chat"

    models = {name: Served(answer=answer) for name in ("chat", "gpt")}
    async with serve(models) as server, opened(tmp_path, server, *models) as engine:
        thread = Thread("ann", engine)
        for text in ("Hello.", "Now vote.", "Now read.", "Now plan.", "Now pick.", "Bye."):
            await (await thread.start(talk, text)).result()
    assert heard[-1] == ["Hello.", "chat", "Now pick.", "chat", "Bye."]


@flow
async def misled(text: str) -> None:
    await vote(text, options={"returns": int})  # pyright: ignore[reportArgumentType]


async def test_an_option_that_the_pattern_gives_itself_is_refused(tmp_path: Path) -> None:
    async with serve({"chat": Served()}) as server, opened(tmp_path, server, "chat") as engine:
        with pytest.raises(RunFailed, match="no option 'returns' here"):
            await engine.run(misled, "Which?")
        assert server.counts("chat").calls == 0
