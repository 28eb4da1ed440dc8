"""The five patterns, one after the other: `python -m examples.patterns`. It needs no key and no weights.

A vote, a debate with a judge, a planner with workers, an evaluator with an optimiser, a long document read in pieces.
What the model says is written down here, so it is the same each time; for models of your own leave `resources` out.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from pathlib import Path

from segue import Engine, ask, flow, step
from segue.agent.patterns import Score, Side, debate, improve, map_reduce, plan_and_work, vote
from segue.models import Catalogue, Model, Price, Provider
from segue.testing.provider import Asked, Served, serve

REPORT = """The bridge was closed in March. A bearing was worn.

In April the bearing was changed. The cost was 40,000 euros.

In May a crack was found in a pillar. It is watched.
"""
PLAN = {
    "tasks": [
        {"id": "walls", "what": "Measure the walls."},
        {"id": "paint", "what": "What does the paint for these walls cost?", "needs": ["walls"]},
    ]
}


@flow
async def voted(question: str) -> str:
    """Three samples of one model; most votes win."""
    made = await vote(question, by=3)
    return f"{made.winner} ({made.share:.0%} of the votes)"


@flow
async def debated(question: str) -> str:
    """Two sides, two rounds, then a judge, whose verdict is a value."""
    sides = [Side("ship", "It is ready."), Side("wait", "It is not.")]
    made = await debate(question, sides=sides, returns=bool, rounds=2)
    return f"{'yes' if made.verdict else 'no'}, after {len(made.speeches)} speeches"


@step
async def measure(request: str) -> str:
    """Measures the walls of a room."""
    return "40 square metres"


async def prices(request: str) -> str:
    """Knows what paint costs."""
    return await ask("What does it cost?", request)


@flow
async def planned(goal: str) -> str:
    """A planner says which tasks there are, each goes to the worker that fits, and one puts it together."""
    made = await plan_and_work(goal, workers=[measure, prices])
    return f"{made.value} ({', '.join(f'{one.task.id} by {one.by}' for one in made.done)})"


def judged(slogan: str) -> Score:
    """A function judges: short is good."""
    words = len(slogan.split())
    return Score(score=min(1.0, 3 / words), why=f"{words} words: say it in three")


@flow
async def improved(task: str) -> str:
    """Each round is shown the best so far and what was said of it; the best is kept."""
    made = await improve(task, evaluator=judged, rounds=3, enough=1.0)
    return f"{made.value} (of {len(made.versions)}, stopped: {made.stopped})"


@flow
async def digested(report: str) -> str:
    """Each piece is read by itself, and the results are put together."""
    made = await map_reduce("What happened to the bridge?", report, tokens=25)
    return f"{made.value} (read in {made.pieces} pieces)"


SHOWN = (
    (voted, "Which city is the capital of Italy?"),
    (debated, "Should we ship on Friday?"),
    (planned, "The room is to be painted: what does it cost?"),
    (improved, "Write a slogan for a bridge."),
    (digested, REPORT),
)


def model(asked: Asked) -> str:
    """What the model says: whatever is asked first in the list."""
    told = f"{asked.system} {' '.join(turn.text for turn in asked.turns)}"
    return next(said for begins, said in _SAYS if begins in told)


_SAYS = (
    ("capital of Italy", "Rome"),
    ("Decide the question", "false"),
    ("for your side", "The tests say so."),
    ("Make a plan", json.dumps(PLAN)),
    ("Reach the goal", "The paint for 40 square metres costs 90 euros."),
    ("What does it cost?", "90 euros"),
    ("say it in three", "Cross with ease."),
    ("slogan", "A bridge that brings all of you over the river"),
    ("", "A bearing was changed, a crack is watched."),
)


async def main() -> None:
    os.environ.setdefault("OPENAI_API_KEY", "none")
    async with serve({"scripted": Served(answer=model)}) as server:
        said = Model(
            name="scripted", id="scripted", provider=Provider.OPENAI_COMPATIBLE, url=server.openai_url, window=32_000,
            max_output=2_000, capabilities={"tools", "json-schema"}, price=Price.dollars(0, 0),
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            async with Engine(str(Path(folder) / "p.db"), resources={"catalogue": Catalogue.of(said)}) as engine:
                for pattern, given in SHOWN:
                    print(f"{pattern.name.rpartition(':')[2]}: {await engine.run(pattern, given)}")


if __name__ == "__main__":
    asyncio.run(main())
