"""What a run asks of people, and what they have said: a projection of its journal. Pure.

Two kinds of calls ask: the flow itself (`approve`, `ask_human`, `escalate`), whose questions are signals that it waits
for, and a step whose Recovery has answered `AskPerson` (`core.questions`), whose questions name an attempt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple, cast
from unicodedata import normalize

from .codec import loads
from .events import Event, EventType

_CALLS = ("approve", "ask_human", "escalate")
LEFT_OPEN = frozenset({"reminded", "reassigned", "refused", "agreed", "objected"})
"""Verdicts that decide nothing."""
_ENDS_A_STEP = frozenset({EventType.STEP_COMPLETED, EventType.STEP_FAILED, EventType.STEP_CANCELLED})
_VERDICTS = {
    "approve": "approved", "deny": "denied", "answer": "answered", "reassign": "reassigned", "True": "approved",
    "False": "denied",
}  # fmt: skip
TYPES = (
    EventType.SIGNAL_RECEIVED, EventType.APPROVAL_ASKED, EventType.APPROVAL_DECIDED, *sorted(_ENDS_A_STEP),
    EventType.OPERATOR_ACTED, EventType.RUN_STARTED, EventType.RUN_FORKED, EventType.RUN_CONTINUED,
)  # fmt: skip
"""The types of events that `asked_in` reads."""


def ticket(run: str, question: str) -> str:
    """The id under which people know a question: eight hex digits of the run's id and the question's."""
    return blake2b(f"{run}\x1f{question}".encode(), digest_size=4).hexdigest()


def person(by: str) -> str:
    """Who a name is of: written differently, it is the same person."""
    return " ".join(normalize("NFC", by.casefold()).split())


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Each person once, as they were named first."""
    first: dict[str, str] = {}
    for one in names:
        first.setdefault(person(one), one)
    return tuple(first.values())


def tally(yes: Iterable[bool], quorum: int, asked: int) -> bool | None:
    """What the words of different people come to; None while it is open.

    It is yes as soon as `quorum` have said so, and no as soon as the others of the `asked` can no longer be enough.
    """
    words = list(yes)
    if quorum == 1:  # the first word wins
        return words[0] if words else None
    if sum(words) >= quorum:
        return True
    return False if len(words) - sum(words) > max(asked, quorum) - quorum else None


def is_question(signal: str) -> bool:
    """Whether a signal of this name is a person's word on a question of the flow's own."""
    call, found, rest = signal.partition(":")
    return bool(found) and call in _CALLS and "#" in rest


class Said(NamedTuple):
    """One thing that was said of a question, by a person or by time (`segue`). `at`: seconds since the epoch, UTC."""

    verdict: str
    """`approved`, `denied`, `answered`, `expired`, `withdrawn`; `reminded`, `reassigned`, `refused`, `agreed` and
    `objected` (one of several who decide) leave it open."""
    by: str
    at: float
    note: str = ""
    answer: Any = None
    to: tuple[str, ...] = ()
    """To whom it was reassigned, or who was reminded."""
    asked_of: tuple[str, ...] = ()
    """Of whom it was asked at that time."""
    via: str | None = None


@dataclass(slots=True)
class Asked:
    """One question of a run. Times are seconds since the epoch, UTC."""

    id: str
    key: str
    kind: str
    question: str
    bound: str
    asked_at: float
    to: tuple[str, ...] = ()
    """Who is asked now."""
    before: tuple[str, ...] = ()
    """Who was asked before it went on to others."""
    attempt: int | None = None
    """Of which attempt, where a step asks."""
    shown: Any = None
    action: str | None = None
    """What will be done, where that is a call of a tool or a step."""
    evidence: dict[str, Any] = field(default_factory=dict[str, Any])
    """What is shown beside it, by title."""
    quorum: int = 1
    most: int = 0
    """How many people were asked at most, before it went on to others."""
    form: dict[str, Any] | None = None
    choices: tuple[str, ...] = ()
    default: Any = None
    due_at: float | None = None
    remind_at: tuple[float, ...] = ()
    reassign_at: tuple[float, ...] = ()
    or_else: tuple[str, ...] = ()
    said: list[Said] = field(default_factory=list[Said])
    heard: list[Said] = field(default_factory=list[Said])
    """Words that have come, and of which the run has not yet said what became of them."""
    end: Said | None = None
    """What closed it."""
    earlier: bool = False
    """Whether a fork's parent asked it, or other code, and the run itself has not come to it so far."""

    @property
    def refused(self) -> int:
        """How many words have been refused: the next one is of another round."""
        return sum(said.verdict == "refused" for said in self.said)

    @property
    def story(self) -> list[Any]:
        """For an escalation: what was tried, and why it failed."""
        return _object(self.shown).get("tried", []) if self.kind == "escalation" else []

    def shift(self, later_s: float) -> None:
        """Its timers run that much later than was said."""
        self.due_at = None if self.due_at is None else self.due_at + later_s
        self.remind_at = tuple(at + later_s for at in self.remind_at)
        self.reassign_at = tuple(at + later_s for at in self.reassign_at)

    def hear(self, value: bytes | None, at: float, by: str = "") -> None:
        """Note a word that has come, or is about to: what it means, the run will say."""
        said: Any = json.loads(value or b"null")
        body = _object(said) or {"approved": said}
        verdict = _VERDICTS.get(str(body.get("word") or body.get("approved")), "refused")
        if body.get("bound") not in (None, self.bound):
            verdict = "refused"
        to = body.get("to") or ()
        names = (to,) if isinstance(to, str) else tuple(map(str, to))
        by, note = str(body.get("by") or by), str(body.get("note") or "")
        self.heard.append(Said(verdict, by, at, note, body.get("answer"), names, self.to))

    @property
    def asked_of(self) -> tuple[str, ...]:
        """Who is asked, once the run has taken up what it has heard. Where several must agree, and all have spoken
        to whom it went on, that is who was asked before and has not.
        """
        now = next((said.to for said in reversed(self.heard) if said.verdict == "reassigned" and said.to), self.to)
        spoken = {person(vote.by) for vote in self.votes}
        if not now or not spoken.issuperset(map(person, now)):
            return now
        return tuple(one for one in distinct((*self.before, *self.to)) if person(one) not in spoken) or now

    @property
    def word(self) -> Said | None:
        """What has been heard, and decides it once the run has taken it up."""
        if self.quorum == 1:
            return next((said for said in self.heard if said.verdict in ("approved", "denied", "answered")), None)
        votes = self.votes
        so_far: list[bool] = []
        for said in votes:
            so_far.append(said.verdict in ("approved", "agreed"))
            if tally(so_far, self.quorum, max(self.most, len(self.to), len(self.asked_of))) is not None:
                return said
        return None

    @property
    def votes(self) -> list[Said]:
        """The words of those who must agree, one of each person, heard ones too."""
        if self.quorum == 1:
            return []
        words = [s for s in self.said if s.verdict in ("agreed", "objected")]
        words += [s for s in self.heard if s.verdict in ("approved", "denied")]
        return list({person(said.by): said for said in reversed(words)}.values())[::-1]

    def take(self, said: Said) -> None:
        """Note what was said."""
        self.said.append(said)
        if self.heard and said.by != "segue":
            self.heard.pop(0)
        if said.verdict not in LEFT_OPEN:
            self.end = self.end or said
        elif said.verdict == "reassigned":
            self.before, self.most = (*self.before, *self.to), max(self.most, len(self.to), len(said.to))
            self.to = said.to


def asked_in(events: Iterable[Event]) -> dict[str, Asked]:
    """The questions of a run's journal by their ids, closed ones too. A run that has ended asks nobody any more."""
    found: dict[str, Asked] = {}
    before, revision = 0.0, ""
    for event in events:
        if event.type == EventType.APPROVAL_ASKED:
            _put(found, _asked(event))
        elif event.type == EventType.APPROVAL_DECIDED:
            body = loads(event.body)
            if body.get("asked") in found:
                found[body["asked"]].take(_said(event, body))
        elif event.type == EventType.SIGNAL_RECEIVED:
            if event.key in found:
                found[event.key].hear(event.value, event.at, loads(event.body).get("by", ""))
        elif event.type == EventType.RUN_CONTINUED:
            _withdraw(found, event.at)
        elif event.type == EventType.RUN_STARTED:
            last, revision = revision, loads(event.body).get("revision", "")
            if revision != last:
                _doubt(found)
        elif event.type == EventType.RUN_FORKED:
            _fork(found, event.at - before)
            _doubt(found)
        elif event.type in _ENDS_A_STEP or event.type == EventType.OPERATOR_ACTED:
            _close_step(found, event)
        before = event.at
    return found


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _asked(event: Event) -> Asked:
    body = loads(event.body)
    asked = Asked(
        id=body["id"], key=event.key or "", kind=body.get("kind", "approval"), question=body["question"],
        bound=body["bound"], asked_at=event.at, to=tuple(body.get("by", ())), attempt=event.attempt,
        shown=body.get("shown"), action=body.get("action"), evidence=loads(event.value), quorum=body.get("quorum", 1),
        form=body.get("form"), choices=tuple(body.get("choices", ())),
        default=body.get("default"), due_at=body.get("due_at"), remind_at=tuple(body.get("remind_at", ())),
        reassign_at=tuple(body.get("reassign_at", ())), or_else=tuple(body.get("or_else", ())),
    )  # fmt: skip
    if "asked_at" in body:
        asked.shift(event.at - body["asked_at"])
    return asked


def _put(found: dict[str, Asked], asked: Asked) -> None:
    """The flow asks; what was asked before it has with all that was said, and the time that is left."""
    known = found.get(asked.id)
    if known is not None and known.earlier:
        known.earlier = False
    else:
        found[asked.id] = asked


def _said(event: Event, body: dict[str, Any]) -> Said:
    answer = body.get("answer")
    if event.attempt is not None and event.value is not None:
        answer = json.loads(event.value)
    return Said(
        body["verdict"], body.get("by", ""), body.get("at") or event.at, body.get("why", ""), answer,
        tuple(body.get("to", ())), tuple(body.get("asked_of", ())), body.get("via"),
    )  # fmt: skip


def _withdraw(found: dict[str, Asked], at: float) -> None:
    """The run goes on as new, without what it had asked."""
    for asked in found.values():
        if asked.end is None:
            asked.take(Said("withdrawn", "segue", at, "the run went on as new"))


def _fork(found: dict[str, Asked], later_s: float) -> None:
    """A fork waits for the flow's open questions itself, as long as was left; what steps asked it makes anew."""
    for id_ in [id_ for id_, asked in found.items() if asked.end is None and asked.attempt is not None]:
        del found[id_]
    for asked in found.values():
        if asked.end is None:
            asked.shift(later_s)


def _doubt(found: dict[str, Asked]) -> None:
    """The flow may ask no more what is open of its questions: it says so again when it comes to them."""
    for asked in found.values():
        asked.earlier = asked.attempt is None and asked.end is None


def _close_step(found: dict[str, Asked], event: Event) -> None:
    """A step has an outcome, or somebody has said what came of it: what it asked needs no answer any more."""
    for asked in found.values():
        if asked.attempt is not None and asked.key == event.key and asked.end is None:
            body = loads(event.body)
            asked.take(Said("withdrawn", body.get("by", "") or "segue", event.at, body.get("why", "")))
