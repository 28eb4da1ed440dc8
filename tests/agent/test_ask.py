"""`ask`: a typed answer, or the model is shown its mistake; `approve`: a yes or no that a signal brings."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from segue import Engine, Run, RunFailed, approve, ask, flow
from segue.agent import Approval, Tried, answer
from segue.core.records import AttemptRecorded, record_of
from segue.models import BadOutput, Completion, ModelFailed, Request

Script = Callable[..., list[Request]]


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Pet(BaseModel):
    name: str
    legs: int


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Let the models say these texts in turn; gives the requests that they got."""

    def say(*texts: str | Exception, finish: str = "stop") -> list[Request]:
        got: list[Request] = []

        async def complete(request: Request) -> Completion:
            got.append(request)
            said = texts[min(len(got), len(texts)) - 1]
            if isinstance(said, Exception):
                raise said
            return Completion(text=said, model=request.model, tokens_in=7, tokens_out=3, finish=finish)

        monkeypatch.setattr(importlib.import_module("segue.models.calls_local"), "complete", complete)
        return got

    return say


async def test_outside_of_a_run_it_simply_asks(script: Script) -> None:
    got = script("hello")
    assert await ask("Greet.", "Ada", model="gemma3") == "hello"
    assert (got[0].model, got[0].prompt, got[0].input, got[0].choices, got[0].schema) == (
        "gemma3", "Greet.", "Ada", [], None,
    )  # fmt: skip


async def test_words_are_answered_by_choice(script: Script) -> None:
    got = script("blue")
    assert await ask("Which?", returns=Colour) is Colour.BLUE
    assert got[0].choices == ["red", "blue"]
    assert await ask("Which?", returns=Literal["blue", "green"]) == "blue"
    assert got[1].choices == ["blue", "green"]


async def test_other_types_are_answered_as_json_of_their_schema(script: Script) -> None:
    got = script('{"name": "Rex", "legs": 4}')
    examples = [("a bird", Pet(name="Pip", legs=2))]
    assert await ask("Which pet?", {"kind": "dog"}, returns=Pet, examples=examples) == Pet(name="Rex", legs=4)
    assert got[0].schema is not None
    assert got[0].schema["required"] == ["name", "legs"]
    assert (got[0].input, got[0].examples[0].output) == ('{"kind":"dog"}', '{"name":"Pip","legs":2}')


async def test_a_bad_answer_is_shown_and_asked_for_again(script: Script) -> None:
    got = script('{"name": "Rex"}', '{"name": "Rex", "legs": 5}', '{"name": "Rex", "legs": 4}')
    given = await answer("Pet?", "dog", returns=Pet, check=lambda pet: f"{pet.legs} legs" if pet.legs % 2 else None)
    assert given.value.legs == 4
    assert [tried.error for tried in given.tried] == [
        "the answer does not fit: it: the field 'legs' is missing",
        "5 legs",
        "",
    ]
    assert got[1].input == "dog\nDo not repeat this mistake: the answer does not fit: it: the field 'legs' is missing"
    assert got[2].input == "dog\nDo not repeat this mistake: 5 legs"
    assert [r.seed for r in got] == [1, 2, 3]
    assert [r.temperature > 0 for r in got] == [False, True, True]


async def test_it_gives_up_after_two_repairs_and_says_what_was_tried(script: Script) -> None:
    got = script("nonsense")
    with pytest.raises(BadOutput, match="no JSON") as error:
        await ask("Pet?", returns=Pet, model="gemma3", attempts=3)
    tried: tuple[Tried, ...] = vars(error.value)["tried"]
    assert len(got) == len(tried) == 3
    assert tried[0].tokens_in == 7


async def test_an_answer_that_was_cut_off_is_bad(script: Script) -> None:
    script("Once upon a", finish="length")
    with pytest.raises(BadOutput, match="cut at its limit"):
        await ask("A story.", repairs=0, attempts=1)


async def test_a_check_may_raise_what_is_wrong(script: Script) -> None:
    def polite(text: str) -> None:
        if "please" not in text:
            raise ValueError("say please")

    got = script("now", "please")
    assert await ask("Ask.", check=polite) == "please"
    assert "say please" in got[1].input


@flow
async def name_a_pet(kind: str) -> Pet:
    return await ask("Name it.", kind, returns=Pet)


async def test_in_a_run_it_is_one_step_and_each_attempt_is_on_record(script: Script, tmp_path: Path) -> None:
    got = script("nonsense", '{"name": "Rex", "legs": 4}')
    async with Engine(str(tmp_path / "x.db")) as engine:
        run = await engine.start(name_a_pet, "dog")
        assert (await run.result()).name == "Rex"
        events = [event async for event in run.events()]
    steps = [event for event in events if event.type == "step.completed"]
    assert [(event.key or "").split("[")[0] for event in steps] == ["ask"]
    assert [one["tokens_in"] for one in json.loads(steps[0].value or b"")["tried"]] == [7, 7]
    assert [event.type for event in events].count("decision.made") == 2
    records = [record_of(event) for event in events if event.type == "attempt.recorded"]
    assert [(r.why, r.end, r.usage.tokens_out) for r in records if isinstance(r, AttemptRecorded) and r.usage] == [
        ("primary", "rejected", 3),
        ("repair", "answered", 3),
    ]
    assert len(got) == 2


@flow
async def name_two(kind: str) -> list[str]:
    first = await ask("Name it.", kind, returns=Pet)
    second = await ask("Name another.", kind, returns=Pet, attempts=1)
    return [first.name, second.name]


async def test_what_was_answered_before_a_failure_is_not_asked_again(script: Script, tmp_path: Path) -> None:
    got = script('{"name": "Rex", "legs": 4}', ModelFailed("gone"))
    async with Engine(str(tmp_path / "x.db")) as engine:
        run = await engine.start(name_two, "dog", id="pet")
        with pytest.raises(RunFailed, match="gone"):
            await run.result()
        again = script('{"name": "Kim", "legs": 4}')
        failed = [event.key async for event in run.events() if event.type == "step.failed"]
        fork = await run.fork(failed[0], id="pet-2")
        assert await fork.result() == ["Rex", "Kim"]
    assert (len(got), len(again)) == (2, 1)


@flow
async def pay(cents: int) -> Approval:
    return await approve("Pay out?", {"cents": cents}, by="lead", timeout_s=0.3)


async def asked(run: Run[Any]) -> dict[str, Any]:
    async for event in run.events():
        if event.type == "approval.asked":
            return json.loads(event.body or b"")
    raise AssertionError("nothing was asked")


async def test_a_signal_decides(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "x.db")) as engine:
        run = await engine.start(pay, 5)
        question = await asked(run)
        assert (question["question"], question["shown"], question["by"]) == ("Pay out?", {"cents": 5}, ["lead"])
        assert question["id"].startswith("approve:pay-out#")
        await run.signal(question["id"], {"approved": True, "by": "ada", "note": "fine"})
        assert await run.result() == Approval(approved=True, by="ada", note="fine")
        decided = [json.loads(e.body or b"") async for e in run.events() if e.type == "approval.decided"]
    assert [(d["asked"], d["verdict"], d["by"]) for d in decided] == [(question["id"], "approved", "ada")]


async def test_without_an_answer_it_is_no(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "x.db")) as engine:
        decision = await engine.run(pay, 5)
    assert not decision
    assert decision.by == "segue"


async def test_a_payload_that_is_no_decision_decides_nothing(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "x.db")) as engine:
        run = await engine.start(pay, 5)
        await run.signal((await asked(run))["id"], {"approved": "perhaps"})
        assert (await run.result()).by == "segue"
