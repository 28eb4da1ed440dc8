"""What is typed on the command line, as values: JSON, a file of JSON, the arguments of a flow."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import InputError

if TYPE_CHECKING:
    from ..runtime.flow import Flow


def read_json(given: str, option: str) -> Any:
    """The value of JSON, of `@FILE`, or of `-` for what comes on stdin. Raises InputError naming the option."""
    text = _text(given, option)
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{option} is no JSON: {error}", remedy=_remedy(given, option)) from None


def read_pairs(given: list[str], option: str) -> dict[str, Any]:
    """`KEY=JSON` as a mapping. A key may hold `=` in its brackets. Raises InputError."""
    pairs: dict[str, Any] = {}
    for pair in given:
        at = _outer_equals(pair)
        if at < 1:
            raise InputError(f"{option} {pair!r} has no '='", remedy=f"write {option} 'KEY=JSON'")
        pairs[pair[:at]] = read_json(pair[at + 1 :], f"{option} {pair[:at]}")
    return pairs


def _outer_equals(pair: str) -> int:
    depth = 0
    for at, character in enumerate(pair):
        depth += (character == "[") - (character == "]")
        if character == "=" and depth <= 0:
            return at
    return -1


def arguments(flow: Flow[..., Any], given: Any) -> dict[str, Any]:
    """A flow's arguments by name. `given` is an object of them or, for a flow with one parameter, just its value; `{}`
    is no arguments where that is no value of a parameter with a default.

    Raises InputError naming the parameter.
    """
    codecs = flow.signature.codecs
    names = list(codecs)
    by_name = cast("dict[str, Any]", given) if isinstance(given, dict) else None
    if by_name is None or (len(names) == 1 and names[0] not in by_name):
        if len(names) != 1:
            raise InputError(
                f"{flow.short} takes {_named(names)}, and --input is {_kind(given)}",
                remedy="give an object with the parameters by name: --input '{\"NAME\": VALUE}'",
            )
        if given == {} and flow.signature.all_optional and not _fits(flow, names[0], {}):
            return {}
        by_name = {names[0]: cast("Any", given)}
    unknown = [n for n in by_name if n not in codecs]
    if unknown:
        raise InputError(
            f"{flow.short} has no parameter {unknown[0]!r}", remedy=f"its signature is {flow.short}{flow.signature}"
        )
    try:
        return {name: _decoded(flow, name, value) for name, value in by_name.items()}
    except InputError as error:
        if given != {}:
            raise
        raise InputError(f"argument {names[0]!r} is missing: --input is {{}}", remedy=error.remedy) from None


def _fits(flow: Flow[..., Any], name: str, value: Any) -> bool:
    try:
        flow.signature.codecs[name].decode(json.dumps(value).encode())
    except ValueError:
        return False
    return True


def _decoded(flow: Flow[..., Any], name: str, value: Any) -> Any:
    try:
        return flow.signature.codecs[name].decode(json.dumps(value).encode())
    except ValueError as error:
        raise InputError(
            f"argument {name!r}: {misfit(error)}", remedy=f"its signature is {flow.short}{flow.signature}"
        ) from None


def misfit(error: ValueError) -> str:
    """Pydantic's report in one line: `url: Field required; age: Input should be a valid integer`."""
    report = getattr(error, "errors", None)
    if not callable(report):
        return str(error)
    found = cast("list[dict[str, Any]]", report(include_url=False))
    parts = [(".".join(map(str, e["loc"])), e["msg"]) for e in found[:4]]
    more = f"; and {len(found) - 4} more" if len(found) > 4 else ""
    return "; ".join(f"{place}: {said}" if place else str(said) for place, said in parts) + more


def _text(given: str, option: str) -> str:
    if given == "-":
        return sys.stdin.read()
    if not given.startswith("@"):
        return given
    try:
        return sys.stdin.read() if given == "@-" else Path(given[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{option} {given}: {said}", remedy="name a file of JSON after the @") from None


def _remedy(given: str, option: str) -> str:
    if given.startswith("@"):
        return f"put the file {given[1:]} right"
    if given == "-":
        return f"pipe JSON into the command, or name a file: {option} @FILE"
    if given and given[0] not in "{[\"'":
        return f"write a text with its quotes, or name a file: {option} '\"{given}\"', {option} @FILE"
    return f'write {option} \'{{"name": "value"}}\' in single quotes, or {option} @FILE'


def _named(names: list[str]) -> str:
    return "no arguments" if not names else f"{len(names)} arguments ({', '.join(names)})"


def _kind(given: Any) -> str:
    kinds = {"dict": "an object", "list": "a list", "str": "a text", "NoneType": "null", "bool": "true or false"}
    return kinds.get(type(given).__name__, "a number")
