"""The catalogue: which models there are, what each can do, what it costs and what it may be asked. Values only.

A model is described in Python, `Model(name="fast", provider="openai", ...)`, or in `segue.toml` (`models.toml` reads
it). Nothing of a provider is imported to describe it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from json import dumps
from typing import Any, TypeVar

from ..core.records import Json
from .catalogue import MODELS
from .errors import InvalidModel, UnknownModel
from .kinds import MAYBE_TEXT, MAYBE_WHOLE, NUMBER, TABLE, TEXT, WHOLE, WORDS, Kind, hold_kinds
from .reading import meant
from .settings import is_json, mistaken
from .tariff import FREE, Price, Tier, expect
from .thoughts import fixed_thoughts, thoughts

__all__ = [
    "FREE", "Capability", "Catalogue", "Deployment", "Limits", "Model", "Price", "Provider", "Tier", "local_models",
]  # fmt: skip

ANY = "any"
"""The kind of task that a quality counts for where no other one fits."""

_NAME = re.compile(r"[^\W_][\w.:/@+-]{0,99}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


class Capability(StrEnum):
    """What a model can do beside writing text for text."""

    TOOLS = "tools"
    JSON_SCHEMA = "json-schema"
    VISION = "vision"
    AUDIO = "audio"
    EMBEDDINGS = "embeddings"
    THINKING = "thinking"
    STREAMING = "streaming"
    DOCUMENTS = "documents"
    BATCH = "batch"
    """Its provider's batch API may be used for it."""


class Provider(StrEnum):
    """Whose API a model is called by."""

    OPENAI = "openai"
    OPENAI_RESPONSES = "openai-responses"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    BEDROCK = "bedrock"
    MISTRAL = "mistral"
    GROQ = "groq"
    OLLAMA = "ollama"
    OPENAI_COMPATIBLE = "openai-compatible"
    LOCAL = "local"


BATCHES = frozenset(
    {
        Provider.OPENAI, Provider.OPENAI_RESPONSES, Provider.OPENAI_COMPATIBLE, Provider.ANTHROPIC, Provider.GOOGLE,
        Provider.MISTRAL, Provider.GROQ,
    }
)  # fmt: skip
"""Whose batch API is spoken here."""
EMBEDS = frozenset(Provider) - {Provider.ANTHROPIC, Provider.GROQ, Provider.LOCAL}
"""Who has embeddings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What may be asked of a model or of one deployment. None: no limit is known."""

    rpm: int | None = None
    """Requests a minute."""
    tpm: int | None = None
    """Tokens a minute, input and output together."""
    concurrency: int | None = None
    """Requests at once."""

    def __post_init__(self) -> None:
        """Hold what must be true."""
        hold_kinds(self, dict.fromkeys(("rpm", "tpm", "concurrency"), MAYBE_WHOLE))
        for name in ("rpm", "tpm", "concurrency"):
            limit = getattr(self, name)
            expect(limit is None or limit >= 1, name, f"{limit} is too small: at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """One way to reach a model: an address, a key, a region."""

    name: str
    url: str | None = None
    """Where the API is; None: where the provider has it."""
    key_env: str | None = None
    """The environment variable with the key; None: the one that the provider's own library reads."""
    region: str | None = None
    weight: float = 1.0
    """Its share of the calls, relative to the others of its pool; 0: only when all others are out."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Hold what must be true."""
        hold_kinds(self, _OF_A_DEPLOYMENT)
        _named(self.name)
        _address(self.url, self.key_env)
        expect(not self.weight < 0, "weight", f"{self.weight} is negative: 0 is for when all others are out")
        expect(self.weight < float("inf"), "weight", f"{self.weight} is no finite number")


_LIMITS = Kind((Limits,), "limits were expected", "Limits(rpm=60)")
_ADDRESS = {"url": MAYBE_TEXT, "key_env": MAYBE_TEXT, "region": MAYBE_TEXT}
_OF_A_DEPLOYMENT: Mapping[str, Kind] = {"name": TEXT, **_ADDRESS, "weight": NUMBER, "limits": _LIMITS}
_OF_A_MODEL: Mapping[str, Kind] = {
    "name": TEXT, "id": TEXT, "capabilities": WORDS, "window": WHOLE, "max_output": WHOLE,
    "price": Kind((Price, type(None)), "a price was expected", "Price.dollars(0.5, 1.5)"), "limits": _LIMITS,
    "tags": Kind((Mapping,), "tags were expected", '{"residency": "eu"}', (str,)),
    "quality": Kind((Mapping,), "a number was expected, or one for each kind of task", '{"code": 0.6}', (int, float)),
    "deployments": Kind((tuple, list), "deployments were expected", '(Deployment(name="eu", url=...),)', (Deployment,)),
    **_ADDRESS, "settings": TABLE, "dimensions": MAYBE_WHOLE,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """One entry of the catalogue. Raises InvalidModel, which names the field, for what cannot be.

    `provider` and `capabilities` are also taken as their words, and a number as the quality for all kinds of task.
    """

    name: str
    provider: Provider
    id: str = ""
    """The provider's name of it; the model's own name if none is given."""
    capabilities: Set[Capability | str] = frozenset()
    window: int
    """Tokens of request and answer together."""
    max_output: int = 0
    """Tokens of an answer at most; 0 is for a model that only embeds."""
    price: Price | None = None
    """None: what genai-prices lists, once it is in a catalogue; None there: not known, and it cannot be asked under a
    budget. `Price.dollars(0, 0)` costs nothing."""
    limits: Limits = field(default_factory=Limits)
    """Of all its deployments together."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    """`residency`, `tier`, `owner`, or any other."""
    quality: Mapping[str, float] = field(default_factory=dict[str, float])
    """How good it is thought to be, 0 to 1, by kind of task; `any` counts for all other kinds."""
    deployments: tuple[Deployment, ...] = ()
    """A pool; empty: one deployment, from the three fields below."""
    url: str | None = None
    key_env: str | None = None
    region: str | None = None
    settings: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """What every call is sent with: `temperature`, `top_p`, `seed`, and the like."""
    dimensions: int | None = None
    """Of an embedding."""

    def __post_init__(self) -> None:
        """Words become what they stand for; hold what must be true."""
        try:
            self._settle()
        except InvalidModel as error:
            raise InvalidModel.at(error.field, error.says, of=self.name, remedy=error.remedy) from None

    def _settle(self) -> None:
        if NUMBER.fits(self.quality):
            object.__setattr__(self, "quality", {ANY: self.quality})
        hold_kinds(self, _OF_A_MODEL)
        _named(self.name)
        object.__setattr__(self, "deployments", tuple(self.deployments))
        object.__setattr__(self, "id", self.id or self.name)
        object.__setattr__(self, "provider", _word(Provider, self.provider, "provider"))
        able = frozenset(_word(Capability, word, "capabilities") for word in self.capabilities)
        object.__setattr__(self, "capabilities", able)
        self._expect_sizes()
        self._expect_reachable()
        for kind, value in self.quality.items():
            expect(0 <= value <= 1, f"quality.{kind}", f"{value} is not from 0 to 1")
        expect(is_json(self.settings), "settings", "plain JSON")
        wrong = mistaken(self.settings, local=self.provider is Provider.LOCAL)
        if wrong is not None:
            raise InvalidModel.at(f"settings.{wrong[0]}", wrong[1], remedy=f"one of {wrong[2]}" if wrong[2] else None)
        thinks = fixed_thoughts(self.provider, self.settings)
        says = f"a budget of {thinks} tokens for thinking leaves no room for an answer: it counts into max_output"
        expect(thinks < max(1, self.max_output), "settings", f"{says}, {self.max_output}")

    def __hash__(self) -> int:
        return hash((self.name, self.provider, self.id))

    def _expect_sizes(self) -> None:
        expect(not self.embeds or self.provider in EMBEDS, "capabilities", f"{self.provider} has no embeddings")
        expect(self.window >= 1, "window", f"{self.window} is too small: at least 1 token")
        least = 0 if self.embeds else 1
        fits, asked = least <= self.max_output <= self.window, "how many tokens an answer may have:"
        says = f"{self.max_output} is not" if self.max_output else asked
        expect(fits, "max_output", f"{says} from {least} to the window, {self.window}")
        expect(self.dimensions is None or self.dimensions >= 1, "dimensions", f"{self.dimensions}: at least 1")
        expect(
            self.dimensions is None or self.embeds, "dimensions", 'only for a model with the capability "embeddings"'
        )

    def _expect_reachable(self) -> None:
        _address(self.url, self.key_env)
        if self.provider is Provider.LOCAL:
            expect(self.id in MODELS, "id", f"a local model is one of {', '.join(MODELS)}")
            expect(
                self.window <= MODELS[self.id].window, "window", f"at most {MODELS[self.id].window}, as it was trained"
            )
            expect(not self.deployments, "deployments", "a local model runs in this process and has none")
        names = [deployment.name for deployment in self.deployments]
        for at, name in enumerate(names):
            expect(name not in names[:at], f"deployments.{at}.name", f"{name!r} is there twice")
        given = bool(self.url or self.key_env or self.region)
        expect(not (given and self.deployments), "deployments", "give url, key_env and region there, or none of them")
        if self.provider is Provider.OPENAI_COMPATIBLE:
            for at, deployment in enumerate(self.pool()):
                where = f"deployments.{at}.url" if self.deployments else "url"
                expect(deployment.url is not None, where, "an openai-compatible server needs its address")

    @property
    def embeds(self) -> bool:
        """Whether it embeds texts."""
        return Capability.EMBEDDINGS in self.capabilities

    def can(self, *capabilities: Capability | str) -> bool:
        """Whether it has all of these."""
        return set(capabilities) <= self.capabilities

    def in_batch(self) -> Model:
        """As it is in a batch: at the batch's price; and not able to, where its provider's batch API is not spoken."""
        price = None if self.price is None else self.price.in_batch()
        able = self.capabilities if self.provider in BATCHES else self.capabilities - {Capability.BATCH}
        return replace(self, price=price, capabilities=able)

    def output_limit(self, max_tokens: int, settings: Mapping[str, Any] | None = None) -> int:
        """The output limit that a call is sent with, where its answer may have `max_tokens`: thinking comes on top.

        `settings` are the call's own, which come before the model's.
        """
        thinks = thoughts(self.provider, {**self.settings, **(settings or {})})
        return min(max_tokens + thinks, self.max_output) if self.max_output else max_tokens + thinks

    @property
    def thoughts(self) -> int:
        """Tokens of its output limit that are for thinking, by its settings."""
        return thoughts(self.provider, self.settings)

    def pool(self) -> tuple[Deployment, ...]:
        """Its deployments; never empty. A model without a pool is one deployment with the model's name."""
        if self.deployments:
            return self.deployments
        return (Deployment(name=self.name, url=self.url, key_env=self.key_env, region=self.region),)

    def expected(self, kind: str = ANY) -> float | None:
        """How good it is thought to be at a kind of task; None: nobody said."""
        return self.quality.get(kind, self.quality.get(ANY))

    def body(self) -> dict[str, Any]:
        """As plain JSON, fields in their order. It holds no key: only the names of variables."""
        body = asdict(self)
        body["capabilities"] = sorted(self.capabilities)
        return body


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """All models by name, in the order in which they were given. A model without a price gets that of genai-prices,
    where it is listed, and costs nothing where it runs on one's own machine.

    Raises InvalidModel where a name is given twice.
    """

    models: Mapping[str, Model]
    source: str | None = None
    """The file that it was read from."""

    def __post_init__(self) -> None:
        """Give each model its price."""
        if any(model.price is None for model in self.models.values()):
            from .prices import priced  # noqa: PLC0415  it knows what is described here

            object.__setattr__(self, "models", dict(zip(self.models, priced(self.models.values()), strict=True)))

    @classmethod
    def of(cls, *models: Model) -> Catalogue:
        """Of these models. Raises InvalidModel where two have one name."""
        by_name: dict[str, Model] = {}
        for model in models:
            expect(model.name not in by_name, "name", f"two models are called {model.name!r}")
            by_name[model.name] = model
        return cls(models=by_name)

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> Catalogue:
        """What a file says; without `path` the one that SEGUE_CONFIG names, else segue.toml in this folder.

        Where there is no file, or none of models, the catalogue holds the local models. Raises ConfigError, which names
        file, line, key and what is allowed.
        """
        from .toml import load  # noqa: PLC0415  it reads what is described here

        return load(path)

    @cached_property
    def version(self) -> str:
        """A hash of the content: the same models, in whatever order, have the same one."""
        bodies = [self.models[name].body() for name in sorted(self.models)]
        return sha256(dumps(bodies, sort_keys=True).encode()).hexdigest()[:16]

    def get(self, name: str) -> Model:
        """The model of this name. Raises UnknownModel, naming those whose names are like it."""
        try:
            return self.models[name]
        except KeyError:
            guess = meant(name, self.models)
            says = f"no model is called {name!r}" + (f"; did you mean {guess}?" if guess else "")
            raise UnknownModel(says, remedy=_one_of(self.models)) from None

    def with_(self, *models: Model) -> Catalogue:
        """With these models too; one whose name is there takes its place."""
        return Catalogue(models={**self.models, **{m.name: m for m in models}}, source=self.source)

    def able(self, *capabilities: Capability | str) -> list[Model]:
        """The models that have all of these capabilities."""
        return [model for model in self if model.can(*capabilities)]

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models.values())

    def __len__(self) -> int:
        return len(self.models)

    def __contains__(self, name: object) -> bool:
        return name in self.models


def local_models() -> Catalogue:
    """What a catalogue holds where nobody wrote one: the models that run in this process."""
    able = frozenset({Capability.JSON_SCHEMA})
    return Catalogue.of(
        *(
            Model(
                name=one.name, provider=Provider.LOCAL, capabilities=able, window=one.window, price=FREE,
                max_output=one.window // 2, tags={"residency": "local"},
            )
            for one in MODELS.values()
        )
    )  # fmt: skip


def _one_of(known: Iterable[str]) -> str:
    names = list(known)
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"one of {shown}" if names else "the catalogue is empty"


W = TypeVar("W", bound=StrEnum)


def _word(kind: type[W], word: str, name: str) -> W:
    try:
        return kind(word)
    except ValueError:
        raise _unknown(kind, word, name) from None


def _unknown(kind: type[StrEnum], word: object, name: str) -> InvalidModel:
    guess = meant(str(word), kind)
    says = f"{word!r} is not known" + (f"; did you mean {guess}?" if guess else "")
    return InvalidModel.at(name, says, remedy=_one_of(kind))


def _named(name: str) -> None:
    says = "letters, digits and . _ - : / @ +, at most 100, beginning with a letter or digit"
    expect(_NAME.fullmatch(name) is not None, "name", f"{name!r} is no name: {says}")


def _address(url: str | None, key_env: str | None) -> None:
    """The key itself is not shown where somebody wrote it in place of its variable."""
    expect(url is None or re.match(r"https?://[^\s/]", url) is not None, "url", "begins with http:// or https://")
    named = key_env is None or _VARIABLE.fullmatch(key_env) is not None
    expect(named, "key_env", "the name of the environment variable that holds the key, never the key itself")
