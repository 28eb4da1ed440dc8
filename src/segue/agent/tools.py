"""Functions that a model may call: what it is told of each, and each call carried out as a step.

A `Step` keeps its effect class, its retries and its key; any other function becomes a step of its own name. What the
model got wrong (a tool that there is not, arguments that do not fit) goes back to it, and so does a ValueError.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import to_json

from ..errors import DefinitionError, StepFailed, UsageError
from ..runtime.step import Step, step
from .turns import RECALL

__all__ = ["Asked", "GiveBack", "Tool", "Tools"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A call that a model asks for. `args` is JSON as the model wrote it."""

    id: str
    name: str
    args: str


@dataclass(frozen=True)
class Tool:
    """One function. Its parameters are those of its signature, with their types; its docstring is what it is for."""

    step: Step[..., Any]
    name: str

    @classmethod
    def of(cls, given: Callable[..., Any]) -> Tool:
        """Of a step or a function. Raises DefinitionError for a signature that cannot be told as a schema."""
        made = cast("Step[..., Any]", given) if isinstance(given, Step) else step(given)
        if not _NAME.fullmatch(made.name):
            raise DefinitionError(f"{made.name!r} is no name for a tool", remedy="letters, digits, _ and -; at most 64")
        tool = cls(made, made.name)
        _ = tool.definition
        return tool

    @cached_property
    def _arguments(self) -> type[BaseModel]:
        function = inspect.unwrap(self.step.function)
        try:
            hints = get_type_hints(function, include_extras=True)
        except NameError as error:
            raise DefinitionError(f"tool {self.name}: an annotation cannot be read: {error}") from error
        fields: dict[str, Any] = {
            name: (hints.get(name, Any), ... if one.default is one.empty else Field(default=one.default))
            for name, one in inspect.signature(function).parameters.items()
        }
        return create_model(self.name, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields)

    @cached_property
    def definition(self) -> dict[str, Any]:
        """What a model is told of it: name, description, schema."""
        schema = self._arguments.model_json_schema()
        schema.pop("title", None)
        about = inspect.getdoc(self.step.function) or ""
        return {"name": self.name, "description": about, "parameters_json_schema": schema}

    def read(self, args: str) -> dict[str, Any]:
        """The arguments. Raises ValueError, worded for the model."""
        try:
            given = self._arguments.model_validate_json(args.strip() or "{}")
        except ValidationError as bad:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in bad.errors()[:4])
            raise ValueError(f"these arguments do not fit: {wrong}") from bad
        return {name: getattr(given, name) for name in given.model_fields_set}


GiveBack = Callable[[str, Sequence[dict[str, Any]], "tuple[str, int] | None"], Awaitable[str | None]]
"""Finds what a handle stands for, in turns and in the thread before them."""


class Tools:
    """Those of one question, by name. Raises DefinitionError where two have one name."""

    def __init__(self, given: Iterable[Callable[..., Any]], give_back: GiveBack | None = None) -> None:
        self._tools: dict[str, Tool] = {}
        self._give_back = give_back
        self.turns: Sequence[dict[str, Any]] = ()
        """What was said so far: `recall` gives back of it what a call was not shown."""
        self.thread: tuple[str, int] | None = None
        """The thread before that, and how far it was read."""
        for one in given:
            tool = Tool.of(one)
            if tool.name in self._tools:
                raise DefinitionError(f"two tools are called {tool.name!r}", remedy="give one of them @step(name=...)")
            self._tools[tool.name] = tool

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """What a model is told of them."""
        return [tool.definition for tool in self._tools.values()]

    async def _recalled(self, args: str) -> tuple[str, bool]:
        try:
            handle = json.loads(args)["handle"]
        except (ValueError, TypeError, KeyError):
            return 'these arguments do not fit: give {"handle": "…"}', False
        found = await self._give_back(str(handle), self.turns, self.thread) if self._give_back else None
        return (found, True) if found is not None else (f"there is nothing by the handle {handle!r}", False)

    def in_order(self, asked: Sequence[Asked]) -> bool:
        """Whether these calls are made one after the other: one of them cannot be undone, so when another one fails
        before its turn it has not been begun.
        """
        named = (self._tools.get(one.name) for one in asked)
        return len(asked) < 2 or any(tool.step.options.effect == "once" for tool in named if tool is not None)

    async def call(self, asked: Asked) -> tuple[str, bool]:
        """What goes back to the model, and whether it is a result. Raises what the tool raises, but for ValueError."""
        tool = self._tools.get(asked.name)
        if tool is None and asked.name == RECALL["name"]:
            return await self._recalled(asked.args)
        if tool is None:
            return f"there is no tool {asked.name!r}; there are: {', '.join(self._tools)}", False
        try:
            values = tool.read(asked.args)
        except ValueError as error:
            return str(error), False
        try:
            return told(await tool.step(**values)), True
        except UsageError:
            raise
        except ValueError as error:
            return str(error) or "the tool refused", False
        except StepFailed as error:
            if _is_value_error(error):
                return error.message, False
            raise


def _is_value_error(error: StepFailed) -> bool:
    """Whether a step's error that could not be built again was a ValueError: then it is known by its name."""
    return error.error_type in ("builtins:ValueError", "json.decoder:JSONDecodeError")


def told(result: object) -> str:
    """A result as a model reads it: text, or JSON."""
    return result if isinstance(result, str) else to_json(result).decode()


def as_json(args: object) -> str:
    """Arguments as a message has them: a text, an object, or nothing."""
    if isinstance(args, str):
        return args
    return json.dumps(cast("Mapping[str, Any]", args or {}), ensure_ascii=False)
