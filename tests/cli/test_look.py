"""`runs`, `show`, `watch`, `events`: what they say, and that they leave no trace."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal, until


@pytest.fixture
def stocked(terminal: Terminal) -> Terminal:
    """A database with a run that completed, one that failed, and one that waits."""
    terminal.segue("run", "shop:total", "-i", '{"items": ["ab", "c"]}', "--id", "t1")
    terminal.segue("run", "shop:broken", "-i", '"pen"', "--id", "b1")
    waits = terminal.start("run", "shop:asks", "-i", '"why"', "--id", "a1")
    until(lambda: terminal.state("a1") == "parked")
    waits.send(signal.SIGINT)
    waits.wait()
    return terminal


def ids(terminal: Terminal, *words: object) -> list[str]:
    return [run["id"] for run in terminal.segue("runs", "--json", *words).json]


def test_runs_lists_the_newest_first_and_filters(stocked: Terminal) -> None:
    lines = stocked.segue("runs").out.splitlines()
    assert lines[0].split() == ["run", "state", "flow", "age", "steps"]
    assert [line.split()[0] for line in lines[1:]] == ["a1", "b1", "t1"]
    assert "signal answer" in lines[1] and "✗ failed" in lines[2] and "✓ completed" in lines[3]
    assert ids(stocked, "--state", "failed") == ["b1"]
    assert ids(stocked, "--state", "open") == ["a1"] and ids(stocked, "--state", "ended") == ["b1", "t1"]
    assert ids(stocked, "--flow", "total") == ids(stocked, "--flow", "shop:total") == ["t1"]
    assert ids(stocked, "--flow", "otal") == []
    assert ids(stocked, "--limit", 2) == ["a1", "b1"]
    assert [r["steps"] for r in stocked.segue("runs", "--json").json] == [1, 1, 2]
    wrong = stocked.segue("runs", "--state", "fine")
    assert wrong.code == 2 and "one of: queued, running" in wrong.err
    assert "No such runs" in stocked.segue("runs", "--flow", "x").err


def test_what_lists_more_runs_repeats_the_filters(stocked: Terminal) -> None:
    some = stocked.segue("runs", "--state", "ended", "--where", "age<1h", "--where", "id=*1", "--limit", 1)
    assert "The newest 1. More: segue runs --where 'state=ended,age<1h,id=*1' --limit N\n" in some.err
    assert "More" not in stocked.segue("runs", "--state", "ended", "--limit", 2).err, "these are all"
    assert "The newest 2. More: segue runs --limit N\n" in stocked.segue("runs", "--limit", 2).err


def test_show_draws_the_tree_of_calls(stocked: Terminal) -> None:
    out = stocked.segue("show", "t1").out
    assert "t1  ✓ completed  shop:total" in out and 'input  {"items":["ab","c"]}' in out and "result  300" in out
    tree = [line for line in out.splitlines() if "price" in line or line.startswith("gather")]
    assert tree[0] == "gather" and tree[1].startswith("├ ✓ 0/price[") and tree[2].startswith("└ ✓ 1/price[")
    assert tree[1].endswith("200") and tree[2].endswith("100")
    body = stocked.segue("show", "t1", "--json").json
    assert body["result"] == 300 and body["input"] == {"items": ["ab", "c"]} and body["todo"] == []
    assert [(c["kind"], c["state"], c["value"]) for c in body["calls"]] == [
        ("step", "done", 200),
        ("step", "done", 100),
    ]
    full = stocked.segue("show", "t1", "--full").out
    assert body["calls"][0]["key"].removeprefix("gather#1/") in full


@pytest.mark.parametrize("key", ["0/price", "gather/0/price", "WHOLE", "SHORT"])
def test_show_finds_a_call_by_what_it_prints(stocked: Terminal, key: str) -> None:
    whole = stocked.segue("show", "t1", "--json").json["calls"][0]["key"]
    short = stocked.segue("show", "t1").out.split("├ ✓ ")[1].split()[0]
    done = stocked.segue("show", "t1", {"WHOLE": whole, "SHORT": f"gather/{short}"}.get(key, key), "--json")
    assert done.json["key"] == whole and done.json["args"] == {"item": "ab"}
    vague = stocked.segue("show", "t1", "price")
    assert vague.code == 2 and "fits 2 calls" in vague.err


def test_events_are_lines_or_lines_of_json(stocked: Terminal) -> None:
    lines = [json.loads(line) for line in stocked.segue("events", "t1", "--json").out.splitlines()]
    assert [e["seq"] for e in lines] == list(range(1, len(lines) + 1))
    assert lines[0]["type"] == "run.accepted" and lines[0]["args"] == {"items": ["ab", "c"]}
    assert lines[-1]["type"] == "run.completed" and lines[-1]["value"] == 300
    steps = stocked.segue("events", "t1", "--type", "step", "--after", lines[-3]["seq"]).out.splitlines()
    assert "run.failed         LookupError: no pen here" in stocked.segue("events", "b1").out
    assert len(steps) == 1 and "step.completed" in steps[0] and "price" in steps[0]


@pytest.mark.parametrize(("run", "code"), [("t1", 0), ("b1", 1)])
def test_watch_ends_with_the_code_of_the_run(stocked: Terminal, run: str, code: int) -> None:
    assert stocked.segue("watch", run).code == code
    lines = stocked.segue("watch", run, "--json").out.splitlines()
    assert json.loads(lines[-1])["type"] == ("run.failed" if code else "run.completed")


def test_watch_follows_another_process_until_the_end(terminal: Terminal) -> None:
    started = terminal.start("run", "shop:guarded", "-i", '"door"', "--id", "g1")
    until(lambda: terminal.has("g1", "step.completed"))
    watch = terminal.start("watch", "g1")
    until(lambda: "price" in watch.err)
    (terminal.folder / "door").touch()
    done = watch.wait()
    assert done.code == 0 and "gate" in done.err and '"400 door is open"' in done.out
    started.wait()


def test_watch_says_when_nobody_carries_the_run_out(terminal: Terminal) -> None:
    started = terminal.start("run", "shop:guarded", "-i", '"door"', "--id", "g1")
    until(lambda: terminal.has("g1", "step.completed"))
    started.kill()
    watch = terminal.start("watch", "g1")
    until(lambda: "no process carries it out" in watch.err and "segue resume g1" in watch.err)
    watch.send(signal.SIGINT)
    assert watch.wait().code == 130


@pytest.fixture
def locked(stocked: Terminal) -> Iterator[tuple[Terminal, int | None]]:
    """A copy of the database in a folder that the user of the command may not write to."""
    folder = Path(tempfile.mkdtemp())
    source = sqlite3.connect(stocked.db)
    with sqlite3.connect(folder / "segue.db") as copy:
        source.backup(copy)
    copy.execute("pragma journal_mode = wal")
    copy.close()
    source.close()
    (folder / "shop.py").write_text((stocked.folder / "shop.py").read_text())
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    copied = Terminal(stocked.folder)
    copied.folder, copied.db = folder, folder / "segue.db"
    yield copied, 65534 if os.geteuid() == 0 else None
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_looking_needs_no_right_to_write(locked: tuple[Terminal, int | None], stocked: Terminal) -> None:
    (terminal, user), env = locked, {"WARM_DB": str(stocked.db)}
    before = _files(terminal.folder)
    looks = ((["runs"], "a1"), (["show", "t1"], "300"), (["events", "t1"], "run.completed"), (["check"], "ok  a1"))
    for words, says in looks:
        done = terminal.segue(*words, user=user, env=env)
        assert done.code == 0 and says in done.out, done.err
    refused = terminal.segue("signal", "a1", "answer", user=user, env=env)
    assert refused.code == 5 and "cannot be written" in refused.err
    assert _files(terminal.folder) == before


def _files(folder: Path) -> list[str]:
    """What is in a folder, but for the bytecode that Python itself may leave there."""
    return sorted(p.name for p in folder.iterdir() if p.name != "__pycache__")


def test_looking_changes_no_byte(stocked: Terminal) -> None:
    before = {p.name: p.read_bytes() for p in stocked.folder.glob("segue.db*") if p.is_file()}
    for words in (["runs"], ["show", "a1"], ["events", "a1"], ["check"], ["watch", "t1"]):
        assert stocked.segue(*words).code == 0
    assert {p.name: p.read_bytes() for p in stocked.folder.glob("segue.db*") if p.is_file()} == before


def test_listing_is_quick_with_a_hundred_thousand_runs(stocked: Terminal) -> None:
    columns = "tenant, flow, origin, version, input_hash, seed, detail, owner, epoch, created_at, updated_at"
    with sqlite3.connect(stocked.db) as connection:
        connection.execute(
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)"
            f" insert into runs (id, state, {columns})"
            f" select 'n' || i, 'completed', {columns} from n, runs where id = 't1'"
        )
    connection.close()
    for words in ([], ["--state", "failed"], ["--flow", "broken"], ["--state", "open"]):
        began = time.perf_counter()
        assert stocked.segue("runs", *words).code == 0
        assert time.perf_counter() - began < 3


def test_help_is_quick_because_it_imports_little(stocked: Terminal) -> None:
    code = (
        "import sys; from segue.cli.app import app; import segue.cli\ntry: app(['--help'])\nexcept SystemExit: pass\n"
    )
    code += "print(*sorted(n for n in sys.modules if n in ('pydantic', 'rich', 'asyncio', 'sqlite3', 'segue.runtime')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("Usage: segue COMMAND") and done.stdout.splitlines()[-1] == "", (
        done.stdout + done.stderr
    )


def test_a_command_without_words_is_help_and_version_says_which(terminal: Terminal) -> None:
    assert terminal.segue().code == 0 and terminal.segue().out == terminal.segue("-h").out
    assert terminal.segue("--version").out.startswith("segue 0.")
    assert "--payload" in terminal.segue("signal", "--help").out
