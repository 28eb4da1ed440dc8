"""What was asked of the server and what came of it, one entry a request, in the order in which they came."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from .faults import Trouble
from .speech import Body


class Outcome(StrEnum):
    """What came of a request."""

    OPEN = "open"
    """It is under way."""
    ANSWERED = "answered"
    """A whole and right answer was sent."""
    SPOILT = "spoilt"
    """A fault was injected that makes it useless."""
    REJECTED = "rejected"
    """Refused for what it said."""
    LIMITED = "limited"
    """Refused for a limit."""
    ABANDONED = "abandoned"
    """The client went away before the end."""


@dataclass(slots=True)
class Entry:
    """One request. `id` is the one that its response carries as its header."""

    id: str
    at: float
    """Seconds of the server's clock."""
    format: str
    model: str
    """The name of the model; with a place, `place/model`."""
    place: str = ""
    key: str = ""
    """The API key."""
    prompt: str = ""
    """The text of the last user turn, or the texts to embed, one a line."""
    stream: bool = False
    headers: dict[str, str] = field(default_factory=dict[str, str])
    raw: bytes = b""
    """The body as it came."""
    outcome: Outcome = Outcome.OPEN
    trouble: Trouble | None = None
    """The fault that it met, in the form in which it met it."""
    status: int = 0
    """Of the response; 0 where none was sent."""
    error: str = ""
    """The message of the error that was sent."""
    answer: str = ""
    """The text of the answer, or its calls as JSON."""
    tokens_in: int = 0
    """Counted as input; 0 when it was refused."""
    tokens_out: int = 0
    """Counted as output: of a stream that was cut, what was sent."""
    ended: float = 0.0
    batch: str = ""
    """The batch that it came in."""

    @property
    def body(self) -> Body:
        """The body as JSON."""
        return json.loads(self.raw)

    def as_dict(self) -> Body:
        """As plain values, without headers and body."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name not in ("headers", "raw")}
        return {name: value for name, value in fields.items() if value not in ("", None)}


class Log:
    """The entries of a server."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Entry:
        return self.entries[index]

    def of(self, model: str) -> list[Entry]:
        """Those of one model."""
        return [entry for entry in self.entries if entry.model == model]

    def by_prompt(self, key: Callable[[Entry], str] = lambda entry: entry.prompt) -> dict[str, list[Entry]]:
        """The attempts of each prompt, or of whatever else `key` tells requests apart by."""
        groups: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            groups[key(entry)].append(entry)
        return dict(groups)

    def answered_twice(self, key: Callable[[Entry], str] = lambda entry: entry.prompt) -> dict[str, list[Entry]]:
        """The prompts that have more than one right and whole answer, with those answers."""
        good = {
            name: [entry for entry in entries if entry.outcome is Outcome.ANSWERED]
            for name, entries in self.by_prompt(key).items()
        }
        return {name: entries for name, entries in good.items() if len(entries) > 1}

    def clear(self) -> None:
        """Forget all entries."""
        self.entries.clear()
