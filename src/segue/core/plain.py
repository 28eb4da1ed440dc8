"""Values as plain JSON, and the mark on bytes: JSON has none, and as a text they would be another value. Pure."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, cast

compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
compact_sorted = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True).encode

MARK = "$base64"
"""The one name of an object that stands for bytes, where what reads them would take a text for another thing."""


def plain(value: Any, *, marks: bool = False) -> Any:
    """A value that pydantic has dumped, as plain JSON: sets sorted, secrets sealed, with `marks` bytes marked."""
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, (set, frozenset)):
        return sorted((plain(v, marks=marks) for v in cast("set[Any]", value)), key=compact_sorted)
    if isinstance(value, Mapping):
        return {_plain_key(k): plain(v, marks=marks) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(v, marks=marks) for v in cast("list[Any]", value)]
    return {MARK: b64encode(value).decode()} if marks and isinstance(value, (bytes, bytearray)) else _other(value)


def _other(value: Any) -> Any:
    seal = getattr(value, "__segue_seal__", None)
    if seal is not None:
        return seal()
    from pydantic_core import to_jsonable_python  # noqa: PLC0415  loaded by now, and not before

    made = to_jsonable_python(value)
    return plain(made) if isinstance(made, (dict, list)) else made


def unmarked(value: Any) -> Any:
    """JSON, with the bytes that are marked in it."""
    if isinstance(value, list):
        return [unmarked(one) for one in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    given = cast("dict[str, Any]", value)
    if given.keys() == {MARK} and isinstance(given[MARK], str):
        try:
            return b64decode(given[MARK], validate=True)
        except ValueError:
            return given
    return {name: unmarked(one) for name, one in given.items()}


def _plain_key(key: Any) -> str:
    if isinstance(key, str):
        return key
    made = plain(key)
    return made if isinstance(made, str) else compact(made)
