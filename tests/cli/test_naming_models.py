"""`segue decide RUN --use MODEL` for a question to models: whoever cannot be asked is refused at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from segue import Engine, ask, flow
from segue.cli.deciding import decide
from segue.cli.telling import Sender
from segue.errors import AlreadyDecided, InputError
from segue.testing.provider import Provider, serve
from tests.agent.served import KEYS
from tests.agent.test_escalation import asked

MODEL = """
[models.{name}]
provider = "openai-compatible"
url = "{url}/v1"
key_env = "SEGUE_TEST_KEY"
window = 32000
max_output = 2000
price = {{ in = 1.0, out = 2.0 }}
tags = {{ tier = "{tier}" }}
"""
ROUTE = """
[routes.default]
policy = "cheapest"
require = { tier = "inside" }
"""


@flow
async def sort(text: str) -> str:
    return await ask(text, attempts=1, escalate="lead")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("segue.agent.gateway._config", None)  # what flows of other tests are written for
    for name in (*KEYS, "SEGUE_TEST_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def models(server: Provider, **tiers: str) -> None:
    tables = [MODEL.format(name=name, url=server.url, tier=tier) for name, tier in tiers.items()]
    Path("segue.toml").write_text("".join((*tables, ROUTE)))


def named(model: str) -> int:
    sender = Sender("x.db", as_json=True)
    return decide(sender, "r", None, None, retry=False, use=model, fail=False, by="ann", why="")


async def test_whoever_cannot_be_asked_is_refused_and_who_is_new_is_not(home: Path) -> None:
    async with serve(["small", "large", "newer"]) as server:
        server.fail("small", "overloaded")
        models(server, small="inside", large="outside")
        async with Engine("x.db") as engine:
            run = await engine.start(sort, "t", id="r")
            await asked(run)
        with pytest.raises(InputError, match="larg cannot be asked: there is none of that name; there are: large"):
            await asyncio.to_thread(named, "larg")
        async with Engine("x.db") as engine:  # which has not asked anybody yet
            engine.carries = False
            with pytest.raises(InputError, match="larg cannot be asked: there is none of that name"):
                await (await engine.get("r")).decide("ask", use="larg")
        with pytest.raises(InputError, match="large cannot be asked: its tier is outside, not inside"):
            await asyncio.to_thread(named, "large")
        models(server, small="inside", large="outside", newer="inside")
        assert await asyncio.to_thread(named, "newer") == 0
        with pytest.raises(AlreadyDecided, match=r"was decided already: nothing was sent"):
            await asyncio.to_thread(named, "small")
        async with Engine("x.db") as engine:
            await (await engine.get("r")).result()
        assert [entry.model for entry in server.log] == ["small", "newer"]
