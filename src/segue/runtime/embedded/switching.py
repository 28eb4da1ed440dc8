"""Operator switches in this process: what they hold starts nothing new, and goes on when they are off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.codec import dumps
from ...core.events import EventType
from ...journal import Known, Standing, Switch
from .. import registry

if TYPE_CHECKING:
    from .execution import Execution
    from .host import Host


def look(host: Host) -> None:
    """See what is on, and let the runs in memory know."""
    now = host.journal.switches()
    if now == host.switches:
        return
    before, host.switches = host.switches, now
    for execution in list(host.executions.values()):
        held = host.journal.held(execution.row.no, now)
        if held != execution.held:
            execution.held = held
            flow = execution.row.flow
            _note(execution, now.over(flow) if held else before.over(flow), held)
            execution.go_on()
    host.scan_soon()


def _note(execution: Execution, switch: Switch | None, held: bool) -> None:
    """Put it on record in the run too: it tells why nothing happened for a while."""
    if switch is None or not execution.begun or execution.closed:
        return
    act = {"act": "pause", "by": switch.by, "why": switch.why} if held else {"act": "resume"}
    body = {**act, "target": "engine" if switch.flow is None else f"flow {switch.flow}"}
    execution.write(EventType.OPERATOR_ACTED, body=dumps({k: v for k, v in body.items() if v}))


def free(host: Host, runs: list[Standing]) -> list[Standing]:
    """Those that no switch holds."""
    if not host.switches.on:
        return runs
    return [run for run in runs if not host.journal.held(run.no, host.switches)]


def tell_flows(host: Host) -> None:
    """Let the others know which flows this process can go on with, whenever it has imported more."""
    flows = registry.all_known()
    if len(flows) != host.told:
        host.told = len(flows)
        known = [Known(f.name, f.version, bool(f.migrate)) for f in flows]
        host.journal.tell(known, recovers=host.recover and host.carries)
