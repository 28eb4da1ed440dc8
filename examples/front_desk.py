"""Delegation and two patterns on the small local models: `python -m examples.front_desk` (weights: `make weights`).

Requests go to whoever fits: a tool, an agent, a flow, or the models, who do most things a little. A question of yes or
no is put to a vote of samples, and the guide is read in pieces. The models are tiny, and their answers are no better.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Literal

from segue import Engine, ask, flow, step
from segue.agent import Delegate, delegated
from segue.agent.patterns import map_reduce, vote
from segue.models import MODELS, has_weights

REQUESTS = (
    "When does the library open on Saturdays?",
    "Order 17 has arrived broken, I want a refund.",
    "Write a short line of thanks to a customer.",
)
GUIDE = """The library opens at nine. On Saturdays it opens at ten. It is closed on Sundays.

Books may be kept for four weeks. Who keeps them longer pays ten cents a day.

Children read for nothing. Grown-ups pay twelve euros a year.
"""


@step
async def hours(request: str) -> str:
    """When the library opens and closes: hours on days of the week, on Saturdays and Sundays."""
    return "On Saturdays from ten to four."


@flow
async def refund(request: str) -> str:
    """Refunds for orders that arrived broken, or never."""
    yes = await vote(
        "Does the customer want money back? Answer yes or no.", request, by=3, returns=Literal["yes", "no"]
    )
    return f"The vote: {yes.winner} ({yes.share:.0%})."


async def thanks(request: str) -> str:
    """Writes a line of thanks, wishes, congratulations."""
    return await ask("Write one short sentence.", request, max_tokens=40)


@flow
async def front_desk(request: str) -> str:
    """Hand a request to whoever fits, and say who that was."""
    everybody = [hours, thanks, refund, Delegate("smollm2", about="Anything else.")]
    made = await delegated(request, to=everybody, options={"max_tokens": 60})
    return f"{made.by} ({made.kind}): {made.value}"


@flow
async def digest(guide: str) -> str:
    """A guide in a line, read in pieces."""
    made = await map_reduce("Say in one sentence what this tells.", guide, tokens=40, options={"max_tokens": 50})
    return f"(read in pieces: {made.pieces}) {made.value}"


async def main() -> None:
    missing = [name for name, model in MODELS.items() if not has_weights(model)]
    if missing:
        print(f"The weights of {' and '.join(missing)} are not here. Fetch them once: make weights")
        return
    with tempfile.TemporaryDirectory() as folder:
        async with Engine(str(Path(folder) / "desk.db")) as engine:
            for request in REQUESTS:
                print(f"{request}\n  {' '.join((await engine.run(front_desk, request)).split())}")
            print(f"The guide\n  {' '.join((await engine.run(digest, GUIDE)).split())}")


if __name__ == "__main__":
    asyncio.run(main())
