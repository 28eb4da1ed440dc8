"""Writes the journals of this version: `python -m tests.golden.write VERSION`. Never run by the tests; never
overwrites.

Each scenario is killed at several commits, so that the journals end in the middle of everything.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from segue import testing
from segue.errors import InputError, RunEnded

from . import flows
from .journals import FOLDER, dump

ORDER = flows.Order("o-1", [1, 2, 3])
SCENARIOS = {
    "sale": (flows.sale, [ORDER]), "workers": (flows.workers, [[3, 1, 2, 5, 4]]), "claim": (flows.claim, [ORDER]),
    "tally": (flows.tally, [ORDER, []]),
}  # fmt: skip


async def play(engine: testing.Engine, name: str) -> list[object]:
    """Start the scenario's run, or get it, and approve what it asks for."""
    flow, arguments = SCENARIOS[name]
    run = await engine.start(flow, *arguments, id=name)
    if name == "sale":
        with suppress(RunEnded):
            await run.signal("approved", True, id="the-approval", by="golden")
    for word in ("one", "two", "three") if name == "tally" else ():
        with suppress(RunEnded):
            await run.signal("word", word, id=word)
    while name == "claim" and (await run.status()).state not in ("completed", "failed"):
        for waits in (await run.status()).waits_on:
            if "person" in waits and "look_up" in waits["key"]:
                with suppress(InputError, RunEnded):
                    await run.decide(waits["key"], use="archive", by="golden")
        await asyncio.sleep(20)
    return await run.result()


async def _killed(name: str, commit: int) -> testing.Engine | None:
    """The engine as it was killed at a commit; None when the run ended before."""
    engine = testing.Engine(crash=testing.Crash(commit, "after"), seed=7, linger_s=1.0)
    async with engine:
        try:
            await engine.outlive(play(engine, name))
        except testing.Died:
            return engine
    return None


def main(version: str) -> None:
    """Write every journal that is not there yet."""
    FOLDER.mkdir(exist_ok=True)
    for name in SCENARIOS:
        commit, step = 2, 3
        while True:
            flows.made.clear()
            engine = testing.run(_killed(name, commit))
            if engine is None:
                break
            path = FOLDER / f"{version}-{name}-{commit:03}.jsonl"
            if not path.exists():
                path.write_text(dump(engine.connection))
            commit += step


if __name__ == "__main__":
    main(sys.argv[1])
