"""What holds a run up below it is told where the run is carried out, and its children are taken up, too."""

from __future__ import annotations

import shlex
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal, until

FLOWS = """
from pathlib import Path
from segue import approve, detach, flow, gather, sleep, step, wait_for

@flow
async def asks(what: str) -> bool:
    return bool(await approve("Pay it?", what))

@flow
async def listens(what: str) -> str:
    return await wait_for("go", returns=str)

@step(effect="once", timeout_s=0.2)
async def pays(what: str) -> str:
    import asyncio
    await asyncio.sleep(30)
    return what

@flow
async def doubts(what: str) -> str:
    return await pays(what)

@flow
async def above(kind: str) -> str:
    return str(await {"asks": asks, "listens": listens, "doubts": doubts}[kind]("it"))

@flow
async def naps(seconds: float) -> None:
    await sleep(seconds)

@flow
async def above_naps(seconds: float) -> None:
    await naps(seconds)

@flow
async def above_many(count: int) -> None:
    await gather(naps(300), *(listens(str(n)) for n in range(count)))

@flow
async def twice_above_many(count: int) -> None:
    await above_many(count)

@flow
async def above_wide(count: int) -> None:
    await gather(*(above_many(n) for n in range(1, 1 + count)))

@flow
async def hears(count: int) -> None:
    await gather(*(wait_for(f"go{n}") for n in range(count)))

@flow
async def breaks(what: str) -> None:
    raise LookupError(what)

@flow
async def bears(what: str) -> str:
    try:
        await breaks(what)
    except Exception:
        return "borne"

@flow
async def lets_go(what: str) -> str:
    await detach(breaks, what)
    return "gone"

@flow
async def imports_late(what: str) -> str:
    from late import gated
    return await gated(what)
"""
LATE = """
import asyncio
from pathlib import Path
from segue import flow, step

@step
async def gate(name: str) -> str:
    Path("began").touch()
    while not Path(name).exists():
        await asyncio.sleep(0.01)
    return "open"

@flow
async def gated(name: str) -> str:
    return await gate(name)
"""


@pytest.fixture
def flows(terminal: Terminal) -> Terminal:
    (terminal.folder / "flows.py").write_text(FLOWS)
    (terminal.folder / "late.py").write_text(LATE)
    return terminal


TOLD = {
    "asks": ("It waits for a person", "segue approve "),
    "listens": ("It waits for the signal 'go'", "segue signal "),
    "doubts": ("It is set aside (unknown effect)", "segue override "),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", TOLD)
def test_what_a_child_waits_for_is_told_where_its_parent_is_carried_out(flows: Terminal, kind: str) -> None:
    for _ in range(2):  # also by whoever runs it again
        started = flows.start("run", "flows:above", "-i", f'"{kind}"', "--id", "r")
        until(lambda started=started: all(words in started.err for words in ("Its child r/", *TOLD[kind])))
        assert started.err.count("Its child r/") == 1
        started.send(signal.SIGINT)
        assert started.wait().code == 130
    resumed = flows.segue("resume", "r")
    assert resumed.code != 0 and all(words in resumed.err for words in ("Its child r/", *TOLD[kind]))


def test_running_it_again_says_what_a_parked_run_waits_for(flows: Terminal) -> None:
    for _ in range(2):
        started = flows.start("run", "flows:listens", "-i", '"x"', "--id", "r")
        until(lambda started=started: "It waits for the signal 'go'" in started.err)
        started.send(signal.SIGINT)
        assert started.wait().err.count("It waits for the signal 'go'") == 1


@pytest.mark.parametrize("again", ["resume", "run"])
def test_a_child_whose_module_its_parent_imports_late_is_taken_up(flows: Terminal, again: str) -> None:
    words = ["run", "flows:imports_late", "-i", '"door"', "--id", "r"]
    started = flows.start(*words)
    until(lambda: Path(flows.folder / "began").exists() and flows.state("r") == "parked")
    started.send(signal.SIGINT)
    started.wait()
    (flows.folder / "door").touch()
    done = flows.segue(*(words if again == "run" else ["resume", "r"]))
    assert (done.code, done.out) == (0, "open\n")


@pytest.mark.proof
def test_what_began_while_all_were_resumed_is_told_as_if_it_had_been_there_before(flows: Terminal) -> None:
    for kind in ("asks", "listens", "doubts"):
        flows.segue("run", "flows:above", "-i", f'"{kind}"', "--id", kind, "--detach")
    first, second = (flows.segue("resume") for _ in range(2))
    assert (first.code, second.code) == (3, 3)
    assert second.err.startswith("5 parked, 1 stuck\n") and first.err.endswith(second.err)
    assert all(words in first.err for told in TOLD.values() for words in told)


@pytest.mark.proof
def test_what_began_while_all_were_resumed_is_told_in_json(flows: Terminal) -> None:
    flows.segue("run", "flows:above", "-i", '"doubts"', "--id", "r", "--detach")
    first, second = (flows.segue("resume", "--json") for _ in range(2))
    assert [one["state"] for one in first.json] == ["parked", "stuck"]
    assert (first.code, first.json) == (second.code, second.json) == (3, first.json)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("name", "code", "counts"), [("bears", 0, "1 completed"), ("lets_go", 1, "1 completed, 1 failed")]
)
def test_a_failure_meanwhile_counts_unless_a_parent_takes_it(
    flows: Terminal, name: str, code: int, counts: str
) -> None:
    flows.segue("run", f"flows:{name}", "-i", '"it"', "--id", "r", "--detach")
    first, second = (flows.segue("resume") for _ in range(2))
    assert (first.code, first.err.splitlines()[-1]) == (code, counts)
    assert (second.code, second.err) == (0, "Nothing is open.\n")


def test_until_when_a_child_sleeps_is_told_where_its_parent_is_resumed(flows: Terminal) -> None:
    flows.segue("run", "flows:above_naps", "-i", "3000", "--id", "r", "--detach")
    done = flows.segue("resume", "r")
    child = done.err.partition("Its child r/naps[")[2]
    assert done.code == 7 and child.partition("\n")[2].startswith("It sleeps: in 49 min")


@pytest.mark.sampled(6)
@pytest.mark.parametrize(("count", "more"), [(3, "1 more waits"), (40, "38 more wait"), (60, "58 more wait")])
@pytest.mark.parametrize("top", ["above_many", "twice_above_many"])
def test_how_many_more_children_wait_is_told_and_what_lists_them(
    flows: Terminal, top: str, count: int, more: str
) -> None:
    flows.segue("run", f"flows:{top}", "-i", count, "--id", "r", "--detach")
    done = flows.segue("resume", "r", "-q", "--patience-s", "0")
    assert done.code == 7 and done.err.count("It waits for the signal 'go'") == 3 and "It sleeps" not in done.err
    says, does = done.err.splitlines()[-2:]
    assert says == f"Of its children {more}."
    listed = shlex.split(does, comments=True)
    assert len(flows.segue(*listed[1:], "--json").json) == count + 1
    assert "The newest" not in flows.segue(*listed[1:]).err


@pytest.mark.proof
def test_children_of_several_parents_are_listed_by_what_they_are_all_below(flows: Terminal) -> None:
    flows.segue("run", "flows:above_many", "-i", 4, "--id", "r", "--detach")
    flows.segue("run", "flows:above_wide", "-i", 8, "--id", "s", "--detach")
    done = [flows.segue("resume", run, "-q", "--patience-s", "0") for run in ("r", "s")][1]
    does = done.err.splitlines()[-1]
    listed = flows.segue(*shlex.split(does, comments=True)[1:], "--json").json
    below = flows.query("select id from runs where id like 's/%' order by no desc")
    assert [(one["id"],) for one in listed] == below and len(below) == 8 * 2 + sum(range(1, 9))
    count = len(below) + 1 + len(flows.query("select id from runs where id = 'r' or id like 'r/%'"))
    assert f"more runs: segue runs --state open --limit {count}\n" in flows.segue("resume", "--patience-s", "0").err


@pytest.mark.proof
@pytest.mark.parametrize("count", [4, 30])
def test_of_many_children_that_a_run_waits_for_the_first_three_are_named(flows: Terminal, count: int) -> None:
    """So it is wherever it is told what a run waits for."""
    flows.segue("run", "flows:above_many", "-i", count - 1, "--id", "r", "--detach")
    done = flows.segue("resume", "r", "-q", "--patience-s", "0").err
    bare, shown = flows.segue("resume", "--patience-s", "0").err, flows.segue("show", "r").out
    more = "1 more child." if count == 4 else "27 more children."
    for told in (bare, shown):
        assert told.count("It waits for its child") == 3 and f"It waits for {more}\n" in told
        (says,) = [line for line in told.splitlines() if "to see them all" in line]
        assert len(flows.segue(*shlex.split(says, comments=True)[1:], "--json").json) == count
    assert "It waits for its child" not in done and done.startswith(f"It waits for {count} children.\nIts child")
    if count == 30:
        assert "and more" in flows.segue("runs", "--state", "parked", "--flow", "above_many").out


@pytest.mark.proof
def test_that_only_some_of_what_a_run_waits_for_is_noted_is_told(flows: Terminal) -> None:
    for count, noted in ((19, False), (20, False), (21, True), (30, True)):
        flows.segue("run", "flows:hears", "-i", count, "--id", f"r{count}", "--detach")
        assert ("20 are noted; there are more." in flows.segue("resume", f"r{count}").err) == noted


def test_a_run_that_goes_on_elsewhere_is_told_to_do_so_where_all_are_resumed(flows: Terminal) -> None:
    busy = flows.start("run", "flows:imports_late", "-i", '"door"', "--id", "r")
    until(lambda: (flows.folder / "began").exists() and flows.state("r") == "parked")
    told = flows.segue("resume", "--patience-s", "0").err
    child = told.partition("\n\nr/gated")[2].splitlines()
    assert child[1] == f"It goes on in process {busy.pid}." and child[2].startswith("  segue watch 'r/gated[")
    assert all(len(block.splitlines()) > 1 for block in told.split("\n\n")[1:])


def test_how_many_more_children_wait_is_told_once_while_their_parent_is_carried_out(flows: Terminal) -> None:
    started = flows.start("run", "flows:above_many", "-i", "5", "--id", "r")
    until(lambda: "Of its children 2 more wait." in started.err)
    time.sleep(2.5)
    assert started.err.count("Of its children") == 1


def test_a_paused_run_before_a_child_that_has_not_begun_tells_of_the_pause_alone(flows: Terminal) -> None:
    flows.segue("run", "flows:above", "-i", '"asks"', "--id", "r", "--detach")
    flows.segue("pause", "r", "--why", "to look")
    for _ in range(2):
        told = flows.segue("resume").err
        assert "It is paused by" in told and "child" not in told
        assert "None" not in flows.segue("runs").out + flows.segue("show", "r").out
        (waits,) = flows.segue("show", "r", "--json").json["waits_on"]
        assert list(waits) == ["step", "key"] and waits["key"].startswith("asks[")
        with sqlite3.connect(flows.db) as connection:  # as it was noted before
            noted = f'{{"waits_on":[{{"child":null,"key":"{waits["key"]}"}}]}}'
            connection.execute("update runs set detail = ?", (noted,))
            connection.execute("update events set body = ? where type = 'run.parked'", (noted.encode(),))
