"""`ask_human`: a typed answer from a person, waited for durably."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ...core.codec import codec, misfit
from ...core.records import AskKind
from ...errors import InputError
from ...runtime.scope import FlowScope, in_flow
from ...runtime.waits import Seconds
from .asking import Request, evidence_as, put, shown_as
from .end import declined, unanswered
from .notice import Notify
from .plan import Names, Times, bells, names

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["MISSING", "answered", "ask_human"]

T = TypeVar("T")

MISSING: Any = ...
"""Not given: None may be an answer."""


@overload
async def ask_human(
    question: str, shown: object = None, *, by: Names = ..., evidence: Mapping[str, object] = ...,
    timeout_s: Seconds | None = None, default: str = ...,
    remind_s: Times = ..., reassign_s: Seconds | None = None, or_else: Names = ..., notify: Notify | None = None,
) -> str: ...  # fmt: skip
@overload
async def ask_human(
    question: str, shown: object = None, *, returns: TypeForm[T], by: Names = ...,
    evidence: Mapping[str, object] = ..., timeout_s: Seconds | None = None,
    default: T = ..., remind_s: Times = ..., reassign_s: Seconds | None = None, or_else: Names = ...,
    notify: Notify | None = None,
) -> T: ...  # fmt: skip


async def ask_human(
    question: str,
    shown: object = None,
    *,
    returns: Any = str,
    by: Names = (),
    evidence: Mapping[str, object] = {},
    timeout_s: Seconds | None = None,
    default: Any = MISSING,
    remind_s: Times = (),
    reassign_s: Seconds | None = None,
    or_else: Names = (),
    notify: Notify | None = None,
) -> Any:
    """Ask a person for a value of type `returns` and wait, for days if need be.

    The type's JSON Schema is on record, for whoever draws a form. An answer is held against the type before it is
    taken: one that does not fit is refused with the field that is wrong, and the question waits on. Who answers does
    so with `segue answer` or `engine.decide(id, answer=...)`; `segue deny` declines, which raises Declined here.

    `shown`, `by`, `evidence`, the times and `notify` are those of `approve`. After `timeout_s` the answer is
    `default`; without one, Unanswered is raised. Journaled under `ask_human[fingerprint of question and shown]#k`.
    """
    scope = in_flow("segue.ask_human")
    request = Request(
        call="ask_human", kind=AskKind.FORM, question=question, shown=shown_as(shown), to=names(by),
        bells=bells("ask_human", scope, timeout_s, remind_s=remind_s, reassign_s=reassign_s, or_else=or_else),
        notify=notify, evidence=evidence_as(evidence),
        **typed(scope, "ask_human", returns, default),
    )  # fmt: skip
    return await answered(scope, request)


def typed(scope: FlowScope, call: str, returns: Any, default: Any) -> dict[str, Any]:
    """The form of an answer, and its default. Raises DefinitionError, and InputError for a default of another type."""
    form = codec(returns)
    made: dict[str, Any] = {"form": form, "schema": form.schema}
    if default is not MISSING:
        try:
            made["default"] = {"answer": json.loads(form.encode(form.validate(default)))}
        except (TypeError, ValueError) as error:
            raise InputError(
                f"segue.{call}: default does not fit returns: {misfit(form, error)}",
                run=scope.drive.run, key=f"{scope.path}{call}", remedy="give a default of that type",
            ) from None  # fmt: skip
    return made


async def answered(scope: FlowScope, request: Request) -> Any:
    """Put the question; its answer as a value. Raises Declined, Unanswered."""
    said, key, _ = await put(scope, request)
    if said.verdict == "denied":
        raise declined(scope, request, said, key)
    answer = said.answer
    if said.verdict == "expired":
        if request.default is None:
            raise unanswered(scope, request, said, key)
        answer = said.answer["answer"]
    assert request.form is not None
    return request.form.decode(json.dumps(answer).encode())
