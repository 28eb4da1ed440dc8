"""A catalogue of four formats over one server, and a model that says what a test has written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segue import Engine
from segue.core.records import ToolAnswered, record_of
from segue.models import Capability, Catalogue, Limits, Model, Price, Provider
from segue.testing import Engine as InMemory
from segue.testing.provider import Answer, Asked, Call, Served, serve
from segue.testing.provider import Provider as Server

CAN = frozenset(Capability) - {Capability.EMBEDDINGS}
FORMATS = {
    "chat": Provider.OPENAI_COMPATIBLE, "claude": Provider.ANTHROPIC, "gpt": Provider.OPENAI_RESPONSES,
    "gemini": Provider.GOOGLE,
}  # fmt: skip
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY")

Said = str | Answer | None


def model(server: Server, name: str, can: frozenset[Capability] = CAN, **more: Any) -> Model:
    """One of the four, by its name."""
    plain = FORMATS[name] in (Provider.ANTHROPIC, Provider.GOOGLE)
    cost = Price.dollars(0.1 * 2 ** list(FORMATS).index(name), 1.0)
    return Model(
        name=name, provider=FORMATS[name], id=name, capabilities=can, window=64_000, max_output=4_000, price=cost,
        url=server.url if plain else server.openai_url, limits=Limits(concurrency=20), **more,
    )  # fmt: skip


def catalogue(server: Server, *names: str) -> Catalogue:
    """Of these of the four, from the cheapest to the dearest; of all without any."""
    return Catalogue.of(*(model(server, name) for name in names or FORMATS))


def opened(path: Path, server: Server, *names: str, **resources: Any) -> Engine:
    """An engine on a file in `path`, over a catalogue of these."""
    return Engine(str(path / "x.db"), resources={"catalogue": catalogue(server, *names), **resources})


def calls(name: str, **args: Any) -> Answer:
    """A call of a tool."""
    return Answer(calls=(Call(name, json.dumps(args)),))


def results(asked: Asked) -> list[str]:
    """What tools have given so far."""
    return [turn.text for turn in asked.turns if turn.role == "tool"]


def in_turn(*said: Said) -> Callable[[Asked], Said]:
    """A model that says these by how many results of tools it has seen; the last one from there on."""
    return lambda asked: said[min(len(results(asked)), len(said) - 1)]


async def ran(made: Any, said: Any, *args: Any) -> tuple[Any, list[ToolAnswered]]:
    """A flow, run in memory over `chat`, which says `said`: what it gave, and the records of its tools."""
    async with (
        serve({"chat": Served(answer=said)}) as server,
        InMemory(resources={"catalogue": catalogue(server, "chat")}) as engine,
    ):
        given = await engine.run(made, *args, id="main")
        return given, [r for e in engine.history("main") if isinstance(r := record_of(e), ToolAnswered)]
