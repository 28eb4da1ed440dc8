"""A question of a long thread: from the journal to what the model is shown."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from segue import Engine, flow, step
from segue.agent.past import Past
from segue.agent.request import Question
from segue.agent.threads import history
from segue.agent.window import fitted
from segue.models import Model, Price, Provider
from segue.runtime.scope import StepScope

from .measure import Figure, Plan, Sample

GOAL_MS = 50.0
TALK = "We talk about the weather, the food and the way to the station, and about what was said before. "


@step
async def said() -> int:
    return 0


@flow
async def begins() -> int:
    return await said()


def written(path: Path, turns: int) -> None:
    """A thread, each turn in the words of an outcome of `ask`: what a hundred days of talk leave behind."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("drop trigger events_in_order")
        (seq,) = db.execute("select max(seq) from events where run = 1").fetchone()
        for n in range(turns):
            question = {"question": {"prompt": f"Sentence {n}. {TALK}", "thread": "t", "heard": n}}
            tried = {"model": "m", "text": f"Answer {n}. {TALK}"}
            args, value = json.dumps(question).encode(), json.dumps({"value": tried["text"], "tried": [tried]}).encode()
            db.execute(
                "insert into events (run, seq, epoch, at, type, version, key, args, value)"
                " values (1, ?, 1, 0, 'step.completed', 1, 'ask[0]#1', ?, ?)",
                (seq + n + 1, args, value),
            )
            db.execute("insert into turns values ('default', 't', ?, 1, ?)", (n + 1, seq + n + 1))


async def _assembled(path: Path, window: int, repeats: int) -> tuple[list[float], list[float]]:
    """Milliseconds of CPU, of a process that has read nothing yet, and of one that has."""
    model = Model(
        name="m",
        provider=Provider.OPENAI_COMPATIBLE,
        id="m",
        url="http://127.0.0.1:9",
        window=window,
        max_output=1000,
        price=Price.dollars(1, 1),
    )
    cold: list[float] = []
    warm: list[float] = []
    async with Engine(str(path)) as engine:
        scope = StepScope("r", "ask[0]#1", 1)
        for n in range(repeats + 1):
            for times in (cold, warm):
                if times is cold:
                    engine.surroundings.share("past", Past).forget()
                began = time.process_time()
                last = engine.journal.last_turn("default", "t", scope.run)
                question = Question(prompt=f"And now? {n}", thread="t", heard=last, max_tokens=500)
                past = history(question, scope, window)
                _, manifest = fitted(replace(question, history=list(past)), model, "d")
                times.append((time.process_time() - began) * 1000)
                assert manifest.tokens + manifest.reserved_out + manifest.margin <= window
    return cold[1:], warm[1:]  # the first one imports


def assembly(plan: Plan) -> list[Figure]:
    """A thread of 10,000 turns assembles in under 50 ms."""
    turns, figures = plan.size(10_000, 50), list[Figure]()
    with plan.scratch() as folder:
        path = folder / "segue.db"
        asyncio.run(_begun(path))
        written(path, turns)
        for window in (8_000, 32_000):
            both = asyncio.run(_assembled(path, window, plan.repeats))
            for what, times in zip(("first read", "read before"), both, strict=True):
                sample = Sample.of(times)
                figures.append(
                    Figure(
                        name="thread",
                        what=f"{turns:,} turns, a window of {window:,}, {what}: CPU",
                        unit="ms",
                        sample=sample,
                        goal=f"under {GOAL_MS:.0f} ms",
                        met=sample.median < GOAL_MS,
                    )
                )
    return figures


async def _begun(path: Path) -> None:
    async with Engine(str(path)) as engine:
        await engine.run(begins)
