"""When to come back: Retry-After in both forms, and what the providers have instead. Pure; seconds all through."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, cast

from .evidence import Evidence

_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 0.000_001, "µs": 0.000_001, "ns": 1e-9}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|[dhms])")
_UNIT = r"(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)"
_PART = re.compile(rf"(\d+(?:\.\d+)?)\s*({_UNIT})(?![a-z])", re.I)
_SPELLED = re.compile(rf"(?:{_PART.pattern}(?:,?\s+and\s+|\s*))+", re.I)
_WORDED = re.compile(
    r"(?:try again|retry(?:ing)?|wait)(?: your request| after| in| for| about| another)*\s+"
    rf"({_SPELLED.pattern}|\d+(?:\.\d+)?)",
    re.I,
)
_DATES = re.compile(r"[A-Z][a-z]{2,8},[^,]+")
_PER_DAY = re.compile(r"per[- ]day|\bdaily\b|\bTPD\b|\bRPD\b|PerDay|(?:per|/) ?month|\bmonthly\b", re.I)
_EPOCH_S = 1_000_000_000.0
"""A number from here on is a moment, not a span; a thousand times it, one in milliseconds."""
_AROUND = " \t\"';"
"""What may stand around a value."""
_DAYS_LIMIT_S = 3600.0


class Reset(NamedTuple):
    """When one of a provider's limits is whole again."""

    limit: str
    """`requests`, `tokens`, `input tokens`, `output tokens`; empty where it does not say."""
    after_s: float
    remaining: float | None


def retry_after(seen: Evidence, now: float, *, limited: bool) -> float | None:
    """How long to wait at least, in seconds, or None where nothing is said.

    `now` is the time in seconds since the epoch, UTC; the answer's own Date header comes before it, so that a clock
    that goes wrong here does no harm. Resets of limits count only where a limit was met (`limited`).
    """
    then = _moment(seen.headers.get("date", "")) or now
    if limited and _a_days_quota(seen):
        return max(_DAYS_LIMIT_S, asked_for(seen.headers, then) or 0.0)
    for said in (asked_for(seen.headers, then), _retry_info(seen), seen.retry_after_s, worded(seen.message)):
        if said is not None:
            return said
    if not limited:
        return None
    after_s = _from_resets(list(resets(seen.headers, then)))
    return _DAYS_LIMIT_S if after_s is None and _PER_DAY.search(seen.message) else after_s


def asked_for(headers: Mapping[str, str], now: float) -> float | None:
    """`retry-after-ms`, `x-ms-retry-after-ms`, and `Retry-After` as seconds, a span or a moment.

    A header that was set twice, by a gateway and a provider, comes as one: the longest of its values counts.
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        milliseconds = _longest(headers.get(name, ""), _number)
        if milliseconds is not None:
            return milliseconds / 1000
    return _longest(headers.get("retry-after", ""), lambda value: _until(value, now))


def _longest(said: str, read: Callable[[str], float | None]) -> float | None:
    """A header's value; where it is none as it stands, the largest of those that commas part (a date has one, too)."""
    dates, beside = _DATES.findall(said), _DATES.sub("", said)
    several = len(dates) > 1 or (dates and beside.strip(_AROUND + ","))
    whole = None if several else read(said.strip(_AROUND))
    if whole is not None:
        return whole
    parts = (read(part.strip(_AROUND)) for part in (*dates, *beside.split(",")))
    return max((part for part in parts if part is not None), default=None)


def resets(headers: Mapping[str, str], now: float) -> Iterator[Reset]:
    """The limits that the headers name.

    `x-ratelimit-reset-requests: 6m0s` (OpenAI, Groq, Azure), `anthropic-ratelimit-input-tokens-reset: 2026-…Z`,
    `ratelimitbysize-reset: 12` (Mistral), `x-ratelimit-reset: 1767225600000` (OpenRouter), `ratelimit-reset: 30`,
    `ratelimit: limit=9, remaining=0, reset=30` and `ratelimit: "default";r=0;t=30` (the IETF's drafts).
    """
    for name, value in headers.items():
        if "ratelimit" not in name:
            continue
        if name == "ratelimit":
            yield from _structured(value if ";" in value else ";" + value.replace(",", ";"))
        elif "reset" in name:
            after_s = _until(value, now)
            if after_s is not None:
                yield Reset(_limit(name), after_s, _number(headers.get(name.replace("reset", "remaining"), "")))


def exhausted(headers: Mapping[str, str]) -> str:
    """The name of the limit of which nothing remains, or an empty text."""
    for name, value in headers.items():
        if "ratelimit" in name and "remaining" in name and _number(value) == 0:
            return _limit(name)
    return ""


def worded(message: str) -> float | None:
    """`Please try again in 6m0s`, `Please retry after 26 seconds`, `Please retry in 34.07s`."""
    found = _WORDED.search(message)
    if found is None:
        return None
    seconds = _spelled(found.group(1))
    return _number(found.group(1)) if seconds is None else seconds


def _spelled(text: str) -> float | None:
    """`6m0s`, `26 seconds`, `1 minute and 30 seconds` as seconds."""
    if _SPELLED.fullmatch(text) is None:
        return None
    return sum(float(number) * _unit(unit.lower()) for number, unit in _PART.findall(text))


def _unit(word: str) -> float:
    return _UNITS["ms" if word.startswith(("ms", "milli")) else word[0]]


def span(text: str) -> float | None:
    """`1h2m3.5s`, `120ms`, `34s` as seconds."""
    packed = text.replace(" ", "")
    parts = _SPAN.findall(packed)
    if not parts or "".join(f"{n}{u}" for n, u in parts) != packed:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _from_resets(found: list[Reset]) -> float | None:
    """All that are used up must be whole again; where none is, one was too small for this request: the soonest."""
    empty = [reset.after_s for reset in found if reset.remaining == 0]
    if empty:
        return max(empty)
    return min((reset.after_s for reset in found), default=None)


def _structured(value: str) -> Iterator[Reset]:
    for item in value.split(","):
        fields: dict[str, str] = {}
        for part in item.split(";")[1:]:
            name, _, figure = part.strip().partition("=")
            fields[name] = figure
        after_s = _number(fields.get("t", fields.get("reset", "")))
        if after_s is not None:
            yield Reset("", after_s, _number(fields.get("r", fields.get("remaining", ""))))


def _retry_info(seen: Evidence) -> float | None:
    """Google's RetryInfo: `{"retryDelay": "34s"}`."""
    for detail in seen.details:
        delay = detail.get("retryDelay")
        if isinstance(delay, str):
            return span(delay)
    return None


def _a_days_quota(seen: Evidence) -> bool:
    """Google sends a RetryInfo of seconds with a quota of a day too."""
    return any("PerDay" in quota for quota in quotas(seen))


def quotas(seen: Evidence) -> Iterator[str]:
    """The ids of the quotas that Google says were exceeded."""
    for detail in seen.details:
        violations: Any = detail.get("violations")
        if isinstance(violations, list):
            for violation in cast("list[Any]", violations):
                if isinstance(violation, Mapping):
                    yield str(cast("Mapping[str, Any]", violation).get("quotaId", ""))


def _until(value: str, now: float) -> float | None:
    """A number of seconds, a span, or a moment in any of its forms, as seconds from now."""
    number = _number(value)
    if number is not None:
        if number >= _EPOCH_S * 1000:
            number /= 1000
        return max(0.0, number - now) if number >= _EPOCH_S else number
    spanned = span(value)
    if spanned is not None:
        return spanned
    spelled = _spelled(value)
    if spelled is not None:
        return spelled
    moment = _moment(value)
    return None if moment is None else max(0.0, moment - now)


def _moment(text: str) -> float | None:
    """A date of HTTP or of RFC 3339, as seconds since the epoch."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text.strip())
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None


def _limit(name: str) -> str:
    for limit in ("input-tokens", "output-tokens", "tokens", "requests"):
        if limit in name:
            return limit.replace("-", " ")
    return "tokens" if "bysize" in name else ""


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None
