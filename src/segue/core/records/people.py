"""People: what they are asked, what they decide, what they think of an answer, what they do to a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from hashlib import blake2b
from typing import ClassVar

from ..codec import canonical, dumps
from ..events import EventType
from .attempts import AttemptRef
from .base import Json, Part, Record, expect, record


@record
class Evidence(Part):
    """Something that a person is shown beside the question."""

    hash: str
    """Of its content: twenty bytes of BLAKE2b over canonical JSON, in hex. The content stands in the event's value."""
    title: str = ""
    """By which the event's value has it."""
    kind: str = "text"
    """`text`, or `json`."""
    key: str | None = None
    """The step that made it."""


def evidence_of(title: str, content: Json) -> Evidence:
    """Of a value that stands under its title in the event's value."""
    digest = blake2b(canonical(dumps({"of": {"content": content}})), digest_size=20).hexdigest()
    return Evidence(hash=digest, title=title, kind="text" if isinstance(content, str) else "json")


def binding(action: str | None, shown: Json, evidence: tuple[str, ...] = ()) -> str:
    """What a decision is bound to: the hash of the action, of the exact arguments shown, and of the evidence.

    Twenty bytes of BLAKE2b (RFC 7693) over canonical JSON, in hex. Sealed values enter it sealed.
    """
    data = dumps({"on": {"action": action, "shown": shown, "evidence": list(evidence)}})
    return blake2b(canonical(data), digest_size=20).hexdigest()


class AskKind(StrEnum):
    """What a person is asked for."""

    APPROVAL = "approval"
    FORM = "form"
    ESCALATION = "escalation"
    SERVICE = "service"
    """It is no person: something outside takes its time to answer, such as a provider's batch."""
    OTHER = "other"


@record
class ApprovalAsked(Record):
    """A person is asked: to approve, to fill in a form, to take over. The envelope's `key` is the call's.

    Its `value` has the evidence, by title.
    """

    type: ClassVar[EventType] = EventType.APPROVAL_ASKED
    version: ClassVar[int] = 3
    id: str
    """Unique in its run."""
    question: str
    bound: str
    """`binding(action, shown, evidence)`: the decision must name the same."""
    kind: AskKind = AskKind.APPROVAL
    action: str | None = None
    """What will be done: the tool or step, by its name."""
    shown: Json = None
    """The exact arguments that the person sees; secrets in it are sealed."""
    evidence: tuple[Evidence, ...] = ()
    """What they are shown beside it, and the decision is bound to."""
    by: tuple[str, ...] = ()
    """Who may decide: people, roles; empty: anybody."""
    quorum: int = 1
    """How many of them must approve."""
    due_at: float | None = None
    """Seconds since the epoch, UTC; null: it waits for ever."""
    default: Json = None
    """What holds when nobody has decided by then: `{"decision": "denied"}`; null: TimeoutError."""
    remind_at: tuple[float, ...] = ()
    form: Mapping[str, Json] | None = None
    """The JSON Schema of the answer."""
    choices: tuple[str, ...] = ()
    story: tuple[AttemptRef, ...] = ()
    """For an escalation: the attempts that failed."""
    reassign_at: tuple[float, ...] = ()
    """When it goes on to others, if nobody has decided by then. Since version 2."""
    or_else: tuple[str, ...] = ()
    """To whom it goes on, one for each time of `reassign_at`. Since version 2."""
    asked_at: float | None = None
    """The flow's own time when it asked, from which the other times are reckoned; its timers run from that of the
    envelope, which is later where the run had to queue. Since version 2."""

    def __post_init__(self) -> None:
        """The hash is that of what is shown."""
        bound = binding(self.action, self.shown, tuple(e.hash for e in self.evidence))
        expect(self.bound == bound, "bound", "binding(action, shown, evidence)")
        expect(len(self.or_else) == len(self.reassign_at), "or_else", "one for each time of reassign_at")
        expect(self.quorum >= 1, "quorum", "at least 1")


class Verdict(StrEnum):
    """What came of a question."""

    APPROVED = "approved"
    DENIED = "denied"
    ANSWERED = "answered"
    EXPIRED = "expired"
    REASSIGNED = "reassigned"
    REMINDED = "reminded"
    WITHDRAWN = "withdrawn"
    REFUSED = "refused"
    """What was said does not fit, or was meant for other arguments: it decides nothing. Since version 2."""
    AGREED = "agreed"
    """One of several who must say yes has said it: it is open until enough have. Since version 3."""
    OBJECTED = "objected"
    """One of several has said no, and enough of the others may still say yes. Since version 3."""
    OTHER = "other"


@record
class ApprovalDecided(Record):
    """Somebody has decided, or time has. What leaves it open is said so too: reminders, reassignments, refusals."""

    type: ClassVar[EventType] = EventType.APPROVAL_DECIDED
    version: ClassVar[int] = 3
    asked: str
    """The id of the question."""
    verdict: Verdict
    by: str
    """Who; `segue` where time decided; all who agreed, where several must."""
    bound: str
    """The hash of what this person was shown: one that is not the question's decides nothing."""
    answer: Json = None
    """A form's answer, or the arguments as the person changed them."""
    why: str = ""
    at: float | None = None
    """When they decided; seconds since the epoch, UTC. The envelope says when the run took it up."""
    via: str | None = None
    """`cli`, `console`, `api`, `chat`."""
    to: tuple[str, ...] = ()
    """To whom it was reassigned, or who was reminded."""
    asked_of: tuple[str, ...] = ()
    """Of whom it was asked when this was said. Since version 2."""


@record
class AnswerRef(Part):
    """An answer that feedback speaks of. What is left out is that of the event itself."""

    run: str | None = None
    key: str | None = None
    decision: str | None = None
    attempt: AttemptRef | None = None


class FeedbackSource(StrEnum):
    """Whose opinion it is: what it is worth differs."""

    PERSON = "person"
    CHECK = "check"
    JUDGE = "judge"
    OUTCOME = "outcome"
    OTHER = "other"


@record
class Feedback(Record):
    """How good an answer was: a score, or that it is better than another. The envelope's `key` names the step."""

    type: ClassVar[EventType] = EventType.FEEDBACK_GIVEN
    score: float | None = None
    """0 to 1."""
    better_than: AnswerRef | None = None
    """The answer that this one was preferred to."""
    tied: bool = False
    """With `better_than`: neither is better."""
    strength: float | None = None
    """Of the preference, 0 to 1."""
    about: AnswerRef | None = None
    """Which answer, where the key does not say it all."""
    source: FeedbackSource = FeedbackSource.PERSON
    aspects: Mapping[str, float] = field(default_factory=dict[str, float])
    """Scores of single aspects, 0 to 1, by name."""
    weight: float = 1.0
    by: str = ""
    note: str = ""
    corrected: Json = None
    """What the answer should have been."""

    def __post_init__(self) -> None:
        """It says something, within bounds."""
        scores = [s for s in (self.score, self.strength, *self.aspects.values()) if s is not None]
        expect(all(0.0 <= s <= 1.0 for s in scores), "score", "between 0 and 1")
        said = (self.score, self.better_than, self.corrected, self.aspects or None)
        expect(any(s is not None for s in said), "score", "feedback has a score, a preference or a correction")


@record
class OperatorAct(Record):
    """Somebody in charge has intervened. The envelope's `key` is the step that it is about, if any."""

    type: ClassVar[EventType] = EventType.OPERATOR_ACTED
    act: str
    """`result`, `skip`, `retry`, `pause`, `resume`, `cancel`, `reassign`, `migrate`, `erase` …"""
    by: str = ""
    why: str = ""
    target: str | None = None
    """What it is about, where that is no step: a run, a flow, a question, the engine."""
    query: str | None = None
    """The query of an act in bulk that this run was one of."""
    bulk: str | None = None
    """The id that all acts of that bulk have."""
    via: str | None = None
    """`cli`, `console`, `api`."""
    in_place_of: str | None = None
    """The recorded call that stood in the way of the one that this is about, and stands in no other one's way from when
    this has its result, or begins.
    """
    details: Mapping[str, Json] = field(default_factory=dict[str, Json])
