"""Branches: `gather`, `map`, `as_completed`. Each branch is a scope of its own, so equal calls in siblings differ."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, Literal, TypeVar, overload

from ..core.keys import quoted
from ..errors import InputError
from .scope import FlowScope, enter, here

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


@overload
async def gather(
    one: Awaitable[A], two: Awaitable[B], /, *, limit: int | None = None, return_exceptions: Literal[False] = False
) -> tuple[A, B]: ...
@overload
async def gather(
    one: Awaitable[A], two: Awaitable[B], three: Awaitable[C], /,
    *, limit: int | None = None, return_exceptions: Literal[False] = False,
) -> tuple[A, B, C]: ...  # fmt: skip
@overload
async def gather(
    one: Awaitable[A], two: Awaitable[B], three: Awaitable[C], four: Awaitable[D], /,
    *, limit: int | None = None, return_exceptions: Literal[False] = False,
) -> tuple[A, B, C, D]: ...  # fmt: skip
@overload
async def gather(
    *branches: Awaitable[T], limit: int | None = None, return_exceptions: Literal[False] = False
) -> list[T]: ...
@overload
async def gather(
    *branches: Awaitable[T], limit: int | None = None, return_exceptions: bool
) -> list[T | BaseException]: ...
async def gather(*branches: Awaitable[Any], limit: int | None = None, return_exceptions: bool = False) -> Any:
    """Run branches at once, at most `limit` of them, and give their results in order.

    When one fails the others are cancelled and the error is raised, once all have ended; with `return_exceptions`
    errors are results. Branch i's calls are journaled under `gather#k/i/`. It is a list; type checkers see a tuple
    where two to four branches are given one by one, as with asyncio's: each result has the type of its branch.
    """
    tasks = _tasks("gather", [(str(i), b) for i, b in enumerate(branches)], limit)
    return await _collect(tasks, return_exceptions)


async def abreast(*calls: Awaitable[T]) -> list[T]:
    """`gather` of calls of steps in the scope of the caller: they are told apart by their own keys, as in a row.

    They begin in the given order, so equal calls keep their identity.
    """
    tasks = [asyncio.get_running_loop().create_task(_branch(call, None)) for call in calls]
    return await _collect(tasks, return_exceptions=False)


@overload
async def map(  # noqa: A001  as below
    function: Callable[[A], Awaitable[T]], items: Iterable[A], *, limit: int | None = None,
    key: Callable[[A], str] | None = None, return_exceptions: Literal[False] = False,
) -> list[T]: ...  # fmt: skip
@overload
async def map(  # noqa: A001  as below
    function: Callable[[A], Awaitable[T]], items: Iterable[A], *, limit: int | None = None,
    key: Callable[[A], str] | None = None, return_exceptions: bool,
) -> list[T | BaseException]: ...  # fmt: skip
async def map(  # noqa: A001  the field's term
    function: Callable[[A], Awaitable[T]],
    items: Iterable[A],
    *,
    limit: int | None = None,
    key: Callable[[A], str] | None = None,
    return_exceptions: bool = False,
) -> Any:
    """`gather` over `function(item)`. `key(item)` names the branch, instead of its index, so that items may move."""
    if not callable(function):
        raise InputError(f"segue.map: {function!r} is not callable", remedy="pass a step, a flow or an async function")
    pairs = [(str(i) if key is None else quoted(key(item)), item) for i, item in enumerate(items)]
    names = [n for n, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise InputError(f"segue.map: two items have the key {twice!r}", remedy="make key(item) unique")
    tasks = _tasks("map", [(n, _call(function, item)) for n, item in pairs], limit)
    return await _collect(tasks, return_exceptions)


async def as_completed(*branches: Awaitable[T], limit: int | None = None) -> AsyncIterator[T]:
    """The results of branches in the order in which they end. A branch's error is raised when its turn comes.

    Unlike asyncio's, it starts the branches in the given order, so equal first calls keep their identity. Leaving the
    loop early cancels those that are still on their way.
    """
    tasks = _tasks("as_completed", [(str(i), b) for i, b in enumerate(branches)], limit)
    ended: asyncio.Queue[asyncio.Task[T]] = asyncio.Queue()
    for task in tasks:
        task.add_done_callback(ended.put_nowait)
    left = False
    try:
        for _ in tasks:
            yield (await ended.get()).result()
    except GeneratorExit:  # `break`: Python closes it where nothing can be awaited
        left = True
        for task in tasks:
            task.add_done_callback(_heard)
            task.cancel()
        raise
    finally:
        if not left:
            await _stop(tasks)


async def _call(function: Callable[[A], Awaitable[T]], item: A) -> T:
    return await function(item)


def _tasks(name: str, branches: list[tuple[str, Awaitable[T]]], limit: int | None) -> list[asyncio.Task[T]]:
    if limit is not None and (not isinstance(limit, int) or limit < 1):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        for _, branch in branches:
            if inspect.iscoroutine(branch):
                branch.close()
        raise InputError(f"segue.{name}(limit={limit!r}): a whole number from 1", remedy="leave limit out for no limit")
    wrong = next((n for n, (_, b) in enumerate(branches) if not inspect.isawaitable(b)), None)
    if wrong is not None:
        for _, branch in branches:
            if inspect.iscoroutine(branch):
                branch.close()
        raise InputError(
            f"segue.{name}: branch {wrong} is no awaitable, but {branches[wrong][1]!r:.80}",
            remedy="call the steps, and give the calls one by one: gather(a(1), b(2)), gather(*calls)",
        )
    scope, gate = here(), None if limit is None else asyncio.Semaphore(limit)
    base = scope.key(name) if isinstance(scope, FlowScope) else None
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[T]] = []
    for segment, branch in branches:
        context = contextvars.copy_context()
        if isinstance(scope, FlowScope):
            context.run(enter, FlowScope(scope.drive, f"{base}/{segment}/"))
        tasks.append(loop.create_task(_branch(branch, gate), context=context))
    return tasks


async def _branch(branch: Awaitable[T], gate: asyncio.Semaphore | None) -> T:
    try:
        if gate is None:
            return await branch
        async with gate:
            return await branch
    finally:
        if isinstance(branch, Coroutine):
            branch.close()  # one that was cancelled before its turn was never awaited


async def _collect(tasks: list[asyncio.Task[T]], return_exceptions: bool) -> list[Any]:
    if not tasks:
        return []
    try:
        when = asyncio.ALL_COMPLETED if return_exceptions else asyncio.FIRST_EXCEPTION
        await asyncio.wait(tasks, return_when=when)
    finally:
        failed = next((t for t in tasks if t.done() and not t.cancelled() and t.exception() is not None), None)
        await _stop(tasks)
    if return_exceptions:
        return [t.exception() or t.result() if not t.cancelled() else asyncio.CancelledError() for t in tasks]
    if failed is not None:
        raise _error(failed)
    return [t.result() for t in tasks]


def _error(task: asyncio.Task[Any]) -> BaseException:
    error = task.exception()
    assert error is not None
    return error


async def _stop(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel what still runs and let it clean up. A cancellation meanwhile reaches what they clean up, and waits for it
    too.
    """
    cancelled: asyncio.CancelledError | None = None
    _cancel(tasks)
    while running := [t for t in tasks if not t.done()]:
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError as error:
            cancelled = error
            _cancel(tasks)
    for task in tasks:
        _heard(task)
    if cancelled is not None:
        raise cancelled


def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()


def _heard(task: asyncio.Task[Any]) -> None:
    """Its error is nobody's any more."""
    if task.done() and not task.cancelled():
        task.exception()
