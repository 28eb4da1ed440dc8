"""The flows: one ticket, and many at once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic import BaseModel

import segue
from segue import flow, gather
from segue.agent import Approval, Tried, approve, use_models

from .facts import find_customer, find_payment, find_policy
from .money import claim_of, pay_back
from .records import Claim, Facts, Resolution, Ticket, Triage, Usage, euros
from .reply import case_of, draft
from .triage import classify

use_models(Path(__file__).with_name("segue.toml"))

LEDGER = "support_desk.ledger.jsonl"
LEAD = "team lead"
_PATIENCE_S = 3 * 86_400
_AT_ONCE = 2
"""Tickets of a batch under way at the same time. One model computes at a time; the others look things up meanwhile."""


@flow(version=1)
async def desk(ticket: Ticket, ledger: str = LEDGER) -> Resolution:
    """From a message to a reply: topic, facts, what is owed, an approval where it is much, the payment, the reply."""
    triage, first_calls = await classify(ticket.text)
    facts = await look_up(ticket, triage)
    claim = claim_of(ticket, facts)
    approval = await agreed(ticket, claim)
    paid = bool(claim.cents and (approval is None or approval))
    if paid and ticket.payment is not None:
        await pay_back(ticket.payment, claim.cents, ledger)
    case = case_of(ticket, facts, claim, paid=paid)
    reply, more_calls = await draft(case)
    return Resolution(
        ticket=ticket.id,
        topic=triage.topic,
        how=triage.how,
        language=case.language,
        reply=reply,
        usage=usage_of([*first_calls, *more_calls]),
        paid_cents=claim.cents if paid else 0,
        decision=decision_of(claim, approval),
        label=ticket.label,
    )


async def look_up(ticket: Ticket, triage: Triage) -> Facts:
    """All that the desk knows about it, gathered in parallel."""
    customer, payment, policy = await gather(
        find_customer(ticket.customer), find_payment(ticket.payment), find_policy(triage.topic)
    )
    return Facts(customer=customer, payment=payment, policy=policy)


async def agreed(ticket: Ticket, claim: Claim) -> Approval | None:
    """The team lead's decision, None where nobody has to be asked."""
    if not claim.needs_approval:
        return None
    evidence = {"ticket": ticket.id, "customer": ticket.customer, "payment": ticket.payment, **claim.model_dump()}
    return await approve(f"Pay back {euros(claim.cents)}?", evidence, by=LEAD, timeout_s=_PATIENCE_S)


def decision_of(claim: Claim, approval: Approval | None) -> str:
    """What was decided about the money, in a few words."""
    if approval is None:
        return claim.why
    return f"{'approved' if approval else 'denied'} by {approval.by}" + (f": {approval.note}" if approval.note else "")


def usage_of(tried: list[Tried]) -> Usage:
    """What the calls of models took."""
    return Usage(
        calls=len(tried),
        turned_down=sum(bool(t.error) for t in tried),
        tokens_in=sum(t.tokens_in for t in tried),
        tokens_out=sum(t.tokens_out for t in tried),
        asked=dict(Counter(t.model for t in tried)),
    )


class Tally(BaseModel, frozen=True):
    """One line of a batch: what became of a message. `error` is empty unless its run failed."""

    ticket: str
    topic: str = ""
    how: str = ""
    label: str = ""
    by: str = ""
    usage: Usage = Usage()
    error: str = ""


@flow(version=1)
async def desk_batch(tickets: list[Ticket], ledger: str = LEDGER, limit: int = _AT_ONCE) -> list[Tally]:
    """The desk over many messages: a child run for each, `limit` at a time. One that fails spoils no other."""

    async def one(ticket: Ticket) -> Tally:
        try:
            done = await desk(ticket, ledger)
        except Exception as error:  # noqa: BLE001  a line in the summary, whatever it was
            return Tally(ticket=ticket.id, label=ticket.label, error=f"{type(error).__name__}: {error}".splitlines()[0])
        return Tally(
            ticket=done.ticket, topic=done.topic, how=done.how, label=done.label, by=done.reply.by, usage=done.usage
        )

    return await segue.map(one, tickets, limit=limit, key=lambda ticket: ticket.id)
