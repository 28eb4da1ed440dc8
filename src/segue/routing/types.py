"""What goes into a choice and what others bring to it: plain values, and the protocols of what is learned elsewhere.

Nothing heavy is imported here. Money is nano-dollars (1e-9 USD) where a name says so, else USD; times are seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..core.records import AttemptRef, Stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .arrays import Vector

CALLER = "caller"
"""Who pins a model where nobody else is said to."""
WISH = " wants "
"""Within the reason of a model that nobody asks for where one is named: who wants whom."""
APART = "the route leaves it out: "
"""Begins the reason of a model that could answer, and that a route was named with which does not choose it."""


class Kind(StrEnum):
    """The kinds of task that are told apart without being told. A caller, and a catalogue's priors, may name others."""

    CODE = "code"
    MATHS = "maths"
    REASON = "reason"
    EXTRACT = "extract"
    CLASSIFY = "classify"
    SUMMARISE = "summarise"
    TRANSLATE = "translate"
    WRITE = "write"
    QUESTION = "question"
    CHAT = "chat"
    ANY = "any"
    """None of them: the default of a catalogue's priors."""


class Modality(StrEnum):
    """What a part of a request is."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    DOCUMENT = "document"


class Piece(NamedTuple):
    """One part of a request beside its prompt."""

    modality: Modality = Modality.TEXT
    text: str = ""
    """Of text, and of values that are shown as text."""
    tokens: int | None = None
    """If they were counted; else they are estimated."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Features:
    """What is known of a request before anybody answers."""

    kind: str = Kind.ANY
    difficulty: float = 0.5
    """0 to 1, by rule of thumb: what is learned rests on the embedding."""
    tokens: int = 0
    """Of the input."""
    counted: bool = False
    """Whether `tokens` is a count, and no estimate."""
    language: str = "und"
    """ISO 639-1; `und` where it is not clear."""
    code: float = 0.0
    """How much of it is code, 0 to 1."""
    maths: float = 0.0
    """How mathematical it is, 0 to 1."""
    modalities: frozenset[Modality] = frozenset({Modality.TEXT})
    text: str = ""
    """What a predictor may read of it."""
    task: str = ""
    """What does not change from request to request of this sort, where the caller knows it: the instruction."""
    embedding: NDArray[np.float32] | None = None
    """One row, of unit length if the embedder makes it so."""
    embedding_model: str | None = None


class Held(NamedTuple):
    """What a model's prompt cache holds of a conversation."""

    tokens: int
    age_s: float = 0.0
    """Since it was last read or written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """What came before in the thread that a request goes on with."""

    last: str | None = None
    """Who answered last: where a session stays."""
    held: Mapping[str, Held] = field(default_factory=dict[str, Held])
    """By model: the prefix that it has been sent before."""
    caching: bool = False
    """Whether the call asks for its prefix to be written to the cache, where that has a price."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is asked of the router."""

    text: str
    """The prompt, with its instructions."""
    pieces: Sequence[Piece] = ()
    kind: str | None = None
    """The kind of task, where the caller knows it."""
    task: str = ""
    """What does not change from request to request of this sort: the instruction. What calls take is learned by it."""
    difficulty: float | None = None
    needs: frozenset[str] = frozenset()
    """Capabilities that the answer cannot do without. Those of the pieces are added."""
    tokens_in: int | None = None
    """Of all that is sent, if counted."""
    tokens_out_max: int = 1024
    """The output limit of the call; a model with a lower one is sent its own."""
    tokens_out_min: int = 1
    """A model that cannot answer with so many is left out."""
    tokens_out: float | None = None
    """How long the answer is expected to be, where the caller knows it."""
    require: Mapping[str, str | Collection[str]] = field(default_factory=dict[str, "str | Collection[str]"])
    """Tags, and the values that are allowed: `{"residency": ("eu", "local")}`."""
    budget_nano: int | None = None
    """What is left of the tightest budget, in nano-dollars."""
    awaits: bool = False
    """Whether it waits for whoever is chosen: then those may be, too, who take no calls now."""
    wait_s_max: float = 30.0
    """How long to wait for a free place at most."""
    thoughts: Mapping[str, int] = field(default_factory=dict[str, int])
    """Tokens for thinking, on top of the answer's, of those who are asked for another number than is their own."""
    key: str | None = None
    """What a split sticks to: a user, a thread. It is hashed, never recorded."""
    conversation: Conversation = field(default_factory=Conversation)
    model: str | None = None
    """The only one that may answer."""
    pinned_by: str = CALLER
    """Who said so."""
    tried: Mapping[str, str] = field(default_factory=dict[str, str])
    """Who has failed already, and of what kind that was."""
    barred: Mapping[str, tuple[Stage, str]] = field(default_factory=dict[str, "tuple[Stage, str]"])
    """Whom the caller knows to be unable, at which stage, and why."""
    stage: int = 0
    """How often a cascade has climbed."""
    route: str | None = None
    after: str | None = None
    """The id of the decision whose choice failed."""
    because: str | None = None
    attempt: AttemptRef | None = None
    depth: int = 0


class Tariff(Protocol):
    """A price in whole nano-dollars per million tokens; None: as the plain input."""

    @property
    def per_million_in(self) -> int:
        """Plain input."""
        ...

    @property
    def per_million_out(self) -> int:
        """Output."""
        ...

    @property
    def per_million_cache_read(self) -> int | None:
        """Input that was in the prompt cache."""
        ...

    @property
    def per_million_cache_write(self) -> int | None:
        """Input that is put there."""
        ...


class Price(Tariff, Protocol):
    """A price, with what the call itself costs. `tiers` (tariffs with `above`, in tokens of input) may be there too."""

    @property
    def per_request(self) -> int:
        """Nano-dollars for the call itself."""
        ...


class Option(Protocol):
    """One that can be chosen: a model of the catalogue, or whatever describes itself like one."""

    @property
    def name(self) -> str:
        """Unique among the candidates."""
        ...

    @property
    def provider(self) -> str:
        """Who runs it."""
        ...

    @property
    def capabilities(self) -> Collection[str]:
        """Words such as `tools` and `vision`."""
        ...

    @property
    def window(self) -> int:
        """Tokens of request and answer together."""
        ...

    @property
    def max_output(self) -> int:
        """Tokens of an answer at most; 0 where it only embeds."""
        ...

    @property
    def price(self) -> Price | None:
        """None: not known."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """`residency`, `tier`, `owner`, or any other."""
        ...

    @property
    def quality(self) -> Mapping[str, float]:
        """Priors by kind of task, 0 to 1."""
        ...


class Condition(Protocol):
    """How a model is now, as `models.health` sees it. `ttft_s` and `tokens_per_s` may be there too."""

    @property
    def standing(self) -> str:
        """`open` (well), `probing`, `busy`, `paused`, `stalled`, `broken` or `shut`."""
        ...

    @property
    def reason(self) -> str:
        """What is in the way; empty when nothing is."""
        ...

    @property
    def free(self) -> int | None:
        """Places left; None: no limit."""
        ...

    @property
    def wait_s(self) -> float:
        """Until it may take a call; infinite: never."""
        ...

    @property
    def p95_s(self) -> float | None:
        """The latency that 95% of its calls stay under."""
        ...


class Embedder(Protocol):
    """Makes vectors of texts, in this process."""

    @property
    def name(self) -> str:
        """With its version: vectors of different names do not compare."""
        ...

    def embed(self, text: str) -> NDArray[np.float32]:
        """One row."""
        ...


class Predictor(Protocol):
    """What was learned: of quality (0 to 1), of tokens of output, or of latency in seconds."""

    @property
    def version(self) -> str:
        """Named in the record."""
        ...

    def predict(self, features: Features, models: Sequence[str]) -> tuple[Any, Any, Any]:
        """`(mean, sd, n)`, one float each per model: n observations stand behind it, 0 is a prior alone.

        Where a mean is NaN nothing is known, and the prior of the catalogue is taken.
        """
        ...


Quality = Predictor


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictors:
    """What has been learned so far; None: priors and prices speak."""

    quality: Predictor | None = None
    tokens_out: Predictor | None = None
    latency: Predictor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """A prediction for each of some candidates: arrays of one length."""

    mean: Vector
    """NaN: not known."""
    sd: Vector
    n: Vector
    source: str = "prior"


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What is expected of each of some candidates."""

    quality: Spread
    """0 to 1."""
    cost: Spread
    """USD."""
    latency: Spread
    """Seconds, the wait for a place included."""
    cached: Vector
    """Tokens of the input that its prompt cache is expected to hold."""
