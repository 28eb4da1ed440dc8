"""The team lead of the demo: decides what the desk asks, through the same signal that a person would send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from segue import Run
from segue.agent import Approval

from .records import euros, table

MAX_CENTS = 20_000
RULE = f"up to {euros(MAX_CENTS)}, and not for a flagged customer"

Decide = Callable[[str, dict[str, Any]], Approval]
"""From the question and the evidence to a decision."""


def by_rule(question: str, evidence: dict[str, Any]) -> Approval:
    """What the demo's team lead decides: `RULE`."""
    flagged = any(row["flagged"] for row in table("customers") if row["id"] == evidence["customer"])
    if flagged:
        return Approval(approved=False, by="team lead", note="the customer is flagged")
    if evidence["cents"] > MAX_CENTS:
        return Approval(approved=False, by="team lead", note=f"more than {euros(MAX_CENTS)}")
    return Approval(approved=True, by="team lead")


async def answer(run: Run[Any], asked: dict[str, Any], decide: Decide) -> Approval:
    """Decide what an `approval.asked` event asks, and signal it. The same decision sent twice counts once."""
    decision = decide(asked["question"], asked["shown"])
    payload = {"approved": decision.approved, "by": decision.by, "note": decision.note}
    await run.signal(asked["id"], payload, id=f"lead/{asked['id']}", by=decision.by)
    return decision
