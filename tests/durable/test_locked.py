"""A file that others keep locked stops no heart, and takes no run from a living owner."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from segue import Engine
from segue.journal import Journal, NewRun
from segue.journal.owners import Owner
from segue.journal.turns import Turns
from tests.durable.checks import sound
from tests.durable.flows import paces
from tests.durable.waiting import until
from tests.durable.worker import Worker

HEARTBEAT_S = 0.4


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Another program writes, and does not end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        yield
        other.execute("rollback")


@contextmanager
def in_a_turn(path: Path) -> Generator[None]:
    """Another process has its turn, and does not end it."""
    turns = Turns(Path(f"{path}-live"), 5.0)
    with turns.taken():
        yield
    turns.close()


def silence(path: Path, journal: Journal) -> float:
    """For how many seconds its heart has not beaten, by the file system's clock."""
    return time.time() - (Path(f"{path}-live") / journal.owner).stat().st_mtime


@pytest.mark.parametrize(
    ("lock_timeout_s", "holds"),
    [(5.0, [locked]), (5.0, [in_a_turn]), (0.6, [in_a_turn, locked]), (0.05, [locked])],
    ids=["the lock", "the turn", "both", "between tries"],
)
async def test_the_heart_of_one_that_waits_to_write_beats_on(
    tmp_path: Path, lock_timeout_s: float, holds: list[Callable[[Path], AbstractContextManager[None]]]
) -> None:
    path, worst = tmp_path / "segue.db", 0.0
    async with Engine(str(path), heartbeat_s=HEARTBEAT_S, lock_timeout_s=lock_timeout_s) as engine:
        run = await engine.start(paces, str(tmp_path), 2, 0.1, id="r")
        with ExitStack() as stack:
            for hold in holds:
                stack.enter_context(hold(path))
            end = time.monotonic() + 4 * HEARTBEAT_S
            while time.monotonic() < end:
                worst = max(worst, silence(path, engine.journal))
                await asyncio.sleep(0.01)
        await run.result()
    assert worst < HEARTBEAT_S, f"{worst:.2f} s"


async def test_who_lives_keeps_its_runs_while_another_program_locks_the_file(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with (
        Engine(str(path), heartbeat_s=HEARTBEAT_S) as one,
        Engine(str(path), heartbeat_s=HEARTBEAT_S) as two,
    ):
        runs = [await engine.start(paces, str(tmp_path), 4, 0.1, id=f"r{n}") for n, engine in enumerate((one, two))]
        with locked(path):
            await asyncio.sleep(4 * HEARTBEAT_S)
        for run in runs:
            await run.result()
        assert one.journal.query("select id, epoch from runs order by id") == [("r0", 1), ("r1", 1)]
    assert len((tmp_path / "effects").read_text().splitlines()) == 8, "nothing was made twice"
    sound(path)


@pytest.mark.parametrize("beats", [True, False])
async def test_a_claim_that_had_to_wait_leaves_a_run_to_an_owner_that_stirs(tmp_path: Path, *, beats: bool) -> None:
    path = tmp_path / "segue.db"
    journal = Journal.open(str(path))
    owner = Owner(Path(f"{path}-live"), 0.1)
    try:
        row, _ = await journal.accept(NewRun("r", "default", "f", None, 1, b"{}", 1.0, "", owner.id))
        await until(lambda: not journal.alive(owner.id))
        with locked(path):
            claim = journal.claim(row.no, [owner.id], 2.0, "")
            await asyncio.sleep(0.05)
            if beats:
                owner.beat()
        found = await claim
        assert (found is None) is beats
    finally:
        owner.close()
        await journal.close()


async def test_who_has_lost_a_run_lets_go_of_it_and_takes_it_back_from_the_dead(tmp_path: Path) -> None:
    """Its loop never stood still: it learns by looking, not by its next write, which is far off."""
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        other = Worker(path, "serve", 30)
        await engine.start(paces, str(tmp_path), 1, 30.0, id="r")
        await until(lambda: engine.journal.query("select 1 from events where key like 'rest%'") != [])
        promise = Path(f"{path}-live") / engine.journal.owner
        promise.write_text("0.1")
        await until(lambda: owned(engine)[1] > 1)
        promise.write_text("10")
        assert owned(engine)[0].startswith(f"{other.pid}-")
        await until(lambda: not engine.host.executions, within_s=1.0)
        other.kill()
        await until(lambda: owned(engine) == (engine.journal.owner, 3), within_s=1.0)
    sound(path)


def owned(engine: Engine) -> tuple[str, int]:
    ((owner, epoch),) = engine.journal.query("select owner, epoch from runs")
    return owner, epoch
