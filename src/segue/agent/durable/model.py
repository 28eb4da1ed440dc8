"""`Routed`: the model of an agent that is whichever one the route chooses, and an answer of it that comes in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic_ai.messages import (
    FinalResultEvent,
    ModelMessage,
    ModelResponse,
    ModelResponsePart,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext
from pydantic_ai.usage import RequestUsage

from ...models.exchange import Delta
from ..request import Given, Question
from .conversation import response_of

__all__ = ["Asks", "Attempted", "Routed", "now_asked"]

Tap = Callable[[Delta], None]


class Asks(Protocol):
    """Asks whoever the route chooses, where no step of an agent's loop does."""

    def __call__(
        self, messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters,
        pin: str | None, tap: Tap | None = None, /,
    ) -> Awaitable[tuple[Given, Question]]:  # fmt: skip
        """The answer, and the question that it answers."""
        ...


@dataclass(slots=True)
class Attempted:
    """The attempt of the step that asks now."""

    question: Question
    make: Callable[[Tap | None], Awaitable[Given]]
    given: Given | None = field(default=None, init=False)

    async def answer(self, tap: Tap | None = None) -> Given:
        """Make it."""
        self.given = await self.make(tap)
        return self.given


now_asked: ContextVar[Attempted | None] = ContextVar("segue_agent_attempt", default=None)
"""Set while a step of an agent's loop asks a model."""


class Routed(Model):
    """Whichever model the route chooses; `pin` is the only one that may, by its name in the catalogue.

    It can what any of them may be able to: who cannot do what a request needs is not chosen.
    """

    def __init__(self, asks: Asks, pin: str | None = None):
        super().__init__(profile=_ANY)
        self._asks, self.pin = asks, pin

    @property
    def model_name(self) -> str:
        """The name in the catalogue, or `routed`."""
        return self.pin or "routed"

    @property
    def system(self) -> str:
        """Who provides it."""
        return "segue"

    async def request(
        self, messages: list[ModelMessage], model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:  # fmt: skip
        """One answer, whole. Raises as `ask` does."""
        given, question = await self._given(messages, model_settings, model_request_parameters, None)
        return response_of(given, question)

    async def _given(
        self, messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters,
        tap: Tap | None,
    ) -> tuple[Given, Question]:  # fmt: skip
        at = now_asked.get()
        if at is not None:
            return await at.answer(tap), at.question
        return await self._asks(messages, settings, parameters, self.pin, tap)

    @asynccontextmanager
    async def request_stream(
        self, messages: list[ModelMessage], model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters, run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:  # fmt: skip
        """One answer, as it comes. Each attempt is a stream of its own. Raises as `ask` does."""

        async def begin(tap: Tap) -> ModelResponse:
            given, question = await self._given(messages, model_settings, model_request_parameters, tap)
            return response_of(given, question)

        coming = _Coming(model_request_parameters, begin, self)
        try:
            yield coming
        finally:
            await coming.close_stream()


class _Coming(StreamedResponse):
    """An answer that comes: the events of the call that is made, then the answer that was accepted."""

    def __init__(
        self, parameters: ModelRequestParameters, begin: Callable[[Tap], Awaitable[ModelResponse]], model: Routed
    ):
        super().__init__(model_request_parameters=parameters)
        self._begin, self._model = begin, model
        self._parts: dict[int, ModelResponsePart] = {}
        self._events: AsyncGenerator[ModelResponseStreamEvent] | None = None
        self._task: asyncio.Future[ModelResponse] | None = None
        self._whole: ModelResponse | None = None
        self._at = datetime.now(UTC)

    def __aiter__(self) -> AsyncIterator[ModelResponseStreamEvent]:
        """What comes. It is asked for when it is first iterated over."""
        if self._events is None:
            self._events = self._listen()
        return self._events

    async def _get_event_iterator(self) -> AsyncIterator[ModelResponseStreamEvent]:
        async for event in self:
            yield event

    async def _listen(self) -> AsyncGenerator[ModelResponseStreamEvent]:
        heard: asyncio.Queue[Delta | None] = asyncio.Queue()
        self._task = asyncio.ensure_future(self._begin(heard.put_nowait))
        self._task.add_done_callback(lambda _: heard.put_nowait(None))
        while (delta := await heard.get()) is not None:
            if delta.event is not None:
                self._hear(delta.event)
                yield delta.event
        self._whole = await self._task
        if not self._parts:  # it came whole
            for index, part in enumerate(self._whole.parts):
                yield PartStartEvent(index=index, part=part)

    def _hear(self, event: ModelResponseStreamEvent) -> None:
        if isinstance(event, PartStartEvent):
            self._parts[event.index] = event.part
        elif isinstance(event, PartDeltaEvent) and event.index in self._parts:
            self._parts[event.index] = event.delta.apply(self._parts[event.index])
        elif isinstance(event, FinalResultEvent):
            self.final_result_event = event

    async def close_stream(self) -> None:
        """Give the call up."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    def get(self) -> ModelResponse:
        """The answer, or as much of it as has come."""
        if self._whole is not None:
            return self._whole
        state = "interrupted" if self.cancelled else "incomplete"
        parts = [self._parts[index] for index in sorted(self._parts)]
        return ModelResponse(parts=parts, model_name=self.model_name, timestamp=self._at, state=state)

    @property
    def usage(self) -> RequestUsage:
        """What it took, once it is known."""
        return RequestUsage() if self._whole is None else self._whole.usage

    @property
    def model_name(self) -> str:
        """Who answers, once it is known."""
        return (self._whole.model_name if self._whole is not None else None) or self._model.model_name

    @property
    def provider_name(self) -> str | None:
        """Who provides the model that answers."""
        return None if self._whole is None else self._whole.provider_name

    @property
    def provider_url(self) -> str | None:
        """Where that is."""
        return None if self._whole is None else self._whole.provider_url

    @property
    def timestamp(self) -> datetime:
        """When it was asked."""
        return self._at if self._whole is None else self._whole.timestamp


_ANY = ModelProfile(
    supports_tools=True,
    supports_json_schema_output=True,
    supports_json_object_output=True,
    default_structured_output_mode="native",
    supports_thinking=True,
    supports_inline_system_prompts=False,
)
"""A typed answer is asked for by its schema, as `ask` does: natively where the model can, else as it can."""
