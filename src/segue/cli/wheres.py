"""`--where`: which runs are meant, as a reader writes it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import InputError
from ..runtime.query import RunQuery
from .options import LISTED

_UNIT_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_AGE = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h|d)")
_PART = re.compile(r"\s*(\w+)\s*(=|>|<)\s*(.*?)\s*")
_WORDS = ("id", "state", "flow", "tenant", "reason", "parent")
_AGES = {("age", ">"): "older_than_s", ("age", "<"): "newer_than_s", ("idle", ">"): "idle_for_s"}
_FORM = (
    "write state=stuck, flow=NAME, tenant=T, reason=mismatch, id='order-*', parent=RUN, age>2h, age<10min or idle>1d"
)


def read(given: Sequence[str]) -> RunQuery:
    """`state=stuck,flow=pays`, `age>2h`: all of them hold at once. Raises InputError naming the part that is none."""
    said: dict[str, Any] = {}
    for part in (p for one in given for p in one.split(",") if p.strip()):
        found = _PART.fullmatch(part)
        if found is None:
            raise InputError(f"--where {part.strip()!r} is no condition", remedy=_FORM)
        name, sign, value = found.groups()
        field = name if sign == "=" and name in _WORDS else _AGES.get((name, sign))
        if field is None or not value:
            raise InputError(f"--where {part.strip()!r} is no condition", remedy=_FORM)
        if field in said:
            raise InputError(
                f"--where: {name} is given twice", remedy="all conditions hold at once: run it once for each"
            )
        said[field] = seconds(value, "--where") if field.endswith("_s") else value
    return RunQuery(**said)


def listing(where: Sequence[str], count: int, say: Callable[..., str]) -> str:
    """The command that lists so many runs: all of them."""
    words = ("--where", ",".join(where)) if where else ()
    return say("runs", *words, *(("--limit", count) if count > LISTED else ()))


def children(run: str, count: int, say: Callable[..., str]) -> str:
    """The command that lists the open children of a run."""
    return listing(["state=open"] if "," in run else [f"parent={run}", "state=open"], count, say)


def seconds(age: str, option: str) -> float:
    """`90d`, `12h`, `30min`, `10s`. Raises InputError."""
    found = _AGE.fullmatch(age.strip())
    if found is None:
        raise InputError(f"{option} {age}: no age", remedy="write a number and its unit: 90d, 12h, 30min, 10s")
    return float(found[1]) * _UNIT_S[found[2]]
