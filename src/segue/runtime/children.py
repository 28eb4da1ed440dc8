"""Child runs that are not awaited. An awaited child is a plain call of its flow."""

from __future__ import annotations

from typing import Any, ParamSpec, overload

from ..core.codec import loads
from ..core.keys import is_run_id
from ..errors import InputError, UnknownFlow
from .flow import Flow
from .scope import in_flow

P = ParamSpec("P")


@overload
async def detach(flow: Flow[P, Any], *args: P.args, **kwargs: P.kwargs) -> str: ...
@overload
async def detach(flow: Flow[..., Any], *args: Any, id: str, **kwargs: Any) -> str: ...
async def detach(flow: Flow[Any, Any], *args: Any, **kwargs: Any) -> str:
    """Start a child run that lives on its own: it outlives its parent, and a cancel of the parent spares it.

    Gives the child's run id once the child is accepted on disk. `id=` names the child's run, and the call: without it
    both are named after the arguments. Where the flow has a parameter `id` of its own, `id=` is that one's, unless it
    is given by position. Raises InputError for an id that is no text of 1 to 512 printable characters.
    """
    scope = in_flow("segue.detach")
    if not isinstance(flow, Flow):  # pyright: ignore[reportUnnecessaryIsInstance]  users forget the decorator
        raise UnknownFlow(
            f"segue.detach: {getattr(flow, '__qualname__', flow)!r} is no flow",
            run=scope.drive.run,
            remedy="decorate it with @flow, and pass it uncalled: detach(flow, argument)",
        )
    run = None if flow.signature.takes("id", after=len(args)) else kwargs.pop("id", None)
    if run is not None and not is_run_id(run):
        raise InputError(
            f"segue.detach: run id {run!r}: a text of 1 to 512 printable characters",
            run=scope.drive.run,
            key=scope.path + flow.short,
            remedy="choose one: order-7",
        )
    event = await scope.drive.outcome(flow.child(scope, args, kwargs, run, detached=True))
    return loads(event.body)["run"]
