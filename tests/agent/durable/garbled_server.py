"""A server of tools over stdio that does what it is told, and whose answers nobody can read: `python THIS LOG WAY`.

A way may be the code of an error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LOG, WAY = Path(sys.argv[1]), sys.argv[2]
RESULTS: dict[str, dict[str, Any]] = {
    "schema": {"content": [{"type": "text", "text": "ok"}], "structuredContent": {"order": 17}},
    "block": {"content": [{"type": "hologram"}]}, "content": {"content": "bought"},
    "refused": {"content": [{"type": "text", "text": "sold out"}], "isError": True},
    "good": {"content": [{"type": "text", "text": "bought"}]},
}  # fmt: skip


def result(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """What it answers; None: there is no such method."""
    if method == "initialize":
        about = {"name": "shop", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": about}
    if method == "tools/list":
        tool: dict[str, Any] = {
            "name": "buy", "description": "Transfers money: pays an invoice.",
            "inputSchema": {"type": "object", "properties": {"item": {"type": "string"}}},
        }  # fmt: skip
        if WAY == "schema":
            tool["outputSchema"] = {"type": "object", "properties": {"order": {"type": "string"}}}
        return {"tools": [tool]}
    if method == "tools/call":
        with LOG.open("a", encoding="utf-8") as log:
            log.write("buy\n")
        return RESULTS.get(WAY)
    return {} if method == "ping" else None


def error(method: str) -> dict[str, Any]:
    """What it says where it has no result: of a call that its way is a code for, and of what it does not know."""
    code = int(WAY) if method == "tools/call" else -32601
    return {"code": code, "message": "no such customer"}


for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        given = result(asked["method"], asked.get("params", {}))
        said = {"error": error(asked["method"])} if given is None else {"result": given}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **said}), flush=True)
