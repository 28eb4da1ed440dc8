"""`kill -9` of processes whose questions are in batches: nothing is sent twice, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from segue.core.records import BudgetScope, ScopeKind
from segue.journal import Journal
from segue.models.batches import Outbox
from segue.testing.provider import Provider as Server
from segue.testing.provider import serve
from tests.agent.batch_app import PRICE
from tests.forked import Forked

KEYS = ("OPENAI", "ANTHROPIC", "GOOGLE", "MISTRAL", "GROQ")
ENV = {**os.environ, **{f"{name}_API_KEY": "test" for name in KEYS}}
FORMATS = {"chat": "openai", "claude": "anthropic", "gemini": "google", "mistral": "mistral", "groq": "openai"}
CREATED = ("/batches", ":batchGenerateContent", "/batch/jobs")


async def started(path: Path, server: Server, *words: object) -> Forked:
    return await asyncio.to_thread(Forked, "module", "tests.agent.batch_app", path, server.url, *words, env=ENV)


async def answers(process: Forked) -> int:
    return int((await process.ended(timeout=90)).split()[-1])


def billed(server: Server) -> int:
    """At half the price, each request rounded up."""
    million = 2_000_000
    took = (PRICE.per_million_in * e.tokens_in + PRICE.per_million_out * e.tokens_out for e in server.log)
    return sum(-(-one // million) for one in took)


def spent(path: Path, runs: int) -> int:
    scopes = [BudgetScope(kind=ScopeKind.RUN, name=f"r{n}") for n in range(runs)]
    with Journal.open_readonly(str(path)) as journal:
        standings = journal.standing_of(scopes)
    assert all(stood.held == stood.estimated == 0 for stood in standings)
    return sum(stood.spent for stood in standings)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", FORMATS)
async def test_a_batch_of_which_nobody_heard_is_found_again(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve([name]) as server:
        killed = await started(tmp_path / "x.db", server, name, 0, 8, 8)
        desk: Any = vars(server)["_batch_apis"][FORMATS[name]]
        reply = desk.reply

        def deadly(request: Any, path: str, place: str, ids: Any) -> Any:
            said = reply(request, path, place, ids)
            if request.method == "POST" and path.endswith(CREATED) and killed.returncode is None:
                killed.send_signal(signal.SIGKILL)  # the provider has it; nobody will hear so
                return None
            return said

        monkeypatch.setattr(desk, "reply", deadly)
        await killed.gone()
        monkeypatch.setattr(desk, "reply", reply)
        assert await answers(await started(tmp_path / "x.db", server, name, 0, 8, 8)) == 8
        assert len(server.log) == 8
        assert not server.log.answered_twice()
        assert len(server.batches.jobs) <= 4
        assert spent(tmp_path / "x.db", 8) == billed(server)


ONLY_OPENS = """
import asyncio, sys
from segue import Engine

async def main():
    async with Engine(sys.argv[1]):
        print("carries", "segue.agent.batch.office" in sys.modules, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("config", ["", "[batches]\nwait_s = -1\n"], ids=["none", "mistaken"])
async def test_a_process_that_only_opens_the_database_carries_what_is_there(tmp_path: Path, config: str) -> None:
    """And where its `segue.toml` is mistaken, it opens the database all the same."""
    Outbox(tmp_path / "x.db-batches").close()
    (tmp_path / "segue.toml").write_text(config)
    words = [sys.executable, "-c", ONLY_OPENS, "x.db"]
    done = await asyncio.to_thread(subprocess.run, words, cwd=tmp_path, env=ENV, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "carries True\n"), done.stderr


async def test_who_is_left_carries_the_batches_of_who_was_killed(tmp_path: Path) -> None:
    async with serve(["chat"]) as server:
        server.batches.pace_s = 4.0
        one = await started(tmp_path / "x.db", server, "chat", 0, 30, 60)
        two = await started(tmp_path / "x.db", server, "chat", 30, 30, 60)
        while sum(len(job.requests) for job in server.batches.jobs.values()) < 60:
            await asyncio.sleep(0.02)
        one.send_signal(signal.SIGKILL)  # between submission and result
        await one.gone()
        assert await answers(two) == 60
        assert len(server.log) == 60
        assert not server.log.answered_twice()
        assert len(server.batches.jobs) <= 8
        assert spent(tmp_path / "x.db", 60) == billed(server)
