"""Child runs that are not awaited. An awaited child is a plain call of its flow."""

from __future__ import annotations

from typing import Any, ParamSpec

from ..core.codec import loads
from .flow import Flow
from .scope import in_flow

P = ParamSpec("P")


async def detach(flow: Flow[P, Any], *args: P.args, **kwargs: P.kwargs) -> str:
    """Start a child run that lives on its own: it outlives its parent, and a cancel of the parent spares it.

    Gives the child's run id once the child is accepted on disk.
    """
    scope = in_flow("segue.detach")
    event = await scope.drive.outcome(flow.child(scope, args, kwargs, None, detached=True))
    return loads(event.body)["run"]
