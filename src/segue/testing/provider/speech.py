"""What is asked and answered, free of any provider's format: each format reads into this and writes from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from . import tokens

Json: TypeAlias = Any
"""A value that JSON can carry."""
Body: TypeAlias = dict[str, Json]
"""A JSON object."""


def object_of(value: Json) -> Body:
    """A value where it is a JSON object, else an empty one."""
    return cast("Body", value) if isinstance(value, dict) else {}


class Tool(NamedTuple):
    """A function that the model may call. `schema` is the JSON schema of its arguments."""

    name: str
    schema: Mapping[str, Json]


class Call(NamedTuple):
    """A call of a tool. `arguments` is JSON text as the model wrote it: a fault may have cut it."""

    name: str
    arguments: str
    id: str = ""


class Turn(NamedTuple):
    """One turn of a conversation; a tool's result is a turn with the role `tool`."""

    role: Literal["user", "assistant", "tool"]
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One request for text, as every format means it. `must_call` names a tool, or is `*` for any of them."""

    model: str
    body: Body
    system: str = ""
    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    schema: Mapping[str, Json] | None = None
    json: bool = False
    """An answer in JSON is wanted; `schema` says which, where it is given."""
    must_call: str | None = None
    max_tokens: int = 1 << 30
    stop: tuple[str, ...] = ()
    stream: bool = False
    thinking: bool = False
    """Thoughts are wanted, in the form that the provider gives them."""
    extra_tokens: int = 0
    """Tokens of parts that are no text: images, audio, documents."""
    mistral: bool = False
    """Answered as Mistral does: ids of calls have nine letters or digits, a stream's last chunk has the usage."""
    dimensions: int = 0
    """Of the embeddings that are wanted."""

    @property
    def prompt(self) -> str:
        """The text of the last user turn."""
        return next((turn.text for turn in reversed(self.turns) if turn.role == "user"), "")


class Finish(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOLS = "tools"
    FILTER = "filter"
    """The provider's filter cut it."""
    REFUSAL = "refusal"
    """The model declined."""
    MALFORMED_CALL = "malformed call"
    """A call that the provider itself could not read. Only Google says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the model says. A refusal's words are its `text`."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    thoughts: str = ""
    finish: Finish = Finish.STOP

    @property
    def tokens(self) -> int:
        """What a provider counts as output: thoughts, text, and the names and arguments of calls."""
        return (
            tokens.count(self.thoughts)
            + tokens.count(self.text)
            + sum(tokens.count(call.name) + tokens.count(call.arguments) for call in self.calls)
        )


class Usage(NamedTuple):
    """Tokens of one answer. `cached` is a part of `tokens_in`, `thoughts` a part of `tokens_out`."""

    tokens_in: int
    tokens_out: int
    cached: int = 0
    thoughts: int = 0


class Wrong(StrEnum):
    """What a request is refused for, by the status that it gets."""

    BAD_REQUEST = "bad request"
    NO_KEY = "no key"
    BAD_KEY = "bad key"
    FORBIDDEN = "forbidden"
    BILLING = "billing"
    NO_MODEL = "no model"
    NOT_FOUND = "not found"
    TOO_LARGE = "too large"
    RATE_LIMITED = "rate limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server error"


@dataclass(kw_only=True)
class Refused(Exception):
    """A request is answered with an error. Each format turns it into its own status, body and headers."""

    why: Wrong
    message: str
    param: str | None = None
    code: str | None = None
    retry_after_s: float | None = None
    """When to come again, in seconds from now; for RATE_LIMITED and OVERLOADED."""
    tell: Literal["seconds", "date", "own", "nothing"] = "seconds"
    """How it is told: a Retry-After of seconds or a date, only the provider's own headers or details, or not."""
    details: list[Body] = field(default_factory=list[Body])
    mistral: str | None = None
    """The type of the error, where it has Mistral's form."""

    def __str__(self) -> str:
        return self.message


Answerer: TypeAlias = "Callable[[Asked], str | Answer | None]"
"""A test's own model: the answer to a request, or None for the default answer."""
