"""`Durable`: the capability by which an agent of Pydantic AI runs durably in a flow.

Every request of a model, every call of a tool and every look at a server is a step, under the agent's own scope of the
run: `agent[name]#1/ask[…]#1`, `agent[name]#1/look_up[…]#1`. The agent's loop itself is part of the flow, so a crash in
its middle goes on from the last step that has an outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Unpack, cast
from weakref import WeakKeyDictionary

from pydantic_ai.agent import EventStreamHandler
from pydantic_ai.agent.abstract import AbstractAgent
from pydantic_ai.capabilities.abstract import AbstractCapability
from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    DurabilityEngineSpec,
    conversation_id_from_run_id,
    replay_scope,
)
from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai.models import Model, ModelRequestContext, ModelResolutionContext
from pydantic_ai.run import AgentRunResult
from pydantic_ai.tools import AgentDepsT, DeferredToolRequests, DeferredToolResults, RunContext, ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, DynamicToolset, FunctionToolset

from ...core.keys import quoted
from ...errors import DefinitionError
from ...runtime.drive import Drive
from ...runtime.flow import Flow
from ...runtime.loop import FlowTask, InLine
from ...runtime.once import noted
from ...runtime.scope import FlowScope, here, opened
from ...runtime.step import Step
from ...runtime.values import now, uuid
from ..people.plan import Names
from ..tools import Tool
from ..tools.tool import hold_options
from .approvals import decided
from .backend import Backend
from .calls import Running, called, note_unmade, running_now
from .conversation import put_in_time
from .model import Routed
from .recall import Recalling
from .requests import Requests, catalogued
from .routing import Routing
from .servers import watch
from .tools import METADATA, Looking, as_tool, inside, put, rules_of

__all__ = ["Durable"]

_LIMIT = 200_000
"""Characters of a tool's result that are shown, where the tool does not say."""
_ANY = "segue:any"
"""The name of the model of an agent that names none."""
_IN_LINE = InLine()


class Durable(BaseDurabilityCapability[AgentDepsT]):
    """Makes an agent durable in a flow: `Agent(name="clerk", tools=[...], capabilities=[Durable(route="strong")])`.

    An agent without a model is answered by whom the route chooses. One that names a model of the catalogue, by its
    name, as `provider:id` or by its id, is answered by that one. Any other model is asked as it was given: in a step,
    with retries, but without routing, budget and manifest. `approve_by` is asked for tools that require approval; None
    leaves them to the agent. All further options are those of `ask`, for each request.

    Tools of `segue.tool` are called as in `ask`. One of others says the same in its metadata: `metadata={"segue":
    {"effect": "once", "timeout_s": 20}}`; `False` runs it in the flow itself. Steps and flows are called as such.
    `limit_chars` is the limit of results of tools that say none.
    Outside of a flow the agent simply runs. Raises InputError for an option that there is not.
    """

    engine_spec = DurabilityEngineSpec(
        engine_name="Segue",
        durable_unit_noun="step",
        durable_container_noun="flow",
        codec=JSON_CODEC,
        toolset_lifecycles={"function": "enter-never", "mcp": "enter-outside-durable", "dynamic": "enter-never"},
        tool_config_key=METADATA,
        unsupported_runtime_toolset_kinds=frozenset({"function", "mcp", "dynamic"}),
    )

    def __init__(
        self,
        *,
        name: str | None = None,
        models: Mapping[str, Model] | None = None,
        event_stream_handler: EventStreamHandler[AgentDepsT] | None = None,
        approve_by: Names | None = (),
        approve_within_s: float | None = None,
        limit_chars: int = _LIMIT,
        **options: Unpack[Routing],
    ):
        super().__init__(models=models, event_stream_handler=event_stream_handler, name=name)
        self.requests = Requests.of(**options)
        hold_options("Durable", "tell", limit_chars)
        self.limit_chars = limit_chars
        self._approve_by, self._approve_within_s = approve_by, approve_within_s
        self._given = frozenset(models or ())
        self._routes = options.get("route") is not None
        self._servers: dict[str, AbstractToolset[Any]] = {}
        self._pins: WeakKeyDictionary[Drive, dict[str, str | None]] = WeakKeyDictionary()

    # --- what it is to the library ---

    def for_agent(self, agent: AbstractAgent[AgentDepsT, Any]) -> AbstractCapability[AgentDepsT]:
        """Bind it to an agent, and see that its steps and flows are called as such."""
        if self._routes and agent.model is not None:
            raise DefinitionError(
                f"agent {self.name or agent.name}: it names a model, and Durable(route=) names a route",
                remedy="leave one of them out",
            )
        servers: dict[str, AbstractToolset[Any]] = {}
        for toolset in agent.toolsets:
            toolset.apply(lambda leaf: _prepared(leaf, servers))
        self._servers = servers
        return super().for_agent(agent)

    def get_durable_operation_backend(self) -> Backend:
        """What makes steps of the agent's operations."""
        return Backend(self)

    @property
    def in_durable_context(self) -> bool:
        """Whether this is a flow, and not one of its steps."""
        return isinstance(here(), FlowScope)

    @property
    def replaying(self) -> bool:
        """Whether what happens now has happened before."""
        scope = here()
        return isinstance(scope, FlowScope) and scope.drive.replaying

    def get_default_run_id(self) -> str | None:
        """The same on a replay."""
        return str(uuid()) if self.in_durable_context else None

    def get_default_conversation_id(self, run_id: str) -> str | None:
        """The same on a replay."""
        return conversation_id_from_run_id(run_id) if self.in_durable_context else None

    def get_run_clock(self) -> Callable[[], datetime] | None:
        """The flow's. It is asked for as a run begins, in the task that its caller may cancel."""
        if not self.in_durable_context:
            return None
        # Pydantic AI takes one that was caught before, in a cleanup, for one of this run. `Recalling` ends it.
        cast("FlowTask", asyncio.current_task()).set_aside()
        return now

    # --- whom it asks ---

    def get_model(self) -> str | None:
        """Whoever the route chooses, for an agent that names nobody, and has no other capability that does."""
        agent = self.agent
        if agent is None or agent.model is not None:
            return None
        others: list[bool] = []
        agent.root_capability.apply(lambda one: others.append(_selects(one)))
        return None if any(others) else _ANY

    async def resolve_model_id(self, ctx: ModelResolutionContext[AgentDepsT], *, model_id: str) -> Model | None:
        """One of the catalogue by its name, or nobody: then it is as Pydantic AI reads it."""
        if model_id == _ANY:
            return self.routed(None)
        given = await super().resolve_model_id(ctx, model_id=model_id)
        if given is not None:
            return given
        pin = await self._pinned(model_id)
        return None if pin is None else self.routed(pin)

    def routed(self, pin: str | None) -> Routed:
        """Whoever the route chooses; or only the one that is named."""
        return Routed(self.requests, pin)

    async def pin_of(self, model_id: str | None, ctx: RunContext[Any]) -> str | None:
        """Who is asked, if it is said: by the name in the catalogue, else as the agent names it."""
        if model_id == _ANY:
            return None
        if model_id is None or model_id in self._given:
            return str(cast("Any", ctx.model).model_id) if model_id is None else model_id
        return await self._pinned(model_id) or model_id

    async def _pinned(self, name: str) -> str | None:
        """Its name in the catalogue: looked up once in a run, and on record."""
        scope = here()
        if not isinstance(scope, FlowScope):
            return await catalogued(name)
        known = self._pins.setdefault(scope.drive, {})
        if name not in known:
            known[name] = await catalogued(name)
        return known[name]

    # --- the run ---

    async def wrap_run(self, ctx: RunContext[AgentDepsT], *, handler: Any) -> AgentRunResult[Any]:
        """In a flow: in a scope of its own, and without threads in the loop itself."""
        before = running_now.set(Running())
        try:
            with opened("agent", quoted(self.name)) as scope:
                if scope is None:
                    return await handler()
                drive = scope.drive
                with AbstractAgent.using_thread_executor(_IN_LINE), replay_scope(is_replaying=lambda: drive.replaying):
                    return await super().wrap_run(ctx, handler=handler)
        finally:
            running_now.reset(before)

    async def after_run(self, ctx: RunContext[AgentDepsT], *, result: AgentRunResult[Any]) -> AgentRunResult[Any]:
        """Its last words are of the flow's time, too."""
        if self.in_durable_context:
            for message in result.new_messages()[-1:]:
                put_in_time(message, now())
        return result

    async def wrap_model_request(
        self, ctx: RunContext[AgentDepsT], *, request_context: ModelRequestContext, handler: Any
    ) -> ModelResponse:
        """What is asked now is of the flow's time; what it says of calls that were not made is on record."""
        if self.in_durable_context and request_context.messages:
            last, parameters = request_context.messages[-1], request_context.model_request_parameters
            put_in_time(last, now())
            note_unmade(last, parameters.function_tools, ctx)
        return await super().wrap_model_request(ctx, request_context=request_context, handler=handler)

    async def prepare_tools(self, ctx: RunContext[AgentDepsT], tool_defs: list[ToolDefinition]) -> list[ToolDefinition]:
        """What cannot be undone is not begun beside a call that may fail: it is called alone."""
        return [replace(one, sequential=True) if rules_of(one).effect == "once" else one for one in tool_defs]

    def get_wrapper_toolset(self, toolset: AbstractToolset[AgentDepsT]) -> AbstractToolset[AgentDepsT]:
        """The tools as durable ones, those that were added since the agent was made too, and `recall`."""
        durable = super().get_wrapper_toolset(toolset) or toolset
        toolset.apply(lambda leaf: _prepared(leaf, {}))
        return Recalling(durable, self.requests.guards, self.limit_chars)

    async def wrap_tool_execute(
        self, ctx: RunContext[AgentDepsT], *, call: ToolCallPart, tool_def: ToolDefinition, args: dict[str, Any],
        handler: Any,
    ) -> Any:  # fmt: skip
        """A call as one of a question is made: approved, told honestly, cut to its limit, on record."""
        calling = rules_of(tool_def)
        calling = replace(calling, limit_chars=calling.limit_chars or self.limit_chars)
        if calling.known == "once" and calling.ours is None and not self.in_durable_context:
            handler = partial(_noted, handler)  # in a flow it is a step, which sees to that itself
        return await called(calling, ctx, call, args, handler)

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[AgentDepsT], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """Ask a person for the calls that require approval, and wait durably."""
        if self._approve_by is None or not self.in_durable_context or not requests.approvals:
            return None
        return await decided(self.name, requests, self._approve_by, self._approve_within_s)

    def server(self, toolset_id: str) -> AbstractToolset[Any] | None:
        """The MCP server of this id; None where it is none."""
        return self._servers.get(toolset_id)


async def _noted(handler: Any, args: dict[str, Any]) -> Any:
    with noted():
        return await handler(args)


def _selects(capability: AbstractCapability[Any]) -> bool:
    return not isinstance(capability, Durable) and capability.get_model() is not None


def _prepared(leaf: AbstractToolset[Any], servers: dict[str, AbstractToolset[Any]]) -> None:
    """Steps, flows and tools of ours are durable as they are. Servers are noted by their ids."""
    if isinstance(leaf, FunctionToolset):
        ours: list[Any] = []
        for tool in leaf.tools.values():
            function: object = tool.function
            if isinstance(function, Flow):
                inside(tool)
            ours.append(as_tool(cast("Any", function), tool) if isinstance(function, Tool | Step) else tool)
            rules_of(ours[-1].tool_def)
        put(leaf, ours)
    elif isinstance(leaf, DynamicToolset):
        if not isinstance(leaf.toolset_func, Looking):
            leaf.toolset_func = Looking(leaf.toolset_func)
    elif leaf.id is not None and hasattr(leaf, "direct_call_tool"):
        servers[leaf.id] = leaf
        watch(leaf)
