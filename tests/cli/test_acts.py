"""What an operator does to a run of another process: signal, cancel, pause, override, fork, feedback, gc."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from tests.cli.terminal import Started, Terminal, until


def asking(terminal: Terminal, run: str = "a1") -> Started:
    """A run that waits for a signal, in a process that lives."""
    started = terminal.start("run", "shop:asks", "-i", '"why"', "--id", run)
    until(lambda: terminal.state(run) == "parked")
    return started


def test_the_signal_that_show_names_reaches_the_running_process(terminal: Terminal) -> None:
    started = asking(terminal)
    shown = terminal.segue("show", "a1").out
    assert "It waits for the signal 'answer'." in shown and "No process" not in shown
    (command,) = terminal.segue("show", "a1", "--json").json["todo"][0]["do"]
    assert command == "segue signal a1 answer --payload JSON"
    until(lambda: command in started.err)
    done = terminal.segue(*shlex.split(command)[1:-1], '"because"')
    assert done.code == 0 and "signal answer sent to a1" in done.err and "No process" not in done.err
    assert started.wait()[:2] == (0, "why because\n")
    assert "signal answer" in terminal.segue("show", "a1").out


def test_a_signal_waits_for_a_process_and_its_id_is_sent_once(terminal: Terminal) -> None:
    asking(terminal).kill()
    (terminal.folder / "answer.json").write_text('"from a file"')
    first = terminal.segue("signal", "a1", "answer", "-p", "@answer.json", "--id", "one")
    assert first.code == 0 and "No process carries the run out" in first.err and "segue resume a1" in first.err
    assert "signal answer was sent" in terminal.segue("show", "a1").out
    again = terminal.segue("signal", "a1", "answer", "-p", '"other"', "--id", "one", "--json")
    assert (again.code, again.err) == (0, "")
    told = {"run": "a1", "state": "parked", "sent": False, "taken": False, "attended": False}
    assert again.json == told
    in_words = terminal.segue("signal", "a1", "answer", "-p", '"other"', "--id", "one")
    assert (in_words.code, in_words.out) == (0, "") and "already: nothing was sent" in in_words.err
    assert terminal.segue("resume", "a1").out == "why from a file\n"
    late = terminal.segue("signal", "a1", "answer")
    assert late.code == 2 and "the run has ended (completed)" in late.err


def test_a_cancel_lets_the_running_process_clean_up(terminal: Terminal) -> None:
    started = asking(terminal)
    assert terminal.segue("cancel", "a1", "--why", "no longer needed", "--by", "ann").code == 0
    done = started.wait()
    assert (done.code, done.out) == (4, "")
    assert "a1 was cancelled by ann: no longer needed" in done.err and terminal.calls()[-1] == "tidy"
    assert "ann: no longer needed" in terminal.segue("show", "a1").out


def test_a_cancel_without_a_process_is_carried_out_by_resume(terminal: Terminal) -> None:
    asking(terminal).kill()
    assert "No process carries the run out" in terminal.segue("cancel", "a1").err
    assert terminal.segue("resume", "a1").code == 4
    assert terminal.state("a1") == "cancelled" and terminal.calls()[-1] == "tidy"


def test_a_paused_run_starts_nothing_until_it_is_resumed(terminal: Terminal) -> None:
    started = terminal.start("run", "shop:opens", "-i", '"door"', "--id", "o1")
    until(lambda: "gate-door" in terminal.calls())
    assert terminal.segue("pause", "o1", "--why", "an incident", "--by", "ann").code == 0
    shown = terminal.segue("show", "o1").out
    assert "paused" in shown and "It is paused by ann: an incident." in shown and "segue resume o1" in shown
    assert [r["id"] for r in terminal.segue("runs", "--state", "paused", "--json").json] == ["o1"]
    (terminal.folder / "door").touch()
    until(lambda: terminal.has("o1", "step.completed", "gate%"))
    assert terminal.segue("resume", "o1").code == 0
    assert started.wait().out == "400\n"
    (paused,) = terminal.query("select seq from events where type = 'run.resumed'")
    (priced,) = terminal.query("select seq from events where type = 'step.completed' and key like 'price%'")
    assert paused < priced


def test_a_run_that_ended_while_it_was_paused_is_paused_no_more(terminal: Terminal) -> None:
    started = terminal.start("run", "shop:child", "-i", '"door"', "--id", "c1")
    until(lambda: "gate-door" in terminal.calls())
    assert terminal.segue("pause", "c1").code == 0
    assert terminal.segue("runs", "--state", "paused", "--json").json[0]["paused"] is True
    (terminal.folder / "door").touch()
    assert started.wait().out == "door is open\n"
    assert terminal.segue("runs", "--state", "paused", "--json").json == []
    (ended,) = terminal.segue("runs", "--json").json
    assert (ended["state"], ended["paused"]) == ("completed", False)


def test_a_paused_run_stays_paused_when_everything_is_resumed(terminal: Terminal) -> None:
    asking(terminal).kill()
    terminal.segue("pause", "a1")
    terminal.segue("signal", "a1", "answer", "-p", '"x"')
    done = terminal.segue("resume")
    assert done.code == 0 and "It is paused" in done.err and terminal.state("a1") != "completed"
    assert terminal.segue("resume", "a1").out == "why x\n"


def test_an_open_step_is_given_its_result(terminal: Terminal) -> None:
    started = terminal.start("run", "shop:guarded", "-i", '"door"', "--id", "g1")
    until(lambda: terminal.has("g1", "attempt.started", "gate%"))
    done = terminal.segue("override", "g1", "gate", "--result", '"by hand"', "--why", "it was late")
    assert done.code == 0 and "has its result" in done.err
    assert started.wait().out == "400 by hand\n"
    assert "it was late" in terminal.segue("show", "g1", "gate").out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["price", "--result", "1"], "do  fork the run to make it again: segue fork g1 --at 'price["),
        (["nothing", "--retry"], "has no open step 'nothing'"),
        (["gate"], "one of --result JSON, --skip and --retry"),
        (["gate", "--skip", "--retry"], "one of --result JSON, --skip and --retry"),
        (["gate", "--result", "{"], "--result is no JSON"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused(terminal: Terminal, words: list[str], says: str) -> None:
    terminal.start("run", "shop:guarded", "-i", '"door"', "--id", "g1")
    until(lambda: terminal.has("g1", "attempt.started", "gate%"))
    done = terminal.segue("override", "g1", *words)
    assert done.code == 2 and says in done.err


def test_a_fork_goes_on_from_a_step(terminal: Terminal) -> None:
    terminal.segue("run", "shop:patient", "-i", '"pen"', "--id", "p1")
    again = terminal.segue("fork", "p1", "--at", "flaky", "--id", "p2", "--result", "price=7")
    assert (again.code, again.out) == (0, "7 at last\n"), again.err
    assert terminal.calls().count("price-pen") == 1 and terminal.calls().count("flaky-pen") == 3
    shown = terminal.segue("show", "p2")
    assert "fork of   p1 at flaky" in shown.out and "replaced" in shown.out
    other = terminal.segue("fork", "p1", "--at", "1", "--input", '{"item": "ink"}', "--json")
    assert json.loads(other.out) == "300 at last" and terminal.calls()[-2:] == ["price-ink", "flaky-ink"]


def test_a_fork_at_a_wait_waits_anew(terminal: Terminal) -> None:
    asking(terminal).kill()
    terminal.segue("signal", "a1", "answer", "-p", '"because"')
    assert terminal.segue("resume", "a1").out == "why because\n"
    assert "signal answer" in terminal.segue("show", "a1").out
    for number, at in enumerate(("wait[answer]", "wait[answer]#1", "answer")):
        fork = f"f{number}"
        assert terminal.segue("fork", "a1", "--at", at, "--id", fork, "--detach").code == 0
        terminal.segue("signal", fork, "answer", "-p", '"of the moon"')
        assert terminal.segue("resume", fork).out == "why of the moon\n"
    assert terminal.calls().count("price-why") == 1
    unknown = terminal.segue("fork", "a1", "--at", "wait[other]")
    assert unknown.code == 2 and "the run has no step 'wait[other]'" in unknown.err


def test_a_fork_never_repeats_an_effect_without_being_told_to(terminal: Terminal) -> None:
    terminal.segue("run", "shop:pays", "-i", "7", "--id", "p1")
    refused = terminal.segue("fork", "p1", "--at", "price", "--id", "p2")
    assert refused.code == 2 and "must not happen twice: pay[" in refused.err and terminal.state("p2") is None
    allowed = terminal.segue("fork", "p1", "--at", "price", "--id", "p2", "--repeat")
    assert (allowed.code, allowed.out) == (0, "paid 7\n") and terminal.calls().count("pay") == 2
    for point in ([], ["--at", "price"], ["--at", "pay"]):
        replaced = terminal.segue("fork", "p1", *point, "--result", 'pay="free"')
        assert replaced.out == "free\n" and terminal.calls().count("pay") == 2, replaced.err


def test_a_fork_repeats_no_effect_of_a_child_without_being_told_to(terminal: Terminal) -> None:
    terminal.segue("run", "shop:orders", "-i", '"x"', "--id", "p1")
    refused = terminal.segue("fork", "p1", "--at", "price", "--id", "p2")
    assert refused.code == 2 and terminal.state("p2") is None
    assert re.search(r"must not happen twice: pays\[\w+\]#1/pay\[\w+\]#1 \(in the child p1/pays\[", refused.err)
    assert re.search(r"give the child pays\[\w+\]#1 its result with --result", refused.err)
    given = terminal.segue("fork", "p1", "--at", "price", "--result", 'pays="free"')
    assert (given.code, given.out) == (0, "free\n") and terminal.calls().count("pay") == 1, given.err
    whole = terminal.segue("fork", "p1", "--result", "price=7", "--id", "p3")
    assert whole.code == 3 and "may happen again" in whole.err and terminal.calls().count("pay") == 1, whole.err
    allowed = terminal.segue("fork", "p1", "--at", "price", "--repeat")
    assert allowed.out == "paid 100\n" and terminal.calls().count("pay") == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--at", "nope"], "has no step 'nope'"),
        (["--at", "999"], "has no event 999"),
        (["--result", "pay"], "has no '='"),
        (["--at", "price", "--result", "paid=1"], "has no step 'paid'"),
        (["--input", "3"], "names the arguments to change"),
    ],
)
def test_a_fork_that_makes_no_sense_is_refused(terminal: Terminal, words: list[str], says: str) -> None:
    terminal.segue("run", "shop:pays", "-i", "7", "--id", "p1")
    done = terminal.segue("fork", "p1", *words)
    assert done.code == 2 and says in done.err and len(terminal.query("select 1 from runs")) == 1


@pytest.mark.parametrize("how", [[], ["--detach"]])
def test_a_result_of_another_type_is_refused(terminal: Terminal, how: list[str]) -> None:
    terminal.segue("run", "shop:pays", "-i", "7", "--id", "p1")
    done = terminal.segue("fork", "p1", "--at", "price", "--repeat", "--result", 'price="dear"', "--json", *how)
    error = json.loads(done.err)["error"]
    assert (done.code, done.out, error["code"], error["run"]) == (2, "", "input", "p1")
    assert error["key"].startswith("price[") and "is no int" in error["message"] and error["remedy"]
    assert len(terminal.query("select 1 from runs")) == 1


@pytest.mark.parametrize("known", [True, False])
def test_an_override_of_what_is_not_open_names_the_open_wait(terminal: Terminal, known: bool) -> None:
    terminal.segue("run", "shop:asks", "-i", '"why"', "--id", "a1", "--detach")
    assert terminal.segue("resume").code == 0 and terminal.state("a1") == "parked"
    if not known:
        (terminal.folder / "shop.py").rename(terminal.folder / "elsewhere.py")
    done = terminal.segue("override", "a1", "wait[other]#1", "--result", "1")
    assert done.code == 2 and "open: wait[answer]#1" in done.err
    assert terminal.segue("override", "a1", "wait[answer]#1", "--result", '"so"').code == 0


def test_an_override_of_another_type_is_refused(terminal: Terminal) -> None:
    started = terminal.start("run", "shop:guarded", "-i", '"door"', "--id", "g1")
    until(lambda: terminal.has("g1", "attempt.started", "gate%"))
    for wrong in (["--result", "5"], ["--skip"]):
        done = terminal.segue("override", "g1", "gate", *wrong)
        assert done.code == 2 and "is no str" in done.err, done.err
    assert terminal.segue("override", "g1", "gate", "--result", '"by hand"').code == 0
    assert started.wait().out == "400 by hand\n"


def test_feedback_reaches_a_run_after_its_end(terminal: Terminal) -> None:
    terminal.segue("run", "shop:total", "-i", '{"items": ["ab"]}', "--id", "t1")
    assert terminal.segue("feedback", "t1", 0.5, "--key", "price", "--note", "so so", "--by", "ann").code == 0
    assert terminal.segue("feedback", "t1", 1).code == 0
    assert "feedback 0.5 by ann: so so" in terminal.segue("show", "t1").out
    assert terminal.segue("feedback", "t1", 2).code == 2
    refused = terminal.segue("feedback", "t1", 1, "--key", "nope")
    assert refused.code == 2 and "the run has no step 'nope'; its steps: " in refused.err and "price" in refused.err


@pytest.mark.parametrize(
    "words",
    [
        ("pause", "--all"), ("pause", "--flow", "shop:naps"), ("pause", "t1"), ("resume", "--all"), ("resume", "t1"),
        ("resume",), ("cancel", "t1"), ("override", "t1", "price", "--skip"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_dry_run_of_what_it_cannot_list_is_refused(terminal: Terminal, words: tuple[str, ...]) -> None:
    terminal.segue("run", "shop:naps", "-i", "0", "--id", "t0")
    refused = terminal.segue(*words, "--dry-run")
    assert refused.code == 2 and "--dry-run lists what --where means" in refused.err
    assert terminal.segue("acts", "--json").json == []


def test_gc_deletes_what_ended_long_ago(terminal: Terminal) -> None:
    for run in ("t1", "t2"):
        terminal.segue("run", "shop:naps", "-i", "0", "--id", run)
    would = terminal.segue("gc", "--older-than", "0s", "--dry-run", "--json").json
    assert (would["runs"], would["dry_run"], terminal.state("t1")) == (["t1"], True, "completed")
    done = terminal.segue("gc", "--older-than", "0s")
    assert done.code == 0 and "1 run deleted" in done.err and terminal.state("t1") is None
    assert terminal.segue("run", "shop:naps", "-i", "0", "--id", "t1").code == 2
    assert terminal.segue("gc", "--older-than", "soon").code == 2


@pytest.mark.parametrize(
    "words",
    [
        ["show", "x"], ["watch", "x"], ["events", "x"], ["check", "x"], ["resume", "x"], ["fork", "x"],
        ["signal", "x", "n"], ["cancel", "x"], ["pause", "x"], ["override", "x", "k", "--skip"], ["feedback", "x", "1"],
    ],
)  # fmt: skip
def test_an_unknown_run_has_a_code_of_its_own(terminal: Terminal, words: list[str]) -> None:
    terminal.segue("run", "shop:naps", "-i", "0")
    done = terminal.segue(*words)
    assert (done.code, done.out) == (6, "") and "no run 'x'" in done.err and "segue runs" in done.err
    error = json.loads(terminal.segue(*words, "--json").err)["error"]
    assert (error["code"], error["run"], error["exit"]) == ("unknown-run", "x", 6)


@pytest.mark.parametrize(
    "words",
    [
        ["runs"], ["show", "x"], ["watch", "x"], ["events", "x"], ["check"], ["resume"], ["resume", "x"], ["fork", "x"],
        ["signal", "x", "n"], ["cancel", "x"], ["pause", "x"], ["override", "x", "k", "--skip"], ["feedback", "x", "1"],
        ["gc", "--older-than", "1d"],
    ],
)  # fmt: skip
def test_a_missing_database_is_said_and_not_made(terminal: Terminal, words: list[str]) -> None:
    done = terminal.segue(*words, "--db", "none.db")
    assert (done.code, done.out) == (5, "") and "none.db: there is no such file" in done.err and "  do  " in done.err
    assert not list(terminal.folder.glob("none.db*"))


def test_what_the_error_of_an_effect_in_the_way_says_can_be_copied(terminal: Terminal) -> None:
    """The call is in no journal: it is what the flow asks for now, and the run was set aside before it."""
    assert terminal.segue("run", "shop:orders", "-i", '"x"', "--id", "o1").code == 0
    forked = terminal.segue("fork", "o1", "--result", "price=7", "--id", "o2")
    assert forked.code == 3 and "may happen again" in forked.err
    remedy = terminal.segue("show", "o2", "--json").json["remedy"]
    assert "fork the run again with the result" in remedy
    commands = [line.partition("  #")[0].strip() for line in forked.err.splitlines() if "segue override" in line]
    assert len(commands) == 2 and all(command in remedy for command in commands)
    done = terminal.segue(*shlex.split(commands[0])[1:-1], '"paid by hand"')
    assert done.code == 0
    assert terminal.segue("resume", "o2").out == "paid by hand\n"
    assert terminal.calls().count("pay") == 1


@pytest.mark.parametrize(("word", "paid"), [(("--result", '"paid by hand"'), 1), (("--retry",), 2)])
def test_many_runs_are_told_at_once_what_is_in_their_way(terminal: Terminal, word: tuple[str, ...], paid: int) -> None:
    assert terminal.segue("run", "shop:orders", "-i", '"x"', "--id", "o1").code == 0
    assert terminal.segue("fork", "o1", "--result", "price=7", "--id", "o2").code == 3
    done = terminal.segue("override", "--where", "reason=mismatch", *word, "--yes")
    assert done.code == 0, done.err
    assert "No process carries them out" in done.err and "segue resume" in done.err
    assert (terminal.state("o2"), terminal.calls().count("pay")) == ("stuck", 1), "the command carried the run out"
    assert terminal.segue("resume", "o2").code == 0
    assert terminal.calls().count("pay") == paid


def test_a_refused_signal_is_no_point_to_fork_at(terminal: Terminal) -> None:
    terminal.segue("run", "shop:counts", "-i", "1", "--id", "c1", "--detach")
    for payload in ('"many"', "5"):
        assert terminal.segue("signal", "c1", "go", "--payload", payload).code == 0
    assert terminal.segue("resume", "c1").out == "6\n"
    assert terminal.segue("fork", "c1", "--at", "go", "--id", "c2", "--detach").code == 0
    terminal.segue("signal", "c2", "go", "--payload", "7")
    assert terminal.segue("resume", "c2").out == "8\n"
