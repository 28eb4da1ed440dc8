"""The shapes that a record's fields may have, read from their annotations, without pydantic: it is cheap to import.

A shape turns a field's value into plain JSON and back, and names the field when it does not fit. There are few: atoms,
words of a vocabulary, optional ones, tuples, mappings by name, parts, faults, and JSON as it comes.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, Union, cast, get_args, get_origin

from ...errors import InternalError, RecordError
from ..faults import Fault

if TYPE_CHECKING:
    from .base import Part

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""A plain JSON value."""


class AnyJson:
    """What `Json` stands for where annotations are read."""


class Shape(Protocol):
    """How one field is read and written. `at` is the path that an error names."""

    @property
    def name(self) -> str:
        """As the reference writes it."""
        ...

    def read(self, value: object, at: str, newer: bool) -> object:
        """The field's value. `newer` says that a later version wrote it: unknown words are taken as `other`."""
        ...

    def write(self, value: object, at: str) -> Json:
        """As plain JSON."""
        ...


def misfit(at: str, wanted: str, value: object, found: str | None = None) -> RecordError:
    """The error of a field that is not what its type says. The value itself is not shown: it may be private."""
    kind = type(value).__name__
    what = {"NoneType": "nothing", "dict": "an object", "list": "a list", "bool": "a boolean"}.get(kind, f"a {kind}")
    error = RecordError(f"{at}: {wanted} was expected, not {found or what}")
    error.field = at
    return error


class Atom(NamedTuple):
    """A text, a whole number, a number or a boolean."""

    name: str
    kind: type

    def read(self, value: object, at: str, newer: bool) -> object:
        """Exactly this type; a number may be written without a fraction."""
        return self.write(value, at)

    def write(self, value: object, at: str) -> Json:
        """NaN and infinities are no JSON."""
        if type(value) is self.kind:
            if self.kind is not float or math.isfinite(cast("float", value)):
                return cast("Json", value)
        elif self.kind is float and type(value) is int:
            return float(value)
        raise misfit(at, self.name, value)


class Word(NamedTuple):
    """A word of a vocabulary. A later version may know more of them: those read as `other`."""

    kind: type[StrEnum]

    @property
    def name(self) -> str:
        """The vocabulary, spelt out."""
        return " \\| ".join(f"`{w}`" for w in self.kind)

    def read(self, value: object, at: str, newer: bool) -> object:
        """The member."""
        known = value in self.kind.__members__.values() if isinstance(value, str) else False
        if not known and newer and isinstance(value, str):
            value = "other"
        try:
            return self.kind(cast("str", value))
        except ValueError:
            raise misfit(at, f"one of {', '.join(self.kind)}", value, repr(value)[:40]) from None

    def write(self, value: object, at: str) -> Json:
        """The word."""
        if not isinstance(value, str) or value not in self.kind.__members__.values():
            raise misfit(at, f"one of {', '.join(self.kind)}", value)
        return str(value)


class Maybe(NamedTuple):
    """A field that may be null."""

    of: Shape

    @property
    def name(self) -> str:
        """What it is when it is there."""
        return self.of.name

    def read(self, value: object, at: str, newer: bool) -> object:
        """None, or the value."""
        return None if value is None else self.of.read(value, at, newer)

    def write(self, value: object, at: str) -> Json:
        """Null, or the value."""
        return None if value is None else self.of.write(value, at)


class Many(NamedTuple):
    """A tuple, a JSON list."""

    of: Shape

    @property
    def name(self) -> str:
        """A list of what."""
        return f"list of {self.of.name}"

    def read(self, value: object, at: str, newer: bool) -> object:
        """As a tuple."""
        if not isinstance(value, (list, tuple)):
            raise misfit(at, "a list", value)
        items = cast("Sequence[object]", value)
        return tuple(self.of.read(v, f"{at}[{i}]", newer) for i, v in enumerate(items))

    def write(self, value: object, at: str) -> Json:
        """As a list."""
        if not isinstance(value, (list, tuple)):
            raise misfit(at, "a list", value)
        items = cast("Sequence[object]", value)
        return [self.of.write(v, f"{at}[{i}]") for i, v in enumerate(items)]


class Named(NamedTuple):
    """A mapping by name, a JSON object."""

    of: Shape

    @property
    def name(self) -> str:
        """An object of what."""
        return f"object of {self.of.name}"

    def read(self, value: object, at: str, newer: bool) -> object:
        """As a dict."""
        return {k: self.of.read(v, f"{at}.{k}", newer) for k, v in _items(value, at)}

    def write(self, value: object, at: str) -> Json:
        """As an object."""
        return {k: self.of.write(v, f"{at}.{k}") for k, v in _items(value, at)}


class Nested(NamedTuple):
    """A part of the record with fields of its own."""

    kind: type[Part]

    @property
    def name(self) -> str:
        """A link to its own table."""
        return f"[{self.kind.__name__}](#{self.kind.__name__.lower()})"

    def read(self, value: object, at: str, newer: bool) -> object:
        """The part."""
        return self.kind.read(dict(_items(value, at)), at, newer=newer)

    def write(self, value: object, at: str) -> Json:
        """Its fields."""
        if not isinstance(value, self.kind):
            raise misfit(at, f"a {self.kind.__name__}", value)
        return value.write(at)


class FaultShape(NamedTuple):
    """A classified error, as `core.faults` writes it."""

    name: str = "fault: " + ", ".join(f"`{f}`" for f in Fault._fields)

    def read(self, value: object, at: str, newer: bool) -> object:
        """The fault; a kind that is not known here reads as a bug when a later version wrote it."""
        body = dict(_items(value, at))
        for name in ("kind", "error", "message"):
            if not isinstance(body.get(name, "" if name == "message" else None), str):
                raise misfit(f"{at}.{name}", "a text", body.get(name))
        try:
            return Fault.read(body)
        except ValueError:
            if not newer:
                raise misfit(f"{at}.kind", "a kind of fault", body["kind"]) from None
            return Fault.read({k: v for k, v in body.items() if k != "kind"})

    def write(self, value: object, at: str) -> Json:
        """Its fields; empty ones are left out."""
        if not isinstance(value, Fault):
            raise misfit(at, "a Fault", value)
        return {k: str(v) if k == "kind" else v for k, v in value.body().items()}


class Free(NamedTuple):
    """JSON as it comes."""

    name: str = "any JSON"

    def read(self, value: object, at: str, newer: bool) -> object:
        """Untouched."""
        return value

    def write(self, value: object, at: str) -> Json:
        """Checked to be JSON, all the way down."""
        if isinstance(value, Mapping):
            return {k: self.write(v, f"{at}.{k}") for k, v in _items(cast("object", value), at)}
        if isinstance(value, (list, tuple)):
            return [self.write(v, f"{at}[{i}]") for i, v in enumerate(cast("Sequence[object]", value))]
        if value is None or type(value) in (str, int, bool) or (type(value) is float and math.isfinite(value)):
            return cast("Json", value)
        raise misfit(at, "plain JSON", value)


_ATOMS: dict[object, Shape] = {
    str: Atom("text", str),
    int: Atom("whole number", int),
    float: Atom("number", float),
    bool: Atom("boolean", bool),
    Fault: FaultShape(),
    AnyJson: Free(),
}


@cache
def shape(annotation: Any) -> Shape:
    """The shape of an annotation. Raises InternalError for one that records do not use."""
    known = _ATOMS.get(annotation)
    if known is not None:
        return known
    if isinstance(annotation, type) and not get_args(annotation):
        return Word(annotation) if issubclass(annotation, StrEnum) else Nested(annotation)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType) and len(args) == 2 and type(None) in args:
        return Maybe(shape(next(a for a in args if a is not type(None))))
    if origin is tuple:
        return Many(shape(args[0]))
    if origin is Mapping:
        return Named(shape(args[1]))
    raise InternalError(f"a record cannot have a field of type {annotation}")


def _items(value: object, at: str) -> list[tuple[str, object]]:
    if not isinstance(value, Mapping):
        raise misfit(at, "an object", value)
    pairs = list(cast("Mapping[object, object]", value).items())
    for key, _ in pairs:
        if not isinstance(key, str):
            raise misfit(at, "an object with texts for names", key)
    return cast("list[tuple[str, object]]", pairs)
