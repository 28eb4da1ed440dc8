"""What holds a run up below it is told where the run is carried out, and its children are taken up, too."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal, until

FLOWS = """
from pathlib import Path
from segue import approve, flow, step, wait_for

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
        started.wait()
    assert started.err.count("It waits for the signal 'go'") == 1


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
