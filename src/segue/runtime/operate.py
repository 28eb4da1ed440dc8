"""An operator's switches: pause and resume a flow, or the whole engine, in all processes on the database."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from ..errors import InputError, UnknownFlow
from ..journal import ENGINE, FLOW, Switch
from . import registry
from .flow import Flow

if TYPE_CHECKING:
    from .engine import Engine


async def turn(engine: Engine, flow: Flow[..., Any] | str | None, by: str, why: str, *, on: bool) -> bool:
    """Switch it, on disk, and let every process know. False when it stood so already.

    Raises UnknownFlow for the name of a flow that is not known here, and of which there is no run and no worker.
    """
    switch = Switch(name_of(flow), engine.clock.now(), by, why)
    if on and isinstance(flow, str):
        _check_known(engine, switch)
    turned = await engine.journal.turn(switch, on=on)
    engine.host.look()
    engine.host.scan_soon()
    engine.journal.ring_all()
    return turned


def _check_known(engine: Engine, switch: Switch) -> None:
    """A switch over nothing would hold nothing, and whoever is in a hurry would not see it."""
    journal, here = engine.journal, registry.all_known()
    known = {flow.name for flow in here} | {worker.name for worker in journal.workers().known}
    known |= {name for (name,) in journal.query("select distinct flow from runs")}
    if any(map(switch.holds, known)):
        return
    given, short = switch.flow or "", {name.rpartition(":")[2]: name for name in sorted(known)}
    near = difflib.get_close_matches(given, known, 3) or difflib.get_close_matches(given, short, 3)
    hint = f"; near it: {', '.join(near)}" if near else ""
    raise UnknownFlow(
        f"no flow {given!r} is known: it has no run, and no process here knows it{hint}",
        remedy="give MODULE:FLOW of one that can be imported, or the name of one that has runs",
    )


def name_of(flow: Flow[..., Any] | str | None) -> str:
    """The name of a switch; None is the engine's. Raises InputError for an empty name."""
    if flow is None:
        return ENGINE
    name = flow.name if isinstance(flow, Flow) else flow
    if not isinstance(name, str) or not name.strip():  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise InputError(f"flow {flow!r}: no name of a flow", remedy="give MODULE:FLOW, or just its name")
    return f"{FLOW}{name}"
