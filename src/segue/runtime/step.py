"""`@step`: a unit of work whose result is journaled before the flow sees it."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Coroutine, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import replace
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, overload

from ..core.codec import Codec, Upcast, fingerprint, misfit
from ..core.commands import Effect, RunStep, StepOptions
from ..core.events import EventType
from ..core.events import made as event_made
from ..core.keys import quoted
from ..core.recovery import ONCE, Recovery, Retry
from ..core.redaction import Redact, redacted, redaction
from ..errors import DefinitionError, InputError
from .effects import is_looked_into, settle
from .exits import fault_in
from .inline import inline
from .once import may_begin, note, noted
from .scope import FlowScope, here
from .signature import Signature

P = ParamSpec("P")
R = TypeVar("R")


class Step(Generic[P, R]):
    """A function that runs are made of. Calling it gives a coroutine.

    In a flow the call is durable: an outcome that is in the journal is not made again. Outside of a run, and inside of
    another step, the function simply runs.
    """

    def __init__(self, function: Callable[P, Any], options: StepOptions):
        self.function, self.options, self.name = function, options, options.name
        self.signature = Signature(function)
        self.key: str | None = None
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Call the step. In a flow: journaled under `scope/name[key or fingerprint of the arguments]#k`."""
        call = self._run(args, kwargs)
        call.__qualname__ = self.name  # Python's warning of a call that nobody awaits names it so
        return call

    def using(
        self, *, key: str | None = None, retry: Recovery | None = None, timeout_s: float | None = None
    ) -> Step[P, R]:
        """The same step with other options for one call: a `key` of your own instead of the fingerprint."""
        if key is not None and not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
            raise DefinitionError(f"{self.name}: key={key!r} is no text", remedy=f"give a text: key={str(key)!r}")
        made = copy(self)
        made.key = self.key if key is None else key
        given: dict[str, Any] = {}
        if retry is not None:
            given |= {"retry": retry, "attempts": attempts_of(retry)}
        if timeout_s is not None:
            given["timeout_s"] = _positive("timeout_s", timeout_s, self.name)
        made.options = replace(self.options, **given)
        return made

    def carried_out_by(
        self, function: Callable[P, Any], retry: Recovery, upcast: Upcast | None = None, gives: str | None = None
    ) -> Step[P, R]:
        """The same step with another body and Recovery for one call: what they know need be no JSON. `upcast` reads
        what is said by hand in the place of its result, and `gives` says what that is.
        """
        made = copy(self)
        made.function = function
        upcast = upcast or self.options.upcast
        made.options = replace(self.options, retry=retry, attempts=attempts_of(retry), upcast=upcast, gives=gives)
        return made

    def key_of(self, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """The key that this call would have if it were made now; None outside of a flow. Raises InputError."""
        scope = here()
        if not isinstance(scope, FlowScope):
            return None
        data, _ = self.signature.bind(args, kwargs, self.name)
        return scope.next_key(self.name, fingerprint(data) if self.key is None else quoted(self.key))

    async def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        scope, once = here(), self.options.effect == "once"
        if not isinstance(scope, FlowScope):
            with noted() if once else nullcontext():
                value = await inline(self.function, self.options, scope, args, kwargs)
            how = self.options.redact
            return value if how is None else redacted(how, self.signature.result, value)
        try:
            data, values = self.signature.bind(args, kwargs, self.name)
        except InputError as error:
            error.run, error.key = scope.drive.run, scope.path + self.name
            raise
        if once:
            may_begin()
            self.signature.result.ready()
        key = scope.key(self.name, fingerprint(data) if self.key is None else quoted(self.key))
        drive, signature = scope.drive, self.signature
        call = (key, drive.seen, self.options, self.function, signature.result, data, values, signature.codecs)
        command: RunStep = event_made(RunStep, call)
        future = drive.request(command)
        if once and (call_noted := note()) is not None:
            call_noted.of(drive, key, future)
        try:
            event = await future
        except asyncio.CancelledError:
            drive.give_up(key)
            raise
        if event.type == EventType.STEP_FAILED:
            error = drive.failure(event)
            if once and is_looked_into(fault_in(event), self.options):
                settle(error)  # a step whose effect may have been applied does not fail: its run waits for a word
            raise error
        try:
            if self.options.upcast is None:
                return signature.result.decode(event.value or b"null")
            return read(signature.result, event.value or b"null", self.options.upcast)
        except ValueError as error:
            raise drive.undecodable(key, misfit(signature.result, error)) from error


def read(of: Codec, data: bytes, upcast: Upcast | None = None) -> Any:
    """A stored result; one that does not fit its type goes through `upcast`. Raises ValueError when it does not fit."""
    try:
        return of.decode(data)
    except ValueError:
        if upcast is None:
            raise
    try:
        return of.validate(upcast(json.loads(data)))
    except Exception as error:
        raise ValueError(str(error)) from error


@overload
def step(function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    retry: Recovery | None = None,
    timeout_s: float | None = None,
    effect: Effect = "write",
    reconcile: Callable[..., Any] | None = None,
    upcast: Upcast | None = None,
    redact: Callable[[Any], Any] | str | Sequence[str] | None = None,
) -> StepDecorator: ...


def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry: Recovery | None = None,
    timeout_s: float | None = None,
    effect: Effect = "write",
    reconcile: Callable[..., Any] | None = None,
    upcast: Upcast | None = None,
    redact: Callable[[Any], Any] | str | Sequence[str] | None = None,
) -> Any:
    """Make a function a step. `async def` runs on the engine's loop, plain `def` in a thread.

    `retry` says what to do after a failed attempt (default: fail), `timeout_s` limits one attempt. `effect="once"` is
    for what must not happen twice: after an interruption it is reconciled, by `reconcile(...)`, which is called with
    the same arguments and returns `Applied(result)` or `NotApplied()`, or by a person. `upcast` turns a stored result
    of an older shape into today's. `redact` is applied to each result before it is journaled and before the flow sees
    it: a function from the result to the redacted one, or names of patterns (`"pii"`, `"credentials"`, `"email"`, …),
    which take what they find out of every text of the result, and of the error of a failed attempt.
    """
    decorator = StepDecorator(name, retry or ONCE, timeout_s, effect, reconcile, upcast, redaction(redact))
    return decorator if function is None else decorator(function)


class StepDecorator:
    """`@step(...)` with its options, waiting for the function."""

    def __init__(  # noqa: PLR0917  made in one place
        self,
        name: str | None,
        retry: Recovery,
        timeout_s: float | None,
        effect: Effect,
        reconcile: Callable[..., Any] | None,
        upcast: Upcast | None,
        redact: Redact | None = None,
    ):
        if effect not in ("read", "write", "once"):
            raise DefinitionError(
                f"@step(effect={effect!r}): one of 'read', 'write', 'once'",
                remedy="write effect='once' for what must not happen twice, else leave it out",
            )
        if not callable(retry):
            raise DefinitionError(
                f"@step(retry={retry!r}): not a Recovery",
                remedy="write retry=Retry(attempts=3), or a function of your own",
            )
        if reconcile is not None and effect != "once":
            raise DefinitionError("@step(reconcile=...) is for effect='once': other steps are simply made again")
        self._name, self._retry = name, retry
        self._effect: Effect = effect
        self._timeout_s = None if timeout_s is None else _positive("timeout_s", timeout_s, name or "@step")
        self._reconcile, self._upcast, self._redact = reconcile, upcast, redact

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Step[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Any:
        """Make the step."""
        if not callable(function) or inspect.isclass(function):
            raise DefinitionError(f"@step goes on a function, not on {function!r}")
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise DefinitionError(
                f"@step goes on a function that returns its result, and {function.__qualname__} yields",
                remedy="return a list, or make a step of each item",
            )
        name = self._name or function.__name__
        if not name or set(name) & set("/[]#"):
            raise DefinitionError(f"step name {name!r}: not empty, and without any of / [ ] #")
        if self._effect == "once" and self._reconcile is None and attempts_of(self._retry) > 1:
            raise DefinitionError(
                f"{function.__qualname__}: retry= of an effect='once' needs reconcile=: nothing else says that it "
                "may be made again",
                remedy="give a reconcile function that returns Applied(result) or NotApplied()",
            )
        options = StepOptions(
            name=name,
            retry=self._retry,
            attempts=attempts_of(self._retry),
            timeout_s=self._timeout_s,
            effect=self._effect,
            threaded=not inspect.iscoroutinefunction(function),
            reconcile=self._reconcile,
            redact=self._redact,
            upcast=self._upcast,
        )
        return Step[..., Any](function, options)


def attempts_of(retry: Recovery) -> int:
    """The bound of a recovery; one that does not say is taken to retry."""
    return retry.attempts if isinstance(retry, Retry) else 2


def _positive(what: str, value: float, where: str) -> float:
    if not isinstance(value, (int, float)) or not value > 0:  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise DefinitionError(
            f"{where}: {what}={value!r} must be a number of seconds greater than 0",
            remedy=f"write {what}=30 for half a minute, or leave it out for no limit",
        )
    return float(value)
