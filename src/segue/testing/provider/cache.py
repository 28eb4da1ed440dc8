"""The prompt cache of one model: a prefix of turns that was seen before counts as cached."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict

from . import tokens
from .speech import Asked

KEPT = 20_000
"""Prefixes that are remembered; the oldest are forgotten first."""


class Cache:
    """Prefixes by their hash: the tools and the system prompt, and these with each turn in its order."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def hit(self, asked: Asked) -> int:
        """Tokens of the longest prefix that was seen before. All prefixes of this request are remembered.

        The last turn is always read anew.
        """
        head = asked.system + json.dumps([(tool.name, tool.schema) for tool in asked.tools])
        digest, size, cached = hashlib.blake2b(head.encode(), digest_size=16), 0, 0
        size = tokens.count(asked.system) + sum(
            tokens.count(tool.name) + tokens.count(json.dumps(tool.schema)) for tool in asked.tools
        )
        for turn in asked.turns:
            key = digest.digest()
            cached = size if key in self._seen else cached
            self._seen[key] = None
            digest.update(f"\0{turn.role}\0{turn.text}".encode())
            size += tokens.count(turn.text)
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        return cached
