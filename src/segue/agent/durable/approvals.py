"""Calls of tools that a person must approve, asked with `approve`: a decision holds for exactly these arguments."""

from __future__ import annotations

from pydantic_ai.messages import ToolCallPart
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, ToolDenied

from ...runtime.fan import abreast
from ..people import approve
from ..people.plan import Names

__all__ = ["decided"]


async def decided(agent: str, requests: DeferredToolRequests, by: Names, within_s: float | None) -> DeferredToolResults:
    """What people say of each call; no, after `within_s`. The model is told who denied it, and why."""

    async def ask(call: ToolCallPart) -> tuple[str, bool | ToolDenied]:
        shown = {"tool": call.tool_name, "arguments": call.args_as_dict()}
        said = await approve(f"May {agent} call {call.tool_name}?", shown, by=by, timeout_s=within_s)
        if said:
            return call.tool_call_id, True
        return call.tool_call_id, ToolDenied(f"{said.by} denied it" + (f": {said.note}" if said.note else ""))

    told = await abreast(*(ask(call) for call in requests.approvals))
    return DeferredToolResults(approvals=dict(told))
