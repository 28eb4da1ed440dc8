"""Models behind a real server, an engine that routes to them, and what its journal then says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from segue import Engine, Run
from segue.core.records import AttemptRecorded, AttemptWhy, Decision, record_of
from segue.models import Capability, Catalogue, Limits, Model, Price, Provider
from segue.routing import Policy
from segue.testing.provider import Provider as Server
from segue.testing.provider import Served

CAN = frozenset({Capability.TOOLS, Capability.JSON_SCHEMA, Capability.STREAMING})
MODELS = ("small", "middle", "large")


def catalogue(server: Server, **more: Any) -> Catalogue:
    """Three models in one format, from the cheapest to the dearest."""
    values: dict[str, Any] = {"capabilities": CAN, "window": 32_000, "max_output": 2000} | more
    limits = values.pop("limits", Limits(concurrency=20))
    read = values.pop("cache_read", None)
    return Catalogue.of(
        *(
            Model(
                name=name, provider=Provider.OPENAI_COMPATIBLE, id=name, url=server.openai_url, limits=limits,
                price=Price.dollars(0.1 * 2**n, 0.4 * 2**n, cache_read=read and read * 2**n), **values,
            )
            for n, name in enumerate(MODELS)
        )
    )  # fmt: skip


@asynccontextmanager
async def opened(path: Path, server: Server, routes: Mapping[str, Policy], **more: Any) -> AsyncIterator[Engine]:
    """An engine on a file in `path`. `more` are resources; `models` are fields of all models."""
    models = more.pop("models", {})
    resources = {"catalogue": catalogue(server, **models), "routes": routes, **more}
    async with Engine(str(path / "x.db"), resources=resources) as engine:
        yield engine


def served(**seconds: float) -> dict[str, Served]:
    """All three; who is named takes so long."""
    return {name: Served(first_token_s=seconds.get(name, 0.0), answer=saying(name)) for name in MODELS}


def saying(text: str) -> Callable[[object], str]:
    return lambda _: text


async def told(run: Run[Any]) -> tuple[list[Decision], list[AttemptRecorded]]:
    """A run's decisions and attempts, in order."""
    records = [record_of(e) async for e in run.events(follow=False) if e.type in ("decision.made", "attempt.recorded")]
    return [r for r in records if isinstance(r, Decision)], [r for r in records if isinstance(r, AttemptRecorded)]


def brief(attempts: list[AttemptRecorded]) -> list[tuple[str, str, str]]:
    return [(a.target.name, a.why.value, a.end.value) for a in attempts]


def shadows(attempts: list[AttemptRecorded]) -> list[AttemptRecorded]:
    return [a for a in attempts if a.why is AttemptWhy.SHADOW]


def asked(decision: Decision) -> str:
    assert decision.chosen is not None
    return decision.chosen.target.name


def plain(value: object) -> Any:
    return json.loads(json.dumps(value))
