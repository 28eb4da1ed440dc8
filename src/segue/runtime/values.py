"""What varies, made the same on replay: `now`, `random`, `uuid`; and `cleanup` for a run's true end."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, ParamSpec
from uuid import UUID

from ..errors import InputError
from .scope import FlowScope, here, in_flow

P = ParamSpec("P")


def now() -> datetime:
    """The time, UTC. In a flow: the time of the last event that it has seen, from the journal."""
    scope = here()
    return datetime.fromtimestamp(scope.drive.now, UTC) if isinstance(scope, FlowScope) else datetime.now(UTC)


def random() -> float:
    """A random number in [0, 1), 53 bits. In a flow it is drawn from the run's seed and the place of the call."""
    return (int.from_bytes(_bytes("random"), "big") >> 75) / (1 << 53)


def uuid() -> UUID:
    """A random UUID, version 4 (RFC 9562). In a flow it is drawn from the run's seed and the place of the call."""
    return UUID(bytes=_bytes("uuid"), version=4)


class _Registered:
    """What `cleanup` gives: there is nothing to wait for, and whoever awaits it like the calls beside it may."""

    def __await__(self) -> Generator[Any, Any, None]:
        return
        yield


def cleanup(function: Callable[P, Awaitable[Any]], *args: P.args, **kwargs: P.kwargs) -> Awaitable[None]:
    """Call `function` when the run truly ends: returned, failed or cancelled. Durable, last registered first.

    It is registered at once, whether or not the call is awaited.

    A `finally` also runs each time that the run is parked; this does not. One that fails or is cancelled keeps no other
    from its turn. Raises InputError for a call in the place of a function.
    """
    drive = in_flow("segue.cleanup").drive
    if not callable(function):
        if inspect.iscoroutine(function):
            function.close()
        raise InputError(
            f"segue.cleanup: {function!r:.80} is no function", run=drive.run,
            remedy="pass the step uncalled, and its arguments after it: cleanup(step, argument)",
        )  # fmt: skip
    drive.cleanups.append(lambda: function(*args, **kwargs))
    return _Registered()


def _bytes(kind: str) -> bytes:
    scope = here()
    if not isinstance(scope, FlowScope):
        from os import urandom  # noqa: PLC0415  only outside of a flow

        return urandom(16)
    return blake2b(f"{scope.drive.seed}/{scope.key(kind)}".encode(), digest_size=16).digest()
