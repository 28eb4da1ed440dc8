"""An operator at the command line: a flow or the engine paused, acts in bulk, words to steps that ask."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

import pytest

from segue.cli import wheres
from segue.errors import InputError
from tests.cli.terminal import Terminal, until

ASKS = """

from segue.core.recovery import AskPerson


def asks_ann(fault, history, luck):
    return AskPerson("ann")


@step(retry=asks_ann)
async def doubtful(item: str) -> str:
    from segue import step_scope

    note("doubtful")
    if step_scope().candidate is None:
        raise ConnectionError("nobody answers")
    return f"{item} by {step_scope().candidate}"


@flow
async def doubts(item: str) -> str:
    return await doubtful(item)


def asks_ann_for_a_moment(fault, history, luck):
    return AskPerson("ann", timeout_s=2.0)


@step(retry=asks_ann_for_a_moment)
async def hasty(item: str) -> str:
    raise ConnectionError("nobody answers")


@flow
async def hastes(item: str) -> str:
    return await hasty(item)


@step(effect="once")
async def pays_at_the_gate(name: str) -> str:
    return await gate.function(name)


@flow
async def paying(name: str) -> str:
    return await pays_at_the_gate(name)
"""


def with_questions(terminal: Terminal) -> Terminal:
    shop = Path(terminal.folder / "shop.py")
    shop.write_text(shop.read_text() + ASKS)
    return terminal


def waiting(terminal: Terminal, *ids: str) -> None:
    """Runs that wait for a signal, with no process."""
    for run in ids:
        terminal.segue("run", "shop:asks", "-i", '"why"', "--id", run, "--detach")
    terminal.segue("resume", "--patience-s", "0")
    for run in ids:
        assert terminal.state(run) == "parked"


def test_a_pause_of_an_unknown_flow_is_refused(terminal: Terminal) -> None:
    terminal.segue("run", "shop:asks", "-i", '"o1"', "--id", "o1", "--detach")
    wrong = terminal.segue("pause", "--flow", "aks")
    assert wrong.code == 6 and "no flow 'aks' is known" in wrong.err and "near it: asks" in wrong.err
    assert terminal.segue("pause", "--flow", "shop:aks").code == 6
    assert terminal.segue("pause", "--flow", "shop:opens").code == 0, "it has no run yet, and can be imported"
    assert terminal.segue("pause", "--flow", "asks").code == 0


def test_a_flow_is_paused_for_a_process_that_runs_and_for_runs_to_come(terminal: Terminal) -> None:
    started = terminal.start("run", "shop:opens", "-i", '"door"', "--id", "o1")
    until(lambda: "gate-door" in terminal.calls())
    done = terminal.segue("pause", "--flow", "opens", "--by", "ann", "--why", "an incident")
    assert done.code == 0 and "flow opens is paused; 1 open run held" in done.err
    (terminal.folder / "door").touch()
    until(lambda: terminal.has("o1", "step.completed", "gate%"))
    listed = terminal.segue("runs")
    assert "paused" in listed.out and "‖ paused: flow opens (ann: an incident)" in listed.err
    assert "segue resume --flow opens" in listed.err
    shown = terminal.segue("show", "o1").out
    assert "It is paused with flow opens (ann: an incident)." in shown and "segue resume o1" in shown
    assert terminal.segue("run", "shop:total", "-i", '["pen"]').out == "300\n"
    again = terminal.segue("resume", "--flow", "opns")
    assert again.code == 2 and "flow opns is not paused; paused: flow opens (ann: an incident)" in again.err
    assert terminal.segue("resume", "--flow", "opens", "--by", "bob").code == 0
    assert started.wait().out == "400\n"
    acts = terminal.segue("acts", "--json").json
    assert [(a["act"], a["target"], a["by"]) for a in acts] == [
        ("resume", "flow:opens", "bob"), ("pause", "flow:opens", "ann"),
    ]  # fmt: skip
    assert "an incident" in terminal.segue("acts").out


def test_after_an_incident_runs_are_looked_at_and_let_go_one_by_one(terminal: Terminal) -> None:
    waiting(terminal, "a1", "a2", "a3")
    for run in ("a1", "a2"):
        terminal.segue("signal", run, "answer", "-p", '"x"')
    stays = terminal.start("resume", "--paused", "--stay")
    until(lambda: terminal.query("select 1 from switches where name = '*'"))
    late = terminal.segue("run", "shop:total", "-i", '["pen"]', "--id", "t1", "--detach")
    assert late.code == 0
    assert terminal.segue("cancel", "a3").code == 0
    until(lambda: terminal.state("a3") == "cancelled")
    assert terminal.segue("resume", "a1").code == 0
    until(lambda: terminal.state("a1") == "completed")
    assert (terminal.state("a2"), terminal.state("t1")) == ("parked", "queued")
    assert {r["id"] for r in terminal.segue("runs", "--state", "open", "--json").json if r["paused"]} == {"a2", "t1"}
    assert terminal.segue("resume", "--all").code == 0
    until(lambda: (terminal.state("a2"), terminal.state("t1")) == ("completed", "completed"))
    stays.kill()


ABOVE = """
from segue import flow, gather, wait_for
from shop import asks

@flow
async def waits(name: str) -> str:
    return await wait_for(name, returns=str)

@flow
async def above(name: str) -> str:
    return "".join(await gather(waits("one"), waits("two"))) + await waits("three")
"""


@pytest.fixture
def above(terminal: Terminal) -> Terminal:
    """Two runs that are not paused, each above two children that are."""
    (terminal.folder / "above.py").write_text(ABOVE)
    terminal.segue("run", "above:waits", "-i", '"one"', "--id", "w", "--detach")
    terminal.segue("pause", "--flow", "waits")
    for id_ in ("a", "b"):
        terminal.segue("run", "above:above", "-i", '"x"', "--id", id_, "--detach")
    terminal.segue("resume", "--patience-s", "0")
    assert len(terminal.query("select id from runs where parent = 'a'")) == 2
    return terminal


def test_a_run_that_is_let_go_by_name_takes_its_children_of_a_paused_flow_along(above: Terminal) -> None:
    for _ in range(2):
        done = above.segue("resume", "a")
        assert done.err.count("It waits for the signal") == 2 and "paused" not in done.err
    resumed = "select count(*) from events join runs on no = run where id = 'a' and type = 'run.resumed'"
    assert above.query(resumed) == [(1,)], "once is enough"
    for (child,) in above.query("select id from runs where parent = 'a'"):
        (waits,) = above.segue("show", child, "--json").json["waits_on"]
        above.segue("signal", child, waits["signal"], "-p", '"x"')
    told = above.segue("resume", "a").err
    assert "It waits for the signal 'three'" in told and "paused" not in told, "one that began later"
    assert all(run["paused"] for run in above.segue("runs", "--where", "parent=b", "--json").json)


def test_children_that_another_process_holds_are_let_go_with_their_parent(above: Terminal) -> None:
    stays = above.start("resume", "--stay")
    until(lambda: above.segue("signal", "w", "later", "--json").json["attended"])
    assert above.segue("resume", "a", "--patience-s", "0").code in (0, 7)
    until(lambda: above.query("select state from runs where parent = 'a'") == [("parked",)] * 2)
    assert above.query("select distinct state from runs where parent = 'b'") == [("queued",)]
    stays.kill()


def test_many_runs_are_cancelled_by_a_query(terminal: Terminal) -> None:
    waiting(terminal, "a1", "a2", "b1")
    query = ("cancel", "--where", "state=parked,flow=asks", "--where", "id=a*", "--by", "ann", "--why", "a mistake")
    dry = terminal.segue(*query, "--dry-run")
    assert dry.code == 0 and "2 runs would be asked to end." in dry.err and "b1" not in dry.err
    asked = terminal.segue(*query)
    assert asked.code == 2 and "say --yes" in asked.err and terminal.state("a1") == "parked"
    done = terminal.segue(*query, "--yes", "--json")
    assert done.json == {"act": "cancel", "dry_run": False, "runs": [{"run": "a1"}, {"run": "a2"}]}
    terminal.segue("resume", "--patience-s", "0")
    assert [terminal.state(r) for r in ("a1", "a2", "b1")] == ["cancelled", "cancelled", "parked"]
    (act,) = terminal.segue("acts", "--json").json
    assert (act["target"], act["by"], act["body"]["runs"]) == ("runs where state=parked,flow=asks, id=a*", "ann", 2)
    none = terminal.segue("cancel", "--where", "state=stuck", "--yes")
    assert none.code == 0 and "nothing to do" in none.err


def test_many_runs_are_paused_and_resumed_by_a_query(terminal: Terminal) -> None:
    waiting(terminal, "a1", "a2")
    assert "2 runs asked to pause" in terminal.segue("pause", "--where", "flow=asks", "--yes").err
    terminal.segue("resume", "--patience-s", "0")
    assert len(terminal.segue("runs", "--where", "state=paused", "--json").json) == 2
    assert "2 runs told to go on" in terminal.segue("resume", "--where", "state=paused", "--yes").err
    terminal.segue("resume", "--patience-s", "0")
    assert terminal.segue("runs", "--where", "state=paused", "--json").json == []


def test_effects_in_doubt_are_decided_together(terminal: Terminal) -> None:
    (terminal.folder / "die").touch()
    for n in (1, 2):
        terminal.segue("run", "shop:pays", "-i", n, "--id", f"p{n}")
    (terminal.folder / "die").unlink()
    terminal.segue("resume")
    assert [r["reason"] for r in terminal.segue("runs", "--where", "state=stuck", "--json").json] == [
        "unknown effect"
    ] * 2
    how = ("override", "--where", "reason=unknown effect", "--result", '"paid"', "--yes")
    assert "2 runs told what came of the step" in terminal.segue(*how, "--why", "seen at the bank").err
    terminal.segue("resume", "--where", "state=stuck", "--yes")
    terminal.segue("resume")
    assert [terminal.state(f"p{n}") for n in (1, 2)] == ["completed", "completed"]
    assert terminal.calls().count("pay") == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["cancel"], "one of RUN, --where is needed: none given"),
        (["cancel", "a1", "--where", "state=open"], "run and where given"),
        (["pause", "--all", "--flow", "x"], "flow and all given"),
        (["cancel", "--where", "state=odd"], "no such state"),
        (["cancel", "--where", "age=2h"], "is no condition"),
        (["cancel", "--where", "age>2 weeks"], "no age"),
        (["override", "--where", "state=open"], "one of --result JSON, --skip and --retry"),
    ],
)
def test_what_makes_no_sense_is_refused(terminal: Terminal, words: list[str], says: str) -> None:
    waiting(terminal, "a1")
    done = terminal.segue(*words)
    assert done.code == 2 and says in done.err, done.err


def test_a_query_is_read() -> None:
    query = wheres.read(["state=stuck,reason=mismatch", "age>1.5h", "idle > 2d", "flow=m:f"])
    assert (query.state, query.reason, query.older_than_s, query.idle_for_s) == ("stuck", "mismatch", 5400, 172800)
    with pytest.raises(InputError, match="given twice"):
        wheres.read(["state=stuck", "state=open"])


def test_a_step_that_asks_names_the_words_and_takes_one(terminal: Terminal) -> None:
    with_questions(terminal)
    started = terminal.start("run", "shop:doubts", "-i", '"pen"', "--id", "d1")
    until(lambda: terminal.state("d1") == "parked")
    shown = terminal.segue("show", "d1")
    assert "failed and waits for the word of ann" in shown.out and "asks ann" in shown.out
    commands = terminal.segue("show", "d1", "--json").json["todo"][0]["do"]
    assert [shlex.split(c)[4] for c in commands] == ["--retry", "--result", "--use", "--fail"]
    assert "ann's word on doubtful" in terminal.segue("runs").out
    wrong = terminal.segue("decide", "d1", "--result", "5")
    assert wrong.code == 2 and "is no str" in wrong.err
    assert terminal.segue("decide", "d1").code == 2
    done = terminal.segue("decide", "d1", "doubtful", "--use", "hand", "--by", "ann", "--why", "it is quicker")
    assert done.code == 0 and "goes to hand" in done.err
    assert started.wait().out == "pen by hand\n"
    assert "use hand by ann: it is quicker" in terminal.segue("show", "d1").out
    late = terminal.segue("decide", "d1", "--retry")
    assert late.code == 2 and "nobody is asked any more" in late.err


def test_a_word_to_a_step_is_refused_after_its_time_while_no_process_is_there(terminal: Terminal) -> None:
    with_questions(terminal)
    terminal.segue("run", "shop:hastes", "-i", '"pen"', "--id", "h1", "--detach")
    terminal.segue("resume", "--patience-s", "0")
    (item,) = terminal.segue("inbox", "--json").json
    until(lambda: time.time() > item["due_at"])
    late = terminal.segue("decide", "h1", "--result", '"by hand"', "--by", "ann")
    assert late.code == 2 and "] is over: nothing was sent" in late.err
    late = terminal.segue("answer", item["id"], "--value", '"by hand"', "--by", "ann")
    assert late.code == 2 and "its time was over: the default holds" in late.err
    assert "nobody answers" in terminal.segue("resume", "h1").err


def test_a_run_whose_flow_is_gone_says_what_is_missing(terminal: Terminal) -> None:
    waiting(terminal, "a1")
    terminal.segue("signal", "a1", "answer", "-p", '"x"')
    (terminal.folder / "other.py").write_text("from segue import flow\n@flow\nasync def f() -> None: ...\n")
    shop = (terminal.folder / "shop.py").read_text()
    (terminal.folder / "shop.py").unlink()
    terminal.start("resume", "--stay")
    until(lambda: any(r.get("reason") == "no worker" for r in json.loads(terminal.segue("runs", "--json").out)))
    shown = terminal.segue("show", "a1").out
    assert "no worker" in shown and "no living process knows the flow shop:asks, version 1" in shown
    assert [r["id"] for r in terminal.segue("runs", "--where", "reason=no worker", "--json").json] == ["a1"]
    (terminal.folder / "shop.py").write_text(shop)
    assert terminal.segue("resume", "a1").out == "why x\n"


def test_a_forks_steps_are_counted_with_those_that_it_keeps(terminal: Terminal) -> None:
    terminal.segue("run", "shop:patient", "-i", '"pen"', "--id", "p1")
    terminal.segue("fork", "p1", "--id", "p2")
    assert {r["id"]: r["steps"] for r in terminal.segue("runs", "--json").json} == {"p1": 2, "p2": 2}


def test_a_park_is_no_start(terminal: Terminal) -> None:
    waiting(terminal, "a1")
    terminal.segue("signal", "a1", "answer", "-p", '"x"')
    terminal.segue("resume", "a1")
    assert terminal.segue("show", "a1", "--json").json["starts"] == 1
    assert "start" not in terminal.segue("show", "a1").out and "crash" not in terminal.segue("show", "a1").out


def test_who_waits_for_a_run_that_a_switch_holds_is_told_so(terminal: Terminal) -> None:
    terminal.segue("run", "shop:total", "-i", '{"items": []}', "--id", "t0")
    terminal.segue("pause", "--all", "--why", "incident")
    waits = terminal.start("run", "shop:total", "-i", '{"items": []}', "--id", "t1")
    until(lambda: "It is paused with the engine" in waits.err)
    assert "incident" in waits.err and "segue resume --all" in waits.err
    terminal.segue("resume", "--all")
    assert waits.wait().code == 0


def test_what_a_resumed_run_waits_for_is_told_once(terminal: Terminal) -> None:
    terminal.segue("run", "shop:asks", "-i", '"x"', "--id", "a1", "--detach")
    done = terminal.segue("resume", "a1")
    assert done.code == 7 and done.err.count("It waits for") == 1


def test_a_retry_of_an_effect_on_its_way_is_not_told_as_made_again(terminal: Terminal) -> None:
    started = with_questions(terminal).start("run", "shop:paying", "-i", '"door"', "--id", "p1")
    until(lambda: "gate-door" in terminal.calls())
    said = terminal.segue("override", "p1", "pays_at_the_gate", "--retry")
    assert said.code == 0 and "is an effect on its way: it is left to end" in said.err
    (terminal.folder / "door").touch()
    assert started.wait().out == "door is open\n"
    assert terminal.calls().count("gate-door") == 1


def test_a_signal_to_a_paused_run_waits_until_it_is_resumed(terminal: Terminal) -> None:
    with_questions(terminal)
    waiting(terminal, "o1")
    assert terminal.segue("pause", "o1", "--why", "look").code == 0
    terminal.segue("resume", "--patience-s", "0")
    sent = terminal.segue("signal", "o1", "answer", "--payload", '"yes"')
    assert sent.code == 0 and "takes signals up when it goes on" in sent.err and "segue resume o1" in sent.err
    assert terminal.segue("signal", "o1", "", "--payload", "1").code == 2
    assert terminal.segue("resume").code == 0
    assert terminal.state("o1") == "parked"
    assert (
        "signal answer was sent" in (shown := terminal.segue("show", "o1").out)
        and "taken when the run goes on" in shown
    )
    assert terminal.segue("resume", "o1").code == 0
    assert terminal.state("o1") == "completed"
