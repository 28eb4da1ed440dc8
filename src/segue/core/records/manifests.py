"""Manifests: what exactly a model was shown, what was left out, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import ClassVar

from ..events import EventType
from .attempts import Target
from .base import Part, Record, expect, record


class Fate(StrEnum):
    """What became of a part in one assembly."""

    KEPT = "kept"
    CUT = "cut"
    SUMMARISED = "summarised"
    DROPPED = "dropped"
    OTHER = "other"


@record
class ManifestPart(Part):
    """One part of the context. Parts stand in the order in which the model saw them, left-out ones in their place."""

    hash: str
    """Of its content, under which the journal has it."""
    role: str
    """`system`, `user`, `assistant`, `tool`."""
    tokens: int
    """Of the whole part, before it was cut."""
    fate: Fate
    why: str = ""
    """Why it was cut, summarised or dropped: `window`, `duplicate of …`, `old tool result`, `other provider`;
    `not read` of turns so far back that a question did not go to them: they are one entry, with no tokens."""
    kind: str = "text"
    """`text`, `image`, `audio`, `file`, `tool call`, `tool result`, `thinking`, `summary`, `memory`, `state`."""
    key: str | None = None
    """The step that made it; null for what the caller gave."""
    run: str | None = None
    """The run of that step, where it is another one."""
    model: str | None = None
    """The model that wrote it, for what only that provider can read."""
    source: str | None = None
    """What it was recalled from: a document, a memory, a turn."""
    pinned: bool = False
    tokens_shown: int | None = None
    """What was shown of a cut part; null: all of it where it was kept, nothing where it was not."""
    into: str | None = None
    """The hash of the part that stands for it: its summary, its shorter form."""
    made_of: tuple[str, ...] = ()
    """The hashes that this part was made of: a summary's lineage."""
    call: str | None = None
    """The tool call that it is, or that it answers."""
    recall: str | None = None
    """The handle by which the model can have it back."""
    turn: int | None = None
    """Of the thread."""
    who: str | None = None
    """Who said it, where a thread has more than one user or role. Since version 2."""
    relevance: float | None = None
    """By which it was recalled, 0 to 1."""

    @property
    def shown(self) -> int:
        """The tokens of it that the model saw."""
        if self.tokens_shown is not None:
            return self.tokens_shown
        return self.tokens if self.fate is Fate.KEPT else 0


@record
class Manifest(Record):
    """What one call was shown. The envelope's `key` is the call's."""

    type: ClassVar[EventType] = EventType.CONTEXT_ASSEMBLED
    version: ClassVar[int] = 2
    id: str
    """Unique in its run: a context that is shrunk is assembled again."""
    target: Target
    window: int
    """Tokens that the model takes, input and output together."""
    reserved_out: int
    """Tokens of the window kept free for the answer."""
    tokens: int
    """Of the whole input, as counted before sending: parts, tools and the format around them."""
    tokenizer: str
    parts: tuple[ManifestPart, ...]
    exact: bool = True
    """Whether the tokenizer is the model's own; an estimate has a `margin`."""
    margin: int = 0
    """Tokens kept free because the count is an estimate."""
    tokens_tools: int = 0
    """Of `tokens`: the tool schemas."""
    tokens_prefix: int = 0
    """The tokens from the start that are the same as in the call before, so that a prompt cache may hold them."""
    prefix: str | None = None
    """The hash of that start."""
    decision: str | None = None
    """The id of the decision whose choice it was fitted to."""
    thread: str | None = None
    turn: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict[str, str])
    """The named prompts in it, and the version of each."""
    after: str | None = None
    """The manifest that this one replaces: the model found that too long."""
    assembler: str | None = None
    """The version of the rules that fitted it."""

    def __post_init__(self) -> None:
        """What was shown fits beside what was reserved."""
        counts = (self.window, self.reserved_out, self.tokens, self.margin, self.tokens_tools, self.tokens_prefix)
        expect(min(counts) >= 0, "tokens", "no count is negative")
        expect(self.tokens + self.reserved_out + self.margin <= self.window, "window", "holds the input and the answer")
