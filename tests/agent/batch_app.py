"""A process that asks by batches: `python -m tests.agent.batch_app DATABASE URL MODEL FIRST COUNT TOTAL`.

It starts runs FIRST to FIRST+COUNT, waits for all of 0 to TOTAL, whoever carries them out, and says how many answered.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

from segue import Engine, ask, flow
from segue.errors import SegueError, UnknownRun
from segue.models import Capability, Catalogue, Model, Price, Provider
from segue.models.batches import BatchRules

PRICE = Price.dollars(1, 4)
PROVIDERS = {
    "chat": Provider.OPENAI, "claude": Provider.ANTHROPIC, "gemini": Provider.GOOGLE, "mistral": Provider.MISTRAL,
    "groq": Provider.GROQ,
}  # fmt: skip
RULES = BatchRules(wait_s=1.0, look_s=0.3, look_s_max=0.5, turn_s=0.2, settle_s=0.5)


def catalogue(url: str, name: str) -> Catalogue:
    """One model at the server's root, or under `/v1` for OpenAI's clients."""
    return Catalogue.of(
        Model(
            name=name, provider=PROVIDERS[name], window=64_000, max_output=4_000,
            capabilities=frozenset({Capability.BATCH}), price=PRICE, url=f"{url}/v1" if name == "chat" else url,
        )
    )  # fmt: skip


@flow(budget_usd=0.01)
async def echoes(word: str) -> str:
    return await ask(f"Say {word}", max_tokens=200, batch=True)


async def result_of(engine: Engine, name: str) -> str:
    """Of a run that another process may not have started yet."""
    while True:
        try:
            return await (await engine.get(name)).result()
        except UnknownRun:
            await asyncio.sleep(0.1)


async def main(path: str, url: str, name: str, *numbers: int) -> None:
    """See above."""
    first, count, total = numbers
    resources = {"catalogue": catalogue(url, name), "batches": replace(RULES)}
    async with Engine(path, resources=resources, linger_s=0.05) as engine:
        print("ready", flush=True)
        for n in range(first, first + count):
            await engine.start(echoes, f"w{n}.", id=f"r{n}")
        answered = 0
        for n in range(total):
            try:
                answered += f"w{n}." in await result_of(engine, f"r{n}")
            except SegueError as error:
                print(error, file=sys.stderr)
        print(answered, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], *map(int, sys.argv[4:])))
