"""A script begins a run and another process goes on with it, or the other way round: its own errors stay themselves."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import Terminal, until

SCRIPT = """
import asyncio, os, signal, sys
from segue import Engine, Retry, flow, step, wait_for

class ApiError(Exception):
    def __init__(self, message, status=None):
        super().__init__(message)
        self.status = status

class Final(ApiError):
    pass

@step
async def call(x: int) -> str:
    raise ApiError("denied", status=403)

@step(retry=Retry(attempts=3, backoff_s=0, give_up_on=(ApiError,)))
async def give_up() -> str:
    with open("tries", "a") as tries:
        tries.write("x")
    raise Final("never")

@step
async def fallback(status: int) -> str:
    return f"fallback after {status}"

@flow
async def inner() -> str:
    raise ApiError("inside", status=500)

@flow
async def job(x: int) -> str:
    try:
        text = await call(x)
    except ApiError as error:
        text = await fallback(error.status)
    try:
        await give_up()
    except Final:
        text += ", gave up"
    try:
        await inner()
    except ApiError as error:
        text += f", child {error.status}"
    return f"{text}, {await wait_for('go', returns=str)}"

async def main():
    async with Engine("segue.db") as engine:
        run = await engine.start(job, 1, id=sys.argv[1])
        while "die" in sys.argv:
            if "'go'" in str((await run.status()).waits_on):
                os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.sleep(0.01)
        print(await run.result())

if __name__ == "__main__":
    asyncio.run(main())
"""
DONE = "fallback after 403, gave up, child 500, ok"
ASK = ("signal", "k1", "go", "--payload", '"ok"')


@pytest.fixture
def script(terminal: Terminal) -> Path:
    path = terminal.folder / "app.py"
    path.write_text(SCRIPT)
    return path


def python(terminal: Terminal, *words: str) -> subprocess.CompletedProcess[str]:
    """Python as in a shell, in the terminal's folder."""
    source = str(Path(__file__).parents[2] / "src")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"PYTHONPATH": source}
    return subprocess.run(
        [sys.executable, *words], cwd=terminal.folder, env=env, capture_output=True, text=True, timeout=20, check=False
    )


def begun(terminal: Terminal, *words: str) -> None:
    """Begin the run in a process that is killed as it waits for the signal."""
    died = python(terminal, *words, "k1", "die")
    assert died.returncode == -signal.SIGKILL, died.stderr


def errors_of(terminal: Terminal) -> set[str]:
    """The names of the errors that are on record."""
    events: list[dict[str, Any]] = [
        json.loads(line) for line in terminal.segue("events", "k1", "--json").out.splitlines()
    ]
    return {event["body"]["fault"]["error"] for event in events if "fault" in event.get("body", {})}


def test_the_command_line_goes_on_with_the_run_of_a_script(terminal: Terminal, script: Path) -> None:
    begun(terminal, script.name)
    checked = terminal.segue("check", "k1")
    assert checked.code == 0 and "✓ ok" in checked.out, checked.out
    terminal.segue(*ASK)
    done = terminal.segue("resume", "k1", "--json")
    assert (done.code, done.json) == (0, DONE), done.err
    assert errors_of(terminal) == {"app:ApiError", "app:Final"}
    assert (terminal.folder / "tries").read_text() == "x"


@pytest.mark.parametrize("name", ["app:job", "app.py:job"])
def test_a_script_goes_on_with_the_run_of_the_command_line(terminal: Terminal, script: Path, name: str) -> None:
    started = terminal.start("run", name, "-i", "1", "--id", "k1")
    until(lambda: '"go"' in terminal.segue("show", "k1", "--json").out)
    started.kill()
    terminal.segue(*ASK)
    done = python(terminal, script.name, "k1")
    assert (done.returncode, done.stdout) == (0, f"{DONE}\n"), done.stderr


def test_a_worker_that_imports_the_script_takes_its_run_over(terminal: Terminal, script: Path) -> None:
    begun(terminal, script.name)
    terminal.segue(*ASK)
    work = "import asyncio, sys, app; sys.argv[1:] = ['k1']; asyncio.run(app.main())"
    done = python(terminal, "-c", work)
    assert (done.returncode, done.stdout) == (0, f"{DONE}\n"), done.stderr


def test_a_script_that_imports_itself_by_its_name_sees_its_own_errors(terminal: Terminal, script: Path) -> None:
    script.write_text(SCRIPT.replace("class ApiError", "import helper\n\nclass ApiError"))
    (terminal.folder / "helper.py").write_text("import app\n")
    begun(terminal, script.name)
    terminal.segue(*ASK)
    done = python(terminal, script.name, "k1")
    assert (done.returncode, done.stdout) == (0, f"{DONE}\n"), done.stderr


def test_a_flow_of_another_module_sees_the_errors_that_it_imports(terminal: Terminal, script: Path) -> None:
    script.write_text(SCRIPT.replace("engine.start(job, 1,", "engine.start(__import__('other').other,"))
    (terminal.folder / "other.py").write_text("""import app
from segue import flow, wait_for

@flow
async def other():
    try:
        await app.call(1)
    except app.ApiError as error:
        return f"{error.status}, {await wait_for('go', returns=str)}"
""")
    begun(terminal, script.name)
    terminal.segue(*ASK)
    done = python(terminal, script.name, "k1")
    assert (done.returncode, done.stdout) == (0, "403, ok\n"), done.stderr


def test_a_module_of_a_package_is_called_by_its_whole_name(terminal: Terminal) -> None:
    package = terminal.folder / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "app.py").write_text(SCRIPT)
    begun(terminal, "-m", "package.app")
    terminal.segue(*ASK)
    done = terminal.segue("resume", "k1", "--json")
    assert (done.code, done.json) == (0, DONE), done.err
    assert errors_of(terminal) == {"package.app:ApiError", "package.app:Final"}


def test_a_script_may_have_the_name_of_another_module(terminal: Terminal, script: Path) -> None:
    script.rename(terminal.folder / "colorsys.py")
    begun(terminal, "colorsys.py")
    terminal.segue(*ASK)
    done = terminal.segue("resume", "k1", "--json", "--db", terminal.db, cwd=Path("/"))
    assert (done.code, done.json) == (0, DONE), done.err


def test_a_run_of_before_goes_on_that_has_the_errors_of_a_script_under_its_old_name(
    terminal: Terminal, script: Path
) -> None:
    begun(terminal, script.name)
    with sqlite3.connect(terminal.db) as database:
        was = 'cast(replace(cast(body as text), \'"error":"app:\', \'"error":"__main__:\') as blob)'
        database.execute(f"update events set body = {was} where cast(body as text) like '%\"app:%'")
    assert "__main__:Final" in errors_of(terminal)
    terminal.segue(*ASK)
    done = terminal.segue("resume", "k1", "--json")
    assert (done.code, done.json) == (0, DONE), done.err


def test_a_spawned_process_goes_on_with_the_run_of_its_script(terminal: Terminal, script: Path) -> None:
    begun(terminal, script.name)
    terminal.segue(*ASK)
    spawn = """
if __name__ == "__main__":
    import multiprocessing
    process = multiprocessing.get_context("spawn").Process(target=go_on)
    process.start()
    process.join()
"""
    own = SCRIPT.partition("if __name__")[0]
    script.write_text(f"{own}\ndef go_on():\n    asyncio.run(main())\n{spawn}")
    done = python(terminal, script.name, "k1")
    assert (done.returncode, done.stdout) == (0, f"{DONE}\n"), done.stderr
