"""What is known of a question that waits for a batch: it stands in the fault of the attempt that queued it.

Such an attempt has ended; the one after it reads what came. So the attempts' history says where a question stands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any, cast

from ...core.faults import Fault, FaultKind
from ...core.records import Reservation
from ...core.recovery import Attempt, Told
from ...errors import SegueError

__all__ = [
    "BATCH", "Queued", "Ticket", "Unqueued", "Unread", "answer_in", "is_unread", "left_by", "request_id",
    "since_left", "ticket_of", "unread", "waiting",
]  # fmt: skip

BATCH = "segue:batch"
"""Whom the answers that come by a batch are said to be from."""
_TICKET = "ticket"
_UNREAD, _LEFT_BY = "unread", "left_by"


class Queued(SegueError):
    """The question waits for a batch. Nobody sees it but the Recovery of the question."""

    code = "queued"
    fault_kind = FaultKind.INTERRUPTED
    ticket: str = ""


class Unread(SegueError):
    """An answer has come that this process cannot read: it does not know the model. It stays for one that does."""

    code = "unread"
    fault_kind = FaultKind.UNREACHABLE

    @classmethod
    def of(cls, model: str) -> Unread:
        """The error of an attempt that has called nobody."""
        error = cls(
            f"{model} was asked by a batch, and is not in the catalogue of this process: its answer stays unread",
            remedy=f"go on with the run where segue.toml has [models.{model}], or resources= a catalogue with it",
        )
        vars(error).update({_UNREAD: 1, "unsent": True})
        return error


class Unqueued(SegueError):
    """A question cannot be queued by this process: it has not the model, or the key. Its run stays for one that has."""

    code = "unqueued"
    fault_kind = FaultKind.UNREACHABLE

    @classmethod
    def of(cls, why: SegueError, by: str) -> Unqueued:
        """The error of an attempt that has called nobody; `by` names the engine."""
        error = cls(f"{why.message}: the question is left to a process that has it", remedy=why.remedy)
        vars(error).update({_UNREAD: 1, _LEFT_BY: by, "unsent": True})
        return error


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """A queued request: whom it is for, since when it waits and until when it may, and what was set aside for it."""

    id: str
    model: str
    provider: str
    deployment: str
    decision: str
    queued_at: float
    due_at: float
    """Seconds since the epoch, UTC: the question waits for batches until then, all of them together."""
    reservation: dict[str, Any] | None = None
    checks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """What guards have said of the request."""

    @property
    def held(self) -> Reservation | None:
        """What the journal has as set aside for it."""
        held = None if self.reservation is None else Reservation.from_body(self.reservation)
        return held if held is not None and held.scopes else None

    def error(self) -> Queued:
        """What the attempt ends with."""
        error = Queued(f"queued for a batch of {self.provider}, to {self.model}")
        error.ticket = self.written()
        vars(error)["unsent"] = True  # it is no call by itself: the one that reads the answer is
        return error

    def written(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def read(cls, said: str) -> Ticket:
        """From JSON; what a later version says beside is passed over."""
        known: dict[str, Any] = json.loads(said)
        return cls(**{name: value for name, value in known.items() if name in cls.__dataclass_fields__})


def ticket_of(fault: Fault | None) -> Ticket | None:
    """The ticket of an attempt that queued a question."""
    said = (fault.state or {}).get(_TICKET) if fault is not None else None
    return Ticket.read(said) if isinstance(said, str) else None


def waiting(history: Sequence[Attempt]) -> tuple[Ticket, Attempt] | None:
    """The request whose answer is to be read next; a crash while it was read changes nothing, nor does who cannot."""
    for attempt in reversed(history):
        if (ticket := ticket_of(attempt.fault)) is not None:
            return ticket, attempt
        if not _passes(attempt.fault):
            return None
    return None


def unread(history: Sequence[Attempt]) -> list[Attempt]:
    """The last attempts in a row that left the question to another process, the first one first; crashes between them
    are none.
    """
    found: list[Attempt] = []
    for attempt in reversed(history):
        if not _passes(attempt.fault) or ticket_of(attempt.fault):
            break
        if is_unread(attempt.fault):
            found.insert(0, attempt)
    return found


def is_unread(fault: Fault | None) -> bool:
    """Whether an attempt could not read the answer, or queue the question, in its process."""
    return fault is not None and bool((fault.state or {}).get(_UNREAD))


def left_by(attempt: Attempt, engine: str) -> bool:
    """Whether it was this engine that has left the question to another process with this attempt."""
    return attempt.fault is not None and (attempt.fault.state or {}).get(_LEFT_BY) == engine


def since_left(left: Sequence[Attempt], epoch: int, engine: str) -> float | None:
    """When an engine first left a question and let go of its run, in these attempts before one of this epoch: others
    may have had it since. While something else of the run was under way it has not.
    """
    then = [*(one.epoch for one in left[1:]), epoch]
    return next((o.began for o, e in zip(left, then, strict=False) if left_by(o, engine) and o.epoch != e), None)


def _passes(fault: Fault | None) -> bool:
    return fault is not None and (fault.kind is FaultKind.INTERRUPTED or is_unread(fault))


def answer_in(attempt: Attempt) -> Mapping[str, Any] | None:
    """What the batch said to the attempt that queued it; None where something else was said, or time was over."""
    told = attempt.answer
    value: Any = told.value if isinstance(told, Told) and told.by == BATCH else None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def request_id(idempotency_key: str, history: Sequence[Attempt]) -> str:
    """Names the next request of a question to the provider: by its step, and by how many there were before."""
    before = sum(ticket_of(attempt.fault) is not None for attempt in history)
    return f"segue-{blake2b(f'{idempotency_key}?{before}'.encode(), digest_size=20).hexdigest()}"
