"""What the desk works with. Money is whole cents of a euro."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel

Topic = Literal["card", "payment", "cash", "transfer", "top_up", "fees", "account", "security"]
Language = Literal["en", "de", "es", "fr"]
TOPICS: tuple[Topic, ...] = get_args(Topic)

DATA = Path(__file__).parent / "data"


class Ticket(BaseModel, frozen=True):
    """One message of a customer. `label` is the right topic where somebody has said it; the desk never looks at it."""

    id: str
    text: str
    customer: str = ""
    attachment: str = ""
    kind: str = "plain"
    label: str = ""

    @property
    def payment(self) -> str | None:
        """The number of the payment that it names."""
        found = re.search(r"\bP-\d{4}\b", self.text)
        return found.group() if found else None


class Customer(BaseModel, frozen=True):
    id: str
    name: str
    flagged: bool = False

    @property
    def first_name(self) -> str:
        return self.name.split()[0]


class Payment(BaseModel, frozen=True):
    """A payment. `owed_cents` is what Larch's rules give back for its `problem`."""

    id: str
    customer: str
    cents: int
    what: str
    day: str
    status: str
    problem: str = ""
    owed_cents: int = 0


class Triage(BaseModel, frozen=True):
    """What a ticket is about, and how sure that is: `agreed`, `outvoted` or `unsure`."""

    topic: Topic
    how: Literal["agreed", "outvoted", "unsure"]
    votes: dict[str, str]


class Facts(BaseModel, frozen=True):
    customer: Customer
    payment: Payment | None
    policy: dict[Language, str]


class Claim(BaseModel, frozen=True):
    """What is to be paid back, and who has to agree."""

    cents: int = 0
    why: str = ""
    needs_approval: bool = False


class Usage(BaseModel, frozen=True):
    calls: int = 0
    turned_down: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    asked: dict[str, int] = {}
    """How often each model was."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls + other.calls,
            turned_down=self.turned_down + other.turned_down,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            asked=dict(Counter(self.asked) + Counter(other.asked)),
        )


class Reply(BaseModel, frozen=True):
    """The reply. `by` is the model's name, or `template` when no draft of the model passed the checks."""

    text: str
    by: str
    mistakes: list[str] = []


class Resolution(BaseModel, frozen=True):
    ticket: str
    topic: Topic
    how: str
    language: Language
    reply: Reply
    usage: Usage
    paid_cents: int = 0
    decision: str = ""
    label: str = ""


def euros(cents: int) -> str:
    """`4120` as `41.20 EUR`."""
    return f"{cents / 100:.2f} EUR"


@cache
def table(name: str) -> Any:
    """One file of `data/`. Not for flows: reading is for steps, and for constants at import."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
