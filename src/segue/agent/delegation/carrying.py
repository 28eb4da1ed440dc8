"""Carrying a request out by whoever was chosen: each kind in its own way, each durable in a flow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ...core.codec import codec, misfit
from ...core.records import TargetKind
from ...errors import InputError
from ...runtime.scope import FlowScope, here
from ...runtime.waits import timeout
from ..ask import ask
from ..options import Options
from ..people import ask_human
from .choosing import Choice
from .delegates import Delegate, Person
from .errors import Unfit
from .inputs import Arguments, Misfit, text_of

__all__ = ["Carrying"]


@dataclass(frozen=True, kw_only=True)
class Carrying:
    """How requests of one delegation are carried out."""

    request: object
    returns: Any
    prompt: str
    """What a model is told to do with the request; empty: the request is its prompt."""
    fill: str | None
    """The route of the model that fills in arguments."""
    fill_prompt: str
    thread: str | None
    options: Options

    async def by(self, one: Delegate, choice: Choice) -> Any:
        """The result, as a value of the wanted type. Raises what went wrong."""
        if one.kind is TargetKind.MODEL:
            return await self._model(one, choice)
        if isinstance(one.target, Person):
            return await self._person(one.target)
        function, arguments = _callable(one.target), await self._arguments(one)
        if one.timeout_s is None:
            return self._valued(one, await function(**arguments))
        if not isinstance(here(), FlowScope):
            import asyncio  # noqa: PLC0415  outside of a flow asyncio's own is right

            async with asyncio.timeout(one.timeout_s):
                return self._valued(one, await function(**arguments))
        async with timeout(one.timeout_s):
            return self._valued(one, await function(**arguments))

    async def _model(self, one: Delegate, choice: Choice) -> Any:
        text, said = text_of(self.request), dict[str, Any](self.options)
        said["route" if choice.route else "model"] = one.target
        said |= {"thread": self.thread} if self.thread is not None else {}
        said |= {"timeout_s": one.timeout_s} if one.timeout_s is not None else {}
        parts = (self.prompt, text) if self.prompt else (text,)
        return await ask(*parts, returns=self.returns, **said)

    async def _person(self, person: Person) -> Any:
        request = self.request
        question = person.question or (request if isinstance(request, str) else "What is the answer to this request?")
        shown = None if question == request else request
        return await ask_human(
            question, shown, returns=self.returns, by=person.name, timeout_s=person.timeout_s,
            reassign_s=person.reassign_s, or_else=list(person.or_else), remind_s=list(person.remind_s),
            notify=person.notify,
        )  # fmt: skip

    async def _arguments(self, one: Delegate) -> Arguments:
        """Those that the request is; else a model fills them in. Raises BadOutput where they do not fit after all."""
        inputs = one.inputs
        assert inputs is not None
        try:
            made = inputs.bind(self.request)
        except Misfit as error:
            if self.fill is None:
                raise InputError(f"{one.name}: {error}", remedy="give fill=, the route of a model") from error
            about = {"name": one.name, "about": inputs.about}
            filled = await ask(
                self.fill_prompt, about, text_of(self.request), returns=inputs.form(), route=self.fill, kind="extract",
                thread=None,
            )  # fmt: skip
            made = {n: getattr(filled, n) for n in filled.model_fields_set}
        return {**made, "thread": self.thread} if inputs.takes_thread and self.thread is not None else made

    def _valued(self, one: Delegate, given: object) -> Any:
        """A result as the wanted type; text is wanted of everything that has none. Raises Unfit."""
        wrapped = type(given).__module__.partition(".")[0] == "pydantic_ai"
        value: Any = getattr(given, "output", given) if wrapped else given
        if self.returns is str:
            return text_of(value)
        of = codec(self.returns)
        try:
            return of.validate(value)
        except (ValidationError, TypeError, ValueError) as error:
            raise Unfit(f"what {one.name} gave does not fit: {misfit(of, error)}") from error


def _callable(target: Any) -> Callable[..., Awaitable[Any]]:
    call: Any = target if callable(target) else target.run
    return call
