"""`escalate`: hands a matter to a person with its whole story, what was tried and why it failed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ...core.records import AskKind
from ...errors import InputError
from ...runtime.scope import in_flow
from ...runtime.stories import bounded, story_of
from ...runtime.waits import Seconds
from .asking import Request, evidence_as, shown_as
from .form import MISSING, answered, typed
from .notice import Notify
from .plan import Names, Times, bells, names

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["escalate"]

T = TypeVar("T")
Tried = BaseException | str | Mapping[str, object] | Sequence[object]


@overload
async def escalate(
    question: str, shown: object = None, *, tried: Tried = ..., by: Names = ...,
    evidence: Mapping[str, object] = ..., timeout_s: Seconds | None = None,
    default: str = ..., remind_s: Times = ..., reassign_s: Seconds | None = None, or_else: Names = ...,
    notify: Notify | None = None,
) -> str: ...  # fmt: skip
@overload
async def escalate(
    question: str, shown: object = None, *, tried: Tried = ..., returns: TypeForm[T], by: Names = ...,
    evidence: Mapping[str, object] = ..., timeout_s: Seconds | None = None, default: T = ..., remind_s: Times = ...,
    reassign_s: Seconds | None = None, or_else: Names = ..., notify: Notify | None = None,
) -> T: ...  # fmt: skip


async def escalate(
    question: str,
    shown: object = None,
    *,
    tried: Tried = (),
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
    """Hand a matter to a person, with what was tried and why it failed, and wait for their answer, as `ask_human` does.

    The story is made of `tried`: an error or several, or words of your own; without it, of the error that is being
    handled. An error of a step says which call it was and how many attempts it took, one of `ask` also which models
    were asked and what they said; its causes, the error that was being handled when it was raised, and the members of
    a group come along; of more than 200 lines the middle is left out. The story is shown, so that the decision is
    bound to it. Journaled under `escalate[fingerprint of question and shown]#k`.
    """
    scope = in_flow("segue.escalate")
    handled = sys.exception()
    story = bounded(story_of(_given(tried) or ([] if handled is None else [handled])))
    request = Request(
        call="escalate", kind=AskKind.ESCALATION, question=question, to=names(by),
        shown=shown_as({"about": shown, "tried": story} if shown is not None else {"tried": story}),
        bells=bells("escalate", scope, timeout_s, remind_s=remind_s, reassign_s=reassign_s, or_else=or_else),
        notify=notify, evidence=evidence_as(evidence),
        **typed(scope, "escalate", returns, default),
    )  # fmt: skip
    return await answered(scope, request)


def _given(tried: Tried) -> list[object]:
    """Errors and words, each as one. Raises InputError for what is neither."""
    if isinstance(tried, BaseException | str | Mapping):
        return [tried]
    if not isinstance(tried, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        said = f"segue.escalate: tried is an {type(tried).__name__}"
        raise InputError(said, remedy="give an error, or several, or words: tried=[error, …]")
    return list(tried)
