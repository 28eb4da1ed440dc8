"""A script without a guard is imported for its flow: nothing of it begins a second time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.terminal import Done, Terminal
from tests.forked import Forked

SCRIPT = """
import asyncio, os, sys, threading, time
from segue import Engine, flow, step, wait_for

def note(what):
    with open("notes", "a") as notes:
        notes.write(what + " ")

@step
async def charge(order: str) -> str:
    note("charge")
    return order

@flow
async def sell(order: str) -> str:
    await charge(order)
    return f"{await wait_for('many', returns=int)} of {order}"

async def asked(run):
    return True

async def main():
    async with Engine("segue.db") as engine:
        note("main")
        run = await engine.start(sell, "tea", id="r1")
        while "many" not in str((await run.status()).waits_on) or not await asked(run):
            await asyncio.sleep(0.01)
        os._exit(9)

"""
ON_DISK = '"approval.asked" in [event.type async for event in run.events(follow=False)]'
ASKING = (
    SCRIPT.replace("wait_for('many'", "ask_human('how many?'")
    .replace("wait_for", "ask_human")
    .replace("return True", f"return {ON_DISK}")
)
BARE = "asyncio.run(main())\n"
GUARDED = f'if __name__ == "__main__":\n    {BARE}'
IN_A_THREAD = "thread = threading.Thread(target=lambda: asyncio.run(main()))\nthread.start()\n"
ENDS = {
    "bare": BARE,
    "caught": f"try:\n    {BARE}except Exception:\n    pass\n",
    "exits": f"try:\n    {BARE}except BaseException:\n    sys.exit(3)\n",
    "a group": "async def all():\n    async with asyncio.TaskGroup() as group:\n        group.create_task(main())\n\n"
    "asyncio.run(all())\n",
    "a thread": f"{IN_A_THREAD}thread.join()\n",
    "a worker": "async def all():\n    await asyncio.to_thread(lambda: asyncio.run(main()))\n\nasyncio.run(all())\n",
}
REFUSED = "opens an engine while it is imported for what it defines"
REMEDY = 'put what runs under `if __name__ == "__main__":`'
ONCE = "main charge "


def begun(terminal: Terminal, end: str, text: str = SCRIPT) -> Path:
    """A script that has begun its run, and has died while that waits for a person."""
    script = terminal.folder / "app.py"
    script.write_text(text + end)
    died = Forked("file", str(script), cwd=terminal.folder, stderr="stdout")
    said, _ = died.communicate(timeout=30)
    assert died.returncode == 9, said
    assert notes(terminal) == ONCE
    return script


def notes(terminal: Terminal) -> str:
    return (terminal.folder / "notes").read_text()


def refused(terminal: Terminal, done: Done, file: str = "app.py") -> None:
    """It says which file and what to do, and nothing has begun."""
    assert done.code == 6, done
    assert f"{terminal.folder / file}" in done.err and REFUSED in done.err and REMEDY in done.err, done.err
    assert "Traceback" not in done.err.partition("Exception in thread")[0]
    assert notes(terminal) == ONCE
    assert terminal.query("select id from runs") == [("r1",)]


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_however_a_script_begins_it_does_not_when_it_is_imported(terminal: Terminal, end: str) -> None:
    begun(terminal, end)
    refused(terminal, terminal.segue("resume", "r1"))


def test_whatever_imports_a_script_begins_nothing_of_it(terminal: Terminal) -> None:
    begun(terminal, BARE)
    for words in (["resume"], ["run", "app:sell", "-i", '"x"'], ["run", "app.py:sell", "-i", '"x"'], ["fork", "r1"]):
        refused(terminal, terminal.segue(*words))
    checked = terminal.segue("check", "--json")
    assert (checked.code, checked.json[0]["remedy"]) == (6, REMEDY) and REFUSED in checked.json[0]["message"]
    assert notes(terminal) == ONCE


def test_an_answer_is_recorded_and_counts_once_the_script_is_guarded(terminal: Terminal) -> None:
    script = begun(terminal, BARE, ASKING)
    answered = terminal.segue("answer", "r1", "--value", "3")
    assert answered.code == 0 and "answered" in answered.err and REFUSED in answered.err and REMEDY in answered.err
    assert notes(terminal) == ONCE
    refused(terminal, terminal.segue("resume", "r1"))
    assert terminal.state("r1") != "completed"
    script.write_text(ASKING + GUARDED)
    done = terminal.segue("resume", "r1", "--json")
    assert (done.code, done.json) == (0, "3 of tea"), done.err
    assert notes(terminal) == ONCE


def test_the_error_is_one_json_object_and_its_own_kind(terminal: Terminal) -> None:
    begun(terminal, BARE)
    error = json.loads(terminal.segue("run", "app:sell", "-i", '"x"', "--json").err)["error"]
    assert (error["code"], error["exit"], error["remedy"]) == ("unguarded-script", 6, REMEDY)
    forked = terminal.segue("fork", "r1", "--detach", "--id", "r2", "--json")
    assert forked.json["run"] == "r2" and json.loads(forked.err)["error"]["exit"] == 0


def test_what_a_script_imports_is_named_where_it_is_that_which_begins(terminal: Terminal) -> None:
    script = begun(terminal, BARE)
    helper = "import asyncio, app\nasyncio.run(app.main())\n"
    (terminal.folder / "helper.py").write_text(helper)
    script.write_text(f"{SCRIPT}try:\n    import helper\nexcept Exception:\n    pass\n")
    refused(terminal, terminal.segue("resume", "r1"), "helper.py")


def test_a_thread_that_outlives_the_import_begins_nothing_either(terminal: Terminal) -> None:
    script = begun(terminal, BARE)
    terminal.segue("signal", "r1", "many", "--payload", "3")
    late = IN_A_THREAD.replace("lambda: ", "lambda: time.sleep(0.5) or ")
    script.write_text(SCRIPT + late)
    done = terminal.segue("resume", "r1", "--json")
    assert (done.code, done.json) == (0, "3 of tea"), done.err
    assert notes(terminal) == ONCE and REFUSED in done.err
