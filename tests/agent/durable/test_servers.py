"""MCP servers as an agent's tools, over stdio and HTTP: lists and calls are steps, a dead server is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fastmcp.client.transports import StdioTransport
from mcp.shared.exceptions import MCPError
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.toolsets import AbstractToolset, DynamicToolset

from segue import RunStuck, flow, step
from segue.agent.durable import Durable
from segue.agent.durable.servers import Servers, watch
from segue.errors import HandedOn
from segue.runtime.flow import Flow
from segue.runtime.once import may_begin, noting
from segue.testing import Engine as InMemory
from segue.testing.provider import Asked, Served, serve
from tests.agent.served import KEYS, calls, in_turn, opened, results

TIMED_OUT = "Request 'tools/call' timed out"
SCRIPT = Path(__file__).with_name("mcp_server.py")


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


def over_stdio(log: Path, **more: Any) -> MCPToolset[None]:
    at = StdioTransport(sys.executable, [str(SCRIPT), str(log)])
    return MCPToolset(at, id="shop", include_instructions=True, **more)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@asynccontextmanager
async def over_http(log: Path, port: int) -> AsyncGenerator[None]:
    """The server in a process of its own, on loopback."""
    with (log.parent / "http.txt").open("w") as out:
        server = subprocess.Popen([sys.executable, str(SCRIPT), str(log), str(port)], stdout=out, stderr=out)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None
                await asyncio.sleep(0.05)
        yield
    finally:
        server.kill()
        server.wait()


def shopping(shop: AbstractToolset[None], **options: object) -> Flow[[str], str]:
    agent = Agent(
        name="buyer",
        toolsets=[shop],
        retries=3,
        capabilities=[Durable(**options)],  # pyright: ignore[reportArgumentType]
    )

    @flow
    async def buying(text: str) -> str:
        return (await agent.run(text)).output

    return buying


def lines(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if not line.startswith("starts")]


def starts(log: Path) -> int:
    return log.read_text().count("starts")


TWO = in_turn(calls("price", item="apple"), calls("buy", item="apple", count=2), "done")


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_lists_and_calls_are_steps_over_one_session(tmp_path: Path, way: str) -> None:
    log, port, asked = tmp_path / "log", free_port(), list[Asked]()
    shop = over_stdio(log) if way == "stdio" else MCPToolset(f"http://127.0.0.1:{port}/mcp", id="shop")
    models = {"chat": Served(answer=lambda one: (asked.append(one), TWO(one))[1])}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        if way == "http":
            async with over_http(log, port):
                run = await engine.start(shopping(shop), "Buy apples.")
                assert await run.result() == "done"
        else:
            run = await engine.start(shopping(shop), "Buy apples.")
            assert await run.result() == "done"
        events = [event async for event in run.events()]
    assert lines(log) == ["price apple", "buy apple 2"] and starts(log) == 1
    assert results(asked[-1]) == ["500", "bought 2 apple"]
    keys = [re.sub(r"\[[0-9a-f]{12}\]", "", e.key or "") for e in events if e.type == "step.completed"]
    named = [key.removeprefix("agent[buyer]#1/") for key in keys if "instructions" not in key]
    assert named == ["tools[shop]#1", "ask#1", "price#1", "ask#1", "buy#1", "ask#1"]
    if way == "stdio":
        assert "Prices are in cents." in str(asked[0].body)


async def test_what_a_tool_raises_and_what_does_not_fit_goes_back_to_the_model(tmp_path: Path) -> None:
    log, asked = tmp_path / "log", list[Asked]()
    said = in_turn(calls("buy", item="nothing"), calls("buy", thing="apple"), calls("everything"), "done")
    models = {"chat": Served(answer=lambda one: (asked.append(one), said(one))[1])}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(shopping(over_stdio(log), limit_chars=5_000), "Buy.")
        assert await run.result() == "done"
    raised, misfit, long = results(asked[-1])
    assert "Error executing tool buy" in raised
    assert "item" in misfit
    assert len(long) < 6_000 and "characters are left out here" in long


async def test_a_server_that_died_is_started_again(tmp_path: Path) -> None:
    """Once between two calls, and once in the middle of one."""
    log = tmp_path / "log"

    def said(asked: Asked) -> object:
        if len(results(asked)) == 1 and starts(log) == 1:
            pid = int(log.read_text().split()[1])
            os.kill(pid, signal.SIGKILL)
        return in_turn(calls("price", item="apple"), calls("buy", item="pear"), calls("price", item="bomb"), "done")(
            asked
        )

    models = {"chat": Served(answer=said)}  # pyright: ignore[reportArgumentType]
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        assert await engine.run(shopping(over_stdio(log)), "Buy.") == "done"
    assert lines(log) == ["price apple", "buy pear 1", "price bomb", "price bomb"]
    assert starts(log) == 3


async def test_a_server_that_dies_in_the_middle_of_what_happens_once_is_no_answer(tmp_path: Path) -> None:
    from pydantic_ai.capabilities import SetToolMetadata

    log = tmp_path / "log"
    agent = Agent(
        name="buyer", toolsets=[over_stdio(log)],
        capabilities=[SetToolMetadata(tools=["buy"], segue={"effect": "once"}), Durable()],
    )  # fmt: skip

    @flow
    async def buying(text: str) -> str:
        return (await agent.run(text)).output

    models = {"chat": Served(answer=in_turn(calls("buy", item="bomb"), "done"))}
    async with serve(models) as server, opened(tmp_path, server, "chat") as engine:
        run = await engine.start(buying, "Buy.")
        with pytest.raises(RunStuck, match="buy"):
            await run.result()
        assert lines(log) == ["buy bomb 1"]


@pytest.mark.proof
async def test_a_server_of_a_toolset_that_is_made_for_a_run_has_not_refused_where_it_died(tmp_path: Path) -> None:
    """The model was told that the call would not do, so it might have bought twice; what only reads was not read."""
    log = tmp_path / "log.txt"
    made = DynamicToolset[None](lambda _: over_stdio(log), id="made")
    told: list[list[str]] = []
    speak = in_turn(calls("price", item="bomb"), calls("buy", item="bomb"), "done")

    def answer(asked: Asked) -> object:
        told.append(results(asked))
        return speak(asked)

    buying = shopping(made)
    async with serve({"chat": Served(answer=answer)}) as server, opened(tmp_path, server, "chat") as engine:  # pyright: ignore[reportArgumentType]
        assert await engine.run(buying, "Buy.") == "done"
    *prices, bought = lines(log)  # a server that is slow to start was asked for the price once more, or once less
    assert (set(prices), bought) == ({"price bomb"}, "buy bomb 1")
    assert told[-1][0] == "400" and "nobody knows whether buy had its effect" in told[-1][1]


async def test_what_a_server_has_not_answered_in_time_is_in_doubt(tmp_path: Path) -> None:
    """The model was told that the call would not do, and might have made it again, also of what happens once."""
    log, told = tmp_path / "log", list[str]()
    shop = over_stdio(log, read_timeout=1)
    speak = in_turn(calls("order", item="pear"), "done")

    def answer(asked: Asked) -> object:
        told[:] = results(asked)
        return speak(asked)

    async with serve({"chat": Served(answer=answer)}) as server, opened(tmp_path, server, "chat") as engine:  # pyright: ignore[reportArgumentType]
        assert await engine.run(shopping(shop), "Order.") == "done"
        assert "nobody knows whether order had its effect" in told[0]
        run = await engine.start(shopping(shop.with_metadata(segue={"effect": "once"})), "Order.")
        with pytest.raises(RunStuck, match="order"):
            await run.result()
    assert lines(log) == ["order pear", "order pear"]


class Odd:
    """The session with a server that knows no ping, and uses codes of its own."""

    id, process_tool_call = "odd", None

    class client:  # noqa: N801  as the session has it
        @staticmethod
        async def ping() -> None:
            raise MCPError(-32601, "Method 'ping' not found")


@step
async def told_of(code: int, says: str) -> str:
    server: Any = Odd()

    async def call(name: str, args: dict[str, Any]) -> None:
        raise MCPError(code, says)

    watch(server)
    try:
        await server.process_tool_call(None, call, "buy", {})
    except (MCPError, TimeoutError, ConnectionError) as error:
        return type(error).__name__
    return "nothing"


async def test_a_servers_own_word_is_no_silence_and_no_death() -> None:
    """The code of a request without an answer is one that servers use for what is not found."""

    @flow
    async def all_of(x: int) -> list[str]:
        return [await told_of(-32001, "Not found: 'pear'"), await told_of(1, "no"), await told_of(-32001, TIMED_OUT)]

    async with InMemory() as engine:
        assert await engine.run(all_of, 1) == ["MCPError", "MCPError", "TimeoutError"]


LOST = [
    (-32603, "Server returned an error response"), (-32000, "SSE stream ended without a response"),
    (-32700, "Failed to parse JSON response: …"), (-32600, "Unexpected content type: text/html"),
    (-32600, "server answered a request with 202 Accepted"),
]  # fmt: skip
SAID = [(-32601, "no such method"), (-32602, "no such tool"), (-32600, "no id"), (0, "no"), (-32042, "log in first")]


async def test_errors_that_the_client_makes_up_are_no_word_of_the_server() -> None:
    @flow
    async def all_of(x: int) -> list[str]:
        return [await told_of(code, says) for code, says in (*LOST, *SAID)]

    async with InMemory() as engine:
        assert await engine.run(all_of, 1) == ["ConnectionError"] * len(LOST) + ["MCPError"] * len(SAID)


class Gateway(BaseHTTPRequestHandler):
    """Hands requests on to a server, and loses its first answer to a call."""

    protocol_version = "HTTP/1.1"
    upstream, way = 0, ""
    lost: ClassVar[list[bytes]] = []

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=20)) as to:
            to.request("POST", self.path, body, headers)
            answer = to.getresponse()
            status, said, given = answer.status, answer.getheaders(), answer.read()
        if b'"tools/call"' in body and not self.lost:  # it was carried out
            self.lost.append(body)
            status, said, given = 200 if self.way == "cut" else 502, [("content-type", "text/event-stream")], b""
        self.send_response(status)
        for name, value in said:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(given)

    def do_GET(self) -> None:
        """There is no stream beside the answers."""
        self.send_response(405)
        self.send_header("connection", "close")
        self.end_headers()

    do_DELETE = do_GET  # noqa: N815  the name that it has


@contextlib.contextmanager
def gateway(upstream: int, way: str) -> Generator[int]:
    """A gateway on loopback, by its port, that loses the first answer: by a 502, or by a stream without it."""
    made = type("Made", (Gateway,), {"upstream": upstream, "way": way, "lost": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), made) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("way", ["502", "cut"])
async def test_a_write_whose_answer_was_lost_is_in_doubt(tmp_path: Path, way: str) -> None:
    """The model was told that the server had refused, and bought twice, also what happens once; the server lives."""
    log, port, told = tmp_path / "log", free_port(), list[str]()

    def answer(asked: Asked) -> object:
        told[:] = results(asked)
        return "done" if told and "nobody knows" in told[-1] else in_turn(*[calls("buy", item="pear")] * 3, "!")(asked)

    async with (
        serve({"chat": Served(answer=answer)}) as server,  # pyright: ignore[reportArgumentType]
        opened(tmp_path, server, "chat") as engine,
        over_http(log, port),
    ):
        with gateway(port, way) as at:
            shop = MCPToolset(f"http://127.0.0.1:{at}/mcp", id="shop")
            assert await engine.run(shopping(shop), "Buy.") == "done"
            assert "nobody knows whether buy had its effect" in told[0] and "was lost" in told[0]
        with gateway(port, way) as at:
            once = MCPToolset(f"http://127.0.0.1:{at}/mcp", id="shop").with_metadata(segue={"effect": "once"})
            run = await engine.start(shopping(once), "Buy.")
            with pytest.raises(RunStuck, match="buy"):
                await run.result()
    assert lines(log) == ["buy pear 1", "buy pear 1"]


async def test_a_read_whose_answer_was_lost_is_made_again(tmp_path: Path) -> None:
    log, port, told = tmp_path / "log", free_port(), list[str]()

    def answer(asked: Asked) -> object:
        told[:] = results(asked)
        return in_turn(calls("price", item="pear"), "done")(asked)

    async with (
        serve({"chat": Served(answer=answer)}) as server,  # pyright: ignore[reportArgumentType]
        opened(tmp_path, server, "chat") as engine,
        over_http(log, port),
    ):
        with gateway(port, "502") as at:
            shop = MCPToolset(f"http://127.0.0.1:{at}/mcp", id="shop")
            assert await engine.run(shopping(shop), "Buy.") == "done"
    assert told == ["400"] and lines(log) == ["price pear", "price pear"]


async def test_a_write_that_a_server_says_has_failed_is_not_made_again(tmp_path: Path) -> None:
    """It was made three times, as what only reads is."""
    log, told = tmp_path / "log", list[str]()
    speak = in_turn(calls("order", item="nothing"), "done")

    def answer(asked: Asked) -> object:
        told[:] = results(asked)
        return speak(asked)

    shop = over_stdio(log, tool_error_behavior="error")
    async with serve({"chat": Served(answer=answer)}) as server, opened(tmp_path, server, "chat") as engine:  # pyright: ignore[reportArgumentType]
        assert await engine.run(shopping(shop), "Order.") == "done"
    assert lines(log) == ["order nothing"] and "order failed: ToolError" in told[0]


async def test_a_session_that_a_candidate_of_a_delegation_opens_is_not_its_own() -> None:
    """It is kept for others: what it does for them is no work of a candidate that has lost it."""
    seen: list[bool] = []

    class Server:
        id = "shop"

        async def __aenter__(self) -> None:
            try:
                may_begin()
            except HandedOn:
                seen.append(False)
            else:
                seen.append(True)

        async def __aexit__(self, *raised: object) -> None:
            pass

    with noting() as below:
        below.close("it was handed on")
        with pytest.raises(HandedOn):
            may_begin()
        session = await Servers().connected(Server())
    await session.stop()
    assert seen == [True]
