"""The tools of one question: each call read, approved where it must be, carried out, and told honestly."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from ...core.codec import dumps, fingerprint
from ...core.keys import quoted
from ...core.records import ToolAnswered, ToolOutcome
from ...errors import DefinitionError
from ...runtime.scope import FlowScope, here, in_flow
from ..people.approval import decision
from ..request import Asked
from ..turns import RECALL
from .failure import failure
from .result import Cut, Told, cut, handle_of, piece, told
from .tool import Tool

__all__ = ["GiveBack", "Read", "Tools", "as_json"]

Read = Callable[[str, bytes], str | None]
"""What a tool gave, as a model reads it, by the tool's name and the result on record."""
GiveBack = Callable[[str, Sequence[dict[str, Any]], "tuple[str, int] | None", Read], Awaitable[str | None]]
"""Finds what a handle stands for, in turns and in the thread before them."""
_NAME_MAX = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A call that may be made, or what is told in place of it."""

    asked: Asked
    tool: Tool[..., Any] | None = None
    values: Mapping[str, Any] | None = None
    told: Told | None = None
    approval: str | None = None


class Tools:
    """Those of one question, by name. Raises DefinitionError where two have one name."""

    def __init__(self, given: Iterable[Callable[..., Any]], give_back: GiveBack | None = None) -> None:
        self._tools: dict[str, Tool[..., Any]] = {}
        self._give_back = give_back
        self._whole: dict[str, tuple[str, int]] = {}
        """What was cut, by its handle, and to how much."""
        self.turns: Sequence[dict[str, Any]] = ()
        """What was said so far: `recall` gives back of it what a call was not shown."""
        self.thread: tuple[str, int] | None = None
        """The thread before that, and how far it was read."""
        self.evidence: Mapping[str, Any] = {}
        """What a person is shown beside a call that needs approval."""
        for one in given:
            tool = Tool.of(one)
            if tool.name in self._tools:
                raise DefinitionError(f"two tools are called {tool.name!r}", remedy="give one of them @step(name=...)")
            self._tools[tool.name] = tool
        if any(tool.rule is not None for tool in self._tools.values()):
            in_flow("a tool with approve=")

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """What a model is told of them. The list stays the same for all rounds, so that a prompt cache holds it."""
        made = [tool.definition for tool in self._tools.values()]
        limited = any(tool.limit_chars is not None for tool in self._tools.values())
        return [*made, RECALL] if limited and RECALL["name"] not in self._tools else made

    def in_order(self, asked: Sequence[Asked]) -> bool:
        """Whether these calls are made one after the other: one of them cannot be undone, so when another one fails
        before its turn it has not been begun.
        """
        named = (self._tools.get(one.name) for one in asked)
        return len(asked) < 2 or any(tool.effect == "once" for tool in named if tool is not None)

    async def call(self, asked: Asked) -> Told:
        """What goes back to the model for one call. Raises what is no business of the model's."""
        return await self.make(await self.ready(asked))

    async def ready(self, asked: Asked) -> Ready:
        """Read a call and, where a rule says so, have it approved."""
        tool = self._tools.get(asked.name)
        if tool is None and asked.name == RECALL["name"]:
            return Ready(asked=asked, told=await self._recalled(asked.args))
        if tool is None:
            says = f"there is no tool {asked.name!r}; there are: {', '.join(self._tools)}"
            return Ready(asked=asked, told=Told(content=says, outcome=ToolOutcome.MISSING))
        try:
            values = tool.read(asked.args)
        except ValueError as error:
            return Ready(asked=asked, tool=tool, told=Told(content=str(error), outcome=ToolOutcome.REFUSED))
        return await self._approved(Ready(asked=asked, tool=tool, values=values))

    async def _approved(self, call: Ready) -> Ready:
        assert call.tool is not None and call.values is not None
        tool, rule = call.tool, call.tool.rule
        arguments = tool.whole(call.values)
        why = None if rule is None else rule.why(arguments)
        if rule is None or why is None:
            return call
        said = await decision(
            rule.question or f"May {tool.name} be called?", arguments, action=tool.name,
            evidence={**self.evidence, "why it is asked": why}, by=rule.by, quorum=rule.quorum,
            timeout_s=rule.timeout_s, default=False, remind_s=rule.remind_s, reassign_s=rule.reassign_s,
            or_else=rule.or_else, notify=rule.notify,
        )  # fmt: skip
        if said.approval:
            return replace(call, approval=said.id)
        who, note = said.approval.by or "somebody", f": {said.approval.note}" if said.approval.note else ""
        says = (
            f"{tool.name} was not called: nobody approved it in time" if who == "segue" else
            f"{tool.name} was not called: {who} has denied it{note}"
        )  # fmt: skip
        denied = Told(content=says, outcome=ToolOutcome.DENIED, approval=said.id)
        return replace(call, told=denied)

    async def make(self, call: Ready) -> Told:
        """Carry a call out, unless it is told already; what the model is told is on record."""
        tool, told_ = call.tool, call.told
        if told_ is not None:
            _note(call, told_, _key_of(call))
            return told_
        assert tool is not None and call.values is not None
        key = tool.step.key_of(**call.values)
        try:
            result = self._limited(tool, told(await tool.step(**call.values)))
        except Exception as error:
            result = failure(tool, error)
            if result is None:
                raise
        result = replace(result, approval=call.approval)
        _note(call, result, key)
        return result

    def _limited(self, tool: Tool[..., Any], content: str | list[Any]) -> Told:
        limit = tool.limit_chars
        if limit is None or not isinstance(content, str) or len(content) <= limit:
            return Told(content=content)
        handle = handle_of(content)
        self._whole[handle] = content, limit
        shown, _ = cut(content, limit, handle)
        return Told(content=shown, cut=Cut(handle, len(content), len(shown)))

    async def _recalled(self, args: str) -> Told:
        try:
            handle = str(json.loads(args)["handle"])
        except (ValueError, TypeError, KeyError):
            return Told(content='these arguments do not fit: give {"handle": "…"}', outcome=ToolOutcome.REFUSED)
        name, _, place = handle.strip().partition("@")
        if name in self._whole:
            text, limit = self._whole[name]
            return Told(content=piece(text, limit, name, place))
        found = await self._give_back(handle, self.turns, self.thread, self._read) if self._give_back else None
        if found is not None:
            return Told(content=found)
        return Told(content=f"there is nothing by the handle {handle!r}", outcome=ToolOutcome.MISSING)

    def _read(self, name: str, value: bytes) -> str | None:
        tool = self._tools.get(name)
        try:
            found = json.loads(value) if tool is None else tool.step.signature.result.decode(value)
            content = told(found)
        except ValueError:
            return None
        return content if isinstance(content, str) else None


def _key_of(call: Ready) -> str | None:
    """The key of a call that is not made: its step's, if it has one. The next equal call has another one."""
    scope = here()
    if not isinstance(scope, FlowScope):
        return None
    if call.tool is None or call.values is None:
        return scope.key(quoted(call.asked.name[:_NAME_MAX]), fingerprint(dumps({"args": call.asked.args})))
    data, _ = call.tool.step.signature.bind((), call.values, call.tool.name)
    return scope.key(call.tool.name, fingerprint(data))


def _note(call: Ready, told_: Told, key: str | None) -> None:
    """Put on record what the model is told. A replay writes nothing anew."""
    scope = here()
    if key is None or not isinstance(scope, FlowScope):
        return
    cut_, fine = told_.cut, told_.outcome is ToolOutcome.GIVEN
    record = ToolAnswered(
        tool=call.asked.name, outcome=told_.outcome, call=call.asked.id,
        effect=None if call.tool is None else call.tool.effect, approval=told_.approval,
        why="" if fine or not isinstance(told_.content, str) else told_.content,
        chars=None if cut_ is None else cut_.chars, shown=None if cut_ is None else cut_.shown,
        recall=None if cut_ is None else cut_.handle,
    )  # fmt: skip
    scope.record(record, key)


def as_json(args: object) -> str:
    """Arguments as a message has them: a text, an object, or nothing."""
    if isinstance(args, str):
        return args
    return json.dumps(cast("Mapping[str, Any]", args or {}), ensure_ascii=False)
