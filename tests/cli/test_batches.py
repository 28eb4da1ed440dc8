"""A run that waits for a batch and was interrupted: `segue resume` has somebody look, and takes up what is there."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from contextlib import closing

import pytest

from segue.testing.provider import Provider as Server
from segue.testing.provider import serve
from tests.cli.terminal import Done, Terminal, until

MODELS = """
[models.chat]
provider = "openai"
url = "{url}"
key_env = "K"
capabilities = ["json-schema", "batch"]
window = 32_000
max_output = 4_000

[batches]
wait_s = 0
look_s = {look_s}
"""
FLOW = """
from segue import ask, flow

@flow
async def batched() -> str:
    return await ask("Say hello", batch=True)

@flow
async def parent() -> str:
    return await batched()
"""
LOOKED = "looks > 0"
"""Somebody has looked at it, and it was not done."""
FAR = 600.0
"""No look comes by itself within a test."""


async def segue(terminal: Terminal, *words: object) -> Done:
    """The provider answers meanwhile: it is in this process."""
    return await asyncio.to_thread(terminal.segue, *words, env={"K": "any"})


def batch_is(terminal: Terminal, where: str) -> bool:
    """What the outbox says of the batch."""
    with closing(sqlite3.connect(f"{terminal.db.as_uri()}-batches?mode=ro", uri=True)) as outbox:
        return bool(outbox.execute(f"select 1 from batches where {where}").fetchall())


async def interrupted(
    terminal: Terminal, server: Server, number: int = signal.SIGINT, *, look_s: float = FAR, flow: str = "batched"
) -> None:
    """Run b, cut off while its batch is the provider's."""
    (terminal.folder / "segue.toml").write_text(MODELS.format(url=server.openai_url, look_s=look_s))
    (terminal.folder / "night.py").write_text(FLOW)
    run = terminal.start("run", f"night:{flow}", "--id", "b", env={"K": "any"})
    await asyncio.to_thread(until, lambda: server.batches.jobs and batch_is(terminal, "sent_at is not null"))
    await asyncio.to_thread(until, lambda: "parked" in terminal.query("select state from runs")[-1])
    run.send(number)
    await asyncio.to_thread(run.wait)


async def done(server: Server) -> None:
    """The night is over: the provider has done all batches."""
    async with asyncio.timeout(20):
        while any(job.status != "completed" for job in server.batches.jobs.values()):
            await asyncio.sleep(0.05)


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGINT, ["resume", "b"]),
        (signal.SIGKILL, ["resume", "b"]),
        (signal.SIGKILL, ["run", "night:batched", "--id", "b"]),
        (signal.SIGINT, ["resume"]),
    ],
)
async def test_what_came_while_nobody_was_there_is_taken_up(terminal: Terminal, number: int, words: list[str]) -> None:
    async with serve(["chat"]) as server:
        server.batches.pace_s = 2.0
        await interrupted(terminal, server, number)
        await done(server)
        ended = await segue(terminal, *words)
        assert ended.code == 0, ended.err
        assert terminal.state("b") == "completed"
        assert len(server.log) == 1


@pytest.mark.sampled(2)
@pytest.mark.parametrize("flow", ["batched", "parent"])
async def test_resume_of_a_run_stays_for_its_batch(terminal: Terminal, flow: str) -> None:
    async with serve(["chat"]) as server:
        server.batches.pace_s = 24.0
        await interrupted(terminal, server, look_s=1.0, flow=flow)
        assert [job.status for job in server.batches.jobs.values()] != ["completed"]
        ended = await segue(terminal, "resume", "b", "--patience-s", 0)
        assert (ended.code, "hello" in ended.out) == (0, True), ended.err
        assert len(server.log) == 1


async def test_resume_of_all_looks_once_and_says_how_many_wait(terminal: Terminal) -> None:
    async with serve(["chat"]) as server:
        server.batches.pace_s = 100.0
        await interrupted(terminal, server)
        ended = await segue(terminal, "resume")
        assert (ended.code, batch_is(terminal, LOOKED)) == (0, True)
        assert "1 run waits for a batch.\n  segue resume --stay " in ended.err
        assert terminal.state("b") == "parked"


async def test_who_waits_for_a_batch_is_told_to_resume(terminal: Terminal) -> None:
    async with serve(["chat"]) as server:
        server.batches.pace_s = 100.0
        await interrupted(terminal, server)
        shown = (await segue(terminal, "show", "b")).out
        resumes, retries = shown.index("segue resume b "), shown.index("--retry")
        assert resumes < retries
        assert "paid twice" in shown[retries:]
        left = terminal.start("resume", "b", "--json", env={"K": "any"})
        await asyncio.to_thread(until, lambda: batch_is(terminal, LOOKED))
        left.send(signal.SIGINT)
        error = json.loads((await asyncio.to_thread(left.wait)).err)["error"]
        assert (error["code"], error["remedy"]) == ("suspended", "segue resume b")


async def test_that_answers_came_by_batches_is_said_once(terminal: Terminal) -> None:
    async with serve(["chat"]) as server:
        (terminal.folder / "segue.toml").write_text(MODELS.format(url=server.openai_url, look_s=0.2))
        (terminal.folder / "night.py").write_text(FLOW)
        server.next("chat", "overloaded", "overloaded")
        ended = await segue(terminal, "run", "night:batched", "--id", "b")
        assert (ended.code, len(server.batches.jobs)) == (0, 3), ended.err
        assert (await segue(terminal, "show", "b")).out.count("result by its batch") == 1
        assert max(line.count("result by its batch") for line in ended.err.splitlines()) == 1
