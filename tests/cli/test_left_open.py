"""What a run leaves when it ends: children that clean up are gone on with, and what stays open is named."""

from __future__ import annotations

import json
import shlex
import signal
from pathlib import Path

import pytest

from tests.cli.terminal import Started, Terminal, until


def test_a_cancelled_run_ends_after_the_cleanup_of_its_child(terminal: Terminal) -> None:
    started = cleaning(terminal)
    assert started.err.count("cleans up") == 1
    (terminal.folder / "x").touch()
    done = started.wait()
    assert done.code == 4 and "has not ended" not in done.err
    assert terminal.state(child_of(terminal, "k")) == "cancelled"
    assert terminal.calls() == ["gate-x", "tidy"]


def cleaning(terminal: Terminal, run: str = "k", *words: object) -> Started:
    """A run that was cancelled, whose child cleans up meanwhile."""
    started = terminal.start("run", "shop:keeps", "-i", '"x"', "--id", run, *words)
    until(lambda: terminal.state(run) and terminal.query("select 1 from runs where parent = ? and state='parked'", run))
    assert terminal.segue("cancel", run).code == 0
    until(lambda: "gate-x" in terminal.calls() and terminal.state(run) == "cancelled")
    until(lambda: "cleans up" in started.err or words)
    return started


def child_of(terminal: Terminal, run: str) -> str:
    return terminal.query("select id from runs where parent = ?", run)[0][0]


def test_a_resumed_run_too(terminal: Terminal) -> None:
    started = terminal.start("run", "shop:keeps", "-i", '"x"', "--id", "k")
    until(lambda: terminal.state("k") and terminal.query("select 1 from runs where parent = 'k'"))
    started.send(signal.SIGINT)
    started.wait()
    assert terminal.segue("cancel", "k").code == 0
    (terminal.folder / "x").touch()
    assert terminal.segue("resume", "k").code == 4
    assert terminal.state(child_of(terminal, "k")) == "cancelled" and terminal.calls() == ["gate-x", "tidy"]


def test_a_run_that_completes_before_its_child_has_cleaned_up(terminal: Terminal) -> None:
    (terminal.folder / "x").touch()
    done = terminal.segue("run", "shop:hasty", "-i", '"x"', "--id", "h")
    assert (done.code, done.out) == (0, "in time\n")
    assert terminal.state(child_of(terminal, "h")) == "cancelled" and terminal.calls() == ["gate-x", "tidy"]


def test_what_is_left_at_ctrl_c_is_named_with_the_command_that_takes_it_up(terminal: Terminal) -> None:
    started = cleaning(terminal)
    started.send(signal.SIGINT)
    done = started.wait()
    child = child_of(terminal, "k")
    assert done.code == 4 and f"Its child {child} has not ended yet." in done.err
    said = terminal.segue("show", "k").out
    assert f"Its child {child} has not ended yet." in said
    found = terminal.segue("show", "k", "--json").json
    assert found["open_children"] == [{"id": child, "state": "queued", "detached": False}]
    (todo,) = found["todo"]
    (command,) = todo["do"]
    assert command in done.err and command in said
    again = terminal.segue("resume", "k")
    assert again.code == 2 and "the run has ended (cancelled)" in again.err
    assert f"to let it clean up: {command}" in again.err.replace("\n", " ")
    (terminal.folder / "x").touch()
    assert terminal.segue(*shlex.split(command)[1:]).code == 4
    assert terminal.state(child) == "cancelled"
    assert "has not ended" not in terminal.segue("show", "k").out
    assert "open_children" not in terminal.segue("show", "k", "--json").json


def test_what_is_left_is_in_the_json_of_a_run_that_ended(terminal: Terminal) -> None:
    started = cleaning(terminal, "k", "--json")
    started.send(signal.SIGINT)
    said = json.loads(started.wait().err)
    assert [one["id"] for one in said["status"]["open_children"]] == [child_of(terminal, "k")]
    done = terminal.segue("run", "shop:mails", "-i", '"never"', "--id", "m", "--json")
    assert json.loads(done.out) == "sent"
    (one,) = json.loads(done.err)["status"]["open_children"]
    assert (one["id"], one["detached"]) == (child_of(terminal, "m"), True)


def test_the_next_run_of_the_same_id_goes_on_with_what_it_left(terminal: Terminal) -> None:
    started = cleaning(terminal)
    started.kill()
    (terminal.folder / "x").touch()
    assert terminal.segue("run", "shop:keeps", "-i", '"x"', "--id", "k").code == 4
    assert terminal.state(child_of(terminal, "k")) == "cancelled"


def test_a_child_that_cannot_go_on_is_not_waited_for(terminal: Terminal) -> None:
    started = cleaning(terminal)
    child = child_of(terminal, "k")
    assert terminal.segue("pause", child).code == 0
    until(lambda: terminal.query("select paused from runs where id = ? and paused", child))
    (terminal.folder / "x").touch()
    done = started.wait()
    assert done.code == 4 and f"Its child {child} has not ended yet." in done.err
    assert terminal.segue("resume", child).code == 4


def test_detached_runs_that_are_open_are_told(terminal: Terminal) -> None:
    done = terminal.segue("run", "shop:mails", "-i", '"x"', "--id", "m")
    child = child_of(terminal, "m")
    assert (done.code, done.out) == (0, "sent\n") and "1 detached run is open." in done.err
    said = terminal.segue("show", "m").out
    assert (
        "1 detached run is open." in said
        and f"segue resume '{child}'" in said
        and f"segue resume '{child}'" in done.err
    )
    (terminal.folder / "x").touch()
    assert terminal.segue("resume", child).code == 0
    assert "detached run" not in terminal.segue("show", "m").out


@pytest.fixture
def cancelled(terminal: Terminal) -> str:
    """A run that waits for a signal, and was cancelled while nobody carries it out."""
    started = terminal.start("run", "shop:kept", "-i", '"x"', "--id", "w")
    until(lambda: terminal.state("w") == "parked")
    started.send(signal.SIGINT)
    started.wait()
    assert terminal.segue("cancel", "w", "--by", "ann", "--why", "too late").code == 0
    return "w"


def test_a_run_that_was_asked_to_end_waits_for_no_signal_any_more(terminal: Terminal, cancelled: str) -> None:
    listed = terminal.segue("runs").out
    assert "being cancelled (ann: too late)" in listed and "signal k" not in listed
    (one,) = terminal.segue("runs", "--json").json
    assert (one["waits_on"], one["message"]) == ([], "being cancelled (ann: too late)")
    assert "segue resume w" in one["remedy"]
    shown = terminal.segue("show", cancelled).out
    assert "It is being cancelled (ann: too late)." in shown and "segue resume w" in shown
    assert "segue signal" not in shown and "cancel was sent" not in shown


def test_who_watches_it_is_told_so(terminal: Terminal, cancelled: str) -> None:
    watching = terminal.start("watch", cancelled)
    until(lambda: "segue resume w" in watching.err)
    assert "being cancelled (ann: too late)" in watching.err and "segue signal" not in watching.err
    Path(terminal.folder / "x").touch()
    assert terminal.segue("resume", cancelled).code == 4
    assert watching.wait().code == 4
