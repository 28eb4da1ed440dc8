"""`approve`: a person's yes or no, waited for durably."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.records import AskKind
from ...runtime.scope import in_flow
from ...runtime.waits import Seconds
from .asking import Request, put, shown_as
from .end import unanswered
from .notice import Notify
from .plan import Names, Times, bells, names

__all__ = ["Approval", "approve"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """A decision, true in a condition when it was approved. `by` is who decided: `segue` where time did."""

    approved: bool
    by: str = ""
    note: str = ""

    def __bool__(self) -> bool:
        return self.approved


async def approve(
    question: str,
    shown: object = None,
    *,
    by: Names = (),
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
    `segue inbox` or `engine.inbox()`, and decide with `segue approve`, `segue deny` or `engine.decide()`.

    All times count from asking. After `timeout_s` the `default` holds: no, by `segue`; None raises Unanswered. At
    `remind_s` (a time, or several) it is reminded of. After `reassign_s` it goes on to `or_else`, after as long again
    to the next one there. `notify` (a step or a function of a Notice) is called as a step when it was asked, reminded
    of and reassigned.

    Journaled under `approve[fingerprint of question and shown]#k`, as `approval.asked` and `approval.decided`.
    Raises NotInAFlow outside of a flow, InputError for times that make no sense.
    """
    scope = in_flow("segue.approve")
    request = Request(
        call="approve", kind=AskKind.APPROVAL, question=question, shown=shown_as(shown), to=names(by),
        bells=bells("approve", scope, timeout_s, remind_s=remind_s, reassign_s=reassign_s, or_else=or_else),
        notify=notify,
        default=None if timeout_s is None or default is None else {"decision": "approved" if default else "denied"},
    )  # fmt: skip
    said, key = await put(scope, request)
    if said.verdict != "expired":
        return Approval(approved=said.verdict == "approved", by=said.by, note=said.note)
    if default is None:
        raise unanswered(scope, request, key)
    return Approval(approved=default, by=said.by, note=said.note)
