"""Engines beside each other in one process: what one does is nothing to the other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from segue import Engine, ask, flow
from segue.agent import gateway as home
from segue.agent.gateway import Gateway
from segue.models import Catalogue, Model, Price, Provider, providers
from segue.runtime.scope import Surroundings
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served, serve


@flow
async def asks(word: str) -> str:
    return await ask(f"Say {word}")


def catalogue(server: Server) -> Catalogue:
    chat = Model(
        name="chat", provider=Provider.OPENAI, window=64_000, max_output=4_000, price=Price.dollars(1, 4),
        url=server.openai_url,
    )  # fmt: skip
    return Catalogue.of(chat)


def opened(path: Path, server: Server) -> Engine:
    return Engine(str(path), resources={"catalogue": catalogue(server)})


async def test_an_engine_that_is_closed_breaks_no_call_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls of one event loop share connections to a provider."""
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    models = {"chat": Served(first_token_s=0.5)}
    async with serve(models) as server, opened(tmp_path / "a.db", server) as stays:
        async with opened(tmp_path / "b.db", server) as leaves:
            await leaves.run(asks, "first", id="r")
            run = await stays.start(asks, "second", id="r")
            while server.counts("chat").calls < 2:
                await asyncio.sleep(0.02)
        assert "second" in await run.result()
        assert [entry.outcome.value for entry in server.log] == ["answered", "answered"]


async def test_an_engine_that_is_closed_breaks_no_call_outside_of_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    async with serve({"chat": Served(first_token_s=0.5)}) as server:
        monkeypatch.setattr(home, "_own", Surroundings(None, {"gateway": Gateway.of(catalogue(server))}))
        answered, leave = asyncio.Event(), asyncio.Event()

        async def comes_and_goes() -> None:
            async with opened(tmp_path / "a.db", server) as engine:
                await engine.run(asks, "first", id="r")
                answered.set()
                await leave.wait()

        other = asyncio.create_task(comes_and_goes())
        await answered.wait()
        plain = asyncio.create_task(ask("Say plain"))
        while server.counts("chat").calls < 2:
            await asyncio.sleep(0.02)
        leave.set()
        await other
        assert "plain" in await plain
        assert [entry.outcome.value for entry in server.log] == ["answered", "answered"]


async def test_what_was_asked_outside_of_an_engine_keeps_no_connection_when_one_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    async with serve({"chat": Served()}) as server:
        monkeypatch.setattr(home, "_own", Surroundings(None, {"gateway": Gateway.of(catalogue(server))}))
        await ask("Say plain")
        assert asyncio.get_running_loop() in providers._open  # pyright: ignore[reportPrivateUsage]
        async with opened(tmp_path / "a.db", server) as engine:
            await engine.run(asks, "first", id="r")
        assert asyncio.get_running_loop() not in providers._open  # pyright: ignore[reportPrivateUsage]
