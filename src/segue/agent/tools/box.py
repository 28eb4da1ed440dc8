"""The tools of one question: each call read, approved where it must be, carried out, and told honestly."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from ...core.codec import fingerprint
from ...core.records import ToolOutcome
from ...errors import DefinitionError, UnserialisableResult
from ...runtime.scope import FlowScope, here, in_flow
from ..request import Asked
from ..turns import RECALL
from .approving import approved, note, unmade
from .failure import failure
from .kept import Kept, handle_in, nothing_by
from .result import Told, told, words_of
from .tool import Tool

__all__ = ["GiveBack", "Read", "Tools", "as_json"]

Read = Callable[[str, bytes], str | None]
"""What a tool gave, as a model reads it, by the tool's name and the result on record."""
GiveBack = Callable[[str, Sequence[dict[str, Any]], "tuple[str, int] | None", Read], Awaitable[str | None]]
"""Finds what a handle stands for, in turns and in the thread before them."""


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
        self._kept = Kept()
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
        arguments = call.tool.whole(call.values)
        asked, denied = await approved(call.tool.name, call.tool.rule, arguments, self.evidence)
        return replace(call, approval=asked, told=denied)

    async def make(self, call: Ready) -> Told:
        """Carry a call out, unless it is told already; what the model is told is on record."""
        tool, told_ = call.tool, call.told
        if told_ is not None:
            _note(call, told_, _key_of(call))
            return told_
        assert tool is not None and call.values is not None
        key = tool.step.key_of(**call.values)
        try:
            result = self._kept.limited(told(await tool.step(**call.values)), tool.limit_chars)
        except Exception as error:
            result = failure(tool, error)
            if result is None and isinstance(error, UnserialisableResult):
                raise UnserialisableResult(f"{tool.name}: {error.message}", remedy=error.remedy) from error
            if result is None:
                raise
        result = replace(result, approval=call.approval)
        _note(call, result, key)
        return result

    async def _recalled(self, args: str) -> Told:
        handle = handle_in(args)
        if isinstance(handle, Told):
            return handle
        found = self._kept.piece(handle)
        if found is None and self._give_back:
            found = await self._give_back(handle, self.turns, self.thread, self._read)
        return nothing_by(handle) if found is None else Told(content=found)

    def _read(self, name: str, value: bytes) -> str | None:
        tool = self._tools.get(name)
        try:
            found = json.loads(value) if tool is None else tool.step.signature.result.decode(value)
            content = told(found)
        except (ValueError, UnserialisableResult):
            return None
        return words_of(content)


def _key_of(call: Ready) -> str | None:
    """The key of a call that is not made: its step's, if it has one. The next equal call has another one."""
    if call.tool is None or call.values is None:
        return unmade(call.asked.name, call.asked.args)
    scope = here()
    if not isinstance(scope, FlowScope):
        return None
    data, _ = call.tool.step.signature.bind((), call.values, call.tool.name)
    return scope.key(call.tool.name, fingerprint(data))


def _note(call: Ready, told_: Told, key: str | None) -> None:
    effect = None if call.tool is None else call.tool.effect
    note(told_, name=call.asked.name, call=call.asked.id, effect=effect, key=key)


def as_json(args: object) -> str:
    """Arguments as a message has them: a text, an object, or nothing."""
    if isinstance(args, str):
        return args
    return json.dumps(cast("Mapping[str, Any]", args or {}), ensure_ascii=False)
