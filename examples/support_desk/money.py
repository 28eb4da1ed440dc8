"""Where money moves: what is owed, by rule; and the payment, once."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from segue import Applied, NotApplied, step, step_scope

from .records import Claim, Facts, Ticket

FREE_CENTS = 1000
"""Up to here the desk pays back without asking."""
_WANTS = re.compile(
    "refund|money back|return (my|the)|go back|want it back|put the missing|erstatt|zurück|devuelvan|rembours", re.I
)


def claim_of(ticket: Ticket, facts: Facts) -> Claim:
    """What is paid back. No model has a say in it: it follows from the books."""
    payment = facts.payment
    if not _WANTS.search(ticket.text):
        return Claim()
    if payment is None:
        return Claim(why="no payment is named")
    if payment.customer != ticket.customer:
        return Claim(why="the payment is not this customer's")
    if not payment.owed_cents:
        return Claim(why="nothing is owed for this payment")
    return Claim(cents=payment.owed_cents, why=payment.problem, needs_approval=payment.owed_cents > FREE_CENTS)


def _paid(ledger: str, key: str) -> str | None:
    path = Path(ledger)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return next((row["receipt"] for row in rows if row["key"] == key), None)


def _was_paid(payment: str, cents: int, ledger: str) -> Applied | NotApplied:
    """Whether an interrupted payment went through: the ledger knows."""
    receipt = _paid(ledger, step_scope().idempotency_key)
    return NotApplied() if receipt is None else Applied(receipt)


@step(effect="once", reconcile=_was_paid)
def pay_back(payment: str, cents: int, ledger: str) -> str:
    """Book the money back, once whatever happens. The ledger stands for a bank's API. Gives the receipt."""
    key = step_scope().idempotency_key
    receipt = f"R-{payment.removeprefix('P-')}"
    row = {"key": key, "payment": payment, "cents": cents, "receipt": receipt, "at": round(time.time(), 3)}
    with Path(ledger).open("a", encoding="utf-8") as book:
        book.write(json.dumps(row) + "\n")
    return receipt
