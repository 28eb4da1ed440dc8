"""A process that stores much lives: its heart beats on, it keeps its runs, and others do not wait for all of it."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from pathlib import Path

import pytest

from segue import Engine, flow, gather
from segue.journal import Journal, batch, blobs, pieces, writer
from segue.journal.owners import Owner
from tests.durable.checks import sound
from tests.durable.flows import bulky, noise

HEARTBEAT_S = 0.4


@flow
async def wide(many: int, size: int) -> int:
    """Many results at once."""
    return sum(map(len, await gather(*(noise(i, size) for i in range(many)))))


@pytest.mark.parametrize(
    ("many", "size", "times"),
    [(1, 12 << 20, 3 * 12), (60, 100_000, 2 * 60)],
    ids=["hashing, packing and storing a large one", "storing many"],
)
async def test_a_heart_beats_between_payloads_and_their_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int, size: int, times: int
) -> None:
    beats, beat = list[float](), Owner.beat
    monkeypatch.setattr(Owner, "beat", lambda owner: (beats.append(time.monotonic()), beat(owner)))
    async with Engine(str(tmp_path / "segue.db")) as engine:
        assert await engine.run(wide, many, size, id="r") == many * size
    assert len(beats) > times


async def test_who_stores_much_keeps_its_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, known = tmp_path / "segue.db", blobs._known

    def slow(connection: sqlite3.Connection, digest: bytes) -> bool:
        time.sleep(0.005)
        return known(connection, digest)

    monkeypatch.setattr(blobs, "_known", slow)
    async with Engine(str(path), heartbeat_s=HEARTBEAT_S) as one, Engine(str(path), heartbeat_s=HEARTBEAT_S):
        await one.run(wide, 250, 3000, id="r")
        assert one.journal.query("select epoch from runs") == [(1,)]
    sound(path)


async def test_what_is_stored_at_once_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, and whoever stands before is told before the rest is stored."""
    most, commit = 100_000, batch.Batcher.commit
    sizes, told = list[int](), list[int]()

    def watched(self: batch.Batcher, jobs: list[batch.Job], *given: object) -> list[batch.Answer]:
        sizes.append(sum(len(p) for j in jobs if isinstance(j, batch.Call) for p in j.payloads))
        return commit(self, jobs, *given)

    monkeypatch.setattr(writer, "PACKED_MAX", most)
    monkeypatch.setattr(batch.Batcher, "commit", watched)
    journal = Journal.open(str(tmp_path / "segue.db"))
    try:
        asked = [
            journal.ask(lambda _: len(sizes), [b"%05d" % i * (n // 5)] if n else [])
            for i, n in enumerate([0, 40_000, 50_000, 20_000, 0, 300_000, 0, 90_000, 20_000])
        ]
        told = [await one for one in asked]
    finally:
        await journal.close()
    assert told == [1, 1, 1, 2, 2, 3, 3, 4, 5]
    assert sizes == [90_000, 20_000, 300_000, 90_000, 20_000]


async def test_a_payload_in_pieces_is_stored_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "segue.db"
    monkeypatch.setattr(blobs, "FILE_MIN", 30_000)
    async with Engine(str(path)) as engine:
        await engine.run(bulky, 2, 100_000, id="whole")
        monkeypatch.setattr(blobs, "PIECE", 1000)
        monkeypatch.setattr(blobs, "_WRITTEN_AT_ONCE", 999)
        await engine.run(bulky, 3, 100_000, id="pieces")
        values = [e.value for e in engine.journal.events(engine.journal.get("pieces")) if e.key]
        assert sorted(map(len, filter(None, values))) == [100_002] * 3
        assert engine.journal.query("select count(*) from blobs where file is not null") == [(3,)]
    sound(path)


def test_long_arguments_are_split_as_short_ones_are_and_meanwhile_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    chance, looks = random.Random(7), list[int]()

    def value(depth: int) -> object:
        if depth == 0 or chance.random() < 0.3:
            return chance.choice([1, -2.5e-7, None, True, "", 'a"]}\\', "[{\\\\", "\u00e9\u2028\n", [], {}])
        if chance.random() < 0.5:
            return [value(depth - 1) for _ in range(chance.randrange(5))]
        return {f'"{n}]': value(depth - 1) for n in range(chance.randrange(5))}

    for _ in range(300):
        args = json.dumps({f"{n}{{": value(5) for n in range(4)}, ensure_ascii=False, separators=(",", ":")).encode()
        whole = pieces.split(args)
        with monkeypatch.context() as patch:
            patch.setattr(pieces, "LONG", 0)
            patch.setattr(pieces, "_LOOK", 1)
            assert pieces.split(args, lambda: looks.append(1)) == whole
    assert len(looks) > 1000
