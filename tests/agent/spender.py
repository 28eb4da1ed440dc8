"""A process that asks under a tenant's budget, next to others on the same database: `python -m tests.agent.spender`."""

from __future__ import annotations

import asyncio
import json
import sys

from segue import Engine, flow
from segue.agent import Allowance, Budgets, ask
from segue.errors import BudgetExceeded
from segue.models import Catalogue, Limits, Model, Price, Provider

LIMIT = 0.02
PRICE = Price.dollars(1, 4)


@flow
async def spends(n: int) -> bool:
    """Whether there was money for it."""
    try:
        await ask(f"What of {n}?", max_tokens=400)
    except BudgetExceeded:
        return False
    return True


async def main(database: str, url: str, first: int, count: int) -> None:
    """Ask `count` questions at once; say how many were answered."""
    model = Model(
        name="m", provider=Provider.OPENAI_COMPATIBLE, window=4000, max_output=1000, price=PRICE, url=url,
        limits=Limits(concurrency=60),
    )  # fmt: skip
    resources = {
        "catalogue": Catalogue.of(model), "routes": {}, "budgets": Budgets(tenants={"default": Allowance(usd=LIMIT)}),
    }  # fmt: skip
    async with Engine(database, resources=resources) as engine:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        got = await asyncio.gather(*(engine.run(spends, n, id=f"r{n}") for n in range(first, first + count)))
    print(json.dumps(sum(got)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
