"""Turns of threads as they are read: each is an outcome, which never changes, so a process reads it once.

A message keeps the parts that it is made of, and a part its counts: what a second question of a thread costs is the
fitting, and not the reading.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from ..context import Kind, Part, estimate
from ..context.fitting import counts
from .given import Shows, places
from .resent import Span, Words, spans
from .turns import Told, told

if TYPE_CHECKING:
    from ..journal import Outcome

__all__ = ["CLEARED", "MOST", "Past", "Turn", "said_before", "turn_of"]

MOST = 4_000_000
"""Tokens of turns that a process keeps, about 30 MB."""
CLEARED = 32
"""Tokens of a result that was cleared, about."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: what was asked, what tools gave, the answer."""

    messages: tuple[Told, ...]
    tokens: int
    """About: as `estimate` counts."""
    least: int
    """What it takes where the results of its tools are cleared."""
    first: int = 0
    """Which message is the question: those before it are what a client says was said before."""
    spans: tuple[Span, ...] = ()
    """Where in it the prompt stands, and what was given beside it."""

    @property
    def asked(self) -> Iterator[Words]:
        """What the user said, as a client may send it again, the first first."""
        for message in self.messages[: self.first]:
            if message["kind"] == "request":
                yield Words.of(message.parts[0].text)
        if self.spans:
            yield Words(self.messages[self.first].parts[0].text, self.spans)

    @property
    def parts(self) -> Iterator[Part]:
        """What it is made of."""
        return (part for message in self.messages for part in message.parts)

    def once(self, shows: Shows) -> Turn:
        """With notes for the documents that are shown elsewhere."""
        messages = tuple(map(shows.told, self.messages))
        saved = sum(_size(a) - _size(b) for a, b in zip(self.messages, messages, strict=True) if a is not b)
        return Turn(messages, self.tokens - saved, self.least - saved) if saved else self

    def read_as(self, once: Turn) -> int:
        """What reading it counts for, where it is shown like this."""
        return once.tokens + (self.tokens - once.tokens) // _UNSHOWN


def _size(message: Told) -> int:
    return sum(counts(message.parts, estimate(), 4))


_UNSHOWN = 8
"""What is read and not shown counts for so much less: it takes a while, but no room."""


@dataclass(slots=True)
class Past:
    """The turns that were read last."""

    most: int = MOST
    _kept: OrderedDict[tuple[int, int], Turn] = field(default_factory=OrderedDict[tuple[int, int], Turn])
    _tokens: int = 0

    def turn(self, said: Outcome) -> Turn:
        """The turn that is this outcome."""
        name = (said.run, said.seq)
        found = self._kept.get(name)
        if found is not None:
            self._kept.move_to_end(name)
            return found
        args = from_json(said.args or b"{}")
        messages = told(turn_of(args, from_json(said.value or b"null")))
        count = estimate()
        tokens = least = 0
        for message in messages:
            for part in message.parts:
                size = count(part.text) + 4
                tokens += size
                least += size if part.kind is not Kind.RESULT else min(size, CLEARED)
        made = self._kept[name] = Turn(tuple(messages), tokens, least, *_asked(args))
        self._tokens += tokens
        while self._tokens > self.most and len(self._kept) > 1:
            self._tokens -= self._kept.popitem(last=False)[1].tokens
        return made

    def forget(self) -> None:
        """Read all anew."""
        self._kept.clear()
        self._tokens = 0


def said_before(messages: Iterable[Mapping[str, str]]) -> Iterator[dict[str, Any]]:
    """What a client sends, as messages of pydantic-ai."""
    for one in messages:
        if one["role"] == "user":
            yield {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": one["content"]}]}
        else:
            yield {"kind": "response", "parts": [{"part_kind": "text", "content": one["content"]}]}


def turn_of(args: dict[str, Any], given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One turn as messages: what was asked, what tools gave, and the answer."""
    from ..models.conversation import MAKER  # noqa: PLC0415  heavy, and only who asks needs it

    question: dict[str, Any] = args["question"]
    yield from said_before(question.get("before", ()))
    parts, seen = question.get("parts", ()), _seen(args)
    by, role = question.get("asked_by", ""), question.get("role", "")
    prompt = spoken(question["prompt"], by)
    known = ({MAKER: {"who": by}} if by else {}) | places(prompt, parts)
    asked_by = {"metadata": known} if known else {}
    asked = "\n".join([prompt, *parts, *seen])
    yield {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": asked}], **asked_by}
    yield from args.get("turns", ())
    tried: list[dict[str, Any]] = given["tried"]
    last: dict[str, Any] = tried[-1] if tried else {}
    said = last.get("text") or json.dumps(given["value"], ensure_ascii=False)
    made = {"model": last["model"], "deployment": None} if last.get("model") else {}
    made |= {"who": role} if role else {}
    maker = {"metadata": {MAKER: made}} if made else {}
    yield {"kind": "response", "parts": [{"part_kind": "text", "content": spoken(said, role)}], **maker}


def _asked(args: dict[str, Any]) -> tuple[int, tuple[Span, ...]]:
    """Of a turn: which message is the question, and where in it the prompt stands and what was given beside it."""
    question: dict[str, Any] = args["question"]
    prompt = spoken(question["prompt"], question.get("asked_by", ""))
    beside = [*question.get("parts", ()), *_seen(args)]
    return len(question.get("before", ())), spans(prompt, beside, len(prompt) - len(question["prompt"]))


def _seen(args: dict[str, Any]) -> list[str]:
    return [f"({one['type']} was shown)" for one in args.get("media", ())]


def spoken(text: str, who: str) -> str:
    """What somebody said, as others read it: under their name, where there is more than one."""
    return f"[{who}] {text}" if who else text
