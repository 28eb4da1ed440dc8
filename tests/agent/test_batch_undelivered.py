"""A batch that nobody takes goes elsewhere: to another deployment, another model, or the same one once it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from segue import ask, flow, gather
from segue.models import Capability, Model
from segue.testing.provider import Served, serve
from tests.agent.test_batch_pools import asked, keys, other, pool
from tests.agent.test_batches import SOON, advice_on, opened

__all__ = ["keys"]
MODELS = {"east/m": Served(), "west/m": Served(), "other": Served()}
BRIEF = replace(SOON, retry_s=0.3)
NOBODY = "http://127.0.0.1:9"
"""Where connections are refused."""


@flow
async def many(words: int) -> list[str]:
    return await gather(*(ask(f"Say w{n}", batch=True, max_tokens=50, attempts=1) for n in range(words)))


@asynccontextmanager
async def overloaded(header: str = "server: test") -> AsyncIterator[str]:
    """A server that turns everything away."""

    async def no(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or 0))
            first = f"HTTP/1.1 503 Service Unavailable\r\n{header}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n"
            writer.write(first.encode() + b"{}")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(no, "127.0.0.1")
    host, port = server.sockets[0].getsockname()[:2]
    async with server:
        yield f"http://{host}:{port}"


def moved(model: Model, place: str, url: str) -> Model:
    """With one of its deployments somewhere else."""
    deployments = (replace(one, url=f"{url}/v1") if one.name == place else one for one in model.deployments)
    return replace(model, deployments=tuple(deployments))


@flow
async def within(seconds: float) -> str:
    return await ask("Say hello", batch=True, batch_within_s=seconds, max_tokens=50)


async def test_no_pause_lasts_longer_than_the_time_for_batches(tmp_path: Path) -> None:
    async with serve(MODELS) as server, overloaded("retry-after: 300") as busy:
        only = replace(other(server), name="batches", url=f"{busy}/v1", price=pool(server).price)
        plain = replace(other(server), capabilities=frozenset({Capability.JSON_SCHEMA}))
        async with opened(tmp_path, only, plain, rules=BRIEF) as engine, asyncio.timeout(30):
            assert "hello" in await engine.run(within, 2.0)
        assert asked(server) == [("other", False)]


@pytest.mark.parametrize("how", ["refused", "overloaded"])
async def test_another_deployment_is_next_and_no_call_is_counted(tmp_path: Path, how: str) -> None:
    async with serve(MODELS) as server, overloaded() as busy:
        down = moved(pool(server), "east", NOBODY if how == "refused" else busy)
        async with opened(tmp_path, down, other(server), rules=BRIEF) as engine:
            assert [f"w{n}" in said for n, said in enumerate(await engine.run(many, 6))] == [True] * 6
        assert asked(server) == [("west/m", True)] * 6


async def test_another_model_is_next_where_it_has_no_other_deployment(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        down = replace(other(server), name="down", url=f"{NOBODY}/v1", price=pool(server).price)
        async with opened(tmp_path, down, other(server), rules=BRIEF) as engine:
            await engine.run(many, 2)
        assert asked(server) == [("other", True)] * 2


async def test_the_same_one_is_asked_by_the_next_batch_where_there_is_no_other(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        server.batches.next("refused")
        async with opened(tmp_path, other(server), rules=replace(BRIEF, retry_s=0.0)) as engine:
            await engine.run(many, 2)
        assert asked(server) == [("other", True)] * 2


async def test_it_is_said_that_it_was_not_taken(tmp_path: Path) -> None:
    async with serve(MODELS) as server:
        down = replace(other(server), url=f"{NOBODY}/v1")
        async with opened(tmp_path, down, rules=replace(SOON, retry_s=60.0)) as engine:
            run = await engine.start(many, 1, id="r")
            while (await run.status()).state == "running":
                await asyncio.sleep(0.02)
            while "which was not taken yet (2 attempts); it goes on" not in advice_on(tmp_path / "x.db", "r"):
                await asyncio.sleep(0.02)
            await run.cancel()


async def test_one_that_may_have_been_taken_is_looked_for_before_it_goes_elsewhere(tmp_path: Path) -> None:
    """It was made, and nobody heard so."""
    async with serve(MODELS) as server:
        server.batches.next("answer-lost")
        async with opened(tmp_path, pool(server), other(server), rules=replace(BRIEF, retry_s=0.0)) as engine:
            await engine.run(many, 2)
        assert asked(server) == [("east/m", True)] * 2


async def test_a_place_that_asks_for_a_longer_pause_than_is_tried_is_left_at_once(tmp_path: Path) -> None:
    async with serve(MODELS) as server, overloaded("retry-after: 300") as busy:
        down = moved(pool(server), "east", busy)
        async with opened(tmp_path, down, other(server), rules=replace(SOON, retry_s=60.0)) as engine:
            await engine.run(many, 2)
        assert asked(server) == [("west/m", True)] * 2


async def test_the_pause_that_the_only_place_asks_for_is_waited_for(tmp_path: Path) -> None:
    async with serve(MODELS) as server, overloaded("retry-after: 300") as busy:
        only = replace(other(server), url=f"{busy}/v1")
        async with opened(tmp_path, only, rules=replace(SOON, retry_s=60.0)) as engine:
            run = await engine.start(many, 1, id="r")
            while not (waits := [one for one in (await run.status()).waits_on if "retry" in one]):
                await asyncio.sleep(0.02)
            assert max(at for at in waits[0].values() if isinstance(at, float)) > time.time() + 200.0
            await run.cancel()
