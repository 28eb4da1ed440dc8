"""`engine.gc`: old runs go, with all that only they used; what others need stays, and no id ever runs twice."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from segue import Engine, flow, wait_for
from segue.errors import DuplicateRun, UnknownRun
from segue.journal import NewRun, blobs, retention
from tests.durable.checks import sound
from tests.durable.flows import bulky, noise, waits
from tests.durable.test_payloads import rows
from tests.durable.test_trouble import until

TABLES = ("runs", "events", "inbox", "blobs", "refs")


@flow
async def parent_of(word: bool) -> str:
    """Starts a child that waits, and waits for it."""
    await noise(0, 9000)
    return await waits(1, 9000)


@flow
async def waits_and_starts(word: bool) -> int:
    """Waits, and starts a child then."""
    await wait_for("word", returns=str)
    return await bulky(1)


@pytest.fixture(autouse=True)
def files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "FILE_MIN", 3000)


def counts(path: Path) -> dict[str, int]:
    return {table: rows(path, f"select count(*) from {table}")[0][0] for table in TABLES}


def payload_files(path: Path) -> set[str]:
    folder = Path(f"{path}-blobs")
    return {p.name for p in folder.iterdir()} if folder.exists() else set()


def whole(path: Path) -> None:
    """Every reference has its payload, every payload its reference and its file, every file its payload."""
    sound(path)
    assert rows(path, "select hash from refs except select hash from blobs") == []
    assert rows(path, "select hash from blobs except select hash from refs") == []
    assert payload_files(path) == {f for (f,) in rows(path, "select file from blobs where file is not null")}
    assert rows(path, "select run from events except select no from runs") == []
    assert rows(path, "select run from inbox except select id from runs") == []
    assert rows(path, "select count(*) from tombstones where remains is not null") == [(0,)]


async def test_old_runs_go_with_all_that_is_theirs_alone(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        for n in range(4):
            await engine.run(bulky, 2, 9000 + 100 * n, id=f"old-{n}")
        signalled = await engine.start(waits, 1, 9300, id="old-signalled")
        await signalled.signal("word", "x" * 5000)
        await signalled.result()
        await engine.run(bulky, 2, 9300, id="newest")
        before, files = counts(path), payload_files(path)
        listed = await engine.gc(older_than_s=0, dry_run=True)
        assert counts(path) == before
        done = await engine.gc(older_than_s=0)
        assert (done.runs, done.kept, done.events) == (listed.runs, listed.kept, listed.events)
        assert set(done.runs) == {"old-0", "old-1", "old-2", "old-3", "old-signalled"}
        assert done.kept == {"newest run": 1}
        left = counts(path)
        assert left["runs"] == 1
        assert done.events == before["events"] - left["events"]
        assert done.payloads == before["blobs"] - left["blobs"] == 7
        assert done.files == len(files - payload_files(path)) == 6
        with pytest.raises(UnknownRun, match="was collected"):
            await engine.get("old-0")
        assert await (await engine.get("newest")).result() == 2 * 9300
    whole(path)


async def test_only_what_ended_long_enough_ago_goes(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        await engine.run(bulky, 1, id="ended")
        await engine.start(waits, 1, id="open")
        assert (await engine.gc(older_than_s=3600)).runs == ()
        assert (await engine.gc(older_than_s=0)).runs == ("ended",)
        await (await engine.get("open")).signal("word", "x")
        assert await (await engine.get("open")).result() == "x"


async def test_a_collected_id_is_never_run_again(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        for name in ("once", "newest"):
            await engine.run(bulky, 1, id=name)
        await engine.gc(older_than_s=0)
        with pytest.raises(DuplicateRun, match="was collected"):
            await engine.start(bulky, 1, id="once")
    async with Engine(str(path)) as engine:
        with pytest.raises(DuplicateRun, match="was collected"):
            await engine.start(bulky, 1, id="once")
        assert rows(path, "select id, state from tombstones") == [("once", "completed")]


async def test_numbers_are_never_given_twice(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "segue.db")) as engine:
        seen: set[int] = set()
        last = 0
        for n in range(5):
            await engine.run(bulky, 1, id=f"r{n}")
            await engine.gc(older_than_s=0)
            no = engine.journal.get(f"r{n}").no
            assert no not in seen
            seen.add(no)
            (pos,) = engine.journal.query("select min(pos) from events where run = ?", (no,))[0]
            assert pos > last
            last = engine.journal.query("select max(pos) from events")[0][0]


async def test_a_fork_pins_the_run_whose_events_it_uses(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        first = await engine.start(waits, 2, 9000, id="first")
        await first.signal("word", "one")
        await first.result()
        events = [event async for event in first.events(follow=False)]
        before = next(e.seq for e in events if e.type == "signal.received") - 1
        fork = await first.fork(before, id="fork")
        await until(lambda: engine.journal.get("fork").state == "running")
        last = await fork.fork(id="last")
        done = await engine.gc(older_than_s=0)
        assert done.runs == ()
        assert done.kept["fork"] >= 1
        for run in (fork, last):
            await run.signal("word", "two")
            assert await run.result() in ("one", "two")
        await engine.run(bulky, 1, id="newest")
        done = await engine.gc(older_than_s=0)
        assert done.runs == ("last", "fork", "first"), "in one pass, the forks first"
    whole(path)


async def test_a_child_that_is_newer_than_the_fork_that_does_it_again_goes_in_the_same_pass(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        first = await engine.start(waits_and_starts, True, id="first")
        await until(lambda: engine.journal.get("first").state == "running")
        fork = await first.fork(id="fork")
        await first.signal("word", "x")
        await first.result()
        await fork.cancel()
        await until(lambda: engine.journal.get("fork").state == "cancelled")
        await engine.run(bulky, 1, id="newest")
        child = next(r.id for r in engine.journal.runs("parent = 'first'"))
        listed = await engine.gc(older_than_s=0, dry_run=True)
        done = await engine.gc(older_than_s=0)
        assert done.runs == listed.runs == ("fork", "first", child)
        assert done.kept == listed.kept == {"newest run": 1}
    whole(path)


async def test_a_fork_of_a_collected_run_is_refused(tmp_path: Path) -> None:
    async with Engine(str(tmp_path / "segue.db")) as engine:
        await engine.run(bulky, 1, id="gone")
        no = engine.journal.get("gone").no
        await engine.run(bulky, 1, id="newest")
        await engine.gc(older_than_s=0)
        new = NewRun("late", "default", "f", None, 1, b"{}", 0.0, "", memo_run=no, memo_seq=2)
        with pytest.raises(UnknownRun, match="collected"):
            await engine.journal.accept(new)


async def test_parents_and_children_stay_together_while_one_is_open(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        parent = await engine.start(parent_of, True, id="parent")
        await until(lambda: len(engine.journal.runs()) == 2)
        child = await engine.get(next(r.id for r in engine.journal.runs() if r.id != "parent"))
        await parent.cancel()
        await until(lambda: engine.journal.get(child.id).state == "cancelled")
        await until(lambda: engine.journal.get("parent").state == "cancelled")
        await engine.run(bulky, 1, id="newest")
        await engine.journal.ask(lambda c: c.execute("update runs set state = 'parked' where id = ?", (child.id,)))
        assert (await engine.gc(older_than_s=0)).kept == {"open child": 1, "newest run": 1}
        await engine.journal.ask(lambda c: c.execute("update runs set state = 'cancelled' where id = ?", (child.id,)))
        await engine.journal.ask(lambda c: c.execute("update runs set state = 'parked' where id = 'parent'"))
        assert (await engine.gc(older_than_s=0)).kept == {"open parent": 1, "newest run": 1}
        await engine.journal.ask(lambda c: c.execute("update runs set state = 'cancelled' where id = 'parent'"))
        assert set((await engine.gc(older_than_s=0)).runs) == {child.id, "parent"}
    whole(path)


async def test_a_payload_that_another_run_uses_stays(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        for name in ("old", "newest"):
            await engine.run(bulky, 1, 9000, id=name)
        done = await engine.gc(older_than_s=0)
        assert (done.runs, done.payloads, done.files) == (("old",), 0, 0)
        assert [len(e.value or b"") for e in engine.journal.events(engine.journal.get("newest")) if e.key] == [9002]
    whole(path)


async def test_a_payload_that_is_stored_again_while_its_file_goes_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the commit that deletes the row and the deletion of the file, somebody stores the same payload."""
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine, Engine(str(path)) as other:
        await engine.run(bulky, 1, 9000, id="old")
        await engine.run(bulky, 1, id="newest")
        unlink = retention.Retention._unlink

        async def late(self: retention.Retention, names: list[str]) -> None:
            await other.run(bulky, 1, 9000, id="again")
            await unlink(self, names)

        monkeypatch.setattr(retention.Retention, "_unlink", late)
        await engine.gc(older_than_s=0)
        assert [len(e.value or b"") for e in other.journal.events(other.journal.get("again")) if e.key] == [9002]
    whole(path)


def test_a_collection_that_is_interrupted_is_harmless_and_the_next_one_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each of its transactions, and before each of its files is deleted, the process dies."""
    monkeypatch.setattr(retention, "_RUNS", 2)
    monkeypatch.setattr(retention, "_PAGE", 3)
    (tmp_path / "original").mkdir()
    asyncio.run(fill(tmp_path / "original" / "segue.db"))
    for steps in range(0, 60, 4):
        copy = tmp_path / f"copy-{steps}" / "segue.db"
        shutil.copytree(tmp_path / "original", copy.parent)
        ended = asyncio.run(collect_for(copy, steps))
        asyncio.run(look_after(copy))
        whole(copy)
        if ended:
            return
    raise AssertionError("the collection never ended")


async def fill(path: Path) -> None:
    async with Engine(str(path)) as engine:
        for n in range(5):
            await engine.run(bulky, 3, 7000 + 100 * n, id=f"old-{n}")
        await engine.run(bulky, 3, 7100, id="newest")


async def collect_for(path: Path, steps: int) -> bool:
    """Collect, but die after some transactions. Whether it ended before."""
    async with Engine(str(path)) as engine:
        left = steps

        async def ask(function: Callable) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise ConnectionAbortedError
            return await engine.journal.ask(function)

        collection = retention.Retention(ask, engine.journal._reader, Path(f"{path}-blobs"))
        try:
            await collection.collect(time.time())
        except ConnectionAbortedError:
            return False
        return True


async def look_after(path: Path) -> None:
    async with Engine(str(path)) as engine:
        for row in engine.journal.runs():
            assert await (await engine.get(row.id)).result() == sum(
                len(e.value or b"") - 2 for e in engine.journal.events(row) if e.key
            )
        await engine.gc(older_than_s=0)
        assert [r.id for r in engine.journal.runs()] == ["newest"]


async def test_what_an_interrupted_collection_left_goes_even_when_nothing_else_is_old(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    await fill(path)
    assert not await collect_for(path, 2)
    assert rows(path, "select count(*) from tombstones where remains is not null") != [(0,)]
    async with Engine(str(path)) as engine:
        assert (await engine.gc(older_than_s=3600)).runs == ()
    whole(path)


async def test_orphan_files_are_swept_and_young_drafts_are_not(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        await engine.run(bulky, 1, 9000, id="r")
        folder = Path(f"{path}-blobs")
        for name in ("00ff", "odd name", "young.1.part", "old.1.part"):
            (folder / name).write_bytes(b"x")
        os.utime(folder / "old.1.part", (0, 0))
        await engine.gc(older_than_s=0)
        assert {p.name for p in folder.iterdir() if len(p.name) != 40} == {"young.1.part"}


async def test_writers_hardly_notice_a_collection(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    async with Engine(str(path)) as engine:
        await asyncio.gather(*(engine.run(bulky, 100, 200, id=f"old-{n}") for n in range(60)))
        await engine.run(bulky, 1, id="newest")
        collection = asyncio.create_task(engine.gc(older_than_s=0))
        took: list[float] = []
        while not collection.done():
            began, name = time.perf_counter(), str(len(took))
            await engine.journal.ask(lambda c, n=name: c.execute("insert into switches values (?, 0, '', '')", (n,)))
            took.append(time.perf_counter() - began)
        took.sort()
        done = await collection
        print(f"{done.events} events, {len(took)} commits: median {took[len(took) // 2]:.4f}, longest {took[-1]:.4f} s")
        assert len(done.runs) == 60
        assert took[-1] < 0.25
    whole(path)


async def steps_of_a_collection(children: int, forks: int, *, kept: bool) -> tuple[int, int, int]:
    """Of SQLite's machine, in thousands, for a run with children and forks: all, and those in the longest transaction;
    and the runs that went."""
    from segue.journal import Journal

    journal = Journal.in_memory()
    row = (1.0, 1.0, None, 0)
    keys = [f"c[{n}]#1" for n in range(children)]
    end = 2 * children if kept else 1
    runs = [("p", "completed", *row, None, None)]
    runs += [(f"p/{key}", "completed", *row, "p", key) for key in keys]
    runs += [(f"f{n}", "parked", 1.0, 1.0, 1, end, None, None) for n in range(forks)]
    runs += [("newest", "completed", *row, None, None)]
    events = [(1, 2 * n + m, type_, key) for n, key in enumerate(keys) for m, type_ in
              ((1, "child.started"), (2, "child.ended"))]  # fmt: skip
    events += [(children + forks + 2, 1, "run.accepted", None)]

    def build(c: sqlite3.Connection) -> None:
        c.executemany(
            "insert into runs (id, tenant, flow, version, input_hash, seed, state, created_at, updated_at, memo_run,"
            " memo_seq, parent, parent_key) values (?, 'd', 'm:f', 1, '', 's', ?, ?, ?, ?, ?, ?, ?)",
            runs,
        )
        c.executemany(
            "insert into events (run, seq, epoch, at, type, version, key) values (?, ?, 0, 1.0, ?, 1, ?)", events
        )

    await journal.ask(build)
    all_, inside, longest = 0, 0, 0

    def step() -> None:
        nonlocal all_, inside, longest
        all_ += 1
        inside = inside + 1 if journal.connection.in_transaction else 0
        longest = max(longest, inside)

    journal.connection.set_progress_handler(step, 1000)
    done = await journal.collect(time.time())
    journal.connection.set_progress_handler(None, 0)
    await journal.close()
    return all_, longest, len(done.runs)


@pytest.mark.parametrize("kept", [True, False])
async def test_forks_of_a_run_with_many_children_cost_a_collection_little(kept: bool) -> None:
    """The events of the forked run were read for each of its children and each of its forks."""
    plain, plain_longest, _ = await steps_of_a_collection(600, 0, kept=kept)
    forked, longest, gone = await steps_of_a_collection(600, 5, kept=kept)
    twice, twice_longest, _ = await steps_of_a_collection(1200, 5, kept=kept)
    print(f"steps: {plain} plain, {forked} with forks, {twice} with twice the children; {longest}, {twice_longest}")
    assert gone == (600 if kept else 0)
    assert forked < 2 * plain
    assert twice < 2.5 * forked
    assert max(longest, twice_longest) < 2 * plain_longest + 50


async def test_a_journal_in_memory_is_collected_too() -> None:
    from segue.journal import Journal

    journal = Journal.in_memory()
    for name in ("a", "b"):
        row, _ = await journal.accept(NewRun(name, "default", "f", None, 1, b"{}", 1.0, ""))
        await journal.ask(lambda c, no=row.no: c.execute("update runs set state = 'completed' where no = ?", (no,)))
    done = await journal.collect(time.time())
    assert (done.runs, done.kept) == (("a",), {"newest run": 1})
    await journal.close()
