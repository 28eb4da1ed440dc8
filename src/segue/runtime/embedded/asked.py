"""What a drive asks of the journal before a call begins that may apply an effect again: only then, never before."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..repeats import applies_once

if TYPE_CHECKING:
    from .execution import Execution


def answer(execution: Execution) -> None:
    """Let the drive of this run ask."""
    execution.drive.claims.applies_once = partial(applies_once, execution.host.journal, execution.row)
