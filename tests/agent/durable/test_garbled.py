"""An answer of an MCP server that came and cannot be read says nothing of what the call has done."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.toolsets import AbstractToolset

from segue import RunStuck, delegate, flow, step, tool
from segue.agent import Delegate, Durable
from segue.agent.delegation.errors import Undelegated
from segue.errors import UnknownEffect
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, calls, in_turn, opened, results

SCRIPT = Path(__file__).with_name("garbled_server.py")
GARBLED = ["schema", "block", "content"]
PAID: list[str] = []


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    PAID.clear()
    (tmp_path / "log").touch()
    for name in KEYS:
        monkeypatch.setenv(name, "test")


def shop(path: Path, way: str, effect: str | None = None, **more: Any) -> AbstractToolset[None]:
    at = StdioTransport(sys.executable, [str(SCRIPT), str(path / "log"), way])
    made = MCPToolset[None](at, id="shop", **more)
    return made if effect is None else made.with_metadata(segue={"effect": effect})


def bought(path: Path) -> int:
    return len((path / "log").read_text().split())


def buyer(toolset: AbstractToolset[None]) -> Agent[None, str]:
    return Agent(name="buyer", toolsets=[toolset], capabilities=[Durable()])


async def told(path: Path, toolset: AbstractToolset[None]) -> str:
    """What a model is told of its call in a flow."""
    agent, asked = buyer(toolset), list[Asked]()

    @flow
    async def buying(text: str) -> str:
        return (await agent.run(text)).output

    say = in_turn(calls("buy", item="pear"), "done")
    models = {"chat": Served(answer=lambda one: (asked.append(one), say(one))[1])}
    async with serve(models) as server, opened(path, server, "chat") as engine:
        assert await asyncio.wait_for((await engine.start(buying, "Buy.")).result(), 20) == "done"
    return results(asked[-1])[0]


@pytest.mark.parametrize("way", GARBLED)
async def test_nobody_knows_what_came_of_it(tmp_path: Path, way: str) -> None:
    """The model was told that it failed, or that its arguments did not fit, and bought again."""
    said = await told(tmp_path, shop(tmp_path, way))
    assert "nobody knows whether buy had its effect" in said and "cannot be read" in said
    assert "Find out before you call it again" in said and bought(tmp_path) == 1


@pytest.mark.parametrize("way", GARBLED)
async def test_what_happens_once_is_set_aside(tmp_path: Path, way: str) -> None:
    with pytest.raises(RunStuck) as stuck:
        await told(tmp_path, shop(tmp_path, way, "once"))
    assert isinstance(stuck.value, UnknownEffect) and bought(tmp_path) == 1


async def test_a_read_simply_fails(tmp_path: Path) -> None:
    said = await told(tmp_path, shop(tmp_path, "schema", "read"))
    assert "buy failed" in said and "cannot be read" in said and "nobody knows" not in said


@pytest.mark.parametrize("effect", [None, "once"])
async def test_what_the_server_says_itself_is_a_failure(tmp_path: Path, effect: str | None) -> None:
    said = await told(tmp_path, shop(tmp_path, "refused", effect))
    assert "sold out" in said and "nobody knows" not in said


async def test_the_error_of_a_hook_stays_its_own(tmp_path: Path) -> None:
    async def hook(ctx: Any, call: Any, name: str, args: dict[str, Any]) -> Any:
        await call(name, args)
        raise LookupError("no pears")

    said = await told(tmp_path, shop(tmp_path, "good", process_tool_call=hook))
    assert "LookupError: no pears" in said and "nobody knows" not in said


@pytest.mark.parametrize("way", ["-32603", "-32000"])
@pytest.mark.parametrize(
    ("effect", "says"), [(None, "nobody knows whether buy had its effect"), ("read", "buy failed")]
)
async def test_the_words_of_a_server_that_may_have_begun_are_told(
    tmp_path: Path, way: str, effect: str | None, says: str
) -> None:
    """They were thrown away: the model was told of a lost answer alone."""
    said = await told(tmp_path, shop(tmp_path, way, effect))
    assert says in said and "no such customer" in said


class Mine(LookupError):
    """An error of a hook."""


@pytest.mark.parametrize(
    ("way", "heard"), [("-32603", "ConnectionError"), ("schema", "ConnectionError"), ("-32602", "ModelRetry")]
)
async def test_a_hook_hears_of_a_doubt_and_what_it_raises_from_it_stays_its_own(
    tmp_path: Path, way: str, heard: str
) -> None:
    """What it came from was looked for in it, so that it was thrown away."""

    async def hook(ctx: Any, call: Any, name: str, args: dict[str, Any]) -> Any:
        try:
            return await call(name, args)
        except Exception as error:
            raise Mine(f"no pears after {type(error).__name__}") from error

    said = await told(tmp_path, shop(tmp_path, way, process_tool_call=hook))
    assert f"Mine: no pears after {heard}" in said and "nobody knows" not in said and bought(tmp_path) == 1


@tool(effect="once")
async def other(request: str) -> str:
    """Transfers money."""
    PAID.append(request)
    return "paid"


async def desk(way: str, path: Path) -> str:
    first = Delegate(buyer(shop(path, way, "once")), about="Pays an invoice: transfers money.", quality=0.9)
    try:
        return await delegate(first.about, to=[first, other], check=lambda said: "" if said == "paid" else "no receipt")
    except Undelegated as error:
        return error.remedy or ""


@pytest.mark.parametrize("where", ["in a step", "outside"])
@pytest.mark.parametrize(
    ("way", "says"), [("schema", "nobody knows"), ("good", "was carried out"), ("refused", "paid")]
)
async def test_delegations_outside_of_a_flow_heed_servers_too(tmp_path: Path, way: str, says: str, where: str) -> None:
    """What happens once by a tool that is no step was not looked at there."""

    @step
    async def inside(x: int) -> str:
        return await desk(way, tmp_path)

    @flow
    async def around(x: int) -> str:
        return await inside(x)

    models = {"chat": Served(answer=in_turn(calls("buy", item="pear"), "all done"))}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        said = await (inside(1) if where == "outside" else engine.run(around, 1))
    assert says in said and bought(tmp_path) == 1
    assert len(PAID) == (way == "refused")
