"""An agent of 20 calls over three models, killed at every write of the journal: the same state, and each write once."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segue.testing import Crash
from segue.testing import Engine as InMemory
from segue.testing.crash import play
from segue.testing.provider import Provider, Served, serve
from tests.agent.durable import errand
from tests.agent.served import KEYS

PARTS = 16
CALLS = sum(map(len, errand.PLAN))
END = {"put": 10, "cents": 1000, "calls": CALLS}
SHELF = ["a", "b", "c", "d", "e", "f", "g", "h", "h", "i"]
STATE = sorted(
    [f'put ["{name}", {ord(name) - 96}]' for name in SHELF] + [f"charge {cents}" for cents in (100, 200, 300, 400)]
)


@pytest.fixture(scope="module", autouse=True)
def keys() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in KEYS:
            patch.setenv(name, "test")
        yield


def served() -> dict[str, Served]:
    return {name: Served(answer=errand.plan, thinking=name == "claude") for name in errand.MODELS}


def world(path: Path) -> Path:
    path.mkdir()
    errand.WORLD.append(path)
    return path


async def scene(engine: InMemory) -> Any:
    return await engine.run(errand.errand, "Do it all.", id="main")


def done(engine: InMemory) -> list[str]:
    """The steps that have an outcome. A request's fingerprint is of the provider's ids too, which are new each time."""
    keys = [event.key or "" for event in engine.history("main") if event.type == "step.completed"]
    assert len(keys) == len(set(keys))
    return sorted(re.sub(r"ask\[[0-9a-f]*\]", "ask", key) for key in keys)


@pytest.fixture(scope="module")
def whole(keys: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], int]:
    """The steps of a play without a crash, and its commits."""

    async def played() -> tuple[list[str], int]:
        async with serve(served()) as server:
            at = world(tmp_path_factory.mktemp("whole") / "world")
            got, engine = await play(scene, resources={"catalogue": errand.catalogue(server)})
            assert CALLS == 20 and got == END and errand.state(at) == STATE
            requests = {name: server.counts(name).calls for name in errand.MODELS}
            assert all(requests.values()) and sum(requests.values()) == len(errand.PLAN) + 1
            return done(engine), engine.commits

    return asyncio.run(played())


@pytest.mark.parametrize("part", range(PARTS))
async def test_killed_at_every_write_it_ends_the_same(tmp_path: Path, whole: tuple[list[str], int], part: int) -> None:
    steps, commits = whole
    async with serve(served()) as server:
        resources = {"catalogue": errand.catalogue(server)}
        for commit in range(1 + part, commits + 1, PARTS):
            for when in ("before", "after"):
                at = world(tmp_path / f"{commit}-{when}")
                asked = calls(server)
                got, last = await play(scene, [Crash(commit, when)], resources=resources)
                assert got == END
                assert done(last) == steps
                assert errand.state(at) == STATE
                assert calls(server) - asked <= len(errand.PLAN) + 2


def calls(server: Provider) -> int:
    return sum(server.counts(name).calls for name in errand.MODELS)


@pytest.mark.parametrize("turn", [3])
async def test_killed_for_real_in_the_middle_it_goes_on(tmp_path: Path, turn: int) -> None:
    """kill -9 while a model answers; another process takes over, and asks nothing that has an answer."""
    at, heard = world(tmp_path / "world"), asyncio.Event()
    before = sum(map(len, errand.PLAN[:turn]))

    def said(asked: Any) -> Any:
        if len(errand.results(asked)) == before and not heard.is_set():
            heard.set()
        return errand.plan(asked)

    models = {name: Served(answer=said, first_token_s=0.2) for name in errand.MODELS}
    async with serve(models) as server:
        first = await started(tmp_path, server)
        await heard.wait()
        first.kill()
        await first.wait()
        second = await started(tmp_path, server)
        out, _ = await second.communicate()
        assert json.loads(out) == END
        assert errand.state(at) == STATE
        assert calls(server) <= len(errand.PLAN) + 2


async def started(path: Path, server: Provider) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "tests.agent.durable.errand", str(path), server.url, server.openai_url]
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
