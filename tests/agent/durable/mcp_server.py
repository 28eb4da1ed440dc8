"""A server of tools over stdio, or over HTTP on loopback: `python mcp_server.py LOG [PORT]`.

It writes a line to LOG when it starts and for each call.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from mcp.server import MCPServer
from mcp.types import ToolAnnotations

LOG = Path(sys.argv[1])
server = MCPServer("shop", instructions="Prices are in cents.")


def note(text: str) -> None:
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"{text}\n")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def price(item: str) -> int:
    """The price of an item."""
    note(f"price {item}")
    if item == "bomb" and not (LOG.parent / "exploded").exists():
        (LOG.parent / "exploded").touch()
        os._exit(1)
    return len(item) * 100


@server.tool()
def buy(item: str, count: int = 1) -> str:
    """Buy something."""
    if item == "nothing":
        raise ValueError("there is nothing to buy")
    note(f"buy {item} {count}")
    if item == "bomb":
        os._exit(1)
    return f"bought {count} {item}"


@server.tool()
async def order(item: str) -> str:
    """Order something: it takes its time."""
    note(f"order {item}")
    if item == "nothing":
        raise ValueError("there is nothing to order")
    await asyncio.sleep(30)
    return f"ordered {item}"


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def everything() -> str:
    """All there is."""
    return "x" * 300_000


if __name__ == "__main__":
    note(f"starts {os.getpid()}")
    if len(sys.argv) > 2:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
    else:
        server.run("stdio")
