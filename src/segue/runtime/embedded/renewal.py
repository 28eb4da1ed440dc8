"""How a run goes on as new: its past is closed with one event, and the next part begins from it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ...core.asked import is_question
from ...core.codec import dumps
from ...core.events import EventType
from ...core.shell import command
from ...errors import Continued, Undecodable
from .. import registry
from ..flow import Flow
from . import ends

if TYPE_CHECKING:
    from typing import Any

    from .execution import Execution


def renew(execution: Execution, continued: Continued) -> None:
    """Close this part of the run. It begins anew after the commit, or in whichever process takes it over."""
    if execution.unwritten:
        return  # what is on its way may be a signal, which goes with it
    drive = execution.drive
    ends.seal_unread(execution)
    flow, args = _next(execution, continued.input)
    left = (events for name, events in drive.signals.items() if not is_question(name))  # those are withdrawn
    carried = sorted(event.seq for events in left for event in events)
    body = {
        "part": execution.memory.part + 1, "version": flow.version, "seed": execution.host.seed(),
        "revision": flow.revision,
    }  # fmt: skip
    body |= {"carried": carried} if carried else {}
    body |= {"paused": True} if execution.paused else {}
    body |= {"orphaned": drive.orphans} if drive.orphans else {}
    execution.write(
        EventType.RUN_CONTINUED, body=dumps(body), args=args, continued=flow.version, posts=ends.orphan(execution),
        done=partial(_again, execution),
    )  # fmt: skip
    execution.drop()


def _next(execution: Execution, args: bytes) -> tuple[Flow[..., Any], bytes]:
    """The flow that goes on: a newer one if it says how, and the input as it takes it. Raises Undecodable."""
    flow = execution.flow
    newest = registry.known(flow.name)
    if newest is None or newest.version <= flow.version or not newest.migrate:
        return flow, args
    try:
        return newest, newest.migrated(args)
    except Exception as error:
        raise Undecodable(
            f"migrate= of version {newest.version} cannot read what the run goes on with: {error}",
            run=execution.row.id,
            remedy=f"mend migrate=, then: {command('resume', execution.row.id)}",
        ) from error


def _again(execution: Execution) -> None:
    host = execution.host
    row = None if host.journal.is_closed else host.journal.find(execution.row.no)
    if row is not None and row.owner == host.journal.owner and row.epoch == execution.row.epoch:
        host.adopt(row, row.continued_seq)
