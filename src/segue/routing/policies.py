"""The policies: what may be wanted of a route. Values only; `plans` carries them out.

Policies hold others where they are made of others: the arms of a split, what is shadowed or hedged, where an example
leads. All raise InvalidPolicy, naming the field, for what cannot be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import StrEnum
from hashlib import blake2b
from json import dumps
from typing import Any, ClassVar, Literal, cast

from ..core.modules import real_name
from ..core.records import Json
from .errors import expect
from .kinds import hold_kinds

__all__ = [
    "POLICIES", "Affinity", "Arm", "Best", "Cascade", "Cheapest", "Example", "Examples", "Explore", "Fastest",
    "Function", "Goal", "Hedge", "Pinned", "Policy", "Ranked", "Rescue", "Shadow", "Split", "Weighted",
]  # fmt: skip

_INFINITE = float("inf")
HOLD_MS_MAX = 60_000

Rescue = Literal["fail", "continue"]


class Goal(StrEnum):
    """What is wanted most."""

    CHEAPEST = "cheapest"
    BEST = "best"
    FASTEST = "fastest"
    WEIGHTED = "weighted"


class Affinity(StrEnum):
    """What draws a conversation to the model that it was with.

    `cache`: that its prompt cache makes it cheaper. `session`: it stays as long as that model is eligible and keeps the
    bounds.
    """

    CACHE = "cache"
    SESSION = "session"


@dataclass(frozen=True, kw_only=True, slots=True)
class Explore:
    """The share of the traffic that goes to others than the one that seems best, so that they are learned about.

    Within these bounds Thompson sampling sets it: it is high where little is known. Bounds on cost and latency hold for
    what is explored too, one on quality does not: only what is tried is learned. A ceiling of 0 makes a policy
    deterministic.
    """

    floor: float = 0.02
    """At least, spread evenly."""
    ceiling: float = 0.1
    """At most."""

    def __post_init__(self) -> None:
        """Hold what must be true."""
        expect(0.0 <= self.floor < 1.0, "explore.floor", "from 0 to below 1")
        expect(self.floor <= self.ceiling <= 1.0, "explore.ceiling", "from the floor to 1")


NEVER = Explore(floor=0.0, ceiling=0.0)
"""No exploration."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Policy:
    """What all policies have."""

    kind: ClassVar[str] = ""
    name: str = ""
    """The route's; the kind of policy if none is given."""
    among: tuple[str, ...] = ()
    """The only ones that may answer; empty: all."""
    require: Mapping[str, str | Collection[str]] = field(default_factory=dict[str, "str | Collection[str]"])
    """Tags, and the values that are allowed: `{"residency": "eu"}`."""
    hold_ms: int = 0
    """How long the first bytes of a stream are held back from a consumer that cannot be told to forget them."""
    rescue: Rescue = "fail"
    """What follows when a stream breaks off after such a consumer has had some of it: it fails, or another model is
    given the text so far to `continue`; never within JSON or a tool call."""

    def __post_init__(self) -> None:
        """Hold what must be true."""
        hold_kinds(self)
        expect(0 <= self.hold_ms <= HOLD_MS_MAX, "hold_ms", f"from 0 to {HOLD_MS_MAX}")
        expect(self.rescue in ("fail", "continue"), "rescue", "fail or continue")

    @property
    def title(self) -> str:
        """What it is called in a record."""
        return self.name or self.kind

    def parts(self) -> Iterator[Policy]:
        """The policies that this one is made of."""
        return iter(())

    def within(self) -> Iterator[Policy]:
        """It, and all that it is made of."""
        yield self
        for part in self.parts():
            yield from part.within()

    def compares(self) -> bool:
        """Whether it goes by examples somewhere: requests must be embedded for it."""
        return any(isinstance(one, Examples) for one in self.within())

    def reads(self) -> bool:
        """Whether it looks at the text itself: by examples, or by a function."""
        return any(isinstance(one, Examples | Function) for one in self.within())

    def body(self) -> dict[str, Json]:
        """As plain JSON, without what has its default: what is recorded, and hashed."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "name" and not _is_default(self, f)}
        return {"kind": self.kind, **{name: _plain(value) for name, value in given.items()}}

    def version(self) -> str:
        """A hash of all that it says."""
        return blake2b(dumps(self.body(), sort_keys=True).encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ranked(Policy):
    """One objective under bounds: the base of the four that learn."""

    goal: ClassVar[Goal]
    quality_min: float = 0.0
    """The quality that is wanted, 0 to 1. Soft: where nobody reaches it, the best there is comes first."""
    strict: bool = False
    """Whether a quality below it excludes."""
    caution: float = 0.0
    """So many standard deviations are taken off a predicted quality before it counts."""
    cost_usd_max: float | None = None
    """Who is expected to cost more is excluded."""
    latency_s_max: float | None = None
    """Who is expected to take longer is excluded."""
    explore: Explore = field(default_factory=Explore)
    affinity: Affinity = Affinity.CACHE

    def __post_init__(self) -> None:
        """Hold what must be true."""
        Policy.__post_init__(self)
        expect(0.0 <= self.quality_min <= 1.0, "quality_min", "from 0 to 1")
        expect(0.0 <= self.caution < _INFINITE, "caution", "not negative")
        for name in ("cost_usd_max", "latency_s_max"):
            value = getattr(self, name)
            expect(value is None or 0.0 <= value < _INFINITE, name, "not negative")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Cheapest(Ranked):
    """The cheapest one whose quality is at least `quality_min`."""

    kind: ClassVar[str] = "cheapest"
    goal: ClassVar[Goal] = Goal.CHEAPEST


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Best(Ranked):
    """The best one that costs at most `cost_usd_max`."""

    kind: ClassVar[str] = "best"
    goal: ClassVar[Goal] = Goal.BEST


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fastest(Ranked):
    """The fastest one whose quality is at least `quality_min`."""

    kind: ClassVar[str] = "fastest"
    goal: ClassVar[Goal] = Goal.FASTEST


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Weighted(Ranked):
    """The one with the most of `per_quality * quality - per_usd * cost - per_s * latency`.

    The weights are absolute: who else is there does not change how two compare.
    """

    kind: ClassVar[str] = "weighted"
    goal: ClassVar[Goal] = Goal.WEIGHTED
    per_quality: float = 1.0
    per_usd: float = 0.0
    """What a dollar is worth in quality: 10 gives up a tenth of the quality for a cent."""
    per_s: float = 0.0
    """What a second is worth."""

    def __post_init__(self) -> None:
        """Hold what must be true."""
        Ranked.__post_init__(self)
        for name in ("per_quality", "per_usd", "per_s"):
            expect(0.0 <= getattr(self, name) < _INFINITE, name, "not negative")
        expect(self.per_quality + self.per_usd + self.per_s > 0.0, "per_quality", "one of the weights is more than 0")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Cascade(Policy):
    """Cheap first; what a check turns down climbs to the next step."""

    kind: ClassVar[str] = "cascade"
    steps: tuple[str, ...] = ()
    """From the cheapest up; empty: those that are better than all cheaper ones."""
    steps_max: int = 3
    """Of a cascade that names no steps."""
    skip: bool = True
    """Whether to begin higher where answers to such requests have shown that the cheaper step does not pay."""
    explore: Explore = NEVER
    """How often to begin on another step than the expected one."""

    def __post_init__(self) -> None:
        """Hold what must be true."""
        Policy.__post_init__(self)
        expect(self.steps_max >= 1, "steps_max", "at least 1")
        expect(len(set(self.steps)) == len(self.steps), "steps", "each at most once")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Arm:
    """One arm of a split."""

    name: str
    policy: Policy
    share: float
    """Of the traffic, relative to the other arms."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Split(Policy):
    """Traffic divided between policies; what has one key (a user, a thread) always falls into the same arm.

    An A/B test is a split with two arms.
    """

    kind: ClassVar[str] = "split"
    arms: tuple[Arm, ...]
    salt: str = ""
    """Another one deals the keys anew; by default the route's name."""

    def __post_init__(self) -> None:
        """Hold what must be true."""
        Policy.__post_init__(self)
        names = [arm.name for arm in self.arms]
        expect(bool(names), "arms", "at least one")
        expect(len(set(names)) == len(names), "arms", "each name once")
        expect(all(0.0 <= arm.share < _INFINITE for arm in self.arms), "arms", "a share is not negative")
        expect(sum(arm.share for arm in self.arms) > 0.0, "arms", "one has a share of more than 0")

    def parts(self) -> Iterator[Policy]:
        """The policies of its arms."""
        return (arm.policy for arm in self.arms)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shadow(Policy):
    """As another policy; beside it others answer too, which nobody is shown."""

    kind: ClassVar[str] = "shadow"
    of: Policy
    shadows: tuple[str, ...]
    """Who answers on the side, if eligible."""
    share: float = 1.0
    """Of the calls that are shadowed."""

    def __post_init__(self) -> None:
        """Hold what must be true."""
        Policy.__post_init__(self)
        expect(bool(self.shadows), "shadows", "at least one model")
        expect(0.0 <= self.share <= 1.0, "share", "from 0 to 1")

    def parts(self) -> Iterator[Policy]:
        """What is shadowed."""
        yield self.of


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Hedge(Policy):
    """As another policy; if no answer has come after a while, the next one is asked too, and the first answer wins."""

    kind: ClassVar[str] = "hedge"
    of: Policy
    after_s: float | None = None
    """None: the latency that 95% of the chosen model's calls stay under."""

    def __post_init__(self) -> None:
        """Hold what must be true."""
        Policy.__post_init__(self)
        expect(self.after_s is None or 0.0 < self.after_s < _INFINITE, "after_s", "more than 0")

    def parts(self) -> Iterator[Policy]:
        """What is hedged."""
        yield self.of


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pinned(Policy):
    """One model, and no other; where it is not eligible, as `otherwise` says, if it does."""

    kind: ClassVar[str] = "pinned"
    model: str
    otherwise: Policy | None = None

    def __post_init__(self) -> None:
        """Hold what must be true."""
        Policy.__post_init__(self)
        expect(bool(self.model), "model", "the name of a model")

    def parts(self) -> Iterator[Policy]:
        """What is done without it."""
        return iter(() if self.otherwise is None else (self.otherwise,))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Example:
    """Requests like this text go there."""

    text: str
    use: Policy


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Examples(Policy):
    """A request goes where the example goes that is most like it."""

    kind: ClassVar[str] = "examples"
    examples: tuple[Example, ...]
    otherwise: Policy
    """For a request that is like none, or whose example names a model that cannot answer."""
    similarity_min: float = 0.5
    """The least cosine of the two embeddings, -1 to 1."""

    def __post_init__(self) -> None:
        """Hold what must be true."""
        Policy.__post_init__(self)
        expect(bool(self.examples), "examples", "at least one")
        expect(all(one.text.strip() for one in self.examples), "examples", "none of them is empty")
        expect(-1.0 <= self.similarity_min <= 1.0, "similarity_min", "from -1 to 1")

    def parts(self) -> Iterator[Policy]:
        """Where the examples lead, and where what is like none goes."""
        return iter((*(example.use for example in self.examples), self.otherwise))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Function(Policy):
    """A function of yours chooses: `(request, features, candidates) -> name | names | {name: weight}`.

    It gets a `Request`, its `Features` and as `Considered` all who are able, also who cannot answer just now. Names in
    a list are in the order of the fallback, weights a distribution; after one name it is asked again.
    """

    kind: ClassVar[str] = "function"
    function: str | Callable[..., Any]
    """`module:name`, or the function itself."""

    def __post_init__(self) -> None:
        """Hold what must be true."""
        Policy.__post_init__(self)
        named = not isinstance(self.function, str) or all(self.function.partition(":")[::2])
        expect(named, "function", f"{self.function!r} is not of the form module:name")


POLICIES: Mapping[str, type[Policy]] = {
    kind.kind: kind
    for kind in (Cheapest, Best, Fastest, Weighted, Cascade, Split, Shadow, Hedge, Pinned, Examples, Function)
}
"""All kinds by name."""


def _is_default(policy: Policy, of: Field[Any]) -> bool:
    default = of.default if of.default_factory is MISSING else of.default_factory()
    return getattr(policy, of.name) == default


def _plain(value: object) -> Json:
    """A field as JSON: policies within by what they say."""
    said: Any = value.value if isinstance(value, StrEnum) else value
    if isinstance(value, Policy):
        said = {**({"name": value.name} if value.name else {}), **value.body()}
    elif isinstance(value, Explore | Arm | Example):
        said = {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    elif isinstance(value, Mapping):
        said = {str(k): _plain(v) for k, v in cast("Mapping[object, object]", value).items()}
    elif isinstance(value, frozenset | set):
        said = sorted(map(str, cast("frozenset[object]", value)))
    elif isinstance(value, list | tuple):
        said = [_plain(one) for one in cast("list[object]", value)]
    elif callable(value):
        said = f"{real_name(getattr(value, '__module__', '?'))}:{getattr(value, '__qualname__', '?')}"
    return cast("Json", said)
