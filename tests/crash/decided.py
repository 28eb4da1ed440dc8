"""Scenes in which the flow itself asks people: they decide, reassign, answer wrong, or say nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

from segue import approve, ask_human, flow, gather, step
from segue.agent import Notice
from segue.core.codec import loads
from segue.errors import AlreadyDecided, RunEnded, StaleDecision
from segue.testing import Engine
from tests.crash.flows import SCENES, scene
from tests.crash.witness import publish, witness

__all__ = ["SCENES"]

HOUR = 3600.0


@step
async def told(notice: Notice) -> int:
    witness.begin()
    return witness.nonce()


@flow
async def asks_people() -> list[Any]:
    async def pay(n: int) -> Any:
        said = await approve("Pay?", {"n": n}, by="lead")
        return [bool(said), said.by]

    async def count() -> int:
        return await ask_human("How many?", returns=int, by="desk", notify=told)

    async def silence() -> int:
        return await ask_human(
            "Anybody?", returns=int, by="nobody", timeout_s=5 * HOUR, remind_s=[HOUR, 3 * HOUR], reassign_s=2 * HOUR,
            or_else="boss", default=-1, notify=told,
        )  # fmt: skip

    found = await gather(pay(1), pay(2), count(), silence())
    return [*found, await publish("end", [])]


@scene
async def decided(engine: Engine) -> Any:
    """One payment is approved and one denied; the count is reassigned, answered wrong, then right."""
    run = await engine.start(asks_people, id="main")
    while (await run.status()).state not in ("completed", "failed"):
        for item in await engine.inbox():
            with suppress(AlreadyDecided, RunEnded, StaleDecision):  # said before this process died
                if item.kind == "approval":
                    await engine.decide(item.id, approved=item.shown["n"] == 1, by=f"ada{item.shown['n']}")
                elif item.to == ("desk",) and not item.history:
                    await item.reassign("bob", by="desk")
                elif item.to == ("bob",) and "refused" not in [said.verdict for said in item.history]:
                    await run.signal(item.name, {"word": "answer", "by": "bob", "answer": "many"}, id="wrong")
                elif item.to == ("bob",):
                    await item.answer(7, by="bob")
        await asyncio.sleep(1200)
    result = await run.result()
    assert result[:4] == [[True, "ada1"], [False, "ada2"], 7, -1], result
    await _on_record(run)
    return result


async def _on_record(run: Any) -> None:
    """Each question is asked once, decided once; each reminder and reassignment is there once, in order."""
    events = [e async for e in run.events(follow=False)]
    asked = [loads(e.body) for e in events if e.type == "approval.asked"]
    assert len(asked) == len({a["id"] for a in asked}) == 4
    said: dict[str, list[str]] = {a["id"]: [] for a in asked}
    for event in events:
        if event.type == "approval.decided":
            body = loads(event.body)
            said[body["asked"]].append(body["verdict"])
    assert sorted(map(tuple, said.values())) == sorted(
        [("approved",), ("denied",), ("reassigned", "refused", "answered"),
         ("reminded", "reassigned", "reminded", "expired")]
    ), said  # fmt: skip
    tells = Counter(e.key for e in events if e.type == "step.completed" and "told[" in (e.key or ""))
    assert all(n == 1 for n in tells.values())
    assert {k.rpartition("/")[2] for k in tells if k} >= {
        "told[reminded-1]#1", "told[reassigned-1]#1", "told[reminded-2]#1"
    }, tells  # fmt: skip
