"""The demo as a user starts it: killed at any moment, it goes on where it was."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from segue.models import MODELS, has_weights
from tests.forked import Forked

SCRIPTED = """
import sys
from tests.demo import scripted
from examples.support_desk import __main__ as demo

scripted.install(setattr)
demo.has_weights = lambda model: True
sys.exit(demo.main())
"""

SLOW_S = 150
"""Of a busy machine: a local model is asked in some of these."""


def start(db: Path, *words: str) -> Forked:
    return Forked("code", SCRIPTED, "--db", db, *words, stderr="stdout")


def finish(process: Forked) -> str:
    try:
        out, _ = process.communicate(timeout=SLOW_S)
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
        pytest.fail(f"it has not ended in {SLOW_S} s: {out}")
    assert process.returncode == 0, out
    return out


def payments(db: Path) -> list[str]:
    ledger = Path(f"{db}-ledger.jsonl")
    return [json.loads(line)["payment"] for line in ledger.read_text().splitlines()] if ledger.exists() else []


@pytest.mark.parametrize("after_s", [0.0, 0.15, 0.4, 0.8])
def test_killed_and_run_again_it_pays_each_refund_once(tmp_path: Path, after_s: float) -> None:
    db = tmp_path / "desk.db"
    process = start(db)
    until = time.monotonic() + 30
    while not db.exists() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    out = finish(start(db))
    assert "6 tickets answered" in out
    assert sorted(payments(db)) == ["P-1001", "P-1002", "P-1003"]


def test_run_again_when_all_is_done_it_says_the_same_at_once(tmp_path: Path) -> None:
    db = tmp_path / "desk.db"
    finish(start(db, "T-01", "T-28"))
    out = finish(start(db, "T-01", "T-28"))
    assert "2 tickets answered" in out
    assert "two small models" not in out
    assert payments(db) == ["P-1001"]


def test_fresh_begins_anew_and_spares_what_others_keep_in_the_file(tmp_path: Path) -> None:
    db = tmp_path / "desk.db"
    finish(start(db, "T-23"))
    assert "Going on" not in finish(start(db, "T-23", "--fresh"))
    hello = "import asyncio\nfrom segue import Engine\nfrom examples.hello import greet\n"
    hello += (
        f"async def main():\n    async with Engine({str(db)!r}) as e:\n        await e.run(greet, 'Ada', id='mine')\n"
    )
    program = Forked("code", hello + "asyncio.run(main())", stderr="stdout")
    assert (program.communicate(timeout=SLOW_S), program.returncode) == (("", ""), 0)
    process = start(db, "T-23", "--fresh")
    out, _ = process.communicate(timeout=SLOW_S)
    assert process.returncode == 1
    assert "also holds other runs, such as mine" in out


def test_a_batch_goes_on_after_a_kill(tmp_path: Path) -> None:
    db, messages = tmp_path / "desk.db", tmp_path / "messages.csv"
    rows = [f"Where is my card number {i}?,card_arrival" for i in range(40)]
    messages.write_text("\n".join(["text,category", *rows]))
    process = start(db, "--csv", str(messages), "--limit", "30")
    time.sleep(2.0)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    out = finish(start(db, "--csv", str(messages), "--limit", "30"))
    assert "30 messages in" in out
    assert "0 errors" in out


@pytest.mark.proof
def test_with_the_real_model(tmp_path: Path) -> None:
    if not all(has_weights(model) for model in MODELS.values()):
        pytest.skip("the weights are not here: make weights")
    words = ("--db", tmp_path / "desk.db", "T-25")
    out = finish(Forked("module", "examples.support_desk", *words, stderr="stdout"))
    assert "1 tickets answered" in out
