"""A step that is called outside of a flow: it simply runs, with its retries and its time limit, and nothing is
journaled.

Inside of another step's attempt, its failed attempts are recorded under that step.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..core.commands import StepOptions
from ..core.faults import classify
from ..core.recovery import Again, Amend, Attempt, Plan, Use, plan_of
from .exits import in_thread
from .outlet import void
from .scope import StepScope, enter, here
from .stories import note_place


async def inline(
    function: Callable[..., Any],
    options: StepOptions,
    scope: StepScope | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    """Call the function until it succeeds or its Recovery gives up. Raises the function's own error."""
    history: list[Attempt] = []
    part = "" if scope is None else scope.inner(options.name)
    while True:
        plan = plan_of(history)
        if history:
            args, kwargs = _amended(function, args, kwargs, plan.changes)
        if history or scope is not None:
            enter(_next(scope, options.name, history, plan, part))
        try:
            async with asyncio.timeout(options.timeout_s):
                return await _call(function, options, args, kwargs)
        except Exception as error:
            fault = classify(error)
            inside = here()
            if isinstance(inside, StepScope):
                void(inside, error)
            history.append(Attempt(0, len(history) + 1, 0.0, fault))
            answer = options.retry(fault, history, random.random())
            if scope is not None:
                _record(scope, options.name, history)
            if not isinstance(answer, Again | Use | Amend) or options.effect == "once":
                if scope is not None and scope.run:
                    note_place(error, scope.run, f"{scope.key}/{part}", len(history))
                raise
            history[-1] = history[-1]._replace(answer=answer)
            await asyncio.sleep(answer.after_s)
        finally:
            enter(scope)


def _next(scope: StepScope | None, name: str, history: list[Attempt], plan: Plan, part: str) -> StepScope:
    """The scope of another attempt: what it records goes to the step around it."""
    run, key = ("", name) if scope is None else (scope.run, scope.key)
    purse = None if scope is None else scope.purse
    made = StepScope(run, key, len(history) + 1, tuple(history), plan.candidate, purse=purse)
    if scope is not None:
        scope.within(part, made)
    return made


def _amended(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], changes: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if not changes:
        return args, kwargs
    bound = inspect.signature(function).bind(*args, **kwargs)
    return (), {**bound.arguments, **changes}


def _record(scope: StepScope, name: str, history: list[Attempt]) -> None:
    from ..core import records  # noqa: PLC0415  here, because most processes never need it

    why = records.AttemptWhy.RETRY if len(history) > 1 else records.AttemptWhy.PRIMARY
    scope.record(
        records.AttemptRecorded(
            epoch=0, n=history[-1].n, target=records.Target(kind=records.TargetKind.STEP, name=name), why=why,
            end=records.AttemptEnd.FAILED, fault=history[-1].fault,
        )
    )  # fmt: skip


async def _call(
    function: Callable[..., Any], options: StepOptions, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    if not options.threaded:
        return await function(*args, **kwargs)
    context = contextvars.copy_context()
    call = partial(context.run, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(None, in_thread, call)
