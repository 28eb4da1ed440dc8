"""A damaged event of one run is told of, with its place, and takes no other run down."""

from __future__ import annotations

import json
import logging
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from segue import Engine, flow
from segue.core.events import EventType
from segue.errors import StoreCorrupt, Undecodable
from segue.runtime.check import Finding, check, check_one
from tests.behaviour.world import until
from tests.durable.flows import waits

DAMAGE = {
    "no text": b"\xff\x00", "no JSON": b"{{", "a list": b"[]", "a number": b"5", "cut off": b'{"flow":"a',
}  # fmt: skip


async def three(path: Path) -> None:
    """Runs a, b and c, which wait for a word."""
    async with Engine(str(path), linger_s=0.01) as engine:
        for name in "abc":
            await engine.start(waits, 1, 10, id=name)
            await until(lambda: engine.host.executions == {})


def change(path: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        assert db.execute(sql, values).rowcount


def damage(path: Path, type_: str, body: bytes, column: str = "body") -> int:
    """Damages the first event of this type of run a; gives its seq."""
    of = "run = (select no from runs where id = 'a') and type = ?"
    change(path, f"update events set {column} = ? where seq = (select min(seq) from events where {of}) and {of}",
           body, type_, type_)  # fmt: skip
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"select min(seq) from events where {of}", (type_,)).fetchone()[0]


def segue(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "segue", *words, "--db", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def tells(path: Path, told: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is held up by run a, and whoever asks for it hears this."""
    async with Engine(str(path)) as engine:
        verdicts = {one.run: one for one in check(engine.journal)}
        assert {run: one.finding for run, one in verdicts.items()} == {
            "a": Finding.UNDECODABLE, "b": Finding.OK, "c": Finding.OK,
        }  # fmt: skip
        assert told in (verdicts["a"].message or "")
        assert "restore the database" in (verdicts["a"].remedy or "")
        runs = [await engine.get(name) for name in "abc"]
        for run in runs:
            await run.signal("word", f"for {run.id}")
        assert [await run.result() for run in runs[1:]] == ["for b", "for c"]
        with pytest.raises(Undecodable) as raised:
            await runs[0].result()
        assert told in raised.value.message
        assert str(path) in raised.value.message
        assert "restore the database" in (raised.value.remedy or "")
    assert not [record for record in caplog.records if record.exc_info], "no traceback of ours"


@pytest.mark.parametrize("type_", ["run.accepted", "run.started", "run.parked"])
@pytest.mark.parametrize("what", DAMAGE)
async def test_its_body(tmp_path: Path, type_: str, what: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "segue.db"
    await three(path)
    with caplog.at_level(logging.WARNING):
        seq = damage(path, type_, DAMAGE[what])
        await tells(path, f"event {seq} ({type_}) of run a is damaged", caplog)


@pytest.mark.parametrize(("type_", "column"), [("run.accepted", "args"), ("step.completed", "value")])
async def test_what_it_was_given_or_gave(
    tmp_path: Path, type_: str, column: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "segue.db"
    await three(path)
    seq = damage(path, type_, b"{{", column)
    await tells(path, f"event {seq} ({type_}) of run a is damaged: its {column} is no JSON", caplog)


async def test_an_object_without_what_its_type_needs(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    await three(path)
    seq = damage(path, "run.accepted", b"{}")
    async with Engine(str(path)) as engine:
        run = await engine.get("a")
        with pytest.raises(StoreCorrupt, match=rf"event {seq} \(run.accepted\) of run a is damaged: .* is missing"):
            await run.fork()


@pytest.mark.proof
async def test_that_the_one_with_the_input_is_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "segue.db"
    await three(path)
    change(path, "delete from events where type = 'run.accepted' and run = (select no from runs where id = 'a')")
    await tells(path, "event 1 of run a, which has its input, is missing", caplog)
    for words in (("show", "a"), ("events", "a"), ("watch", "a")):
        done = segue(path, *words)
        assert done.returncode == 5, "what is left of it would look well"
        assert f"{path}: event 1 of run a, which has its input, is missing" in done.stderr


async def test_that_an_outcome_is_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The step ran again, and nobody was told."""
    path = tmp_path / "segue.db"
    await three(path)
    change(path, "delete from events where type = 'step.completed' and run = 1")
    await tells(path, "it follows on event 2, and what came between them is missing", caplog)


async def test_an_outcome_of_a_type_that_there_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "segue.db"
    await three(path)
    change(path, "update events set type = 'step.bogus' where type = 'step.completed' and run = 1")
    await tells(path, "event 3 (step.bogus) of run a is damaged: its type is none that this version", caplog)


async def test_a_column_that_holds_something_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "segue.db"
    await three(path)
    change(path, "update events set at = 'soon' where type = 'step.completed' and run = 1")
    await tells(path, "event 3 (step.completed) of run a is damaged: its at is 'soon'", caplog)


async def test_a_column_that_only_a_reader_looks_at(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    await three(path)
    change(path, "update events set attempt = 'first' where type = 'step.completed' and run = 1")
    change(path, "update events set began = 'once' where type = 'step.completed' and run = 1")
    async with Engine(str(path)) as engine:
        await (run := await engine.get("a")).signal("word", "on")
        assert await run.result() == "on", "what nobody needs keeps nobody"
    done = segue(path, "show", "a")
    assert (done.returncode, "a bug in Segue" in done.stderr) == (5, False)
    assert "event 3 (step.completed) of run a is damaged: its attempt is 'first'" in done.stderr


@pytest.mark.sampled(9)
@pytest.mark.parametrize("words", [("show", "a"), ("events", "a"), ("resume", "a"), ("resume",), ("fork", "a"),
                                   ("override", "a", "word#1", "--skip"), ("signal", "a", "word")])  # fmt: skip
async def test_on_the_command_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    path = tmp_path / "segue.db"
    await three(path)
    damage(path, "run.started", b"\xff\x00")
    done = segue(path, *words)
    assert done.returncode == 5
    assert f"{path}: event 2 (run.started) of run a is damaged" in done.stderr
    assert "restore the database from a copy" in done.stderr
    assert "a bug in Segue" not in done.stderr
    if words == ("resume",):
        assert "2 parked" in done.stderr


async def test_a_check_on_the_command_line_goes_on_with_the_others(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    await three(path)
    damage(path, "run.accepted", b"[]")
    done = segue(path, "check", "--json")
    assert done.returncode == 3
    assert [(one["run"], one["finding"]) for one in json.loads(done.stdout)] == [
        ("a", "undecodable"), ("b", "ok"), ("c", "ok"),
    ]  # fmt: skip


@pytest.mark.proof
async def test_a_row_with_a_state_that_there_is_not(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    await three(path)
    change(path, "update runs set state = 'bogus' where id = 'a'")
    told = f"{path}: the row of run a is damaged: its state is 'bogus'"
    async with Engine(str(path)) as engine:
        with pytest.raises(StoreCorrupt) as raised:
            await engine.get("a")
        assert told in raised.value.message
        assert {one.run: one.finding for one in check(engine.journal)}["a"] is Finding.UNDECODABLE
        assert [(one.id, one.state) for one in await engine.runs()] == [
            ("c", "parked"), ("b", "parked"), ("a", "stuck"),
        ]  # fmt: skip
    for words in (("runs",), ("resume",), ("show", "a")):
        done = segue(path, *words)
        assert (done.returncode, told in done.stderr) == (5, True), words
    assert "damaged" in segue(path, "runs").stdout


async def test_a_row_that_has_a_time_to_wake_at_too_keeps_no_resume_waiting(tmp_path: Path) -> None:
    """It was counted as one that moves on by itself, and `segue resume` never ended."""
    path = tmp_path / "segue.db"
    await three(path)
    change(path, "update runs set state = 'bogus', wake_at = 1.0 where id = 'a'")
    done = segue(path, "resume")
    assert done.returncode == 5 and "its state is 'bogus'" in done.stderr


@flow
async def asks_its_child() -> str:
    return await waits(1, 10)


async def test_that_a_child_is_gone(tmp_path: Path) -> None:
    """Its parent waits for ever, and looked well."""
    path = tmp_path / "segue.db"
    async with Engine(str(path), linger_s=0.01) as engine:
        await engine.start(asks_its_child, id="a")
        await until(lambda: engine.journal.query("select 1 from runs where parent = 'a' and state = 'parked'"))
        assert {one.finding for one in check(engine.journal)} == {Finding.OK}
    change(path, "delete from runs where parent = 'a'")
    async with Engine(str(path)) as engine:
        (verdict,) = check(engine.journal)
        assert verdict.finding is Finding.UNDECODABLE and "which is gone from the database" in (verdict.message or "")
        assert "segue override a" in (verdict.remedy or "")


async def test_a_sound_run_is_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    await three(path)
    async with Engine(str(path)) as engine:
        for name in "abc":
            row = engine.journal.get(name)
            assert engine.journal.damage(row) is None
            assert check_one(engine.journal, row).finding is Finding.OK
            assert {e.type for e in engine.journal.events(row)} <= set(EventType)
