"""`@flow`: a function whose runs survive the process that they run in."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, overload

from ..core.codec import dumps, fingerprint, loads, misfit
from ..core.commands import StartChild
from ..core.events import EventType
from ..core.keys import quoted
from ..core.modules import asks
from ..errors import DefinitionError, InputError
from .registry import module_of, register, revision_of
from .scope import FlowScope, here
from .signature import Signature

P = ParamSpec("P")
R = TypeVar("R")

Migrate = bool | Callable[[dict[str, Any]], dict[str, Any]]
"""True, or a function from the stored input (JSON, by parameter name) of an older version to today's."""


class Flow(Generic[P, R]):
    """A durable function. Start it with `engine.start`; called in another flow it is a child run.

    `name` is `module:qualname`; any process that can import the module finds it. `revision` is the hash of the code.
    """

    def __init__(
        self,
        function: Callable[P, Coroutine[Any, Any, R]],
        *,
        name: str | None,
        version: int,
        migrate: Migrate,
        revision: str | None,
        budget_nano: int | None = None,
    ):
        module, self.origin = module_of(function)
        self._home = sys.modules.get(function.__module__)
        self.function = function
        self.short = name or function.__name__
        self.name = f"{module}:{name or function.__qualname__}"
        self.version, self.migrate, self.budget_nano = version, migrate, budget_nano
        self.revision = revision or revision_of(function)
        self.signature = Signature(function)
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """In a flow: a child run, awaited. Elsewhere the function simply runs, with nothing journaled."""
        call = self._run(args, kwargs)
        call.__qualname__ = self.short  # Python's warning of a call that nobody awaits names it so, and errors do
        return call

    async def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        scope = here()
        if not isinstance(scope, FlowScope):
            return await self.function(*args, **kwargs)
        command = self.child(scope, args, kwargs, None, detached=False)
        event = await scope.drive.outcome(command)
        if event.type == EventType.CHILD_ENDED and event.value is None:
            raise scope.drive.failure(event)
        try:
            return self.signature.result.decode(event.value or b"null")
        except ValueError as error:
            raise scope.drive.undecodable(command.key, misfit(self.signature.result, error)) from error

    def child(
        self, scope: FlowScope, args: tuple[Any, ...], kwargs: dict[str, Any], id: str | None, *, detached: bool
    ) -> StartChild:
        """The command that starts this flow as a child."""
        try:
            data, _ = self.signature.bind(args, kwargs, self.short)
        except InputError as error:
            error.run, error.key = scope.drive.run, scope.path + self.short
            raise
        key = scope.key(self.short, quoted(id) if id else fingerprint(data))
        return StartChild(key, scope.drive.seen, self, data, id, detached, self.signature.codecs)

    def migrated(self, args: bytes) -> bytes:
        """The input of an older version as this one takes it. Raises what `migrate` does."""
        return dumps(self.migrate(loads(args))) if callable(self.migrate) else args

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """An input as it is journaled. Raises InputError."""
        return self.signature.bind(args, kwargs, self.short)[0]

    def body(self, values: dict[str, Any]) -> Callable[[], Awaitable[R]]:
        """The coroutine function of one run, its input given."""

        def begin() -> Awaitable[R]:
            asks.set(self._home)
            return self.function(**values)  # pyright: ignore[reportCallIssue]  by name, as they were stored

        return begin


@overload
def flow(function: Callable[P, Coroutine[Any, Any, R]], /) -> Flow[P, R]: ...
@overload
def flow(
    *,
    version: int = 1,
    name: str | None = None,
    migrate: Migrate = False,
    revision: str | None = None,
    budget_usd: float | str | None = None,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Flow[P, R]]: ...


def flow(
    function: Callable[..., Any] | None = None,
    /,
    *,
    version: int = 1,
    name: str | None = None,
    migrate: Migrate = False,
    revision: str | None = None,
    budget_usd: float | str | None = None,
) -> Any:
    """Make an `async def` a flow.

    A run stays on the version that it started on; keep the old function under the same `name` and its old `version`, or
    declare `migrate` on the new one. `revision` names the code (default: the hash of the module's source): while it is
    the same, a replay must make exactly the recorded calls; when it changed, calls may be added, removed and moved.
    `budget_usd` is what the models that one run asks may cost in all, those of its children among them: a call that
    does not fit into what is left is refused with BudgetExceeded before it is sent.
    """

    def decorate(function: Callable[..., Any]) -> Flow[..., Any]:
        if not inspect.iscoroutinefunction(function):
            raise DefinitionError(
                f"@flow goes on an `async def`, and {getattr(function, '__qualname__', function)!r} is none",
                remedy="write `async def`; a plain function is a @step",
            )
        if not isinstance(version, int) or version < 1:  # pyright: ignore[reportUnnecessaryIsInstance]  users err
            raise DefinitionError(f"@flow(version={version!r}): a whole number from 1")
        budget = None if budget_usd is None else _budget(budget_usd)
        made = Flow[..., Any](
            function, name=name, version=version, migrate=migrate, revision=revision, budget_nano=budget
        )
        register(made)
        return made

    return decorate if function is None else decorate(function)


def _budget(usd: float | str) -> int:
    from ..core.budgets import nano  # noqa: PLC0415  30 ms, which a flow without a budget need not pay

    try:
        amount = nano(usd)
    except InputError as error:
        raise DefinitionError(f"@flow(budget_usd={usd!r}): {error.message}", remedy=error.remedy) from None
    if amount <= 0:
        raise DefinitionError(f"@flow(budget_usd={usd!r}): more than 0", remedy="without a budget, leave it out")
    return amount
