"""A request as the arguments of whoever takes it: what fits is bound, what does not is said in words."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from ...core.codec import codec, roundtrip
from ...errors import DefinitionError

__all__ = ["Arguments", "Inputs", "Misfit", "text_of"]

_LOOSE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
THREAD = "thread"
"""A parameter of this name gets the conversation that the request belongs to."""
Arguments = dict[str, Any]


Text = Annotated[str, BeforeValidator(lambda given: text_of(given))]  # noqa: PLW0108  it is defined below
"""Anything, as it is read."""


class Misfit(ValueError):
    """The request is not what somebody takes."""


def text_of(request: object) -> str:
    """A request as it is read: text, or JSON; secrets in it stay sealed."""
    return request if isinstance(request, str) else roundtrip(codec(Any), request)[0].decode()


@dataclass(frozen=True)
class Inputs:
    """The parameters of one function."""

    name: str
    parameters: Mapping[str, inspect.Parameter]
    hints: Mapping[str, Any]
    about: str = ""

    @classmethod
    def of(cls, function: Callable[..., Any], name: str) -> Inputs:
        """Raises DefinitionError for annotations that cannot be read."""
        inner: Callable[..., Any] = getattr(function, "function", function)  # of a step, of a flow
        inner = inspect.unwrap(inner)
        known = {n: p for n, p in inspect.signature(inner).parameters.items() if p.kind not in _LOOSE}
        reads = inner if inspect.isroutine(inner) else type(inner).__call__
        try:
            hints = get_type_hints(reads, include_extras=True)
        except NameError as error:
            raise DefinitionError(f"delegate: an annotation of {name} cannot be read: {error}") from error
        return cls(name, known, hints, inspect.getdoc(inner) or "")

    @classmethod
    def of_run(cls, run: Callable[..., Any], name: str) -> Inputs:
        """Of an agent's `run`: the request is its first argument, as text."""
        first = next(iter(inspect.signature(run).parameters.values()))
        needed = first.replace(default=first.empty, annotation=first.empty)
        return cls(name, {first.name: needed}, {first.name: Text})

    @property
    def takes_thread(self) -> bool:
        """Whether it wants to know the conversation."""
        return THREAD in self.parameters

    def bind(self, request: object) -> Arguments:
        """The arguments that a request is. Raises Misfit, worded for a reader.

        A mapping, a dataclass or a model whose fields are the parameters is taken apart; else the request is the one
        argument, where only one is needed and its type takes it.
        """
        wanted = {n: p for n, p in self.parameters.items() if n != THREAD}
        needed = [n for n, p in wanted.items() if p.default is p.empty]
        fields = _fields(request)
        if fields is not None and set(needed) <= set(fields) <= set(wanted):
            return {n: self._valued(n, value) for n, value in fields.items()}
        if not wanted:
            return {}
        if len(needed) > 1:
            raise Misfit(f"it takes {' and '.join(needed)}, which the request does not name")
        first = needed[0] if needed else next(iter(wanted))
        return {first: self._valued(first, request)}

    def form(self) -> type[BaseModel]:
        """A type for whoever fills the arguments in. Raises DefinitionError where a parameter has no schema."""
        fields: dict[str, Any] = {
            n: (self.hints.get(n, Any), ... if p.default is p.empty else Field(default=p.default))
            for n, p in self.parameters.items()
            if n != THREAD
        }
        return create_model(self.name or "Arguments", __config__=ConfigDict(extra="forbid"), **fields)

    def _valued(self, name: str, value: object) -> Any:
        adapter = codec(self.hints.get(name, Any)).adapter
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            plain = _fields(value)
            if plain is not None and not isinstance(value, Mapping):  # another type with the same fields
                return self._valued(name, plain)
            first = error.errors()[0]
            where = ".".join([name, *map(str, first["loc"])])
            raise Misfit(f"the request does not fit: {where}: {first['msg']}") from None


def _fields(request: object) -> dict[str, Any] | None:
    """The fields of what has named ones."""
    if isinstance(request, BaseModel):
        return {name: getattr(request, name) for name in type(request).model_fields}
    if dataclasses.is_dataclass(request) and not isinstance(request, type):
        return {one.name: getattr(request, one.name) for one in dataclasses.fields(request)}
    if isinstance(request, Mapping):
        given = cast("Mapping[Any, Any]", request)
        return dict(given) if all(isinstance(key, str) for key in given) else None
    if isinstance(request, str) and request.lstrip().startswith("{"):
        return _object(request)
    return None


def _object(text: str) -> dict[str, Any] | None:
    """The fields of a text that is a JSON object."""
    try:
        read: Any = json.loads(text)
    except ValueError:
        return None
    return cast("dict[str, Any]", read) if isinstance(read, dict) else None
