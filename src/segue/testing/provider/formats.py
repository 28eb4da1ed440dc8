"""What a provider's format is to the server: how requests are read, how answers, errors and limits are written."""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from email.utils import formatdate
from typing import ClassVar, Literal, NamedTuple

from pydantic_core import to_json

from . import tokens
from .faults import FaultPlan, Trouble
from .http import Request
from .marks import Ids
from .meter import Over, Standing
from .served import Served
from .speech import Answer, Asked, Body, Refused, Usage, Wrong
from .spoiling import Frame

_TOLD: Mapping[Trouble, Literal["date", "own"]] = {
    Trouble.RATE_LIMITED_DATE: "date",
    Trouble.RATE_LIMITED_OWN: "own",
}


class Words(NamedTuple):
    """What a provider says of one trouble. `{model}`, `{window}`, `{used}` and `{wait}` are filled in."""

    why: Wrong
    message: str
    param: str | None = None
    code: str | None = None


class Format(ABC):
    """One format. Instances hold what the provider remembers between requests, where it remembers anything."""

    name: ClassVar[str]
    says: ClassVar[Mapping[Trouble, Words]]
    """Its words for each trouble of `faults.STATUS`."""
    embeds: ClassVar[bool] = False
    """Answers are vectors; there are no streams."""

    @abstractmethod
    def key(self, request: Request) -> str:
        """The API key of a request; empty where it has none.

        Raises:
            Refused: A header that the provider demands is missing.
        """

    @abstractmethod
    def model(self, request: Request, body: Body) -> str:
        """The model that a request names.

        Raises:
            Refused: It names none.
        """

    @abstractmethod
    def unkeyed(self, key: str) -> Refused:
        """The error for a key that is missing or wrong."""

    @abstractmethod
    def unknown(self, model: str) -> Refused:
        """The error for a model that is not served."""

    @abstractmethod
    def read(self, request: Request, body: Body, served: Served) -> Asked:
        """What is asked.

        Raises:
            Refused: The provider would not take the request.
        """

    @abstractmethod
    def whole(self, asked: Asked, said: Answer, usage: Usage | None, ids: Ids) -> Body:
        """The body of a plain answer."""

    @abstractmethod
    def frames(self, asked: Asked, said: Answer, usage: Usage | None, ids: Ids) -> list[Frame]:
        """The events of a streamed answer."""

    @abstractmethod
    def error(self, refused: Refused, ids: Ids) -> tuple[int, dict[str, str], Body]:
        """Status, headers and body of an error."""

    @abstractmethod
    def error_frame(self, ids: Ids) -> bytes:
        """The event by which a stream fails in its middle."""

    def request_id(self, ids: Ids) -> str:
        """The id that the headers of a response carry."""
        return ids.of("req_", length=32)

    @abstractmethod
    def headers(self, standing: Standing | None, ids: Ids) -> dict[str, str]:
        """The headers of every response."""

    @abstractmethod
    def too_much(self, over: Over, asked: Asked) -> Refused:
        """The error for a limit."""

    def unread(self) -> Refused:
        """The error for a body that is no JSON object."""
        return Refused(why=Wrong.BAD_REQUEST, message="The request body is not valid JSON.")

    def stream_type(self) -> str:
        """The content type of a stream."""
        return "text/event-stream; charset=utf-8"

    def blocked(self, asked: Asked, usage: Usage | None, ids: Ids) -> Body | None:
        """The body of a 200 that says that the prompt was blocked; None where that is an error."""
        return None

    def refusal(self, trouble: Trouble, asked: Asked, served: Served, plan: FaultPlan) -> Refused:
        """The error for a trouble of `faults.STATUS`."""
        words = self.says[trouble]
        used = max(served.window + 1, asked_tokens(asked))
        message = words.message.format(
            model=asked.model, window=served.window, used=used, wait=wait(plan.retry_after_s)
        )
        limited = words.why is Wrong.RATE_LIMITED
        return Refused(
            why=words.why,
            message=message,
            param=words.param,
            code=words.code,
            retry_after_s=plan.retry_after_s if limited else None,
            tell=_TOLD.get(trouble, "seconds"),
        )


def asked_tokens(asked: Asked) -> int:
    """Tokens of input: the system prompt, the turns, the tools, the schema, and what is no text."""
    tools = sum(tokens.count(tool.name) + tokens.count(json.dumps(tool.schema)) for tool in asked.tools)
    schema = tokens.count(json.dumps(asked.schema)) if asked.schema is not None else 0
    turns = sum(tokens.count(turn.text) for turn in asked.turns)
    return tokens.count(asked.system) + turns + tools + schema + asked.extra_tokens


def retry_after(refused: Refused) -> dict[str, str]:
    """The Retry-After of an error, in the form in which it is told; a date is rounded up, so never too early."""
    if refused.retry_after_s is None:
        return {}
    if refused.tell == "date":
        return {"retry-after": formatdate(math.ceil(time.time() + refused.retry_after_s), usegmt=True)}
    return {"retry-after": str(math.ceil(refused.retry_after_s))} if refused.tell == "seconds" else {}


def wait(seconds: float) -> str:
    """A time as Go writes it, which is how OpenAI does: `120ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text


def event(data: Body, name: str | None = None) -> bytes:
    """A server-sent event."""
    text = to_json(data)
    return b"event: %b\ndata: %b\n\n" % (name.encode(), text) if name else b"data: %b\n\n" % text
