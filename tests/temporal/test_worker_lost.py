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


async def test_another_worker_finishes_the_run(temporal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(flows.MARKS, str(tmp_path))
    client, queue = await Client.connect(temporal), f"lost-{uuid4().hex[:8]}"
    handle = await face.start(client, queue, flows.relay, id="relay")
    with worker_process(temporal, queue) as first:
        while len(before := await results(handle)) < 6 or not flows.marks("slow"):
            await asyncio.sleep(0.02)
    assert first.returncode == -9

    async with face.worker(client, queue):
        await face.signal(handle, "go", "went")
        seen = await face.result(handle, flows.relay)
        after = await results(handle)
    assert {key: after[key] for key in before} == before

    made = {name: flows.marks(name) for name in seen if name not in ("chance", "said")}
    slow, last = made.pop("slow"), made.pop("last")
    assert slow.keys() == {first.pid, os.getpid()}
    assert (seen.pop("slow"), seen.pop("last"), seen.pop("said")) == (slow[os.getpid()], last[os.getpid()], "went")
    assert made == {name: {first.pid: seen[name]} for name in made}
    assert set(before.values()) == set(seen.values())
    await replayed(handle)
