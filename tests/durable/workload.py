"""What the power-cut tests watch: an engine whose every acknowledgement is written down at the moment that it is given.

Run as a program: DATABASE FOLDER [MUTATION]. Acknowledgements are JSON lines: `["run", id]`, `["signal", run, id]` and
`["event", run, seq, type, value's digest]`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import stat
import sys
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from segue import Engine, flow, gather, step, wait_for
from segue.journal import Write, blobs, connect, writer

BLOB = 40_000


@step
async def noise(seed: int, size: int) -> str:
    """Text that does not compress below three quarters."""
    return random.Random(seed).randbytes(size // 2).hex()


@flow
async def talk(seed: int) -> int:
    """Small, middle and large payloads, and a signal."""
    texts = await gather(noise(seed, 20), noise(seed, 6_000), noise(seed, 2 * BLOB + seed), noise(0, 3 * BLOB))
    said = await wait_for("word", returns=str)
    return sum(map(len, texts)) + len(said)


def digest(value: bytes | None) -> str | None:
    """What tells one payload from another."""
    return None if value is None else blake2b(value, digest_size=8).hexdigest()


class Acks:
    """Writes down what somebody was told."""

    def __init__(self, folder: Path):
        self._file = os.open(folder / "ACKS", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, *what: Any) -> None:
        os.write(self._file, json.dumps(what).encode() + b"\n")

    def tell(self, answers: list[Any], told: Any) -> None:
        """In the place of `writer.tell`: the writer's answers, before anybody hears them."""
        for _, job, error in answers:
            if isinstance(job, Write) and error is None:
                event = job.event
                self("event", event.run, event.seq, event.type, digest(event.value))
        _tell(answers, told)


_tell = writer.tell


def mutate(name: str) -> None:
    """Take one sync away."""

    def files_only(fd: int) -> None:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.fsync(fd)

    def relaxed(connection: sqlite3.Connection, path: str) -> None:
        _prepare(connection, path)
        connection.execute("pragma synchronous = normal")

    if name == "no file sync":
        blobs.os = SimpleNamespace(**{**vars(os), "fsync": files_only})
    elif name == "no folder sync":
        blobs.sync_folder = lambda folder: None
    elif name == "no sync of the folder's name":
        blobs.sync_folder = lambda folder: None if folder.suffix != ".db-blobs" else _sync_folder(folder)
    elif name == "synchronous=normal":
        connect.prepare = relaxed
        sys.modules["segue.journal.journal"].prepare = relaxed


_sync_folder, _prepare = blobs.sync_folder, connect.prepare


async def main(folder: Path) -> None:
    """Five runs, of which one waits for a word that does not come."""
    blobs.FILE_MIN = BLOB // 2
    acks = Acks(folder)
    writer.tell = acks.tell
    async with Engine(str(folder / "segue.db")) as engine:
        await engine.journal.ask(lambda c: None)
        engine.journal.connection.execute("pragma wal_autocheckpoint = 12")
        runs = []
        for seed in range(1, 6):
            runs.append(await engine.start(talk, seed, id=f"talk-{seed}"))
            acks("run", f"talk-{seed}")
        for run in runs[:-1]:
            await run.signal("word", "over", id="w")
            acks("signal", run.id, "w")
        await asyncio.gather(*(run.result() for run in runs[:-1]))


if __name__ == "__main__":
    mutate(sys.argv[2] if len(sys.argv) > 2 else "")
    asyncio.run(main(Path(sys.argv[1])))
