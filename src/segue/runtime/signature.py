"""What a step or a flow takes and returns: its parameters as codecs."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from ..core.codec import ATOMS, Codec, codec, decode_arguments, dumps, encode_arguments, loads, misfit
from ..errors import DefinitionError, InputError

_PLAIN = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Signature:
    """The typed face of a function. Annotations are read at the first call, so that they may name later classes."""

    def __init__(self, function: Callable[..., Any]):
        self._function = function
        parameters = inspect.signature(function).parameters
        self._names = tuple(parameters)
        self._positional = tuple(n for n, p in parameters.items() if p.kind is not inspect.Parameter.KEYWORD_ONLY)
        self._simple = len(self._names) if len(self._positional) == len(self._names) else -1
        loose = [n for n, p in parameters.items() if p.kind not in _PLAIN]
        if loose:
            raise DefinitionError(
                f"{function.__qualname__}: *args, **kwargs and positional-only parameters cannot be journaled by name",
                remedy=f"make {', '.join(loose)} an ordinary parameter with a type, such as a list or a dict",
            )
        if self._names[:1] == ("self",) and _is_of_a_class(function):
            raise DefinitionError(
                f"{function.__qualname__} is a method: its instance cannot be journaled",
                remedy="make it a function that is given what it needs, or a @staticmethod",
            )
        self._signature = inspect.signature(function)

    @cached_property
    def _hints(self) -> Mapping[str, Any]:
        try:
            return typing.get_type_hints(inspect.unwrap(self._function), include_extras=True)
        except NameError as error:
            raise DefinitionError(
                f"{self._function.__qualname__}: an annotation cannot be read: {error}",
                remedy="define or import the type at module level, also at run time",
            ) from error

    @cached_property
    def codecs(self) -> dict[str, Codec]:
        """A codec per parameter."""
        return {name: codec(self._hints.get(name, Any)) for name in self._names}

    @property
    def all_optional(self) -> bool:
        """Whether each parameter has a default."""
        return all(p.default is not inspect.Parameter.empty for p in self._signature.parameters.values())

    @cached_property
    def _slots(self) -> list[tuple[str, str, Codec]]:
        """The parameters with what comes before each in the JSON of them all."""
        return [(n, f'{"," if i else ""}"{n}":', self.codecs[n]) for i, n in enumerate(self._names)]

    @cached_property
    def result(self) -> Codec:
        """The codec of the result."""
        return codec(self._hints.get("return", Any))

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str) -> tuple[bytes, dict[str, Any]]:
        """The given arguments as JSON by name, and validated. Defaults that are not given are left out."""
        if not kwargs and len(args) == self._simple:
            text = "{"
            values: dict[str, Any] = {}
            for (given, label, of), value in zip(self._slots, args):  # noqa: B905  as many as names
                kind = type(value)  # pyright: ignore[reportUnknownVariableType]  of Any
                if kind is not of.atom or (kind is str and not value.isascii()):
                    break
                text += label + ATOMS[kind](value)
                values[given] = value
            else:
                return (text + "}").encode(), values
            return self._encoded(dict(zip(self._names, args)), name)  # noqa: B905  as many as names
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InputError(f"{name}: {error}", remedy=f"its signature is {name}{self._signature}") from error
        return self._encoded(bound.arguments, name)

    def _encoded(self, bound: Mapping[str, Any], name: str) -> tuple[bytes, dict[str, Any]]:
        try:
            return encode_arguments(self.codecs, bound)
        except InputError as error:
            wrong = error  # this one takes its place: it is no cause
        raise InputError(f"{name}: {wrong.message}", remedy=wrong.remedy) from wrong.__cause__

    def takes(self, name: str, after: int) -> bool:
        """Whether a parameter of this name is open after so many arguments by position."""
        return name in self._names and name not in self._positional[:after]

    def stored(self, args: bytes, run: str) -> bytes:
        """Arguments as JSON in the form that a call stores. Raises InputError, naming the run and what does not fit."""
        values: dict[str, Any] = {}
        for name, value in loads(args).items():
            of = self.codecs.get(name)
            if of is None:
                raise InputError(
                    f"this input does not fit: there is no parameter {name!r}", run=run,
                    remedy=f"the signature is {self}",
                )  # fmt: skip
            try:
                values |= decode_arguments({name: of}, dumps({name: value}))
            except ValueError as error:
                raise InputError(
                    f"this input does not fit: argument {name!r}: {misfit(of, error)}", run=run,
                    remedy=f"the signature is {self}",
                ) from (None if of.private else error)  # fmt: skip
        return encode_arguments(self.codecs, values)[0]

    def __str__(self) -> str:
        return str(self._signature)


def _is_of_a_class(function: Callable[..., Any]) -> bool:
    """Whether a class holds it, and no function."""
    holder = function.__qualname__.rpartition(".")[0]
    return bool(holder) and not holder.endswith("<locals>")
