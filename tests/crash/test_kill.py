"""`kill -9` of real processes, two of them on one file. The same promises, seen from a log outside."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from segue.core.events import EventType
from segue.journal import Journal
from tests.crash.witness import check_order

ROOT = Path(__file__).parents[2]
NAMES = ["one", "two", "three"]
TRIALS = 3
SOAK_TRIALS = 100


def start(folder: Path) -> subprocess.Popen[bytes]:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {
        "SEGUE_TEST_LOG": str(folder / "log"),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
    }
    command = [sys.executable, "-m", "tests.crash.app", str(folder / "segue.db"), *NAMES]
    with (folder / "stderr").open("ab") as errors:
        return subprocess.Popen(command, cwd=ROOT, env=env, stderr=errors)


def ended(folder: Path) -> bool:
    """Whether all runs, children too, have ended on disk."""
    if not (folder / "segue.db").exists():
        return False
    with Journal.open_readonly(str(folder / "segue.db")) as reader:
        open_ = reader.query("select count(*) from runs where state not in ('completed', 'failed', 'cancelled')")[0][0]
        return open_ == 0 and all(reader.find(name) is not None for name in NAMES)


def play(folder: Path, seed: int) -> int:
    """Two processes, one of which is killed every few milliseconds, until all is done. Gives the number of kills."""
    luck, kills = random.Random(seed), 0
    processes = [start(folder), start(folder)]
    try:
        for _ in range(2_000):
            time.sleep(luck.uniform(0.02, 0.1) if kills else luck.uniform(0.001, 0.03))
            running = [p for p in processes if p.poll() is None]
            if not running or kills >= 12:
                break
            if (folder / "log").exists() and (kills == 0 or luck.random() < 0.5):
                victim = luck.choice(running)
                victim.send_signal(signal.SIGKILL)
                victim.wait()
                kills += 1
                processes[processes.index(victim)] = start(folder)
        for process in processes:
            process.wait(timeout=40)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
    return kills


def check(folder: Path) -> None:
    """What the log says against what the journal says."""
    log = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    with Journal.open_readonly(str(folder / "segue.db")) as reader:
        rows = reader.runs("1", limit=1000)
        assert {r.state for r in rows} == {"completed"}, [(r.id, r.state, r.detail) for r in rows]
        assert len(rows) == 3 * len(NAMES)
        journals = {r.id: list(reader.events(r)) for r in rows}
        assert reader.items() == []
    stored: dict[tuple[str, str], Any] = {}
    for run, events in journals.items():
        check_order(run, events)
        stored |= {(run, e.key or ""): json.loads(e.value or b"") for e in events if e.type == EventType.STEP_COMPLETED}
    values = set(map(str, stored.values()))
    effects: dict[str, set[str]] = {}
    for line in log:
        if line["what"] in ("publish", "pay"):
            assert set(line["nonces"]) <= values, f"{line['tag']} was made of what is not in the journal"
            effects.setdefault(line["tag"], set()).add(str(line["nonces"]))
    assert all(len(seen) == 1 for seen in effects.values()), "one effect, two values"
    paid = Counter(line["tag"] for line in log if line["what"] == "pay")
    assert paid == dict.fromkeys([f"once {name} {i}" for name in NAMES for i in range(3)], 1)
    tries = Counter((line["run"], line["key"], line["n"]) for line in log if line["what"] == "stumble")
    assert all(n == 1 for n in tries.values()), "an attempt was made twice"
    assert all(n <= 4 for _, _, n in tries)


def trial(folder: Path, seed: int) -> None:
    try:
        kills = play(folder, seed)
        assert kills > 0
        assert ended(folder)
        check(folder)
    except BaseException as error:
        error.add_note(f"seed {seed}; the processes said: {(folder / 'stderr').read_text()[-2000:]}")
        raise


@pytest.mark.sampled(3)
@pytest.mark.parametrize("seed", range(TRIALS))
def test_killed_processes_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    trial(tmp_path, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(TRIALS, TRIALS + SOAK_TRIALS))
def test_killed_processes_for_long(tmp_path: Path, seed: int) -> None:
    trial(tmp_path, seed)
