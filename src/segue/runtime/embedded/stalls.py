"""What is no longer this process's, as after a stall (a stopped process, a blocked loop), is let go, and not begun."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from ...errors import StaleOwner
from .endings import each

if TYPE_CHECKING:
    from .execution import Execution
    from .host import Host


def let_go(host: Host) -> None:
    """Drop the runs that others have taken over meanwhile: their steps would do the work twice."""
    if not host.executions:
        return
    rows = host.journal.query(  # not the epoch: a run in memory is not claimed, so none is here under a new one
        "select no from runs where state in ('queued', 'running') and owner = ?", (host.journal.owner,)
    )
    mine = {no for (no,) in rows}
    lost = [e for no, e in host.executions.items() if no not in mine]
    why = "another process took it over: this one was taken for hung"
    each(partial(execution.lost, StaleOwner(why, run=execution.row.id)) for execution in lost)


def confirm(execution: Execution) -> None:
    """In a step's thread, before a call that stood in line: raises StaleOwner when the run is another's by now."""
    loop, answer = execution.host.loop, Future[bool]()
    loop.call_soon_threadsafe(_is_ours, execution, answer)
    while not loop.is_closed():
        try:
            if answer.result(timeout=1.0):
                return
            break
        except TimeoutError:
            continue
    raise StaleOwner("another process took the run over while this call stood in line", run=execution.row.id)


def _is_ours(execution: Execution, answer: Future[bool]) -> None:
    try:
        journal = execution.host.journal
        row = None if execution.closed else journal.find(execution.row.no)
        answer.set_result(row is not None and (row.owner, row.epoch) == (journal.owner, execution.row.epoch))
    except Exception as error:  # noqa: BLE001  a database that cannot be read: the call is not made
        answer.set_exception(error)
