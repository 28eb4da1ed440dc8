"""What an error tells to do can be copied and run as it stands."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.terminal import Done, Terminal, until

DESK = """
from segue import ask_human, approve, flow, gather, step

@step
async def fetch(name: str) -> str:
    return name

@flow
async def desk(name: str) -> str:
    await fetch(name)
    (said,) = await gather(approve("Pay it?", {"name": name}, by="ann", timeout_s=9_000))
    return f"{said}, {await ask_human('How much?', name, by='ann', returns=int)}"

@flow
async def refuses(name: str) -> str:
    raise ValueError(name)
"""
DB = "my books.db"
IN_TEXT = re.compile(r"(?:^|[\s,;:])(segue [a-z].*?)(?=$|[;,]| \(| lists it| asks anew| lets it)")


class Desk(NamedTuple):
    """A run that waits for a yes, one that waits for a number, and one whose yes is on record."""

    terminal: Terminal
    yes: str

    def segue(self, *words: object) -> Done:
        return self.terminal.segue(*words, "--db", DB)

    @property
    def waits(self) -> list[dict[str, str]]:
        return json.loads(self.segue("show", "a", "--json").out)["waits_on"]

    def ticket(self, run: str) -> str:
        return next(q["id"] for q in json.loads(self.segue("inbox", "--json").out) if q["run"] == run)


@pytest.fixture
def desk(terminal: Terminal) -> Iterator[Desk]:
    (terminal.folder / "desk.py").write_text(DESK)
    made = Desk(terminal, "")
    for run in ("a", "b"):
        made.segue("run", "desk:desk", "-i", json.dumps(run), "--id", run, "--detach")
    made.segue("resume", "--patience-s", "0", "-q")
    made.segue("run", "desk:refuses", "-i", '"r"', "--id", "refused")
    yield made._replace(yes=made.ticket("a"))


@pytest.mark.proof
def test_every_command_that_an_error_names_names_the_database(desk: Desk) -> None:
    assert desk.segue("approve", desk.ticket("b"), "--by", "ann").code == 0
    assert desk.segue("resume", "b", "--patience-s", "0").code == 7
    number = desk.ticket("b")
    wrong = [
        ("show", "nope"), ("show", "a", "nope"), ("fork", "a", "--at", "zzz", "--detach"),
        ("fork", "a", "--at", "999", "--detach"), ("inbox", "nope"), ("answer", desk.yes, "--value", "1"),
        ("answer", number, "--value", '"much"'), ("approve", number), ("memory", "forget", "7"),
        ("routes", "rollback", "v7"), ("override", "a", "nope", "--skip"), ("feedback", "a", "1", "--key", "nope"),
        ("decide", "a", "fetch", "--retry"), ("cancel", "nope"), ("decide", "refused", "x", "--retry"),
        ("context", "diff", "a:x", "b:x"), ("thread", "nope"), ("override", "a", desk.waits[0]["key"], "--skip"),
        ("signal", "nope", "go"), ("approve", "nope"),
    ]  # fmt: skip
    for words in wrong:
        done, told = desk.segue(*words), desk.segue(*words, "--json")
        assert done.code not in (0, 70), (words, done)
        remedy = json.loads(told.err.splitlines()[-1])["error"]["remedy"]
        assert remedy in done.err.replace("\n", " "), (words, done.err)
        named = IN_TEXT.findall(remedy)
        assert named, (words, remedy)
        for command in named:
            copied = shlex.split(command)[1:]
            then = desk.terminal.segue(*copied, *(["--detach"] if copied[0] == "fork" else []))
            assert "--db" in copied, (words, command)
            assert "no such file" not in then.err.lower() and "no such option" not in then.err.lower(), (command, then)


def test_without_need_no_database_is_named(desk: Desk) -> None:
    done = desk.terminal.segue("show", "nope", env={"SEGUE_DB": DB})
    assert "segue runs" in done.err and "--db" not in done.err


def test_what_a_run_waits_for_is_found_by_the_key_that_it_says(desk: Desk) -> None:
    keys = {wait["key"] for wait in desk.waits}
    assert all(key.count("gather#1") == 1 for key in keys), keys
    for key in keys:
        found = desk.segue("show", "a", "--step", key)
        assert found.code == 0 and key in found.out
    tree = desk.segue("show", "a", "--full").out
    assert tree.count("gather#1") == 1


@pytest.mark.proof
def test_an_answer_that_nobody_has_taken_up_is_told_once(desk: Desk) -> None:
    assert desk.segue("approve", desk.yes, "--by", "ann").code == 0
    shown = desk.segue("show", "a").out
    assert "approved by ann" in shown and shown.count("segue resume a --db 'my books.db'") == 1
    assert "segue approve" not in shown and "waits for a person" not in shown
    assert desk.segue("resume", "a", "--patience-s", "0").code == 7
    assert "How much?" in until(lambda: desk.segue("show", "a").out)


def test_a_path_in_another_folder_is_named_as_it_was_given(terminal: Terminal, tmp_path: Path) -> None:
    far = tmp_path / "far off"
    far.mkdir()
    (terminal.folder / "desk.py").write_text(DESK)
    terminal.segue("run", "desk:refuses", "-i", '"r"', "--id", "r", "--db", far / "x.db")
    done = terminal.segue("show", "nope", "--db", far / "x.db")
    assert f"segue runs --db '{far}/x.db'" in done.err


def test_a_hint_names_the_tenant_of_a_thread(terminal: Terminal) -> None:
    (terminal.folder / "talk.py").write_text(
        "import asyncio\nfrom segue import Engine, Thread, flow\n\n@flow\nasync def says(text: str) -> str:\n"
        "    return text\n\nasync def main():\n    async with Engine('my books.db') as engine:\n"
        "        turn = await Thread('user-42', engine, 'acme').start(says, 'hello', id='t')\n"
        "        await turn.result()\n\nasyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "talk.py"], cwd=terminal.folder, check=True, timeout=60)
    told = terminal.segue("threads", "--db", DB)
    command = next(line.strip() for line in told.err.splitlines() if "segue thread " in line).partition("  #")[0]
    assert "hello" in terminal.segue(*shlex.split(command)[1:]).out
    wrong = terminal.segue("thread", "user-42", "--db", DB)
    assert wrong.code == 6 and "--tenant" in wrong.err


def test_a_hint_names_the_configuration_file(terminal: Terminal) -> None:
    prompts = terminal.folder / "my conf" / "prompts" / "greet"
    prompts.mkdir(parents=True)
    for version in ("v1", "v2"):
        (prompts / f"{version}.md").write_text(f"Say hello, {version}.")
    (terminal.folder / "my conf" / "segue.toml").write_text("")
    terminal.segue("prompts", "pin", "greet", "v1", "--config", "my conf/segue.toml")
    told = terminal.segue("prompts", "pin", "greet", "v2", "--config", "my conf/segue.toml", "--db", DB)
    command = next(line.strip() for line in told.err.splitlines() if "rollback" in line).partition("  #")[0]
    assert terminal.segue(*shlex.split(command)[1:]).code == 0, command


def test_a_folder_that_is_to_be_made_is_quoted(terminal: Terminal) -> None:
    told = terminal.segue("runs", "--db", "my data/x.db")
    command = told.err[told.err.index("mkdir -p") :].strip()
    assert shlex.split(command)[2:] == [str((terminal.folder / "my data").resolve())]


def test_a_step_of_a_run_that_has_ended_is_made_again_by_its_whole_key(terminal: Terminal) -> None:
    terminal.segue("run", "shop:total", "-i", '["a", "b"]', "--id", "t")
    refused = terminal.segue("override", "t", "price", "--skip")
    forks = [shlex.split(one)[1:] for one in re.findall(r"segue fork t --at [^,\n]+?(?=, or|\n)", refused.err)]
    assert refused.code == 2 and len(forks) == 2
    assert [terminal.segue(*words).code for words in forks] == [0, 0]
    unknown = terminal.segue("override", "t", "nope", "--skip").err
    assert "it has no step 'nope'" in unknown and "segue show t" in unknown and "fork t" not in unknown
