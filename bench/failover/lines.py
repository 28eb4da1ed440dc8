"""A client in a process of its own: asks come as lines of JSON, answers go back as such. The standard library alone.

The first line is the setup; the worker says `{"ready": ...}`; another one, as `{"setup": ...}`, comes when all asks are
answered, and is answered so too, null closes the client; then `{"id", "prompt", "schema"}` for each ask, all at
once as far as the other side likes, and for each a line with the id and the fields of `Answered`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

LINE = 1 << 22


class Answered(NamedTuple):
    """What a client gives back. `text` None: it gave up, and `error` says why."""

    text: str | None
    attempts: int = 0
    """Calls of models that it says it made."""
    tokens_in: int = 0
    tokens_out: int = 0
    """Tokens that it accounts for, of all attempts."""
    own_in: int = 0
    own_out: int = 0
    """Those of the answer alone."""
    error: str = ""


class Client(Protocol):
    """What is compared."""

    async def ask(self, prompt: str, schema: dict[str, Any]) -> Answered:
        """One ask, to its end. Raises nothing."""
        ...

    async def close(self) -> None:
        """It is over."""
        ...


Make = Callable[[dict[str, Any]], Awaitable[Client]]


def say(line: dict[str, Any]) -> None:
    """One line to the other side."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def serve(make: Make, version: str) -> None:
    """Answer until the input ends."""
    asyncio.run(_serve(make, version))


async def _serve(make: Make, version: str) -> None:
    lines = asyncio.StreamReader(limit=LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    client: Client | None = await make(json.loads(await lines.readline()))
    say({"ready": version})
    asking: set[asyncio.Task[None]] = set()
    while line := await lines.readline():
        said = json.loads(line)
        if "setup" in said:
            if client is not None:
                await client.close()
            client = None if said["setup"] is None else await make(said["setup"])
            say({"ready": version})
        elif client is not None:
            task = asyncio.create_task(_answer(client, said))
            asking.add(task)
            task.add_done_callback(asking.discard)
    await asyncio.gather(*asking)
    if client is not None:
        await client.close()


async def _answer(client: Client, ask: dict[str, Any]) -> None:
    try:
        said = await client.ask(ask["prompt"], ask["schema"])
    except Exception as error:  # noqa: BLE001  whatever a client raises, its ask has no answer
        said = Answered(None, error=f"{type(error).__name__}: {error}"[:300])
    say({"id": ask["id"], **said._asdict()})
