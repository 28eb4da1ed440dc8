"""A worker is killed in the middle of a run. Another one goes on from Temporal's history, and nothing is made twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

pytest.importorskip("temporalio", reason="the extra `temporal` is not installed")

from temporalio.client import Client

from segue.core.events import EventType
from tests.temporal import face, flows
from tests.temporal.runtimes import replayed

ROOT = Path(__file__).parents[2]


@contextmanager
def worker_process(address: str, queue: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.temporal.worker", address, queue]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def results(handle: face.Handle) -> dict[str, object]:
    """The results of steps so far, by key."""
    return {k: v for _, t, k, _, v in await face.journal(handle) if t == EventType.STEP_COMPLETED}


async def until(met: object) -> None:
    while not met():
        await asyncio.sleep(0.02)


async def test_another_worker_finishes_the_run(temporal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(flows.MARKS, str(tmp_path))
    client, queue = await Client.connect(temporal), f"lost-{uuid4().hex[:8]}"
    handle = await face.start(client, queue, flows.relay, id="relay")
    with worker_process(temporal, queue) as first:
        await until(lambda: flows.marks("slow") and flows.marks("beside"))
        while len(before := await results(handle)) < 5:
            await asyncio.sleep(0.02)
    assert first.returncode == -9

    async with face.worker(client, queue):
        await face.signal(handle, "go", "went")
        seen = await face.result(handle, flows.relay)
        after = await results(handle)
    assert len(before) == 5
    assert {key: after[key] for key in before} == before
    assert [r for r in seen if r in before.values()] == [*seen[:4], seen[7]]
    assert seen[6:] == [after[k] for k in after if k.startswith("gather#2/")] + ["went", seen[-1]]

    names = [*(f"fan{i}" for i in range(4)), "beside", "last"]
    assert {name: len(flows.marks(name)) for name in names} == dict.fromkeys(names, 1)
    assert flows.marks("slow") == sorted(f"slow.{pid}" for pid in (first.pid, os.getpid()))
    await replayed(handle)
