"""Every fault of a provider that we know, and the plan by which they come: at given rates, from a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ...errors import UsageError
from .speech import Asked


class Trouble(StrEnum):
    """What may go wrong with one call. A plain call meets the faults of streams in the form that it can have."""

    RATE_LIMITED = "rate-limited"
    """429 with a Retry-After in seconds."""
    RATE_LIMITED_DATE = "rate-limited-date"
    """429 with a Retry-After that is a date."""
    RATE_LIMITED_OWN = "rate-limited-own"
    """429 that says when only in the provider's own way: reset headers, retry-after-ms, RetryInfo."""
    OVERLOADED = "overloaded"
    """503, at Anthropic 529."""
    SERVER_ERROR = "server-error"
    """500."""
    HTML_ERROR = "html-error"
    """502 with the page of a proxy."""
    HTML_OK = "html-ok"
    """200 with the page of a proxy."""
    UNAUTHORISED = "unauthorised"
    FORBIDDEN = "forbidden"
    BILLING = "billing"
    """No money left: 429 insufficient_quota, 402 billing_error, 429 RESOURCE_EXHAUSTED."""
    BAD_REQUEST = "bad-request"
    """400 that names a field."""
    CONTEXT_TOO_LONG = "context-too-long"
    PROMPT_BLOCKED = "prompt-blocked"
    """The provider's filter refuses the request: 400, at Google 200 with a block reason and no candidate."""
    FILTERED = "filtered"
    """200; the filter cuts the answer, and the finish says so."""
    REFUSAL = "refusal"
    """200; the model declines, in the provider's own field."""

    RESET = "reset"
    """The connection is reset before any byte of an answer."""
    CLOSED = "closed"
    """The connection is closed before any byte of an answer."""
    HEADERS_CUT = "headers-cut"
    """The head of a response comes, and the connection is closed before any byte of its body."""
    ANSWER_LOST = "answer-lost"
    """The work is done, counted and billed; then the connection is reset before the answer is sent."""
    SILENT = "silent"
    """Nothing comes back at all."""
    HEADERS_ONLY = "headers-only"
    """The head of a response, and then nothing."""
    SLOW_FIRST = "slow-first"
    """Right, but the first token comes late."""
    TRICKLE = "trickle"
    """Right, but piece by piece with long gaps."""

    STALL = "stall"
    """The answer stops in its middle; the connection stays open."""
    CUT = "cut"
    """The answer stops in its middle; the connection is closed."""
    CUT_RESET = "cut-reset"
    """The answer stops in its middle; the connection is reset."""
    BAD_CHUNK = "bad-chunk"
    """A chunk that is no JSON; plain: a body cut within its JSON, with the length to match."""
    STREAM_ERROR = "stream-error"
    """An error event within the stream; plain: 200 with an error inside."""
    NO_END = "no-end"
    """The stream ends in good order, without its terminal marker; plain: as `bad-chunk`."""
    EMPTY_BODY = "empty-body"
    """200 and not one byte."""

    EMPTY_CONTENT = "empty-content"
    """200 with an answer of no words."""
    LENGTH = "length"
    """The answer ends in its middle for its length, within its JSON where it is JSON."""
    NOT_JSON = "not-json"
    """Prose where JSON was asked for."""
    WRONG_SCHEMA = "wrong-schema"
    """JSON that does not fit the schema: of the answer, or of the tool that is called."""
    BAD_ARGUMENTS = "bad-arguments"
    """A tool call whose arguments are no JSON; where the format can carry only JSON: none, or a call that failed."""
    UNKNOWN_TOOL = "unknown-tool"
    """A call of a tool that was not offered."""
    NO_USAGE = "no-usage"
    """Right, but the usage is missing; at Anthropic, whose clients need the field, all zero."""
    WRONG_USAGE = "wrong-usage"
    """Right, but the usage says nonsense: one token in, none out."""


HARMLESS = frozenset({Trouble.SLOW_FIRST, Trouble.TRICKLE, Trouble.NO_USAGE, Trouble.WRONG_USAGE})
"""After these a patient caller has a right answer."""
STATUS = (
    Trouble.RATE_LIMITED, Trouble.RATE_LIMITED_DATE, Trouble.RATE_LIMITED_OWN, Trouble.OVERLOADED,
    Trouble.SERVER_ERROR, Trouble.UNAUTHORISED, Trouble.FORBIDDEN, Trouble.BILLING, Trouble.BAD_REQUEST,
    Trouble.CONTEXT_TOO_LONG, Trouble.PROMPT_BLOCKED,
)  # fmt: skip
"""Those that a provider says itself, with an error of its own."""
TRANSIENT = (
    Trouble.RATE_LIMITED, Trouble.RATE_LIMITED_DATE, Trouble.RATE_LIMITED_OWN, Trouble.OVERLOADED,
    Trouble.SERVER_ERROR, Trouble.HTML_ERROR, Trouble.HTML_OK, Trouble.RESET, Trouble.CLOSED,
    Trouble.HEADERS_CUT,
)  # fmt: skip
"""Those that are over with the next call, and known at once."""
MIDWAY = (
    Trouble.CUT, Trouble.CUT_RESET, Trouble.BAD_CHUNK, Trouble.STREAM_ERROR, Trouble.NO_END, Trouble.EMPTY_BODY,
)  # fmt: skip
"""Those that come when an answer has begun, and are known at once."""
BAD_OUTPUT = (
    Trouble.EMPTY_CONTENT, Trouble.LENGTH, Trouble.NOT_JSON, Trouble.WRONG_SCHEMA, Trouble.BAD_ARGUMENTS,
    Trouble.UNKNOWN_TOOL,
)  # fmt: skip
"""Those that arrive in good order and are no answer."""
HANGING = (Trouble.SILENT, Trouble.HEADERS_ONLY, Trouble.STALL, Trouble.SLOW_FIRST, Trouble.TRICKLE)
"""Those that only a time limit finds."""
MIXED = (*TRANSIENT, *MIDWAY, *BAD_OUTPUT)
"""The mixture of the proof: all that a caller can get over without waiting for a time limit."""


def mixed(rate: float, *troubles: Trouble) -> dict[Trouble, float]:
    """`rate` in all, in equal parts of the given troubles, or of `MIXED`."""
    kinds = troubles or MIXED
    return {trouble: rate / len(kinds) for trouble in kinds}


class Draw(NamedTuple):
    """What the plan holds for one call. `where` is in 0..1: how far into the answer."""

    trouble: Trouble | None
    where: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Faults:
    """The faults of one model. Names of troubles may be given as text.

    Raises:
        UsageError: A name is unknown, a rate is not in 0..1, or the rates are more than 1 together.
    """

    rates: Mapping[Trouble, float] = field(default_factory=dict[Trouble, float])
    """The share of calls that meet each trouble."""
    first: Sequence[Trouble | None] = ()
    """What the first calls meet, in their order; None is none. The rates hold for those after them."""
    cycle: Sequence[Trouble | None] = ()
    """Met over and over in this order, in the place of rates: `("server-error", None)` is flapping."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", {known(name): rate for name, rate in self.rates.items()})
        for name in ("first", "cycle"):
            object.__setattr__(self, name, tuple(t and known(t) for t in getattr(self, name)))
        if any(not 0 <= rate <= 1 for rate in self.rates.values()) or sum(self.rates.values()) > 1 + 1e-9:
            raise UsageError(f"the rates of faults are shares of all calls, at most 1 together: {dict(self.rates)}")

    def draw(self, dice: float, n: int) -> Trouble | None:
        """The trouble of the n-th call, counted from 0; `dice` is in 0..1."""
        if n < len(self.first):
            return self.first[n]
        if self.cycle:
            return self.cycle[(n - len(self.first)) % len(self.cycle)]
        for trouble, rate in self.rates.items():
            dice -= rate
            if dice < 0:
                return trouble
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultPlan:
    """The faults of all models. The n-th call of a model meets the same fault whatever other models do."""

    rates: Mapping[Trouble, float] = field(default_factory=dict[Trouble, float])
    """The share of calls that meet each trouble, for models without faults of their own."""
    models: Mapping[str, Faults] = field(default_factory=dict[str, Faults])
    seed: int = 0
    retry_after_s: float = 1.0
    """What a 429 or 503 says."""
    slow_s: float = 12.0
    """Before the first token, with `slow-first`."""
    gap_s: float = 5.0
    """Between two pieces, with `trickle`."""
    silence_s: float = 600.0
    """How long a silent or stalled connection is kept open, before it is reset."""
    _everywhere: Faults = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_everywhere", Faults(rates=self.rates))

    def draw(self, model: str, n: int) -> Draw:
        """What the n-th call of a model meets, counted from 0."""
        digest = hashlib.blake2b(f"{self.seed}\0{model}\0{n}".encode(), digest_size=16).digest()
        dice, where = (int.from_bytes(half, "big") / (1 << 64) for half in (digest[:8], digest[8:]))
        faults = self.models.get(model, self._everywhere)
        return Draw(faults.draw(dice, n), where)


def known(name: str) -> Trouble:
    """The trouble of that name.

    Raises:
        UsageError: There is none.
    """
    try:
        return Trouble(name)
    except ValueError:
        raise UsageError(f"unknown fault {name!r}; there are: {', '.join(Trouble)}") from None


def fitted(trouble: Trouble, asked: Asked, *, calls: bool) -> Trouble:
    """The trouble in the form that this call can meet: prose needs an answer in JSON, bad arguments need a call. Only
    Mistral's models speak where they must call.
    """
    if trouble in (Trouble.BAD_ARGUMENTS, Trouble.UNKNOWN_TOOL) and not calls:
        trouble = Trouble.WRONG_SCHEMA
    if trouble is Trouble.NOT_JSON and calls:
        return trouble if asked.mistral else Trouble.BAD_ARGUMENTS
    if trouble in (Trouble.NOT_JSON, Trouble.WRONG_SCHEMA) and not calls and asked.schema is None:
        return Trouble.NOT_JSON if asked.json else Trouble.EMPTY_CONTENT
    if trouble is Trouble.NO_END and not asked.stream:
        return Trouble.BAD_CHUNK
    return trouble
