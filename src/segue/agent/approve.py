"""`approve`: a person's yes or no, waited for durably."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

from pydantic_core import from_json, to_json

from ..core.records import ApprovalAsked, ApprovalDecided, Verdict, binding
from ..runtime.scope import in_flow
from ..runtime.values import now
from ..runtime.waits import wait_for

SIGNAL = "approve:"
"""What the names of approvals' signals begin with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """A decision. As a signal's payload: `{"approved": true, "by": "ada", "note": ""}`, or just `true`."""

    approved: bool
    by: str = ""
    note: str = ""

    def __bool__(self) -> bool:
        return self.approved


async def approve(question: str, evidence: object = None, *, by: str = "", timeout_s: float | None = None) -> Approval:
    """Ask a person and wait, for days if need be. True in a condition when it was approved.

    The question, the evidence and who may decide (`by`) are journaled as `approval.asked`; whoever decides sends the
    signal that the event's id names, with an Approval as payload: `run.signal("approve:pay-out#1f3a5c", ...)`. After
    `timeout_s` without an answer the decision is no, by `segue`.
    """
    scope, shown = in_flow("segue.approve"), from_json(to_json(evidence))
    bound = binding(None, shown)
    key = scope.key("approve", _hash([question, bound]))
    name = f"{SIGNAL}{_slug(question)}#{_hash(key)}"
    due_at = None if timeout_s is None else now().timestamp() + timeout_s
    asked = ApprovalAsked(
        id=name, question=question, bound=bound, shown=shown, by=(by,) if by else (), due_at=due_at,
        default=None if timeout_s is None else {"decision": "denied"},
    )  # fmt: skip
    scope.record(asked, key)
    decided, verdict = await _decision(name, timeout_s)
    scope.record(
        ApprovalDecided(asked=name, verdict=verdict, by=decided.by, bound=bound, why=decided.note), f"{key}/decided"
    )
    return decided


def _slug(question: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", question.lower()).strip("-")[:40].strip("-")


def _hash(of: object) -> str:
    return blake2b(to_json(of), digest_size=3).hexdigest()


async def _decision(name: str, timeout_s: float | None) -> tuple[Approval, Verdict]:
    try:
        said: Approval | bool = await wait_for(name, returns=cast("Any", Approval | bool), timeout_s=timeout_s)
    except TimeoutError:
        return Approval(approved=False, by="segue", note="nobody answered in time"), Verdict.EXPIRED
    decided = Approval(approved=said) if isinstance(said, bool) else said
    return decided, Verdict.APPROVED if decided.approved else Verdict.DENIED
