"""Requests and tokens per minute. Pure.

A bucket that refills lets twice its size through in a minute: its content, and what flows in. So what counts is a
window, and never more than the limit happens within any minute of the provider's own clock, wherever that minute
begins. A request may arrive up to `DELAY_S` seconds after it was let through. A call's tokens count from its start to a
minute after its end, because providers count at different moments: on arrival, while they write, or at the end.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from .window import Span, Window

DELAY_S = 3.0
"""How long a request may be on its way without a minute of the provider's getting one too many."""
MINUTE = Span(1.0, 64)
"""A minute, the delay, and the slot that is not yet over."""
POLL_S = 0.25
"""When to ask again where the wait is for calls in flight, whose end nobody knows."""


class Limits(Protocol):
    """What a model or a deployment may be given; None is no limit."""

    @property
    def rpm(self) -> int | None:
        """Requests per minute."""
        ...

    @property
    def tpm(self) -> int | None:
        """Tokens per minute, input and output."""
        ...

    @property
    def concurrency(self) -> int | None:
        """Calls at a time."""
        ...


class Delay(NamedTuple):
    """How long a limit makes a call wait: 0 is not at all, infinite is never. `reason` names the limit."""

    seconds: float
    reason: str


NONE = Delay(0.0, "")


def delay(limits: Limits, minute: Window, in_flight: int, tokens: int, now: float) -> Delay:
    """How long a call of `tokens` tokens has to wait.

    `minute` holds requests and tokens, and is already cut to `now`; `in_flight` is the tokens of calls that have not
    ended.
    """
    found = NONE
    if limits.rpm is not None and minute.first >= limits.rpm:
        found = Delay(_room(minute, 1, minute.first + 1 - limits.rpm, now), f"{limits.rpm} requests per minute")
    if limits.tpm is not None:
        over = minute.second + in_flight + tokens - limits.tpm
        if tokens > limits.tpm:
            return Delay(math.inf, f"{tokens} tokens are more than its {limits.tpm} tokens per minute")
        if over > 0:
            found = max(found, Delay(_room(minute, 2, over, now), f"{limits.tpm} tokens per minute"))
    return found


def _room(minute: Window, which: int, over: int, now: float) -> float:
    """Seconds until slots that leave have made room for what is over."""
    for slot in minute.slots:
        over -= slot[which]
        if over <= 0:
            return max(MINUTE.leaves_s(slot[0], now), 0.001)
    return POLL_S
