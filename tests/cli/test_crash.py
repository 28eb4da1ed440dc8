"""Processes die, are stopped and come back: nothing is lost, and the command line says what to do."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import segue
from tests.cli.terminal import Terminal, until


def killed_at_the_gate(terminal: Terminal, run: str = "g1") -> None:
    """A run that has a result and was killed in the middle of its second step."""
    started = terminal.start("run", "shop:guarded", "-i", '"door"', "--id", run)
    until(lambda: "gate-door" in terminal.calls() and terminal.has(run, "step.completed"))
    started.kill()


def owner(terminal: Terminal) -> list[tuple[Any, ...]]:
    return terminal.query("select id, owner, epoch, state, updated_at, (select count(*) from events) from runs")


def test_a_killed_run_goes_on_where_it_was(terminal: Terminal) -> None:
    killed_at_the_gate(terminal)
    (terminal.folder / "door").touch()
    done = terminal.segue("resume", "g1")
    assert (done.code, done.out) == (0, "400 door is open\n")
    assert terminal.calls().count("price-door") == 1
    assert "goes on after" in done.err


def test_looking_at_a_killed_run_says_so_and_takes_nothing_over(terminal: Terminal) -> None:
    killed_at_the_gate(terminal)
    before = owner(terminal)
    shown = terminal.segue("show", "g1")
    assert "interrupted" in shown.out and "Its process is gone." in shown.out and "segue resume g1" in shown.out
    assert "interrupted" in terminal.segue("runs").out
    listed = terminal.segue("runs", "--json").json
    assert [(r["id"], r["state"], r["interrupted"], r["steps"]) for r in listed] == [("g1", "running", True, 1)]
    for words in (["check"], ["events", "g1"], ["show", "g1", "--json"]):
        assert terminal.segue(*words).code == 0
    assert owner(terminal) == before


def test_resume_without_an_id_takes_up_everything_and_says_what_waits(terminal: Terminal) -> None:
    killed_at_the_gate(terminal, "g1")
    killed_at_the_gate(terminal, "g2")
    asks = terminal.start("run", "shop:asks", "-i", '"why"', "--id", "a1")
    until(lambda: terminal.state("a1") == "parked")
    asks.kill()
    (terminal.folder / "door").touch()
    done = terminal.segue("resume")
    assert done.code == 0, done.err
    assert (terminal.state("g1"), terminal.state("g2"), terminal.state("a1")) == ("completed", "completed", "parked")
    assert "2 completed, 1 parked" in done.err
    assert "It waits for the signal 'answer'." in done.err and "segue signal a1 answer --payload JSON" in done.err
    again = terminal.segue("resume", "--json")
    assert [(r["id"], r["state"]) for r in again.json] == [("a1", "parked")]


def test_resume_says_which_flows_are_gone_and_goes_on_with_the_others(terminal: Terminal) -> None:
    killed_at_the_gate(terminal, "g1")
    (terminal.folder / "old.py").write_text((terminal.folder / "shop.py").read_text())
    old = terminal.start("run", "old:asks", "-i", '"x"', "--id", "o1")
    until(lambda: terminal.state("o1") == "parked")
    old.kill()
    (terminal.folder / "old.py").unlink()
    (terminal.folder / "door").touch()
    done = terminal.segue("resume")
    assert done.code == 6 and "module 'old' cannot be imported" in done.err
    assert (terminal.state("g1"), terminal.state("o1")) == ("completed", "parked")
    assert terminal.segue("resume", "o1").code == 6


def test_resume_waits_for_timers_that_are_due_soon_only(terminal: Terminal) -> None:
    for run, seconds in (("n1", 1), ("n2", 3600)):
        napping = terminal.start("run", "shop:naps", "-i", seconds, "--id", run)
        until(lambda run=run: terminal.has(run, "timer.set"))
        napping.kill()
    done = terminal.segue("resume", "--patience-s", 5)
    assert done.code == 0 and terminal.state("n1") == "completed" and "It sleeps: in 59 min" in done.err
    one = terminal.segue("resume", "n2", "--patience-s", 0)
    assert one.code == 7 and "It sleeps: in 59 min" in one.err and one.out == ""


def test_a_resumed_parent_takes_its_child_along(terminal: Terminal) -> None:
    started = terminal.start("run", "shop:parent", "-i", '"door"', "--id", "p1")
    until(lambda: "gate-door" in terminal.calls())
    started.kill()
    (terminal.folder / "door").touch()
    done = terminal.segue("resume", "p1")
    assert (done.code, done.out) == (0, "child said: door is open\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
@pytest.mark.parametrize("again", ["resume", "run"])
def test_a_parent_that_rests_takes_its_children_along_too(terminal: Terminal, number: int, again: str) -> None:
    """One that only waits is parked, and is not replayed until a child has ended."""
    words = ["run", "shop:grandparent", "-i", '"door"', "--id", "p1"]
    started = terminal.start(*words)
    until(lambda: "gate-door" in terminal.calls() and terminal.state("p1") == "parked")
    started.send(number)
    started.wait()
    (terminal.folder / "door").touch()
    done = terminal.segue(*(words if again == "run" else ["resume", "p1"]))
    assert (done.code, done.out) == (0, "grandchild: child said: door is open\n")


def test_running_one_flow_leaves_other_runs_alone(terminal: Terminal) -> None:
    killed_at_the_gate(terminal, "g1")
    (terminal.folder / "door2").touch()
    assert terminal.segue("run", "shop:guarded", "-i", '"door2"', "--id", "g2").code == 0
    assert terminal.state("g1") == "running" and terminal.calls().count("gate-door") == 1


def test_an_unknown_effect_is_put_right_by_the_commands_that_show_prints(terminal: Terminal) -> None:
    (terminal.folder / "die").touch()
    assert terminal.segue("run", "shop:pays", "-i", "7", "--id", "p1").code == -signal.SIGKILL
    (terminal.folder / "die").unlink()
    stuck = terminal.segue("resume", "p1")
    assert stuck.code == 3 and "unknown effect" in stuck.err and stuck.out == ""
    (todo,) = terminal.segue("show", "p1", "--json").json["todo"]
    applied, not_applied = (shlex.split(command)[1:] for command in todo["do"])
    assert not_applied[:2] == ["override", "p1"] and not_applied[-1] == "--retry"
    told = terminal.segue(*[w.replace("JSON", '"by bank"') for w in applied], "--why", "called them", "--by", "ann")
    assert told.code == 0
    done = terminal.segue("resume", "p1")
    assert (done.code, done.out) == (0, "by bank\n")
    assert terminal.calls().count("pay") == 1
    assert "result by ann: called them" in terminal.segue("show", "p1").out


def test_ctrl_c_suspends_and_says_how_to_go_on(terminal: Terminal) -> None:
    started = terminal.start("run", "shop:guarded", "-i", '"door"', "--id", "g1")
    until(lambda: "gate-door" in terminal.calls())
    started.send(signal.SIGINT)
    done = started.wait()
    assert (done.code, done.out) == (130, "")
    assert "g1 is suspended" in done.err and "segue resume g1" in done.err and "Traceback" not in done.err
    assert terminal.query("select state, owner from runs") == [("queued", None)]
    (terminal.folder / "door").touch()
    assert terminal.segue("resume", "g1").out == "400 door is open\n"


def test_ctrl_c_does_not_wait_for_a_thread(terminal: Terminal) -> None:
    started = terminal.start("run", "shop:sleepy", "-i", "30", "--id", "s1")
    until(lambda: "slow" in terminal.calls())
    started.send(signal.SIGINT)
    assert started.wait(10).code == 130


def test_sigterm_suspends_too(terminal: Terminal) -> None:
    started = terminal.start("run", "shop:asks", "-i", '"x"', "--id", "a1")
    until(lambda: terminal.has("a1", "step.completed"))
    started.send(signal.SIGTERM)
    assert started.wait().code == 143
    assert terminal.query("select owner from runs") == [(None,)]


def test_a_second_ctrl_c_kills(terminal: Terminal) -> None:
    (terminal.folder / "shop.py").write_text(
        (terminal.folder / "shop.py")
        .read_text()
        .replace('    note("pay")\n', '    note("pay")\n    await asyncio.sleep(30)\n')
    )
    started = terminal.start("run", "shop:pays", "-i", "7", "--id", "p1")
    until(lambda: "pay" in terminal.calls())
    started.send(signal.SIGINT)
    until(lambda: "once more kills" in started.err)  # the effect on its way gets five seconds
    started.send(signal.SIGINT)
    assert started.wait(4).code == -signal.SIGINT


def test_ctrl_c_after_the_end_of_a_run_leaves_its_result(terminal: Terminal) -> None:
    code = "import threading, time\nthreading.Thread(target=time.sleep, args=(30,)).start()\n"
    shop = terminal.folder / "shop.py"
    shop.write_text(shop.read_text() + code)
    source = str(Path(segue.__file__).parents[1])
    words = [sys.executable, "-m", "segue", "run", "shop:total", "-i", '{"items": ["ab"]}']
    env = {**os.environ, "PYTHONPATH": source, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(words, cwd=terminal.folder, env=env, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None and started.stdout.readline() == "200\n"
        time.sleep(0.5)  # it waits for the thread now
        started.send_signal(signal.SIGINT)
        assert started.wait(10) == 0


def test_resume_follows_ctrl_c_too(terminal: Terminal) -> None:
    killed_at_the_gate(terminal)
    started = terminal.start("resume")
    until(lambda: terminal.calls().count("gate-door") == 2)
    started.send(signal.SIGINT)
    assert started.wait().code == 130 and terminal.state("g1") == "queued"


def test_resume_stay_takes_up_what_comes(terminal: Terminal) -> None:
    killed_at_the_gate(terminal)
    (terminal.folder / "door").touch()
    worker = terminal.start("resume", "--stay")
    for number in range(3):
        until(lambda number=number: terminal.state(f"g{number + 1}") == "completed")
        assert (
            terminal.segue("fork", "g1", "--at", "gate", "--detach", "--id", f"g{number + 2}").out == f"g{number + 2}\n"
        )
    until(lambda: terminal.state("g4") == "completed")
    worker.send(signal.SIGINT)
    assert worker.wait().code == 130


SCRIPT = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from segue import Engine, flow, step
from shop import gate, price

@flow
async def ordered(name: str) -> str:
    return f"{{await price(name)}} {{await gate(name)}}"

async def main():
    async with Engine({db!r}) as engine:
        await (await engine.start(ordered, "door", id="s1")).result()

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("name", ["nightly.py", "test.py"])
def test_a_run_that_a_script_started_goes_on_elsewhere(terminal: Terminal, tmp_path: Path, name: str) -> None:
    """The second name is that of a module of the standard library: the script is still found by its file."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / name).write_text(SCRIPT.format(tests=str(terminal.folder), db=str(terminal.db)))
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    script = subprocess.Popen([sys.executable, scripts / name], cwd=terminal.folder, env=env)
    until(lambda: "gate-door" in terminal.calls())
    script.kill()
    script.wait()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "door").touch()
    checked = terminal.segue("check", "--db", terminal.db, cwd=elsewhere)
    assert checked.code == 0, checked.err
    done = terminal.segue("resume", "s1", "--db", terminal.db, cwd=elsewhere)
    assert (done.code, done.out) == (0, "400 door is open\n"), done.err


def test_a_run_of_another_living_process_is_left_to_it(terminal: Terminal) -> None:
    started = terminal.start("run", "shop:guarded", "-i", '"door"', "--id", "g1")
    until(lambda: "gate-door" in terminal.calls())
    done = terminal.segue("resume", "g1")
    assert done.code == 0 and f"Process {started.pid} carries it out already" in done.err
    follower = terminal.start("run", "shop:guarded", "-i", '"door"', "--id", "g1")
    (terminal.folder / "door").touch()
    assert started.wait().out == follower.wait().out == "400 door is open\n"
    assert terminal.calls().count("gate-door") == 1


def test_show_is_right_about_a_run_of_another_living_process(terminal: Terminal) -> None:
    started = terminal.start("run", "shop:guarded", "-i", '"door"', "--id", "g1")
    until(lambda: terminal.has("g1", "attempt.started", "gate%"))  # a long step announces itself
    shown = terminal.segue("show", "g1")
    assert "● running" in shown.out and f"in process {started.pid}" in shown.out
    assert "interrupted" not in shown.out and "is running." in shown.out
    body = terminal.segue("show", "g1", "--json").json
    assert body["process"] == started.pid and [c["state"] for c in body["calls"]] == ["done", "running"]


def test_a_pipe_that_closes_early_is_no_error(terminal: Terminal) -> None:
    terminal.segue("run", "shop:total", "-i", json.dumps({"items": [str(i) for i in range(300)]}), "--id", "t1")
    env = {**os.environ, "SEGUE_DB": str(terminal.db)}
    events = f"{shlex.quote(sys.executable)} -m segue events t1 --json | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", events], cwd=terminal.folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.stderr == "" and done.stdout.splitlines()[-1] == "0"


def test_a_second_ctrl_c_kills_also_what_blocks_the_loop(terminal: Terminal) -> None:
    with (terminal.folder / "shop.py").open("a") as shop:
        shop.write(
            "\n\n@step\nasync def spins() -> None:\n    note('spins')\n    while True:\n        pass\n"
            "\n\n@flow\nasync def blocks() -> None:\n    await spins()\n"
        )
    started = terminal.start("run", "shop:blocks", "--id", "b1")
    until(lambda: "spins" in terminal.calls())
    started.send(signal.SIGINT)
    time.sleep(0.3)  # signals that come at once are one
    started.send(signal.SIGINT)
    assert started.wait(4).code == -signal.SIGINT


@pytest.mark.parametrize("words", [("resume", "g1"), ("resume",), ("resume", "--stay")], ids=" ".join)
def test_a_command_whose_database_is_deleted_does_not_wait_for_ever(terminal: Terminal, words: tuple[str, ...]) -> None:
    killed_at_the_gate(terminal, "g1")
    told = terminal.calls().count("gate-door")
    started = terminal.start(*words)
    until(lambda: terminal.calls().count("gate-door") > told)
    terminal.db.unlink()
    done = started.wait()
    assert done.code == 5 and "moved, deleted or replaced" in done.err and "Traceback" not in done.err, done


@pytest.mark.parametrize("words", [("watch", "g1"), ("events", "g1", "--follow")], ids=" ".join)
def test_nor_does_one_that_looks_on(terminal: Terminal, words: tuple[str, ...]) -> None:
    killed_at_the_gate(terminal, "g1")
    started = terminal.start(*words)
    until(lambda: "price" in started.out + started.err)
    terminal.db.unlink()
    done = started.wait()
    assert done.code == 5 and "moved, deleted or replaced" in done.err and "Traceback" not in done.err, done
