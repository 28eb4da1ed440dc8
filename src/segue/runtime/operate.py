"""An operator's switches: pause and resume a flow, or the whole engine, in all processes on the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..journal import ENGINE, FLOW, Switch
from .flow import Flow

if TYPE_CHECKING:
    from .engine import Engine


async def turn(engine: Engine, flow: Flow[..., Any] | str | None, by: str, why: str, *, on: bool) -> bool:
    """Switch it, on disk, and let every process know. False when it stood so already."""
    switch = Switch(name_of(flow), engine.clock.now(), by, why)
    turned = await engine.journal.turn(switch, on=on)
    engine.host.look()
    engine.host.scan_soon()
    engine.journal.ring_all()
    return turned


def name_of(flow: Flow[..., Any] | str | None) -> str:
    """The name of a switch; None is the engine's. Raises InputError for an empty name."""
    if flow is None:
        return ENGINE
    name = flow.name if isinstance(flow, Flow) else flow
    if not isinstance(name, str) or not name.strip():  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise InputError(f"flow {flow!r}: no name of a flow", remedy="give MODULE:FLOW, or just its name")
    return f"{FLOW}{name}"
