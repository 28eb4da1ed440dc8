"""Arguments in pieces: a large argument is a payload of its own, so one that is also a step's result is stored once."""

from __future__ import annotations

import json
from collections.abc import Callable

MARK = b"\x01"
_decode = json.JSONDecoder().raw_decode


def split(args: bytes) -> list[tuple[str, bytes]]:
    """A JSON object's members, each value exactly as it is written. Assumes compact JSON, as the codec writes it."""
    text, at = args.decode(), 1
    members: list[tuple[str, bytes]] = []
    while at < len(text) - 1:
        name, at = _decode(text, at)
        _, end = _decode(text, at + 1)
        members.append((name, text[at + 1 : end].encode()))
        at = end + 1
    return members


def pack(args: bytes, put: Callable[[bytes], bytes | None]) -> bytes:
    """The arguments with each member that `put` stores replaced by its reference."""
    stored = [(name, data, put(data)) for name, data in split(args)]
    return MARK + json.dumps([[n, None, ref.hex()] if ref else [n, d.decode(), None] for n, d, ref in stored]).encode()


def unpack(packed: bytes, get: Callable[[bytes], bytes]) -> bytes:
    """The inverse of `pack`."""
    members = [
        json.dumps(name, ensure_ascii=False).encode() + b":" + (get(bytes.fromhex(ref)) if ref else text.encode())
        for name, text, ref in json.loads(packed[1:])
    ]
    return b"{" + b",".join(members) + b"}"
