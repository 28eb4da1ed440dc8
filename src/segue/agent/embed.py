"""`embed`: texts as vectors, from whichever model the route chooses, and always from one that compares.

Texts go in steps named `embed`, of at most 256 each. The first step settles the space; every retry and every later step
stays in it, whoever fails: vectors of two models never mix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, cast, overload

from pydantic import Field, TypeAdapter

from ..core.faults import Fault, FaultKind
from ..core.records import Decision
from ..core.recovery import Answer, Attempt
from ..errors import InputError
from ..routing import Policy as RoutingPolicy
from ..runtime.fan import gather
from ..runtime.scope import StepScope, here
from ..runtime.step import step
from .bounds import bounded
from .embedding import Embedding
from .gateway import Gateway, gateway
from .recovery import Policy, Recover
from .request import Question
from .vectors import Embedded, Packed, Texts, units
from .whom import Whom

__all__ = ["embed", "embedded", "embedding"]

_AT_ONCE = 4
"""Steps under way together."""


def _by_hand(value: object, texts: int | None = None) -> Packed:
    """Vectors that somebody has given in the place of a model's: one, or a list of them. Their space is not known.

    Raises ValueError for what is none, and where there is not one for each of the texts.
    """
    vectors = _VECTORS.validate_python(value)
    made = cast("list[list[float]]", vectors if isinstance(vectors[0], list) else [vectors])
    if not made[0] or len({len(one) for one in made}) != 1:
        raise ValueError("vectors are of one length, and not empty")
    if texts not in (None, len(made)):
        raise ValueError(f"{len(made)} given for {texts} texts")
    return Packed.of(made, model="", space="", tokens_in=0, cost_nano=None)


@step(name="embed", upcast=_by_hand)
async def embedded(texts: Texts) -> Packed:
    """The durable step of some texts. `embed` gives it its body."""
    raise InputError("this step is made by segue.embed", remedy="call segue.embed")


@overload
async def embed(texts: str, **options: Any) -> list[float]: ...
@overload
async def embed(texts: Sequence[str], **options: Any) -> list[list[float]]: ...
async def embed(texts: str | Sequence[str], **options: Any) -> Any:
    """One vector for each text, in their order; for one text its vector.

    Options: `route` or `model` (the cheapest that embeds, if none is given; `"hashed"` needs no weights and no
    provider), `like` (the space that they must lie in, see `embedding`), `require` (tags), `key`, `attempts`,
    `timeout_s` of one request. Journaled as steps `embed`, with usage. Raises VectorsDiffer where nobody makes vectors
    that compare with `like`, else the error of the last attempt.
    """
    if isinstance(texts, str):
        return (await embedding([texts], **options)).vectors[0]
    return (await embedding(texts, **options)).vectors


async def embedding(
    texts: Sequence[str],
    *,
    route: str | RoutingPolicy | None = None,
    model: str | None = None,
    like: str | Embedded | None = None,
    require: Mapping[str, str] | None = None,
    key: str | None = None,
    attempts: int | None = None,
    timeout_s: float = 60.0,
) -> Embedded:
    """As `embed`, with the space that the vectors lie in, who made them, and what they took.

    `like` is the `space` of vectors that these must compare with: those in your index. Empty texts are refused.
    """
    _check(texts, attempts, timeout_s)
    if not isinstance(like, str | Embedded | None):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise InputError("embed: like is a space, such as text-embedding-3-small@512, or what was embedded")
    policy = route if isinstance(route, RoutingPolicy) else None
    named = route.title if isinstance(route, RoutingPolicy) else route
    space = like.space if isinstance(like, Embedded) else like
    make = _Make(policy, attempts, timeout_s, like=bool(space))
    parts = list(units(texts))
    asked = [
        Texts(texts=part, route=named, model=model, space=space or None, require=dict(require or {})) for part in parts
    ]
    if not asked:
        return Embedded.of([])
    names = [key if len(asked) == 1 or key is None else f"{key}.{n}" for n in range(len(asked))]
    first = await make.step(asked[0], names[0])
    rest = [make.step(_within(first.space, one), name) for one, name in zip(asked[1:], names[1:], strict=True)]
    return Embedded.of([first, *(await gather(*rest, limit=_AT_ONCE) if rest else ())])


def _check(texts: Sequence[str], attempts: int | None, timeout_s: float) -> None:
    if not isinstance(texts, Sequence) or isinstance(texts, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(f"embed: a text or a list of texts was expected, not {type(texts).__name__}")
    for name, value in (("attempts", attempts), ("timeout_s", timeout_s)):
        bounded(name, value, of="embed")
    for at, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():  # pyright: ignore[reportUnnecessaryIsInstance]  users err
            raise InputError(f"embed: text {at} is {'empty' if text == '' else repr(text)[:40]}", remedy="leave it out")


def _within(space: str, texts: Texts) -> Texts:
    return Texts(texts=texts.texts, route=texts.route, model=texts.model, space=space or None, require=texts.require)


@dataclass(frozen=True, slots=True)
class _Make:
    """What the attempts are made with: the parts that are no JSON."""

    policy: RoutingPolicy | None
    attempts: int | None
    timeout_s: float
    like: bool
    """Whether the caller has said which vectors these must compare with."""

    async def step(self, texts: Texts, key: str | None) -> Packed:
        """One step's vectors."""
        retry = _Recovery(Policy(attempts=self.attempts, repairs=0), self._whom(texts))
        given = partial(_by_hand, texts=len(texts.texts))
        made = embedded.carried_out_by(self.attempt, retry, given, "list with one vector for each text")
        packed = await (made if key is None else made.using(key=key))(texts)
        if not packed.space and (given := len(packed.vectors())) != (wanted := len(texts.texts)):
            said = "1 vector was" if given == 1 else f"{given} vectors were"
            raise InputError(f"embed: {said} given for {wanted} texts", remedy="give one vector for each text")
        return packed

    async def attempt(self, texts: Texts) -> Packed:
        """The body of the step."""
        texts, scope = _TEXTS.validate_python(texts), here()
        make = Embedding(gateway(), self.policy, self.timeout_s, self.like)
        return await make(texts, scope if isinstance(scope, StepScope) else StepScope("", "embed", 1))

    def _whom(self, texts: Texts) -> Whom:
        """Whom to ask next, of those whose vectors compare."""

        def decide(
            at: Gateway, tried: Mapping[str, str], /, *, left_nano: int | None = None, awaits: bool = False
        ) -> Decision:  # fmt: skip
            return Embedding(at, self.policy, self.timeout_s, self.like).decide(
                texts, tried, None, left_nano, awaits=awaits
            )

        return Whom(Question(prompt=max(texts.texts, key=len), model=texts.model, max_tokens=1), decide)


@dataclass(frozen=True, slots=True)
class _Recovery:
    """That of a question, but for what only a question can have amended: a text is never cut, nothing is repaired."""

    policy: Policy
    whom: Whom

    def __call__(self, fault: Fault, history: Sequence[Attempt], luck: float) -> Answer:
        """As `core.recovery.Recovery`."""
        if fault.kind is FaultKind.BAD_OUTPUT:
            fault = fault._replace(kind=FaultKind.OVERLOADED)
        return Recover(self.policy, Question(prompt=""), self.whom, self.whom)(fault, history, luck)


_TEXTS = TypeAdapter(Texts)
_VECTORS = TypeAdapter(Annotated[list[float] | list[list[float]], Field(min_length=1)])
