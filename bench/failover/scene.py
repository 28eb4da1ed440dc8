"""What is measured: how many asks, how fast, to which models, failing how, within which limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from segue.testing.provider.faults import HANGING, MIXED, Trouble

SIZES = ("small", "medium", "large")
"""The three models, from the cheapest to the dearest."""
DOLLARS = {"small": (0.2, 0.8), "medium": (1.0, 4.0), "large": (3.0, 12.0)}
"""USD per million tokens of input and of output."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """All numbers of a run. The defaults are the proof's."""

    asks: int = 10_000
    per_s: float = 20.0
    """Asks that come, each second: what two cores carry, the server and its log among it."""
    failing: float = 0.3
    """Share of calls that fail, of each model."""
    hanging: float = 0.02
    """Of all calls: those that hang, or come late. Part of `failing`."""
    uncounted: float = 0.01
    """Of all calls: right answers whose usage is missing or wrong. Not part of `failing`."""
    timeout_s: float = 2.0
    """For one attempt."""
    patience_s: float = 60.0
    """For one ask."""
    rpm: int = 1_600
    tpm: int = 400_000
    """An ask takes some 250 tokens: two of the three models must carry `per_s`, or an outage is an overload."""
    concurrency: int = 12
    """`rpm`, `tpm` and this one are limits of each model, which the server enforces."""
    retry_after_s: float = 0.2
    """What a 429 asks for: short, as all times here are. Who heeds it sends nothing to that model so long."""
    outage_s: float = 60.0
    down: str = "silent"
    """What the model that is down does."""
    seed: int = 7
    processes: int = 2
    max_tokens: int = 200
    budget_usd: float = 25.0
    """Of all asks together; of one ask it is `run_usd`. Who has budgets must keep them."""
    run_usd: float = 0.02

    def models(self, client: str) -> dict[str, str]:
        """The models of a client at the server, by size: counts and limits are its own."""
        return {size: f"{client}-{size}" for size in SIZES}

    def calm(self, client: str) -> dict[str, str]:
        """Those that do not fail by themselves, for the outage."""
        return {size: f"{client}-calm-{size}" for size in SIZES}

    def arguments(self, clients: list[str]) -> list[str]:
        """The server's command line."""
        limits = f"rpm={self.rpm},tpm={self.tpm},concurrency={self.concurrency},first_token_s=0.05,token_s=0.0005"
        given = [
            f"--seed={self.seed}",
            f"--retry-after-s={self.retry_after_s}",
            "--slow-s=0.6",
            "--gap-s=0.1",
            "--silence-s=20",
            "--json",
        ]
        for client in clients:
            for name in self.models(client).values():
                given += [f"--model={name}:{limits}", *(f"--fault={name}:{f}" for f in self.faults())]
            given += [f"--model={name}:{limits}" for name in self.calm(client).values()]
        return given

    def faults(self) -> Iterator[str]:
        """Each fault with its rate."""
        for trouble in MIXED:
            yield f"{trouble}={(self.failing - self.hanging) / len(MIXED):.6f}"
        for trouble in HANGING:
            yield f"{trouble}={self.hanging / len(HANGING):.6f}"
        for trouble in (Trouble.NO_USAGE, Trouble.WRONG_USAGE):
            yield f"{trouble}={self.uncounted / 2:.6f}"
