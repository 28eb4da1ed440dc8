"""Values to JSON and back, by their declared types.

A `Codec` belongs to one annotation. What it writes is JSON that keeps the order of keys; sets are written sorted, so
that the same value gives the same text in every process. NaN and infinities are no JSON and are refused. Pydantic is
imported with the first codec, not with this module: it is most of the cost of importing Segue.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from hashlib import blake2b
from io import IOBase
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, cast

from ..errors import DefinitionError, InputError, SegueError, UnserialisableResult
from .plain import MARK, compact, compact_sorted, plain, unmarked

if TYPE_CHECKING:
    from pydantic import TypeAdapter

P = ParamSpec("P")
T = TypeVar("T")

_QUOTE = json.encoder.encode_basestring
ATOMS: dict[type, Callable[[Any], str]] = {
    str: _QUOTE,
    int: int.__repr__,
    bool: lambda value: "true" if value else "false",
    type(None): lambda value: "null",
}
"""JSON of exactly these types, without the general encoder's cost."""
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]  typeshed lacks it
_dumps, _canonical_dumps = compact, compact_sorted
_MARK = f'"{MARK}"'.encode()

JOURNAL: object = {"segue": "journal"}
"""The pydantic context of what is encoded for the journal: a Secret is sealed there, and masked everywhere else."""


class Codec:
    """Encodes, decodes and validates the values of one annotation.

    `annotation` may be anything that pydantic's TypeAdapter takes: models, dataclasses, TypedDicts, primitives and
    containers of them. Without an annotation (`Any`) a value is what JSON makes of it: tuples become lists.
    """

    __slots__ = ("_adapter", "_bytes", "_mixed", "_schema", "_unordered", "annotation", "any", "atom", "private")

    def __init__(self, annotation: Any):
        self.annotation = annotation
        self.atom: type | None = annotation if annotation in (str, int, bool) else None
        self.any = annotation is Any
        self.private = False
        """Whether a `Secret` is in it: then errors do not show values."""
        self._adapter: TypeAdapter[Any] | None = None
        self._schema: dict[str, Any] | None = None
        self._unordered = self._bytes = self._mixed = False

    @property
    def adapter(self) -> TypeAdapter[Any]:
        """Pydantic's adapter, made at the first use."""
        if self._adapter is None:
            self._adapter = _adapter(self.annotation)
            schema = self._adapter.core_schema
            self.private = _has_secret(schema)
            self._unordered = self.private or _has(schema, _UNORDERED)
            self._bytes = _has(schema, _BYTES)
            self._mixed = self._bytes and _has(schema, _UNIONS)
            if not self._unordered and self._bytes:
                self._adapter = _adapter(self.annotation, bytes_as="base64")
        return self._adapter

    @property
    def schema(self) -> Mapping[str, Any]:
        """The JSON Schema of the annotation, made at the first use."""
        if self._schema is None:
            self._schema = self.adapter.json_schema()
        return self._schema

    def ready(self) -> None:
        """See that values of this annotation can be stored at all. Raises DefinitionError."""
        if self.atom is None:
            _ = self.adapter

    def validate(self, value: Any) -> Any:
        """`value` as the declared type. Raises pydantic's ValidationError, and ValueError for an open file."""
        if self.atom is not None and type(value) is self.atom:
            return value
        if self.any and isinstance(value, IOBase):  # pydantic would take the lines that are left in it
            raise ValueError("an open file is no value: read it, and take what it says")
        return self.adapter.validate_python(value)

    def encode(self, value: Any) -> bytes:
        """The JSON of an already valid `value`. Raises TypeError or ValueError when JSON cannot carry it."""
        atom = ATOMS.get(type(value))  # pyright: ignore[reportUnknownArgumentType]  the type of an Any
        if atom is not None:
            return atom(value).encode()
        adapter = self.adapter
        if not self._bytes:
            return self._json(adapter, value)
        try:
            data = self._json(adapter, value)
        except ValueError:  # the type writes bytes as text, and these are none
            data = self.marked(value)
            if self._reads(data, value) is None:
                raise
            return data
        marked = self.marked(value) if self._mixed and self._reads(data, value) is False else data
        return marked if _MARK in marked else data

    def _json(self, adapter: TypeAdapter[Any], value: Any, *, marks: bool = False) -> bytes:
        if not self._unordered and not marks:
            return adapter.dump_json(value)
        try:
            return _dumps(plain(adapter.dump_python(value, context=JOURNAL), marks=marks)).encode()
        except ValueError as error:
            if isinstance(error.__cause__, SegueError):  # of a secret that could not be sealed
                raise error.__cause__ from None
            raise

    def _reads(self, data: bytes, value: Any) -> bool | None:
        """Whether the same comes back: in a union with `str` bytes would be text. None: it cannot be read."""
        try:
            return bool(self.adapter.dump_python(self.decode(data)) == self.adapter.dump_python(value))
        except ValueError:
            return None

    def marked(self, value: Any) -> bytes:
        """`encode`, with a mark on all bytes: every type reads them as those, whatever it makes of a text itself."""
        return self._json(self.adapter, value, marks=True)

    def decode(self, data: bytes) -> Any:
        """The value of `data`. Raises pydantic's ValidationError when it does not fit today's type."""
        if self.atom is int and data[:16].lstrip(b"-").isdigit():
            return int(data)
        if self.any:
            value = json.loads(data) if b'"$sealed"' not in data else _revive(json.loads(data))
            return unmarked(value) if _MARK in data else value
        if self.atom is str and data[:1] == b'"':
            return _scan(data.decode(), 0)[0]
        if _MARK in data:
            try:
                return self.adapter.validate_python(unmarked(json.loads(data)), by_alias=True, by_name=True)
            except ValueError:
                pass  # a field of the user's own may be called so
        return self.adapter.validate_json(data, by_alias=True, by_name=True)  # written by name, given by alias


def spelling(annotation: Any) -> str:
    """Tells annotations apart that are equal to Python, and whose schemas are not: `int | str` and `str | int`."""
    return "" if isinstance(annotation, type) else repr(annotation)


def by_type(make: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """Keep what is made of a type, for each spelling of it. One that cannot be hashed, as `Annotated[int, []]`, is
    made anew each time.
    """

    @lru_cache(maxsize=4096)
    def kept(annotation: Any, spelled: str, *args: P.args, **kwargs: P.kwargs) -> T:
        return make(annotation, *args, **kwargs)

    @wraps(make)
    def made(annotation: Any, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            hash(annotation)
        except TypeError:
            return make(annotation, *args, **kwargs)
        return kept(annotation, spelling(annotation), *args, **kwargs)

    return made


@by_type
def codec(annotation: Any) -> Codec:
    """The codec of an annotation; one per annotation."""
    return Codec(annotation)


def roundtrip(of: Codec, value: Any, *, marks: bool = False) -> tuple[bytes, Any]:
    """Validate, encode and decode: what is journaled, and what a replay would read from it. With `marks` bytes are
    marked: the type that will read them is not known yet.

    Raises UnserialisableResult when the value does not fit its type or does not survive the journey.
    """
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]  of Any
    try:
        if kind is of.atom or (of.any and kind in ATOMS):
            return ATOMS[kind](value).encode(), value
        valid = of.validate(value)
        data = of.marked(valid) if marks else of.encode(valid)
        return data, of.decode(data)
    except (TypeError, ValueError, RecursionError) as error:  # pydantic's errors are ValueErrors
        raise UnserialisableResult(
            f"a value of type {kind.__qualname__} cannot be stored as {describe(of.annotation)}: {misfit(of, error)}",
            remedy=_remedy(of, value, str(error)),
        ) from (None if of.private or isinstance(error, RecursionError) else error)


def _remedy(of: Codec, value: Any, said: str) -> str:
    if value is None:
        return f"it returned None: return {describe(of.annotation)}, or annotate the result as None"
    if "surrogate" in said:
        return "a text in it has a lone surrogate, which UTF-8 cannot carry: decode bytes with errors='replace'"
    if "utf-8" in said and not of.any:
        return f"give the model that has the bytes model_config = ConfigDict({_BASE64})"
    return "return a pydantic model, a dataclass or plain JSON values, and declare it in the annotation"


_BASE64 = 'ser_json_bytes="base64", val_json_bytes="base64"'
"""What a model of pydantic's needs for bytes that are no text, where it does not read their mark."""


def as_stored(of: Codec, value: Any, data: bytes) -> bytes:
    """`data`, which reads as `value`, as a step's result is stored: by the names of fields. As it is, where the value
    would not come back: what it writes is not what it reads.
    """
    try:
        stored = of.encode(value)
        same = of.private or bool(of.decode(stored) == value)
    except (TypeError, ValueError, RecursionError):
        return data
    return stored if same else data


def encode_arguments(codecs: Mapping[str, Codec], bound: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Arguments by name as one JSON object, and their validated values. Raises InputError naming the parameter."""
    parts: list[str] = []
    values = dict(bound)
    for name, value in bound.items():
        of = codecs[name]
        kind = type(value)  # pyright: ignore[reportUnknownVariableType]  of Any
        if kind is of.atom:
            parts.append(f'"{name}":{ATOMS[kind](value)}')
            continue
        try:
            values[name] = valid = of.validate(value)
            parts.append(f'"{name}":{of.encode(valid).decode()}')
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"argument {name!r} is {_none(of.annotation)}: {misfit(of, error)}",
                remedy=f"pass {describe(of.annotation)}, or change the annotation of {name!r}",
            ) from (None if of.private or isinstance(error, RecursionError) else error)
    try:
        return ("{" + ",".join(parts) + "}").encode(), values
    except UnicodeEncodeError as error:
        name = next(n for n, part in zip(bound, parts, strict=True) if not _is_text(part))
        raise InputError(
            f"argument {name!r} is no text that UTF-8 can carry: it has a lone surrogate",
            remedy="decode bytes with errors='replace' before you pass them on",
        ) from error


def _is_text(part: str) -> bool:
    try:
        part.encode()
    except UnicodeEncodeError:
        return False
    return True


def decode_arguments(codecs: Mapping[str, Codec], data: bytes) -> dict[str, Any]:
    """The inverse of `encode_arguments`; parameters that are no longer declared are dropped."""
    stored = cast("dict[str, Any]", json.loads(data))
    known = [(name, codecs[name], value) for name, value in stored.items() if name in codecs]
    return {n: v if type(v) is of.atom else of.decode(_dumps(v).encode()) for n, of, v in known}


def canonical(data: bytes) -> bytes:
    """JSON with the keys of nested objects sorted; the outermost object is in the order of the signature."""
    return _canonical_dumps(json.loads(data)).encode() if data.find(b"{", 1) > 0 else data


def fingerprint(data: bytes) -> str:
    """Twelve hex digits that stand for a JSON text, whatever the order of its keys (BLAKE2b, RFC 7693)."""
    return blake2b(data if data.find(b"{", 1) < 0 else canonical(data), digest_size=6).hexdigest()


def dumps(value: Mapping[str, Any]) -> bytes:
    """A record's own JSON object: plain values only. What UTF-8 cannot carry (a lone surrogate) is escaped."""
    return _dumps(value).encode(errors="backslashreplace")


def loads(data: bytes | None) -> dict[str, Any]:
    """A record's body; an empty one when there is none."""
    return cast("dict[str, Any]", json.loads(data)) if data else {}


def describe(annotation: Any) -> str:
    """An annotation as a reader writes it."""
    if annotation is Any:
        return "a JSON value"
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _none(annotation: Any) -> str:
    return f"no {describe(annotation)}" if annotation is not Any else "not JSON"


def _adapter(annotation: Any, bytes_as: Literal["utf8", "base64"] = "utf8") -> TypeAdapter[Any]:
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter  # noqa: PLC0415  it costs 0.1 s: see above

    try:
        config = ConfigDict(ser_json_inf_nan="constants", ser_json_bytes=bytes_as, val_json_bytes=bytes_as)
        return TypeAdapter(annotation, config=config)
    except PydanticUserError:  # models, dataclasses and TypedDicts bring a config of their own
        pass
    try:
        return TypeAdapter(annotation)
    except PydanticUserError as error:
        raise DefinitionError(
            f"values of type {describe(annotation)} cannot be stored: {error.message.splitlines()[0]}",
            remedy="import TypedDict from typing_extensions, not from typing: Python before 3.12 says too little of it"
            if error.code == "typed-dict-version"
            else "use a pydantic model, a dataclass, a TypedDict or plain JSON types in the annotation",
        ) from error


def _revive(value: Any) -> Any:
    from .secret import revive  # noqa: PLC0415  it stands on this module

    return revive(value)


def _has_secret(schema: Any) -> bool:
    """Whether a core schema has a `Secret` in it."""
    if isinstance(schema, dict):
        items = cast("dict[str, Any]", schema)
        marks = items.get("metadata")
        if isinstance(marks, dict) and cast("dict[str, Any]", marks).get("segue") == "secret":
            return True
        return any(_has_secret(v) for v in items.values())
    return isinstance(schema, (list, tuple)) and any(_has_secret(v) for v in cast("list[Any]", schema))


def misfit(of: Codec, error: Exception) -> str:
    """What is wrong, in one line; without the values of a type that has a `Secret` in it."""
    if isinstance(error, RecursionError):
        return "it holds itself, or is nested too deep"
    report: Any = getattr(error, "errors", None)
    if report is None:
        return "a value does not fit" if of.private else str(error)
    return "; ".join(_line(one, show=not of.private) for one in report(include_url=False, include_context=False)[:5])


def _line(one: dict[str, Any], *, show: bool) -> str:
    where = ".".join(map(str, one["loc"]))
    got = repr(one.get("input")) if show and one["type"] != "missing" else ""
    said = f"{where}: {one['msg']}" if where else one["msg"]
    return f"{said}, not {got if len(got) <= _SHOWN else got[:_SHOWN] + '…'}" if got else said


_SHOWN = 60
"""Characters of a misfit that an error shows."""


_UNORDERED = ("set", "frozenset", "any", "generator", "float", "is-instance")
"""Sets and untyped parts, whose order JSON would not keep, and numbers that it may not have."""
_BYTES = ("bytes",)
_UNIONS = ("union", "tagged-union")


def _has(schema: Any, kinds: tuple[str, ...]) -> bool:
    """Whether one of these kinds is somewhere in a core schema."""
    if isinstance(schema, dict):
        if cast("dict[str, Any]", schema).get("type") in kinds:
            return True
        return any(_has(v, kinds) for v in cast("dict[str, Any]", schema).values())
    if isinstance(schema, (list, tuple)):
        return any(_has(v, kinds) for v in cast("list[Any]", schema))
    return False


Upcast = Callable[[Any], Any]
"""Turns a stored JSON value of an older shape into one that today's type reads."""
