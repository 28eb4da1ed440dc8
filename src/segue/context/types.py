"""What a context is made of: parts, the budget they are fitted to, and what came of it. Values only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b
from json import dumps
from typing import NamedTuple

from ..core.records import Fate, Json
from .errors import InvalidContext

HANDLE = 12
"""Characters of a hash that name a part to the model."""

__all__ = ["HANDLE", "Assembly", "Budget", "Context", "Kind", "Part", "Role", "Shown", "Target"]


class Role(StrEnum):
    """Whose turn a part is. What a tool or a document says is never the system's or the user's."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Kind(StrEnum):
    """What a part is, in the words of the manifest."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    FILE = "file"
    CALL = "tool call"
    RESULT = "tool result"
    THINKING = "thinking"
    SUMMARY = "summary"
    MEMORY = "memory"
    STATE = "state"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a context. It never changes: what is cut or summarised is another part that stands for it.

    Raises InvalidContext for a part that cannot be: a call or a result without its id.
    """

    role: Role
    kind: Kind = Kind.TEXT
    text: str = ""
    """What is read of it: text, a call's arguments as JSON, a tool's result."""
    tool: str | None = None
    call: str | None = None
    """The id of the tool call that it is, or that it answers."""
    turn: int | None = None
    """Of the thread."""
    pinned: bool = False
    """It stays, whatever the window."""
    asks: bool = False
    """It is the request that this context serves, and stays; where no part says so, the user's last one does."""
    bound: str | None = None
    """The model that alone can read it: sealed thinking, a native tool's items."""
    model: str | None = None
    """The model that wrote it."""
    key: str | None = None
    """The step that made it."""
    run: str | None = None
    source: str | None = None
    """What it was recalled from: a document, a memory, a turn."""
    relevance: float | None = None
    at: str | None = None
    """When it was said."""
    who: str | None = None
    """Who said it, where a thread has more than one user."""
    made_of: tuple[str, ...] = ()
    """The hashes of what it stands for: a summary's lineage."""
    data: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """What a provider needs beside the text: a signature; the `url` of an image or a sound."""
    tokens: int | None = None
    """Given, where the text does not tell: an image, a sound."""

    def __post_init__(self) -> None:
        """Hold what must be true."""
        if self.kind in (Kind.CALL, Kind.RESULT) and not self.call:
            raise InvalidContext(f"a {self.kind.value} without the id of its call", remedy="give Part(call=...)")
        if self.kind is Kind.CALL and self.role is not Role.ASSISTANT:
            raise InvalidContext("a tool call is the assistant's", remedy="give Part(role=Role.ASSISTANT)")
        if self.kind is Kind.RESULT and self.role is not Role.TOOL:
            raise InvalidContext("a tool's result has the role of a tool", remedy="give Part(role=Role.TOOL)")

    @classmethod
    def said(cls, role: Role, text: str, *, model: str | None = None, who: str | None = None) -> Part:
        """A text, as `Part(...)` makes it, in a fifth of the time: a long thread has thousands."""
        made = object.__new__(cls)
        made.__dict__.update(_SAID, role=role, text=text, model=model, who=who, data={})
        return made

    @cached_property
    def hash(self) -> str:
        """Of its content: the same words of the same one have the same hash, whenever they were said."""
        said = [self.role, self.kind, self.text, self.tool, self.call, self.who, self.bound, dict(self.data)]
        return blake2b(dumps(said, sort_keys=True, ensure_ascii=False).encode(), digest_size=16).hexdigest()

    @cached_property
    def same(self) -> str:
        """Of what it says alone: two calls of a tool that gave the same result, one document given twice."""
        said = [self.role, self.kind, self.text, self.tool, self.who, dict(self.data)]
        return blake2b(dumps(said, sort_keys=True, ensure_ascii=False).encode(), digest_size=16).hexdigest()


_SAID = {of.name: of.default for of in fields(Part) if of.default is not MISSING}


class Context:
    """An append-only list of parts. A branch of a run takes a copy, which costs nothing until it grows."""

    def __init__(self, parts: Iterable[Part] = ()):
        self._parts = list(parts)

    def add(self, *parts: Part) -> None:
        """Append."""
        self._parts += parts

    def merge(self, sent: Sequence[Part]) -> int:
        """Append what is new in a conversation that a client sends whole, or from somewhere on; how many that were.

        What it sends begins with the end of what is here, as long as can be. Where nothing overlaps, all is new.
        """
        here, there = [part.hash for part in self._parts], [part.hash for part in sent]
        longest = min(len(here), len(there))
        known = next((n for n in range(longest, 0, -1) if here[-n:] == there[:n]), 0)
        self._parts += sent[known:]
        return len(sent) - known

    @property
    def parts(self) -> Sequence[Part]:
        """All of them, in order."""
        return self._parts

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts)

    def part(self, hash: str) -> Part | None:
        """The part of this hash (or of a handle that begins it): how what was left out is recalled."""
        return next((part for part in reversed(self._parts) if part.hash.startswith(hash)), None) if hash else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What an input is fitted to. Tokens. Raises InvalidContext where nothing is left for the input."""

    window: int
    reserved_out: int
    """Kept free for the answer."""
    tools: int = 0
    """What the schemas of the tools take."""
    margin: int = 0
    """Kept free where the count is an estimate."""
    per_part: int = 4
    """What the format around a part takes at most."""
    results_kept: int = 3
    """The last so many tool results stay as they are, where older ones are cleared for room."""
    result_share: float = 0.25
    """A tool's result takes at most this share of the input; of a longer one its middle is cut."""
    step: float = 0.25
    """Old turns go in steps of this share of the input, so that the prefix is the same for many calls."""

    def __post_init__(self) -> None:
        """Hold what must be true."""
        counts = (self.window, self.reserved_out, self.tools, self.margin, self.per_part, self.results_kept)
        if min(counts) < 0 or not (0 < self.result_share <= 1 and 0 < self.step <= 1):
            raise InvalidContext("a budget has no negative count, and its shares are above 0 and at most 1")
        if self.input <= 0:
            raise InvalidContext(
                f"of {self.window} tokens nothing is left for the input: {self.reserved_out} are reserved for the "
                f"answer, {self.tools} are the tools', {self.margin} the margin",
                remedy="reserve less for the answer (max_tokens=), give fewer tools, or take a model with a larger "
                "window",
            )

    @property
    def input(self) -> int:
        """What the parts may take together."""
        return self.window - self.reserved_out - self.tools - self.margin


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Who will read it."""

    model: str
    provider: str = ""


class Shown(NamedTuple):
    """What became of one part. `part` is as it was; `as_` what is shown in its place."""

    part: Part
    tokens: int
    """Of the whole part, with the format around it."""
    fate: Fate
    why: str = ""
    as_: Part | None = None
    """What the model sees; None: nothing."""
    tokens_shown: int = 0
    into: str | None = None
    """The hash of the part that stands for it."""

    @property
    def recall(self) -> str | None:
        """The handle by which the model can have it back; None for what it sees whole."""
        return None if self.fate is Fate.KEPT else self.part.hash[:HANDLE]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assembly:
    """A context fitted to a budget. The same input gives the same assembly."""

    shown: tuple[Shown, ...]
    """Every part in its order, what was left out in its place."""
    budget: Budget
    target: Target
    exact: bool = True
    tokenizer: str = ""

    @property
    def parts(self) -> list[Part]:
        """What the model sees, in order."""
        return [one.as_ for one in self.shown if one.as_ is not None]

    @property
    def tokens(self) -> int:
        """Of the whole input: parts, the format around them, and tools."""
        return self.budget.tools + sum(one.tokens_shown for one in self.shown)

    @property
    def left_out(self) -> list[Shown]:
        """What the model does not see as it was."""
        return [one for one in self.shown if one.fate is not Fate.KEPT]
