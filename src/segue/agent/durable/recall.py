"""The tool `recall` of an agent: it gives back what a model was not shown of the results of other tools."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.tools import AgentDepsT, RunContext, ToolDefinition
from pydantic_ai.toolsets import ToolsetTool, WrapperToolset
from pydantic_core import SchemaValidator, core_schema

from ...runtime.loop import FlowTask
from ..guards import Guard
from ..recalling import recalling
from ..tools.box import as_json
from ..tools.kept import handle_in, nothing_by
from ..tools.result import Told
from ..turns import RECALL
from .calls import Unmade, of_run
from .conversation import turns_of
from .model import Routed
from .tools import METADATA, rules_of

__all__ = ["Recalling"]

_NAME: str = RECALL["name"]
_ANY = SchemaValidator(core_schema.any_schema())


@dataclass
class Recalling(WrapperToolset[AgentDepsT]):
    """An agent's tools, and `recall` where none of them is called so.

    A routed model is shown it where something had to give way, which is known when its request is put together: until
    then it is hidden.
    """

    guards: Sequence[Guard] = ()
    limit_chars: int | None = None
    """Of what a tool tells a model in place of a result, where the tool does not say."""
    _aside: int = field(default=0, init=False, repr=False, compare=False)

    async def __aenter__(self) -> Self:
        """The run begins. What `get_run_clock` has set aside stays so until it ends."""
        task = asyncio.current_task()
        self._aside = task.aside_before if isinstance(task, FlowTask) else 0
        try:
            return await super().__aenter__()
        except BaseException:
            self._end_aside()
            raise

    async def __aexit__(self, *args: Any) -> bool | None:
        """The run is over: Pydantic AI looks for a cancellation no more."""
        try:
            return await super().__aexit__(*args)
        finally:
            self._end_aside()

    def _end_aside(self) -> None:
        task = asyncio.current_task()
        if isinstance(task, FlowTask):
            task.set_aside(self._aside)

    async def get_tools(self, ctx: RunContext[AgentDepsT]) -> dict[str, ToolsetTool[AgentDepsT]]:
        """All of them."""
        tools = await self.wrapped.get_tools(ctx)
        if not tools or _NAME in tools:
            return tools
        limited = any(rules_of(one.tool_def).limit_chars is not None for one in tools.values())
        shown = limited or bool(of_run())
        if not shown and not _routed(ctx.model):
            return tools
        told = ToolDefinition(**RECALL, metadata={METADATA: False, "segue_hidden": not shown})
        return {**tools, _NAME: ToolsetTool(toolset=self, tool_def=told, max_retries=1, args_validator=_ANY)}

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[AgentDepsT], tool: ToolsetTool[AgentDepsT]
    ) -> Any:
        """Call one of them."""
        if tool.toolset is self:
            return await self._recalled(as_json(tool_args), ctx.messages)
        try:
            return await self.wrapped.call_tool(name, tool_args, ctx, tool)
        except (ModelRetry, ToolFailed) as error:
            limit = rules_of(tool.tool_def).limit_chars or self.limit_chars
            shown = of_run().limited(error.message, limit)
            if shown.cut is None:
                raise
            raise (ModelRetry if isinstance(error, ModelRetry) else ToolFailed)(str(shown.content)) from error

    async def _recalled(self, args: str, messages: Sequence[ModelMessage]) -> str:
        """What a handle stands for. Raises Unmade where that is nothing."""
        handle = handle_in(args)
        if isinstance(handle, Told):
            raise Unmade(handle)
        found = of_run().piece(handle)
        if found is None:
            found = await recalling(self.guards)(handle, turns_of(messages), None, _none)
        if found is None:
            raise Unmade(nothing_by(handle))
        return found


def _none(name: str, value: bytes) -> str | None:
    """An agent's results of earlier turns are in no thread."""


def _routed(model: object) -> bool:
    while isinstance(model, WrapperModel):
        model = model.wrapped
    return isinstance(model, Routed)
