"""`approve`: a person's yes or no, waited for durably."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ...core.records import AskKind
from ...errors import InputError
from ...runtime.scope import in_flow
from ...runtime.waits import Seconds
from .asking import Request, evidence_as, put, shown_as
from .end import unanswered
from .notice import Notify
from .plan import Names, Times, bells, names

__all__ = ["Approval", "Decided", "approve", "decision"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """A decision, true in a condition when it was approved. `by` is who decided: `segue` where time did."""

    approved: bool
    by: str = ""
    """Where several had to agree: all who said the same, as `ada, bob`."""
    note: str = ""

    def __bool__(self) -> bool:
        return self.approved


async def approve(
    question: str,
    shown: object = None,
    *,
    by: Names = (),
    quorum: int = 1,
    evidence: Mapping[str, object] = {},
    timeout_s: Seconds | None = None,
    default: bool | None = False,
    remind_s: Times = (),
    reassign_s: Seconds | None = None,
    or_else: Names = (),
    notify: Notify | None = None,
) -> Approval:
    """Ask a person for a yes or no and wait, for days if need be. True in a condition when it was approved.

    `shown` are the exact arguments that the person sees: the decision is bound to their hash, and holds for nothing
    else. `by` is who is asked: people or roles, free texts. Whoever decides is on record beside them. They find it with
    `segue inbox` or `engine.inbox()`, and decide with `segue approve`, `segue deny` or `engine.decide()`. With
    `quorum=2` two different people must say yes; it is no as soon as so many have said no that too few are left.
    `evidence` is what they are shown beside it, by title; it is on record, and the decision is bound to it too.

    All times count from asking. After `timeout_s` the `default` holds: no, by `segue`; None raises Unanswered. At
    `remind_s` (a time, or several) it is reminded of. After `reassign_s` it goes on to `or_else`, after as long again
    to the next one there. `notify` (a step or a function of a Notice) is called as a step when it was asked, reminded
    of and reassigned.

    Journaled under `approve[fingerprint of question and shown]#k`, as `approval.asked` and `approval.decided`.
    Raises NotInAFlow outside of a flow, InputError for times that make no sense.
    """
    said = await decision(
        question, shown, by=by, quorum=quorum, evidence=evidence, timeout_s=timeout_s, default=default,
        remind_s=remind_s, reassign_s=reassign_s, or_else=or_else, notify=notify,
    )  # fmt: skip
    return said.approval


class Decided(NamedTuple):
    """A decision, and the id of its question in the run's records."""

    approval: Approval
    id: str


async def decision(
    question: str, shown: object, *, by: Names, quorum: int, evidence: Mapping[str, object], timeout_s: Seconds | None,
    default: bool | None, remind_s: Times, reassign_s: Seconds | None, or_else: Names, notify: Notify | None,
    action: str | None = None,
) -> Decided:  # fmt: skip
    """As `approve`. `action` is what will be done: a tool, by its name."""
    scope = in_flow("segue.approve")
    if not isinstance(quorum, int) or isinstance(quorum, bool) or quorum < 1:  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise InputError(f"segue.approve: quorum={quorum!r}: how many people must say yes, at least 1")
    if default is not None and not isinstance(default, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise InputError(f"segue.approve: default is True, False or None, not {default!r}", remedy="say yes or no")
    request = Request(
        call="approve", kind=AskKind.APPROVAL, question=question, shown=shown_as(shown), to=names(by),
        bells=bells("approve", scope, timeout_s, remind_s=remind_s, reassign_s=reassign_s, or_else=or_else),
        notify=notify, action=action, quorum=quorum, evidence=evidence_as(evidence),
        default=None if timeout_s is None or default is None else {"decision": "approved" if default else "denied"},
    )  # fmt: skip
    said, key, id_ = await put(scope, request)
    if said.verdict != "expired":
        return Decided(Approval(approved=said.verdict == "approved", by=said.by, note=said.note), id_)
    if default is None:
        raise unanswered(scope, request, said, key)
    return Decided(Approval(approved=default, by=said.by, note=said.note), id_)
