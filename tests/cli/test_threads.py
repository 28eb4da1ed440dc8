"""`segue threads` and `segue thread`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from segue import Engine, Thread, ask, continue_as_new, flow, wait_for
from segue.cli.conversations import thread, threads
from segue.cli.exits import Exit, exit_of
from segue.errors import UnknownRun
from segue.testing.provider import Served, serve
from tests.agent.served import KEYS, opened
from tests.cli.terminal import Terminal


@flow
async def says(text: str) -> str:
    if text == "fail":
        raise ValueError(text)
    return f"said {text}"


@flow
async def renews(text: str) -> str:
    if len(text) < 8:
        continue_as_new(text + "+")
    return text


async def test_a_turn_that_went_on_as_new_is_shown_with_what_it_was_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = str(tmp_path / "x.db")
    async with Engine(db):
        run = await Thread("ann").start(renews, "given", id="one")
        assert await run.result() == "given+++"
        edited = await Thread("ann").edit("one", "edited", to="ann-2")
        await edited.result()
    for name, given, gave in (("ann", "given", "given+++"), ("ann-2", "edited", "edited++")):
        thread(db, name, "default", 50, True)
        (turn,) = json.loads(capsys.readouterr().out)["turns"]
        assert (turn["input"], turn["result"]) == ({"text": given}, gave)


async def test_threads_their_turns_and_branches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = str(tmp_path / "x.db")
    async with Engine(db) as engine:
        for name in ("ann", "bob"):
            for n in range(3):
                run = await Thread(name).start(says, f"{name} {n}", id=f"turn-{n}")
                await run.result()
        edited = await Thread("ann").edit("turn-1", "another", to="ann-2")
        await edited.result()
        await (await Thread("ann", engine, "theirs").start(says, "x")).result()
    assert threads(db, 50, True) is Exit.DONE
    found = {(one["tenant"], one["thread"]): one for one in json.loads(capsys.readouterr().out)}
    assert {one: (told["turns"], told["parent"]) for one, told in found.items()} == {
        ("default", "ann"): (3, None), ("default", "bob"): (3, None), ("default", "ann-2"): (1, "ann"),
        ("theirs", "ann"): (1, None),
    }  # fmt: skip
    assert thread(db, "ann", "default", 50, True) is Exit.DONE
    whole = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in whole["turns"]] == ["turn-0", "turn-1", "turn-2"]
    assert whole["turns"][1]["branches"] == ["ann-2"]
    assert (whole["turns"][0]["input"], whole["turns"][0]["result"]) == ({"text": "ann 0"}, "said ann 0")
    thread(db, "ann-2", "default", 50, True)
    branch = json.loads(capsys.readouterr().out)
    assert (branch["parent"], [one["thread"] for one in branch["turns"]]) == ("ann", ["ann", "ann-2"])
    thread(db, "ann", "default", 2, True)
    assert [one["id"] for one in json.loads(capsys.readouterr().out)["turns"]] == ["turn-1", "turn-2"]
    thread(db, "ann-2", "default", 50, False)
    shown = capsys.readouterr()
    assert "said another" in shown.out
    assert "turn-0 of ann" in shown.out
    assert "left ann" in shown.err
    threads(db, 50, False)
    assert "ann-2" in capsys.readouterr().out
    with pytest.raises(UnknownRun, match="no thread 'nobody'"):
        thread(db, "nobody", "default", 50, False)


@flow
async def asks(text: str) -> str:
    return await ask(text, thread="ann")


async def test_what_an_ordinary_run_says_in_a_thread_is_shown_with_its_run_and_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")
    async with serve({"chat": Served()}) as server, opened(tmp_path, server, "chat") as engine:
        db = str(engine.path)
        for n in range(2):
            await (await engine.start(asks, f"word {n}", id=f"r{n}")).result()
        thread(db, "ann", "default", 50, True)
        told = json.loads(capsys.readouterr().out)["turns"]
        assert [(one["run"], one["input"], one["branches"]) for one in told] == [
            ("r0", "word 0", []),
            ("r1", "word 1", []),
        ]
        assert all(one["result"].endswith(one["input"]) and one["step"].startswith("ask[") for one in told)
        await (await Thread("ann").start(says, "a turn", id="t1")).result()
        await (await engine.start(asks, "word 2", id="r2")).result()
        await (await Thread("ann").edit("t1", "another", to="ann-2")).result()
        thread(db, "ann-2", "default", 50, True)
        branch = json.loads(capsys.readouterr().out)["turns"]
        assert [(one["run"], one["step"] is None) for one in branch] == [
            ("r0", False),
            ("r1", False),
            ("ann-2/t1", True),
        ]
        thread(db, "ann", "default", 2, True)
        assert [one["run"] for one in json.loads(capsys.readouterr().out)["turns"]] == ["ann/t1", "r2"]
        thread(db, "ann", "default", 50, False)
    shown = capsys.readouterr().out
    for word in ("r0", "ask[", "word 0", "↳ 1 branch: ann-2"):
        assert word in shown
    with pytest.raises(UnknownRun, match="no thread 'bob'") as missing:
        thread(db, "bob", "default", 50, False)
    assert exit_of(missing.value) is Exit.UNKNOWN
    assert str(missing.value.remedy) == "list them: segue threads; for another tenant's say --tenant"


@flow
async def talks(text: str) -> str:
    return await wait_for("word", returns=str)


@pytest.mark.proof
def test_a_turn_behind_an_open_one_says_so_and_keeps_no_command_waiting(terminal: Terminal) -> None:
    waits = [{"turn": "user/m1"}]

    async def two_turns() -> None:
        async with Engine(str(terminal.folder / "segue.db"), linger_s=0.01) as engine:
            first = await Thread("user").start(talks, "one", id="m1")
            second = await Thread("user").start(talks, "two", id="m2")
            while (await first.status()).state != "parked":
                await asyncio.sleep(0.01)
            assert (await second.status()).waits_on == waits
            assert [one.waits_on for one in await engine.runs() if one.id == second.id] == [waits]

    asyncio.run(two_turns())
    for words, code in (((), Exit.DONE), (("user/m2",), Exit.WAITS), (("user/m1",), Exit.WAITS)):
        assert terminal.segue("resume", *words, "--patience-s", "0.2").code == code
    shown = terminal.segue("show", "user/m2")
    assert "It waits for the turn user/m1, which comes before it in its thread." in shown.out
    assert "segue show user/m1" in shown.out and "No process" not in shown.out
    assert terminal.segue("show", "user/m2", "--json").json["waits_on"] == waits
    assert "turn user/m1" in terminal.segue("runs").out
    terminal.segue("signal", "user/m1", "word", "-p", '"first"')
    terminal.segue("resume", "--patience-s", "0.2")
    assert terminal.state("user/m2") == "parked"
