"""What a record is: the typed body of one type of event.

Rules of the format, which golden files hold:

- A field that has a default is left out where it has it; so a default never changes.
- A field never changes its meaning: a new meaning is a new field with a default, and raises the version; so does a new
  word in a vocabulary. Whoever reads a later version passes over the fields that it does not know.
- A required field that is missing, or a field of the wrong type, is an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, NamedTuple, Self, TypeVar, cast, dataclass_transform, get_type_hints

from ...errors import RecordError
from ..events import EventType
from .shapes import AnyJson, Json, Shape, misfit, shape


class Slot(NamedTuple):
    """One field: its name in Python and in JSON, and its shape."""

    name: str
    json: str
    required: bool
    default: object
    shape: Shape


@cache
def slots(kind: type[Part]) -> tuple[Slot, ...]:
    """The fields of a record or part, in their order."""
    hints = get_type_hints(kind, localns={"Json": AnyJson})
    made: list[Slot] = []
    for f in _fields(kind):
        default = _default(f)
        json = cast("str", f.metadata.get("json", f.name))
        made.append(Slot(f.name, json, default is MISSING, default, shape(hints[f.name])))
    return tuple(made)


@cache
def _fields(kind: type[Part]) -> tuple[Field[Any], ...]:
    return fields(cast("Any", kind))


class _Blank(NamedTuple):
    """What a part is before its values are given: many are made for one call of a model."""

    names: dict[str, object]
    """The fields in order, with the defaults that all may share; MISSING where there is none such."""
    fresh: tuple[tuple[str, Callable[[], object]], ...]
    """What is made anew for each."""
    needed: tuple[str, ...]


@cache
def _blank(kind: type[Part]) -> _Blank:
    of = _fields(kind)
    bare = [f for f in of if f.default is MISSING]
    fresh = tuple((f.name, cast("Callable[[], object]", f.default_factory)) for f in bare if _makes(f))
    return _Blank({f.name: f.default for f in of}, fresh, tuple(f.name for f in bare if not _makes(f)))


def _makes(of: Field[Any]) -> bool:
    return cast("object", of.default_factory) is not MISSING


def _default(of: Field[Any]) -> object:
    return of.default if of.default_factory is MISSING else of.default_factory()


K = TypeVar("K", bound=type)


@dataclass_transform(frozen_default=True, kw_only_default=True, eq_default=True, field_specifiers=(field,))
def record(kind: K) -> K:
    """Make a class a frozen, keyword-only dataclass.

    Its methods are those of `Part`, not written anew for each class: that would cost 50 ms at import.
    """
    return cast("K", dataclass(init=False, repr=False, eq=False, match_args=False, kw_only=True)(kind))


class Part:
    """A frozen dataclass that stands in a record's body."""

    def __init__(self, **values: object) -> None:
        """Keyword-only. Raises TypeError for a field that is missing or unknown."""
        blank = _blank(type(self))
        made = {**blank.names, **values}
        for name, make in blank.fresh:
            if made[name] is MISSING:
                made[name] = make()
        for name in blank.needed:
            if made[name] is MISSING:
                raise TypeError(f"{type(self).__name__}() is missing {name!r}")
        if len(made) > len(blank.names):
            unknown = next(name for name in values if name not in blank.names)
            raise TypeError(f"{type(self).__name__}() has no field {unknown!r}")
        self.__dict__.update(made)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Hold what must be true between the fields."""

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    __hash__ = None  # pyright: ignore[reportAssignmentType]  it may hold mappings

    def __repr__(self) -> str:
        said = (
            f"{f.name}={getattr(self, f.name)!r}" for f in _fields(type(self)) if getattr(self, f.name) != _default(f)
        )
        return f"{type(self).__name__}({', '.join(said)})"

    def write(self, at: str) -> dict[str, Json]:
        """Its fields as plain JSON, without those that have their default. Raises RecordError naming a misfit."""
        body: dict[str, Json] = {}
        for slot in slots(type(self)):
            value = getattr(self, slot.name)
            if slot.required or value != slot.default or type(value) is not type(slot.default):
                body[slot.json] = slot.shape.write(value, f"{at}.{slot.json}" if at else slot.json)
        return body

    @classmethod
    def read(cls, body: Mapping[str, object], at: str, *, newer: bool) -> Self:
        """From plain JSON. Raises RecordError naming what is missing or does not fit."""
        values: dict[str, object] = {}
        for slot in slots(cls):
            where = f"{at}.{slot.json}" if at else slot.json
            if slot.json in body:
                values[slot.name] = slot.shape.read(body[slot.json], where, newer)
            elif slot.required:
                raise _of(where, f"{where} is missing")
        try:
            return cls(**values)
        except RecordError as error:
            raise _within(at, error) from None


class Record(Part):
    """The body of one type of event. `type` and `version` stand in the envelope."""

    type: ClassVar[EventType]
    version: ClassVar[int] = 1

    def to_body(self) -> dict[str, Json]:
        """The event's body. Raises RecordError naming a field that is not what its type says."""
        try:
            return self.write("")
        except RecordError as error:
            raise self._named(error, self.version) from None

    @classmethod
    def from_body(cls, body: Mapping[str, object], version: int | None = None) -> Self:
        """The record of an event's body, written by any version. Raises RecordError naming the field."""
        version = cls.version if version is None else version
        try:
            return cls.read(cls.upgrade(body, version), "", newer=version > cls.version)
        except RecordError as error:
            raise cls._named(error, version) from None

    @classmethod
    def upgrade(cls, body: Mapping[str, object], version: int) -> Mapping[str, object]:
        """The body of an older version with the fields of today's. Where all new fields have defaults: the same."""
        return body

    @classmethod
    def _named(cls, error: RecordError, version: int) -> RecordError:
        made = RecordError(
            f"{cls.type} v{version}: {error.message}",
            remedy="a later Segue wrote it: upgrade (pip install -U segue)" if version > cls.version else None,
        )
        made.type, made.field = cls.type.value, error.field
        return made


def expect(fits: bool, field: str, rule: str) -> None:
    """Hold an invariant between fields. Raises RecordError naming the field."""
    if not fits:
        raise _of(field, f"{field}: {rule}")


def _of(field: str, message: str) -> RecordError:
    error = RecordError(message)
    error.field = field
    return error


def _within(at: str, error: RecordError) -> RecordError:
    return _of(f"{at}.{error.field}", f"{at}.{error.message}") if at else error


__all__ = ["Json", "Part", "Record", "Slot", "expect", "misfit", "record", "slots"]
