"""Counts of one model, and its limits over sliding windows. No I/O; the clock is given."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

from .log import Outcome
from .served import Served


@dataclass(slots=True)
class Counts:
    """What one model has seen. `peak_*` are the high-water marks; a peak of rpm and tpm is that of any window."""

    calls: int = 0
    """Requests that named this model, whatever came of them."""
    answered: int = 0
    """A whole and right answer was sent."""
    spoilt: int = 0
    """Met a fault that makes it useless."""
    rejected: int = 0
    """Refused for what it said: 400, 401, 404."""
    limited: int = 0
    """Refused for a limit that is configured: 429."""
    abandoned: int = 0
    """The client went away before the end."""
    active: int = 0
    peak_active: int = 0
    """Requests under way at once, those refused for a limit not counted."""
    peak_rpm: int = 0
    """Requests in one window, those refused for a limit counted."""
    peak_admitted: int = 0
    """Requests in one window, those refused for a limit not counted."""
    peak_tpm: int = 0
    """Tokens in one window, in and out: the input counts when it comes, the output when it is complete."""
    tokens_in: int = 0
    tokens_out: int = 0
    """Tokens that a provider would bill, those of spoilt answers too."""

    def as_dict(self) -> dict[str, int]:
        """As plain values."""
        return asdict(self)


class Standing(NamedTuple):
    """How a model stands to its limits, for the headers. None is no limit; `*_reset_s` is until all of it is back."""

    rpm: int | None
    requests_left: int
    requests_reset_s: float
    tpm: int | None
    tokens_left: int
    tokens_reset_s: float


class Over(NamedTuple):
    """A limit that a request does not fit into, and when it would, in seconds."""

    limit: Literal["requests", "tokens", "concurrency"]
    wait_s: float
    most: int
    used: int


class Window:
    """A sum over the last `length_s` seconds."""

    def __init__(self, length_s: float) -> None:
        self.length_s, self.sum, self.peak = length_s, 0, 0
        self._parts: deque[tuple[float, int]] = deque()

    def add(self, now: float, amount: int) -> None:
        """An amount, now."""
        self.trim(now)
        self._parts.append((now, amount))
        self.sum += amount
        self.peak = max(self.peak, self.sum)

    def trim(self, now: float) -> int:
        """Forget what is older than the window; gives the sum of the rest."""
        while self._parts and self._parts[0][0] <= now - self.length_s:
            self.sum -= self._parts.popleft()[1]
        return self.sum

    def wait_s(self, now: float, room: int) -> float:
        """Seconds until the sum is at most `room`."""
        left = self.trim(now)
        for at, amount in self._parts:
            if left <= room:
                break
            left -= amount
            if left <= room:
                return at + self.length_s - now
        return 0.0


class Meter:
    """Counts and limits of one model."""

    def __init__(self, served: Served, clock: Callable[[], float]) -> None:
        self.counts = Counts()
        self._served, self._clock = served, clock
        self._seen, self._requests, self._tokens = (Window(served.minute_s) for _ in range(3))

    def arrived(self) -> None:
        """A request names this model."""
        self.counts.calls += 1
        self._seen.add(self._clock(), 1)
        self.counts.peak_rpm = self._seen.peak

    def over(self, tokens: int) -> Over | None:
        """The limit that a request with so many tokens of input does not fit into; None: it fits."""
        served, now = self._served, self._clock()
        if served.concurrency is not None and self.counts.active >= served.concurrency:
            return Over("concurrency", 0.0, served.concurrency, self.counts.active)
        if served.rpm is not None and self._requests.trim(now) >= served.rpm:
            return Over("requests", self._requests.wait_s(now, served.rpm - 1), served.rpm, self._requests.sum)
        if served.tpm is not None and self._tokens.trim(now) + tokens > served.tpm:
            return Over("tokens", self._tokens.wait_s(now, served.tpm - tokens), served.tpm, self._tokens.sum)
        return None

    def began(self, tokens: int) -> None:
        """A request is let in, with so many tokens of input."""
        counts, now = self.counts, self._clock()
        counts.active += 1
        counts.peak_active = max(counts.peak_active, counts.active)
        self._requests.add(now, 1)
        self._tokens.add(now, tokens)
        counts.peak_admitted, counts.peak_tpm = self._requests.peak, self._tokens.peak

    def billed(self, tokens_in: int, tokens_out: int) -> None:
        """So many tokens are billed. Those of input are in the window since the request began."""
        self.counts.tokens_in += tokens_in
        self.counts.tokens_out += tokens_out
        if tokens_out:
            self._tokens.add(self._clock(), tokens_out)
            self.counts.peak_tpm = self._tokens.peak

    def over_with(self, outcome: Outcome) -> None:
        """A request has come to its end."""
        match outcome:
            case Outcome.ANSWERED:
                self.counts.answered += 1
            case Outcome.SPOILT:
                self.counts.spoilt += 1
            case Outcome.REJECTED:
                self.counts.rejected += 1
            case Outcome.LIMITED:
                self.counts.limited += 1
            case Outcome.ABANDONED:
                self.counts.abandoned += 1
            case Outcome.OPEN:
                pass

    def ended(self) -> None:
        """A request that was let in is over."""
        self.counts.active -= 1

    def standing(self) -> Standing | None:
        """For the headers; None where the model has no limit over time."""
        served, now = self._served, self._clock()
        if served.rpm is None and served.tpm is None:
            return None
        return Standing(
            served.rpm,
            max(0, (served.rpm or 0) - self._requests.trim(now)),
            self._requests.wait_s(now, 0),
            served.tpm,
            max(0, (served.tpm or 0) - self._tokens.trim(now)),
            self._tokens.wait_s(now, 0),
        )
