"""How batches are put together, from `[batches]` of `segue.toml`: the keys are those of `BatchRules`."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any

from ..reading import Table, open_config, read_config
from .api import REQUESTS_MAX
from .rules import BatchRules

__all__ = ["load_batch_rules", "read_batch_rules"]

_OTHER_WORDS = {
    "wait": "wait_s", "delay": "wait_s", "size": "requests", "max_requests": "requests", "batch_size": "requests",
    "poll_s": "look_s", "poll": "look_s", "poll_interval": "look_s", "poll_s_max": "look_s_max",
    "concurrency": "calls_at_once",
}  # fmt: skip
_MAY_BE_0 = frozenset({"wait_s", "settle_s", "retry_s"})
_WHOLE = {"requests": REQUESTS_MAX, "calls_at_once": 1000}
"""Whole numbers, and the most that each may be."""


def load_batch_rules(path: str | os.PathLike[str] | None = None) -> BatchRules:
    """The rules of a file; without `path` of the one that SEGUE_CONFIG names, else of segue.toml in this folder.

    Raises ConfigError, which names file, line, key and what is allowed.
    """
    table = open_config(path)
    return BatchRules() if table is None else _rules(table)


def read_batch_rules(text: str, path: str = "segue.toml") -> BatchRules:
    """The rules of a file's text. Raises ConfigError."""
    return _rules(read_config(text, path))


def _rules(table: Table) -> BatchRules:
    with table.mistakes.told():
        inside = table.table("batches")
        if inside is None:
            return BatchRules()
        given = {one.name: _value(inside, one.name) for one in fields(BatchRules)}
        inside.done(hints=_OTHER_WORDS)
    return BatchRules(**{name: value for name, value in given.items() if value is not None})


def _value(table: Table, name: str) -> Any:
    value = table.whole(name) if name in _WHOLE else table.number(name)
    if value is None:
        return None
    if name in _WHOLE and not 1 <= value <= _WHOLE[name]:
        return table.wrong(name, f"{value} is not from 1 to {_WHOLE[name]}")
    least = "0 or more" if name in _MAY_BE_0 else "more than 0"
    if name not in _WHOLE and (value < 0 or (value == 0 and name not in _MAY_BE_0)):
        return table.wrong(name, f"{value} is too small: {least}, in seconds")
    return value
