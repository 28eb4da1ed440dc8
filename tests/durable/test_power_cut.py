"""A power cut at every acknowledgement: nothing that anybody was told is lost, and the engine goes on.

A shim under the process logs every write and every sync (shim.c); the log is then cut at each acknowledgement, the disk
rebuilt as it would be found (power.py), and opened. That the checker sees a missing sync is shown by taking each away.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue import Engine
from segue.core.lifecycle import RunState
from segue.errors import SegueError
from segue.journal import Journal
from tests.durable import power, workload

MUTATIONS = ["no file sync", "no folder sync", "no sync of the folder's name", "synchronous=normal"]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return power.shim(tmp_path_factory.mktemp("shim"))


def record(shim: Path, folder: Path, mutation: str = "") -> tuple[Path, str]:
    """Run the workload under the shim: the log, and the root to which it refers."""
    root, log = folder / "disk", folder / "log"
    root.mkdir()
    env = {**os.environ, "LD_PRELOAD": str(shim), "SHIM_ROOT": str(root), "SHIM_LOG": str(log)}
    env["PYTHONPATH"] = os.pathsep.join(["src", "."])
    command = [sys.executable, "-m", "tests.durable.workload", str(root), mutation]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return log, str(root)


def lost(database: Path, acks: list[str]) -> list[str]:
    """What of the acknowledged is not there."""
    if not acks:
        return []
    with Journal.open_readonly(str(database)) as journal:
        damage = [] if journal.query("pragma integrity_check") == [("ok",)] else ["the database is damaged"]
        events = {(e.run, e.seq): e for row in journal.runs(limit=1000) for e in journal.events(row)}
        ids = {row.id for row in journal.runs(limit=1000)}
        posts = set(journal.query("select run, id from inbox"))
    return damage + [a for a in acks if not _there(json.loads(a), events, ids, posts)]


def _there(ack: list, events: dict, ids: set[str], posts: set) -> bool:
    match ack:
        case ["run", id_]:
            return id_ in ids
        case ["signal", run, id_]:
            return (run, id_) in posts
        case ["event", run, seq, type_, digest]:
            event = events.get((run, seq))
            return event is not None and (event.type, workload.digest(event.value)) == (type_, digest)
    raise AssertionError(ack)


def rebuilt(disk: power.Disk, target: Path, survives: power.Chance) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    disk.rebuild(target, survives)
    return target / "segue.db"


def losses(log: Path, root: str, target: Path) -> Iterator[str]:
    for disk, acks in power.cuts(log, root):
        try:
            yield from lost(rebuilt(disk, target, power.worst), acks)
        except SegueError as error:
            yield str(error)


def test_a_power_cut_after_any_acknowledgement_loses_nothing_acknowledged(shim: Path, tmp_path: Path) -> None:
    log, root = record(shim, tmp_path)
    kinds = set()
    for n, (disk, acks) in enumerate(power.cuts(log, root)):
        for survives in (power.worst, power.any_part(n)):
            database = rebuilt(disk, tmp_path / "after", survives)
            assert lost(database, acks) == [], f"after acknowledgement {len(acks)}"
        kinds |= {json.loads(a)[0] for a in acks[-1:]}
    assert kinds == {"run", "signal", "event"}
    assert len(list((tmp_path / "disk" / "segue.db-blobs").iterdir())) == 6


async def test_after_a_power_cut_the_engine_goes_on(shim: Path, tmp_path: Path) -> None:
    log, root = record(shim, tmp_path)
    for disk, acks in power.cuts(log, root, every=9):
        database = rebuilt(disk, tmp_path / "after", power.worst)
        async with Engine(str(database), tick_s=0.02) as engine:
            for seed in range(1, 6):
                run = await engine.start(workload.talk, seed, id=f"talk-{seed}")
                if (await run.status()).state != RunState.COMPLETED:
                    await run.signal("word", "over", id="w")
                assert await run.result() == 20 + 6_000 + 2 * workload.BLOB + seed // 2 * 2 + 3 * workload.BLOB + 4
        assert lost(database, [a for a in acks if json.loads(a)[0] != "event"]) == []


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_without_one_of_the_syncs_something_is_lost(shim: Path, tmp_path: Path, mutation: str) -> None:
    log, root = record(shim, tmp_path, mutation)
    assert next(losses(log, root, tmp_path / "after"), None) is not None
