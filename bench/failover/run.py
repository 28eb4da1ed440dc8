"""Both scenes for one client after the other, at one server."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .books import Books, audit
from .crew import Worker, crew, drive
from .provider import Provider
from .scene import DOLLARS, Scene
from .tally import Outage, Tally, outage, tally
from .tasks import Seen, asks

Advance = Callable[[str, int, int], None]
"""What is under way, how many asks are over, of how many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entrant:
    """One client: how its process is started, and what is particular in its setup."""

    name: str
    command: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


def entrants(litellm: str | None) -> list[Entrant]:
    """Those that can be run here."""
    found = list[Entrant]()
    if litellm is not None:
        peer = (litellm, "-m", "bench.failover.peer")
        found.append(Entrant(name="litellm", command=peer))
        found.append(Entrant(name="litellm-validating", command=peer, options={"validate": True}))
    found.append(Entrant(name="bare", command=(sys.executable, "-m", "bench.failover.bare")))
    if importlib.util.find_spec("segue.agent.gateway") is not None:
        found.append(Entrant(name="segue", command=(sys.executable, "-m", "bench.failover.engine")))
    return found


def run(scene: Scene, clients: Sequence[Entrant], advance: Advance) -> list[Tally]:
    """All figures, one client after the other."""
    with Provider(scene, [client.name for client in clients]) as provider:
        return [asyncio.run(_client(scene, client, provider, advance)) for client in clients]


async def _client(scene: Scene, client: Entrant, provider: Provider, advance: Advance) -> Tally:
    """Its processes are started once, and set up anew for the second scene."""
    since = len(await asyncio.to_thread(provider.log, 0))
    models, every = scene.models(client.name), asks(scene.asks, "a", scene.seed)
    with tempfile.TemporaryDirectory(prefix="segue-failover-") as folder:
        setup = _setup(scene, client, provider, models, folder)
        async with crew(client.command, setup, scene.processes) as workers:
            tell = _told(advance, f"{client.name}: failing models", len(every))
            done = await drive(workers, every, scene.per_s, tell)
            rough = await _outage(scene, client, provider, advance, workers) if scene.outage_s else None
            version = workers[0].version
        log, counts = await asyncio.to_thread(provider.log, since), await asyncio.to_thread(provider.counts)
        books = _audited(scene, setup, log)
    mine = {name: counts[name] for name in models.values()}
    first = tally(scene, done, Seen(e for e in log if e["model"] in mine), mine, name=(client.name, version))
    return replace(first, outage=rough, books=books)


def _audited(scene: Scene, setup: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> Books | None:
    """What the journal of a client says, where it has one."""
    if not Path(setup["database"]).exists():
        return None
    prices = {one["id"]: one["dollars"] for one in setup["models"].values()}
    return audit(setup["database"], scene.budget_usd, log, prices)


async def _outage(
    scene: Scene, client: Entrant, provider: Provider, advance: Advance, workers: Sequence[Worker]
) -> Outage:
    """As long before it as during it; the cheapest model is the one that goes down."""
    models, since = scene.calm(client.name), len(await asyncio.to_thread(provider.log, 0))
    every = asks(2 * max(20, round(scene.outage_s * scene.per_s)), "o", scene.seed)
    half = len(every) // 2
    with tempfile.TemporaryDirectory(prefix="segue-failover-") as folder:
        setup = _setup(scene, client, provider, models, folder)
        await asyncio.gather(*(worker.set_up(setup) for worker in workers))
        await drive(workers, asks(20, "w", scene.seed), scene.per_s, lambda _: None)
        calm = await drive(workers, every[:half], scene.per_s, _told(advance, f"{client.name}: all well", half))
        await asyncio.to_thread(provider.fail, models["small"], scene.down)
        try:
            tell = _told(advance, f"{client.name}: one model down", half)
            rough = await drive(workers, every[half:], scene.per_s, tell)
        finally:
            await asyncio.to_thread(provider.heal, models["small"])
        await asyncio.gather(*(worker.set_up(None) for worker in workers))
    return outage(scene, calm, rough, Seen(await asyncio.to_thread(provider.log, since)))


def _told(advance: Advance, what: str, total: int) -> Callable[[int], None]:
    return lambda done: advance(what, done, total)


def _setup(scene: Scene, client: Entrant, provider: Provider, models: Mapping[str, str], folder: str) -> dict[str, Any]:
    limits = {"rpm": scene.rpm, "tpm": scene.tpm, "concurrency": scene.concurrency}
    return {
        "url": provider.url,
        "models": {size: {"id": name, "limits": limits, "dollars": DOLLARS[size]} for size, name in models.items()},
        "timeout_s": scene.timeout_s,
        "patience_s": scene.patience_s,
        "max_tokens": scene.max_tokens,
        "budget_usd": scene.budget_usd,
        "run_usd": scene.run_usd,
        "processes": scene.processes,
        "health": str(Path(folder) / "bench.db-health"),
        "database": str(Path(folder) / "bench.db"),
        **client.options,
    }
