"""The inbox at the command line: what waits for whom, and a word on it from a process of its own."""

from __future__ import annotations

import json
import shlex
from datetime import date, datetime, time
from typing import Annotated, Any

import pytest
from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, Field, TypeAdapter

from segue.cli import forms
from tests.cli.terminal import Terminal, until

PEOPLE = """

from pydantic import Field

from segue import Retry, approve, ask_human, delegate, escalate


class Address(BaseModel):
    street: str
    zip: int = Field(ge=1000)


@flow
async def refund(cents: int) -> str:
    said = await approve(f"Pay back {cents}?", {"cents": cents}, by="claims-lead")
    note("decided")
    return f"{bool(said)} by {said.by}: {said.note}"


@flow
async def move(who: str) -> str:
    to = await ask_human("Where to?", {"who": who}, returns=Address, by=["desk", "porter"])
    return f"{to.street} {to.zip}"


@flow
async def why(what: str) -> str:
    return await ask_human(f"Why {what}?")


@flow
async def sell(card: str) -> str:
    try:
        return str(_oops(card))
    except LookupError:
        return await escalate("By hand, please.", {"card": card}, by="till", timeout_s=60_000, default="later")


@step(retry=Retry(attempts=3, backoff_s=0.0))
async def transfer(card: str) -> str:
    raise ConnectionError("the bank is shut")


@flow
async def pay(card: str) -> str:
    'Pays back.'
    return await transfer(card)


@flow
async def returned(card: str) -> str:
    try:
        return await delegate({"card": card}, to=[pay])
    except Exception as error:
        return await escalate("Pay it back.", by="till")
"""


@pytest.fixture
def desk(terminal: Terminal) -> Terminal:
    shop = terminal.folder / "shop.py"
    shop.write_text(shop.read_text() + PEOPLE)
    return terminal


def asks(desk: Terminal, flow: str, given: object, id: str = "r") -> str:
    """A run that waits for a person, with no process. Gives the question's id."""
    desk.segue("run", f"shop:{flow}", "-i", json.dumps(given), "--id", id, "--detach")
    desk.segue("resume", "--patience-s", "0", "-q")
    assert desk.state(id) == "parked"
    return next(item["id"] for item in inbox(desk) if item["run"] == id)


def inbox(desk: Terminal, *words: str) -> list[dict[str, Any]]:
    return desk.segue("inbox", "--json", *words).json


def test_the_inbox_lists_what_waits_for_whom(desk: Terminal) -> None:
    empty = desk.segue("run", "shop:nothing") and desk.segue("inbox")
    assert (empty.code, empty.out) == (0, "") and "Nothing waits for anybody" in empty.err
    pay, where, sold = asks(desk, "refund", 500, "a"), asks(desk, "move", "Kim", "b"), asks(desk, "sell", "visa", "c")
    listed = desk.segue("inbox")
    lines = listed.out.splitlines()
    assert lines[0].split() == ["id", "asks", "for", "run", "since", "due"]
    assert [line.split()[0] for line in lines[1:]] == [sold, pay, where], "what is due first comes first"
    assert "? Pay back 500?" in lines[2] and "claims-lead" in lines[2] and "desk, porter" in lines[3]
    assert f"segue inbox {sold}" in listed.err
    assert [i["id"] for i in inbox(desk, "--for", "porter")] == [where]
    assert "Nothing waits for ada." in desk.segue("inbox", "--for", "ada").err
    assert "1 more question" in desk.segue("inbox", "-n", "2").err


def test_one_question_in_full_with_commands_that_work(desk: Terminal) -> None:
    sold = asks(desk, "sell", "visa", "c")
    shown = desk.segue("inbox", sold)
    assert shown.code == 0
    for part in ("! By hand, please.", "asked of till", '"card": "visa"', "LookupError", "then the answer is", "text"):
        assert part in shown.out, part
    command = next(line for line in shown.out.splitlines() if "segue answer" in line).partition("#")[0]
    assert desk.segue(*shlex.split(command)[1:]).code == 0
    assert desk.segue("resume", "c").out == "…\n"


def test_a_word_from_another_process_decides_a_run_that_is_carried_out(desk: Terminal) -> None:
    started = desk.start("run", "shop:refund", "-i", "500", "--id", "r")
    until(lambda: desk.has("r", "approval.asked"))
    (item,) = inbox(desk)
    said = desk.segue("approve", item["id"], "--by", "ada", "--note", "seen the invoice")
    assert (said.code, said.err) == (0, "✓ approved: Pay back 500? (asked of claims-lead)\n")
    assert started.wait().out == "True by ada: seen the invoice\n"
    again = desk.segue("deny", item["id"], "--by", "bob", "--json")
    assert again.code == 2
    error = json.loads(again.err)["error"]
    assert (error["code"], error["by"], error["verdict"]) == ("already-decided", "ada", "approved")
    assert error["message"].startswith("ada has approved it, 20") and error["at"] > 1e9


def test_a_decision_outlives_kill_9(desk: Terminal) -> None:
    started = desk.start("run", "shop:refund", "-i", "500", "--id", "r")
    until(lambda: desk.has("r", "approval.asked"))
    started.kill()
    (item,) = inbox(desk)
    said = desk.segue("deny", "r", "--by", "ada", "--json")
    assert said.json == {
        "id": item["id"], "key": item["key"], "done": "denied", "by": "ada", "run": "r", "state": said.json["state"],
        "sent": True, "taken": False, "attended": False,
    }  # fmt: skip
    second = desk.segue("approve", item["id"], "--by", "bob")
    assert second.code == 2 and "ada has denied it" in second.err and "not taken it up yet" in second.err
    assert inbox(desk) == []
    for _ in range(2):  # killed again as it takes the word up, or after: it is told once
        taking = desk.start("resume", "r")
        until(lambda: desk.has("r", "signal.received"))
        taking.kill()
    assert desk.segue("resume", "r").out in ("False by ada: \n", "")
    assert desk.segue("show", "r", "--json").json["result"] == "False by ada: "
    assert desk.query("select count(*) from events where type = 'approval.decided'") == [(1,)]


def test_a_form_is_answered_and_a_wrong_answer_names_the_field(desk: Terminal) -> None:
    where = asks(desk, "move", "Kim")
    wrong = desk.segue("answer", where, "--value", '{"street": "Elm", "zip": 5}', "--json")
    error = json.loads(wrong.err)["error"]
    assert (wrong.code, error["code"], error["field"], error["run"]) == (2, "wrong-answer", "zip", "r")
    assert desk.segue("answer", where, "--value", "{").code == 2
    assert "asks for an answer" in desk.segue("approve", where).err
    right = desk.segue("answer", where, "--value", "-", stdin='{"street": "Elm", "zip": 5000}', env={"SEGUE_BY": "ann"})
    assert right.code == 0 and "answered: Where to? (asked of desk, porter)" in right.err
    assert desk.segue("resume", "r").out == "Elm 5000\n"


def test_where_the_flow_is_not_at_hand_the_run_itself_refuses(desk: Terminal) -> None:
    started = desk.start("run", "shop:move", "-i", '"Kim"', "--id", "r")
    until(lambda: desk.has("r", "approval.asked"))
    (item,) = inbox(desk)
    elsewhere = desk.folder / "elsewhere"
    elsewhere.mkdir()
    (desk.folder / "shop.py").rename(desk.folder / "away.py")
    wrong = desk.segue("answer", item["id"], "--value", '{"street": "Elm"}', "--db", desk.db, cwd=elsewhere)
    assert wrong.code == 2 and "the run has refused it: zip: Field required" in wrong.err
    (again,) = inbox(desk)
    assert again["history"][0]["verdict"] == "refused"
    assert "answer was refused: zip" in desk.segue("inbox", again["id"]).out
    assert desk.segue("answer", item["id"], "--value", '{"street": "Elm", "zip": 5000}').code == 0
    assert started.wait().out == "Elm 5000\n"


def test_a_text_needs_no_quotes(desk: Terminal) -> None:
    question = asks(desk, "why", "now")
    assert desk.segue("answer", question[:4], "--value", "because of the rain").code == 0
    assert desk.segue("resume", "r").out == "because of the rain\n"


def test_it_is_reassigned_and_shows_whom_it_waits_for(desk: Terminal) -> None:
    pay = asks(desk, "refund", 500)
    done = desk.segue(
        "reassign", pay, "--to", "bob", "--to", "eve", "--to", "Bob", "--by", "ann", "--note", "on holiday"
    )
    assert done.code == 0 and "asks bob, eve instead: Pay back 500?" in done.err
    assert [i["id"] for i in inbox(desk, "--for", "eve")] == [pay] and inbox(desk, "--for", "claims-lead") == []
    desk.segue("resume", "--patience-s", "0")
    shown = desk.segue("inbox", pay).out
    assert "asked of bob, eve" in shown and "ann asked bob, eve instead: on holiday" in shown
    tree = desk.segue("show", "r").out
    assert "? approve[" in tree and "asks bob, eve  Pay back 500?" in tree
    assert f"segue approve {pay}" in tree and f"segue deny {pay}" in tree
    assert "a person: pay-back-500" in desk.segue("runs").out


def test_what_cannot_be_decided_says_why(desk: Terminal) -> None:
    desk.segue("run", "shop:nothing")
    unknown = desk.segue("approve", "nope", "--json")
    assert unknown.code == 6 and json.loads(unknown.err)["error"]["code"] == "unknown-question"
    pay = asks(desk, "refund", 500)
    nobody = desk.segue("reassign", pay, "--to", " ")
    assert nobody.code == 2 and "--to names nobody" in nobody.err and "--to ada" in nobody.err
    step = desk.segue("decide", "r", "--retry")
    assert step.code == 2 and "the flow does: 'Pay back 500?'" in step.err and f"segue inbox {pay}" in step.err
    desk.segue("cancel", "r", "--by", "ops")
    for word in ("approve", "deny", "inbox"):  # nobody carries it out: it has not taken the cancel up
        ending = desk.segue(word, pay)
        assert ending.code == 2 and "asked to end (ops): nobody is asked 'Pay back 500?' any more" in ending.err
    assert inbox(desk) == []
    desk.segue("resume", "r", "-q")
    ended = desk.segue("approve", pay)
    assert ended.code == 2 and "nobody is asked 'Pay back 500?' any more" in ended.err and "segue fork r" in ended.err
    assert desk.segue("inbox", pay).code == 2
    assert desk.segue("approve").code == 2 and desk.segue("reassign", pay).code == 2


class Part(BaseModel):
    n: int


class Line(BaseModel):
    iban: str = Field(alias="theIban")
    parts: list[Part] | None
    note: str = ""


def test_a_schema_is_told_in_words() -> None:
    schema = {
        "$defs": {"Size": {"enum": ["s", "m"]}, "Box": {"type": "object", "properties": {"kg": {"type": "number"}}}},
        "type": "object", "required": ["size", "tags"],
        "properties": {
            "size": {"$ref": "#/$defs/Size"}, "box": {"$ref": "#/$defs/Box"},
            "when": {"type": "string", "format": "date"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "n": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
        },
    }  # fmt: skip
    assert [tuple(f) for f in forms.fields(schema)] == [
        ("size", 'one of "s", "m"'), ("box.kg", "number, may be left out"), ("when", "text (date), may be left out"),
        ("tags", "list of text"), ("n", "whole number, at least 1 or null, may be left out"),
    ]  # fmt: skip
    assert json.loads(forms.sample(schema)) == {"size": "s", "tags": ["…"]}
    limits: list[Any] = [
        Annotated[float, Gt(0)], Annotated[float, Gt(0), Lt(1)], Annotated[int, Ge(3)], Annotated[int, Lt(-2)],
        Annotated[float, Le(-2)], Annotated[int, Gt(4), Le(9)], Annotated[str, MinLen(3)], datetime, date, time,
        Annotated[list[Annotated[int, Gt(1)]], MinLen(2)],
    ]  # fmt: skip
    for kind in limits:
        of = TypeAdapter(kind)
        of.validate_json(forms.sample(of.json_schema()))  # what is proposed would be taken
    assert [tuple(f) for f in forms.fields(TypeAdapter(list[Line]).json_schema())] == [
        ("", "list of object"), ("[].theIban", "text"), ("[].parts", "list of object or null"),
        ("[].parts[].n", "whole number"), ("[].note", "text, may be left out"),
    ]  # fmt: skip
    given = forms.sample(TypeAdapter(list[Line]).json_schema())
    assert json.loads(given) == [{"theIban": "…", "parts": [{"n": 0}]}] and TypeAdapter(list[Line]).validate_json(given)
    assert forms.fields({"type": "boolean"}) == [("", "true or false")] and forms.sample({"type": "boolean"}) == "true"


def test_the_story_names_the_call_that_failed_in_what_was_delegated(desk: Terminal) -> None:
    told = desk.segue("inbox", asks(desk, "returned", "visa")).out
    lines = [line.removeprefix("tried") for line in told.splitlines() if "ConnectionError: the bank is shut" in line]
    calls = [line.strip().partition("  ")[0] for line in lines]
    assert calls[0].startswith("pay: transfer[") and calls[0].endswith("] ×3") and calls[1:] == ["pay"]
