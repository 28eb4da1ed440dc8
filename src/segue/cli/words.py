"""Times, amounts and values as a reader likes them. Pure: what time it is, is an argument."""

from __future__ import annotations

import json
from datetime import datetime

from ..core.redaction import mask, mask_json

_CONTROLS = {n: None for n in (*range(32), *range(127, 160)) if n != ord("\n")}


def duration(seconds: float) -> str:
    """`12 ms`, `1.3 s`, `2 min 5 s`, `3 h 12 min`, `4 d 3 h`."""
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, below, small in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            many, rest = whole // size, whole % size // small
            return f"{many} {unit} {rest} {below}" if rest else f"{many} {unit}"
    return f"{whole} s"


def age(seconds: float) -> str:
    """One unit is enough: `now`, `12 s`, `3 min`, `5 h`, `4 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now"


def ago(seconds: float) -> str:
    """`just now`, `3 min ago`."""
    return "just now" if seconds < 1 else f"{age(seconds)} ago"


_LAST = 253_402_214_400.0
"""A day before the last one that has a date. Who waits longer is shown that."""


def clock(at: float, now: float) -> str:
    """Local time: `14:03:22` today, `Nov 21 14:03` this year, else `2025-11-21 14:03`."""
    when, today = datetime.fromtimestamp(min(at, _LAST)), datetime.fromtimestamp(now)
    if when.date() == today.date():
        return when.strftime("%H:%M:%S")
    return when.strftime("%b %d %H:%M" if when.year == today.year else "%Y-%m-%d %H:%M")


def until(at: float, now: float) -> str:
    """`in 3 min`, or `now`."""
    if at > _LAST:
        return "after the year 9999"
    return f"in {age(at - now)}" if at - now >= 1 else "now"


def due(at: float, now: float) -> str:
    """`in 3 min (14:03:22)`, or since when it is overdue."""
    if at > _LAST:
        return "after the year 9999"
    if at <= now:
        return f"due since {age(now - at)}" if now - at >= 1 else "due now"
    return f"in {duration(at - now)} ({clock(at, now)})"


def plural(count: int, word: str) -> str:
    """`1 step`, `2 steps`, `1,200 steps`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def printable(text: str) -> str:
    """One line without anything that moves a terminal's cursor or changes its colours."""
    return "".join(c if c.isprintable() else " " for c in text)


def harmless(text: str) -> str:
    """Text without control characters, but for line feeds."""
    return text.translate(_CONTROLS)


def shorten(text: str, width: int) -> str:
    """At most `width` characters, the end cut with an ellipsis."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def alike(one: str, other: str) -> int:
    """So many characters are the same at the start of both."""
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    return next(at for at in range(shorter) if one[at] != other[at])


def excerpt(text: str, other: str = "", width: int = 160) -> str:
    """A text in one line of about `width` characters; from shortly before it parts with `other`, which begins alike. Of
    texts that say the same (a corrected note is read as it is now) it is the beginning.
    """
    same = alike(text, other)
    begin = same - width // 4 if text != other and same > width // 2 and len(text) > width else 0
    said = printable(text[begin : begin + width]).strip()
    more = begin + width < len(text)
    return ("…" if begin else "") + said + ("…" if more else "")


def value(data: bytes | None, width: int = 120) -> str:
    """A payload in one line of at most `width` characters; empty when there is none. Secrets are masked."""
    shown = mask_json(data)
    return "" if shown is None else shorten(printable(shown[: width * 4].decode("utf-8", "ignore")), width)


def first_line(text: str, width: int = 300) -> str:
    """The first line of a message."""
    return shorten(printable(text.strip().partition("\n")[0]), width)


def pretty(data: bytes) -> str:
    """A payload as a reader likes it: a text as it stands, else JSON over several lines. Secrets are masked."""
    given = mask(json.loads(data))
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False, indent=2)
