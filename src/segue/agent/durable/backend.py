"""The operations of an agent's loop, each as a step: what Pydantic AI calls a backend of durable execution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from pydantic import ValidationError
from pydantic_ai.durable_exec import (
    BoundDurableOperation,
    CapabilityOperationId,
    DurableOperation,
    DurableOperationBackend,
    DynamicToolsetCallToolParams,
    EventStreamHandlerId,
    ModelCancelSuspendedResponseId,
    ModelCompactMessagesId,
    ModelRequestId,
    ModelRequestParams,
    ToolsetCallToolId,
    ToolsetCallToolParams,
    ToolsetGetInstructionsId,
    ToolsetGetToolsId,
    ToolsetValidateToolArgumentsId,
    durable_unit_scope,
    record_durable_unit,
)
from pydantic_ai.messages import ModelResponse
from pydantic_ai.toolsets import ToolsetTool
from pydantic_core import PydanticSerializationError

from ...core.faults import NEVER_SENT, Fault
from ...core.recovery import ONCE, Answer, Attempt, Fail, Reading, Retry
from ...errors import UnserialisableResult
from ...runtime.scope import FlowScope, here
from ...runtime.step import step
from ..tools.tool import unseen
from .by_hand import outputs_of, said_by_hand
from .conversation import asking, response_of
from .model import Attempted
from .pieces import in_pieces
from .requests import requested
from .servers import held
from .tools import Calling, call_step, making_now, rules_of

if TYPE_CHECKING:
    from .capability import Durable

__all__ = ["Backend"]

P = TypeVar("P")
W = TypeVar("W")
R = TypeVar("R")
_AGAIN = Retry(attempts=3, backoff_s=0.5)
"""Of what only reads: a server may be starting."""
_LISTED = Reading(attempts=3, backoff_s=0.5)
"""Of what is asked of a server before any tool is called."""


@dataclass(frozen=True, slots=True)
class _Unsent:
    """Of a call that writes: made again only where the server could not be reached."""

    def __call__(self, fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
        return _AGAIN(fault, history, luck) if fault.error == NEVER_SENT else Fail()


class Backend(DurableOperationBackend[Calling]):
    """Of one agent."""

    def __init__(self, durable: Durable[Any]):
        self._durable = durable

    def bind(self, operation: DurableOperation[P, W, R]) -> BoundDurableOperation[P, W, R]:
        """The caller of an operation."""
        of = operation.operation_id
        if isinstance(of, ModelRequestId):
            return cast("Any", _Request(cast("Any", operation), self._durable, streaming=of.streaming))
        if isinstance(of, ToolsetCallToolId):
            return _Call(operation, self._durable, of)
        return _Other(operation, self._durable)

    def config_for_tool(
        self, operation: DurableOperation[Any, Any, Any], *, tool: object | None, tool_name: str
    ) -> Calling | Literal[False]:
        """How the calls of a tool are made; False: in the flow itself."""
        calling = rules_of(tool.tool_def if isinstance(tool, ToolsetTool) else None)
        return False if calling.inside else calling

    def registrations(self) -> Sequence[Callable[..., object]]:
        """None: steps are made where they are called."""
        return ()


class _Bound(BoundDurableOperation[P, W, R], Generic[P, W, R]):
    """One operation."""

    def __init__(self, operation: DurableOperation[P, W, R], durable: Durable[Any]):
        self._operation, self._durable = operation, durable

    @property
    def operation(self) -> DurableOperation[P, W, R]:
        """What it is."""
        return self._operation

    async def __call__(self, params: P, *, config: object | None = None) -> R:
        """Make it, in the scope of the agent's run. Raises what the operation raises."""
        made = await self._made(params, config)
        record_durable_unit(executed=not self._durable.replaying)
        return made

    async def _made(self, params: P, config: object | None) -> R:
        raise NotImplementedError

    async def _handled(self, params: P) -> object:
        """What it gives, as JSON."""
        with durable_unit_scope():
            given = await self._operation.handler(params)
            try:
                return self._operation.result_codec.dump(given)
            except PydanticSerializationError as error:
                raise UnserialisableResult(str(error), remedy="return JSON, or what Pydantic makes JSON of") from error


class _Request(_Bound[ModelRequestParams, Any, Any]):
    """A request of a model."""

    def __init__(
        self, operation: DurableOperation[ModelRequestParams, Any, Any], durable: Durable[Any], *, streaming: bool
    ):
        super().__init__(operation, durable)
        self._streaming = streaming

    async def _made(self, params: ModelRequestParams, config: object | None) -> Any:
        response = await self._answered(params)
        if not self._streaming:
            return response
        return await in_pieces(response, params.model_request_parameters, self._operation.result_codec.load)

    async def _answered(self, params: ModelRequestParams) -> ModelResponse:
        durable = self._durable
        any_model, pin = durable.routed(None), await durable.pin_of(params.model_id, params.run_context)
        settings, parameters = any_model.prepare_request(params.model_settings, params.model_request_parameters)
        messages = any_model.prepare_messages(params.messages, parameters)
        asked = asking(messages, cast("Any", settings), parameters, durable.requests.wanted(pin))

        async def answer(at: Attempted) -> ModelResponse | None:
            with durable_unit_scope():
                response: ModelResponse = await self._operation.handler(params)
            return None if at.given is not None else response

        given = await durable.requests.made(asked, answer, stream=self._streaming)
        if given.said is not None:
            return response_of(given, asked.question)
        held = not _went_on(durable.requests.last_key(asked))
        return said_by_hand(given.value, asked.question, outputs_of(params.run_context), held=held)


def _went_on(key: str) -> bool:
    """Whether more requests of this agent were made since something was said in the place of the one of `key`: it once
    went on from what it refuses now. What the fork in which it was said has from its parent says nothing of that.
    """
    scope = here()
    if not isinstance(scope, FlowScope):
        return False
    claims, name = scope.drive.claims, f"{scope.path}{requested.name}["
    memory, keys = claims.memory, (key, claims.recorded(key))
    given_at = [memory.given_at.get(one, memory.forked_at) for one in keys]
    said_at = max((event.seq for event in memory.outcomes if event.key in keys), default=None)
    if said_at is None:
        return False  # it has just been said
    later = [event.key or "" for event in memory.outcomes if event.seq > max(said_at, *given_at)]
    return any(one.startswith(name) and "/" not in one[len(name) :] for one in (*later, *memory.open_args))


class _Call(_Bound[P, W, R]):
    """A call of a tool."""

    def __init__(self, operation: DurableOperation[P, W, R], durable: Durable[Any], of: ToolsetCallToolId):
        super().__init__(operation, durable)
        self._of = of

    async def _made(self, params: P, config: object | None) -> R:
        assert isinstance(params, ToolsetCallToolParams | DynamicToolsetCallToolParams)
        calling = config if isinstance(config, Calling) else Calling(name=params.name)
        if self._of.toolset_kind == "mcp" and calling.retry is ONCE and calling.effect != "once":
            calling = replace(calling, retry=_AGAIN if calling.effect == "read" else _Unsent())

        async def body() -> object:
            name = unseen.set(params.name)
            try:
                async with held(self._durable.server(self._of.toolset_id)):
                    return await self._handled(cast("P", params))
            finally:
                unseen.reset(name)

        made, args = call_step(replace(calling, name=params.name), params.tool_args, body)
        making = making_now.get()
        if making is not None:
            making.key = made.key_of(**args)
        return self._loaded(await made(**args))

    def _loaded(self, payload: object) -> R:
        """The result of a call. What a reconciler or a person says of one that was interrupted is the plain result."""
        load = self._operation.result_codec.load
        try:
            return load(payload)
        except ValidationError:
            return load({"kind": "tool_return", "result": payload})


class _Other(_Bound[P, W, R]):
    """Whatever else takes I/O: listing tools, checking arguments, telling of events."""

    async def _made(self, params: P, config: object | None) -> R:
        name, key, reads = _named(self._operation.operation_id, params)
        of = self._operation.operation_id
        server = of.toolset_id if isinstance(of, ToolsetGetToolsId | ToolsetGetInstructionsId) else None

        async def body() -> object:
            async with held(None if server is None else self._durable.server(server)):
                return await self._handled(params)

        made = step(name=name, effect="read" if reads else "write", retry=_LISTED if reads else None)(body)
        return self._operation.result_codec.load(await made.using(key=key)())


def _named(of: object, params: object) -> tuple[str, str | None, bool]:
    """What an operation's step is called, its key, and whether it only reads."""
    if isinstance(of, ToolsetGetToolsId | ToolsetGetInstructionsId):
        return "tools" if isinstance(of, ToolsetGetToolsId) else "instructions", of.toolset_id, True
    if isinstance(of, ToolsetValidateToolArgumentsId):
        return "validate", str(getattr(params, "name", "")), False
    if isinstance(of, CapabilityOperationId):
        return "capability", f"{of.capability_id}.{of.operation}", False
    return _NAMES.get(type(of), type(of).__name__), None, False


_NAMES: dict[type[object], str] = {
    EventStreamHandlerId: "event",
    ModelCompactMessagesId: "compact",
    ModelCancelSuspendedResponseId: "cancel",
}
