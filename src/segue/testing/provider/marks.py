"""Ids, and the marks by which a provider knows its own: signatures of thoughts, encrypted content."""

from __future__ import annotations

import base64
import binascii
import hashlib


class Ids:
    """The ids of one request, all made from its number."""

    def __init__(self, n: int, seed: int = 0) -> None:
        self.n = n
        self._digest = hashlib.blake2b(f"{seed}/{n}".encode(), digest_size=24).hexdigest()

    def of(self, prefix: str, i: int = 0, length: int = 24) -> str:
        """The i-th id with this prefix, with `length` characters after it."""
        tail = f"{i:02x}"  # always, so that no two of a request are the same
        return prefix + self._digest[: length - len(tail)] + tail


def sign(maker: str, text: str) -> str:
    """The mark of a provider on a text, as base64."""
    return base64.b64encode(f"{maker}\0".encode() + hashlib.blake2b(text.encode(), digest_size=24).digest()).decode()


def made_by(maker: str, mark: str) -> bool:
    """Whether a mark is of this provider, on whatever text."""
    return (decoded(mark) or b"").startswith(f"{maker}\0".encode())


def decoded(mark: str) -> bytes | None:
    """The bytes of base64 text, None where it is none. Both alphabets are taken."""
    try:
        return base64.b64decode(mark.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None
