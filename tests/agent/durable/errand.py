"""An agent of 20 calls over three models, and the world in which it does them; a program to be killed.

`python -m tests.agent.durable.errand FOLDER URL OPENAI_URL` starts the run `main` in FOLDER, or goes on with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast, get_args
from uuid import uuid4

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.capabilities import SelectModel
from pydantic_ai.toolsets import FunctionToolset

from segue import Applied, Engine, NotApplied, flow, step_scope
from segue.agent.durable import Durable
from segue.models import Catalogue
from segue.testing.provider import Answer, Asked, Call
from tests.agent.served import model, results

MODELS = ("chat", "claude", "gpt")
WORLD: list[Path] = []
Kind = Literal["look", "put", "charge", "post"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PLAN: list[list[tuple[Kind, dict[str, Any]]]] = [
    [("look", {"at": "a"}), ("look", {"at": "b"}), ("put", {"name": "a", "value": 1})],
    [("charge", {"cents": 100})],
    [("put", {"name": "b", "value": 2}), ("put", {"name": "c", "value": 3}), ("put", {"name": "d", "value": 4})],
    [("look", {"at": "c"}), ("charge", {"cents": 200}), ("put", {"name": "e", "value": 5})],
    [("put", {"name": "f", "value": 6})],
    [("look", {"at": "d"}), ("look", {"at": "d"}), ("put", {"name": "g", "value": 7})],
    [("charge", {"cents": 300}), ("charge", {"cents": 400})],
    [("put", {"name": "h", "value": 8}), ("put", {"name": "h", "value": 8}), ("post", {"text": "h"})],
    [("put", {"name": "i", "value": 9})],
]
"""The calls of each turn: 20 in all."""


class Receipt(BaseModel):
    put: int
    cents: int


def did(kind: str, what: object) -> None:
    """Something is done in the world: once for each idempotency key, however often it is asked for."""
    key = step_scope().idempotency_key.replace("/", "|")
    with (WORLD[-1] / "asked").open("a") as asked:
        asked.write(f"{kind} {key}\n")
    written = WORLD[-1] / f"written-{uuid4().hex}"  # whole, before it is there: a crash leaves no half of it
    written.write_text(json.dumps(what))
    try:
        (WORLD[-1] / f"{kind} {key}").hardlink_to(written)
    except FileExistsError:
        if kind != "put":
            raise AssertionError(f"{kind} was asked for twice") from None


async def was_it_charged(cents: int) -> Applied | NotApplied:
    """What the bank says."""
    made = [path for path in WORLD[-1].glob("charge *") if json.loads(path.read_text()) == cents]
    return Applied(f"charged {cents}") if made else NotApplied()


shop: FunctionToolset[None] = FunctionToolset(id="shop")


@shop.tool_plain(metadata={"segue": {"effect": "read"}})
async def look(at: str) -> str:
    """Look at something."""
    return f"{at} is fine"


@shop.tool_plain(metadata={"segue": {"effect": "read"}})  # it may be made again: the shelf knows its key
def put(name: str, value: int) -> str:
    """Put something on the shelf."""
    did("put", [name, value])
    return f"put {name}"


@shop.tool_plain(metadata={"segue": {"effect": "once", "reconcile": was_it_charged}})
async def charge(cents: int) -> str:
    """Charge the card."""
    did("charge", cents)
    return f"charged {cents}"


@shop.tool_plain(metadata={"segue": {"effect": "write"}})
async def post(text: str) -> str:
    """Post a letter."""
    did("post", text)
    return f"posted {text}"


runner = Agent(
    name="runner", output_type=Receipt, toolsets=[shop],
    capabilities=[SelectModel(lambda ctx: MODELS[ctx.run_step % 3]), Durable(timeout_s=10)],
)  # fmt: skip


@flow
async def errand(text: str) -> dict[str, Any]:
    result = await runner.run(text)
    asked = [getattr(part, "tool_name", "") for message in result.all_messages() for part in message.parts]
    return {**result.output.model_dump(), "calls": sum(name in KINDS for name in asked) // 2}


def plan(asked: Asked) -> Answer | str:
    """What a model says: the calls of the turn that is due, and the receipt at the end."""
    had, done = len(results(asked)), 0
    for turn in PLAN:
        if had == done:
            return Answer(calls=tuple(Call(name, json.dumps(args)) for name, args in turn))
        done += len(turn)
    return json.dumps({"put": 10, "cents": 1000})


def state(world: Path) -> list[str]:
    """What has been done, in the end."""
    return sorted(f"{path.name.partition(' ')[0]} {path.read_text()}" for path in world.iterdir() if " " in path.name)


def repeated(world: Path) -> list[str]:
    """What must be asked for at most once, and was asked for again."""
    asked = [line for line in (world / "asked").read_text().splitlines() if not line.startswith("put ")]
    return [line for line, times in Counter(asked).items() if times > 1]


def catalogue(server: Any) -> Catalogue:
    return Catalogue.of(*(model(server, name) for name in MODELS))


async def main(folder: Path, url: str, openai_url: str) -> None:
    WORLD.append(folder / "world")
    server = SimpleNamespace(url=url, openai_url=openai_url)
    async with Engine(str(folder / "x.db"), resources={"catalogue": catalogue(server)}) as engine:
        run = await engine.start(errand, "Do it all.", id="main")
        print(json.dumps(await run.result()), flush=True)


if __name__ == "__main__":
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        os.environ[name] = "test"
    asyncio.run(cast("Callable[..., Any]", main)(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
