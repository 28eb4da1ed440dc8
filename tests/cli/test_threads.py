"""`segue threads` and `segue thread`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue import Engine, Thread, continue_as_new, flow
from segue.cli.conversations import thread, threads
from segue.cli.exits import Exit
from segue.errors import InputError


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
    with pytest.raises(InputError, match="no thread 'nobody'"):
        thread(db, "nobody", "default", 50, False)
