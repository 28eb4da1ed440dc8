"""What is asked, and the checker that no client sees: an answer counts if it is the one that the model gave, whole."""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_TICKET = re.compile(r"\bT[a-z]+\d{6}\b")
_THINGS = ("printer", "invoice", "login", "parcel", "router", "refund", "update", "battery", "screen", "password")
_STATES = ("is broken", "never came", "came twice", "does not start", "is too slow", "was charged twice")
_TOPICS = ("billing", "delivery", "hardware", "account")


class Ask(NamedTuple):
    """One ask. The ticket is unique, and known again in prompts and answers."""

    ticket: str
    prompt: str
    schema: dict[str, Any]


class Wanted(BaseModel):
    """An answer, strictly."""

    model_config = ConfigDict(extra="forbid", strict=True)
    ticket: str
    topic: Literal["billing", "delivery", "hardware", "account"]
    amount: int = Field(ge=1, le=500)
    summary: str = Field(min_length=1)
    urgent: bool


def asks(count: int, series: str, seed: int = 7) -> list[Ask]:
    """So many asks, the same for the same seed. `series` is of small letters and keeps their tickets apart."""
    chance = random.Random(seed)
    return [_ask(f"T{series}{n:06}", chance) for n in range(count)]


def _ask(ticket: str, chance: random.Random) -> Ask:
    said = f"My {chance.choice(_THINGS)} {chance.choice(_STATES)} since {chance.randrange(2, 60)} days."
    prompt = f"Ticket {ticket}: {said} File it: topic, amount at stake, a summary, whether it is urgent."
    fields = {
        "ticket": {"type": "string", "const": ticket},
        "topic": {"type": "string", "enum": list(_TOPICS)},
        "amount": {"type": "integer", "minimum": 1, "maximum": 500},
        "summary": {"type": "string"},
        "urgent": {"type": "boolean"},
    }
    schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return Ask(ticket, prompt, schema)


Verdict = Literal["valid", "none", "empty", "cut", "wrong schema", "wrong answer"]


class Seen:
    """What the server's log says of each ticket."""

    def __init__(self, log: Iterable[Mapping[str, Any]]) -> None:
        """`log`: its entries, as `/-/log` gives them."""
        self.calls = Counter[str]()
        self.whole: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        """Right and whole answers that were sent."""
        for entry in log:
            ticket = _ticket_of(entry)
            self.calls[ticket] += 1
            if entry["outcome"] == "answered":
                self.whole[ticket].append(entry)

    def twice(self) -> int:
        """Tickets with more than one right and whole answer."""
        return sum(len(entries) > 1 for entries in self.whole.values())

    def given(self, ticket: str, text: str) -> Mapping[str, Any] | None:
        """The call whose answer this is."""
        value = _json(text)
        return next((e for e in self.whole.get(ticket, ()) if _json(e["answer"]) == value), None)


def _ticket_of(entry: Mapping[str, Any]) -> str:
    """By its prompt; by its answer where the prompt asks for a repair."""
    found = _TICKET.search(entry.get("prompt", "")) or _TICKET.search(entry.get("answer", ""))
    return found[0] if found else ""


def check(ask: Ask, text: str | None, seen: Seen) -> Verdict:
    """Whether an answer is one."""
    if text is None:
        return "none"
    if not text.strip():
        return "empty"
    if _json(text) is None:
        return "cut"
    try:
        fits = Wanted.model_validate_json(text).ticket == ask.ticket
    except ValidationError:
        fits = False
    if not fits:
        return "wrong schema"
    return "valid" if seen.given(ask.ticket, text) else "wrong answer"


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
