"""`continue_as_new`: a run without an end begins anew, and its journal is no longer replayed from the first event."""

from __future__ import annotations

from typing import Any, NoReturn

from ..errors import Continued, InputError
from .scope import in_flow

__all__ = ["continue_as_new"]


def continue_as_new(*args: Any, **kwargs: Any) -> NoReturn:
    """End this part of the run, and go on as new with these arguments of its flow, under the same id.

    Nothing of the past is replayed any more: what the next part needs is in its arguments. Signals that nobody has
    waited for yet, a pause and the budgets stay. Children that are still awaited and the flow's other tasks are
    cancelled, as at its end; `cleanup` and `finally` run. The next part is carried out by the newest version of the
    flow, if that declares `migrate`, else by the same one. Call it in the flow's own body, not in a branch or a task.
    Raises InputError for arguments that the flow does not take, and NotInAFlow.
    """
    drive = in_flow("segue.continue_as_new").drive
    if drive.bind is None:
        raise InputError(
            "segue.continue_as_new: this engine lets no run go on as new", run=drive.run, remedy="loop in the flow"
        )
    if not drive.in_main_task():
        raise InputError(
            "segue.continue_as_new was called in a branch or a task of the flow",
            run=drive.run,
            remedy="return to the flow's own body, and call it there",
        )
    raise Continued(drive.bind(args, kwargs))
