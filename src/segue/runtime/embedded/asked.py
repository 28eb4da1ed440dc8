"""What a drive asks of the journal before a call begins that may apply an effect again: only then, never before."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..repeats import applies_once

if TYPE_CHECKING:
    from .execution import Execution


def answer(execution: Execution) -> None:
    """Let the drive of this run ask."""
    claims = execution.drive.claims
    claims.applies_once = partial(applies_once, execution.host.journal, execution.row)
    claims.is_said = partial(_is_said, execution)


def _is_said(execution: Execution, key: str) -> bool:
    """Whether somebody's word on a call is in the inbox: it is taken before the call is made."""
    recorded, items = execution.drive.claims.recorded, execution.host.journal.items_of(execution.row.no)
    return any(item.kind == "override" and recorded(item.name) == key for item in items)
