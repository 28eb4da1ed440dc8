"""Arguments in pieces: a large argument is a payload of its own, so one that is also a step's result is stored once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from .turns import nothing

MARK = b"\x01"
LONG = 1 << 20
"""Bytes from which a value is not decoded to find its end: that takes seconds, in which no other thread runs."""
_LOOK = 4096
_decode = json.JSONDecoder().raw_decode
_to_bracket = re.compile(r'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+').match


def split(args: bytes, meanwhile: Callable[[], None] = nothing) -> list[tuple[str, bytes]]:
    """A JSON object's members, each value exactly as it is written. Assumes compact JSON, as the codec writes it.

    `meanwhile` is called again and again while it looks for the end of a long one.
    """
    text, at = args.decode(), 1
    long = len(args) >= LONG
    members: list[tuple[str, bytes]] = []
    while at < len(text) - 1:
        name, at = _decode(text, at)
        end = _end(text, at + 1, meanwhile) if long and text[at + 1] in "[{" else _decode(text, at + 1)[1]
        members.append((name, text[at + 1 : end].encode()))
        at = end + 1
    return members


def _end(text: str, at: int, meanwhile: Callable[[], None]) -> int:
    """Where the array or the object ends that begins there."""
    depth = looked = 0
    while True:
        depth += 1 if text[at] in "[{" else -1
        at += 1
        if depth == 0:
            return at
        if (looked := looked + 1) % _LOOK == 0:
            meanwhile()
        found = _to_bracket(text, at)
        assert found is not None, "it matches nothing at all, too"
        at = found.end()


def pack(args: bytes, put: Callable[[bytes], bytes | None], meanwhile: Callable[[], None] = nothing) -> bytes:
    """The arguments with each member that `put` stores replaced by its reference."""
    stored = [(name, data, put(data)) for name, data in split(args, meanwhile)]
    return MARK + json.dumps([[n, None, ref.hex()] if ref else [n, d.decode(), None] for n, d, ref in stored]).encode()


def unpack(packed: bytes, get: Callable[[bytes], bytes]) -> bytes:
    """The inverse of `pack`."""
    members = [
        json.dumps(name, ensure_ascii=False).encode() + b":" + (get(bytes.fromhex(ref)) if ref else text.encode())
        for name, text, ref in json.loads(packed[1:])
    ]
    return b"{" + b",".join(members) + b"}"
