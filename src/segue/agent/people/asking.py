"""Puts a question, and waits until a word decides it: what `approve`, `ask_human` and `escalate` share.

The near side of the seam has all that it takes: a record, a signal, a timer at a time, and steps for notices. So the
question waits in whichever process, a replay makes the same of the same events, and a parked run costs nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from ...core.asked import Said, ticket
from ...core.codec import Codec, codec, dumps, misfit, roundtrip
from ...core.commands import Timer, Wait
from ...core.events import Event, EventType
from ...core.records import (
    ApprovalAsked,
    ApprovalDecided,
    AskKind,
    Evidence,
    Json,
    Verdict,
    binding,
    evidence_of,
)
from ...errors import InputError
from ...runtime.drive import Future
from ...runtime.scope import FlowScope
from ...runtime.waits import had_refused, had_taken
from .notice import Notices, Notify
from .plan import Bell
from .votes import Votes
from .word import Word, said_in

__all__ = ["Request", "evidence_as", "put", "shown_as"]

_VERDICTS = {"approve": Verdict.APPROVED, "deny": Verdict.DENIED, "answer": Verdict.ANSWERED}


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A question: what is asked, of whom, and what happens when nobody answers."""

    call: str
    """What the flow called: its key begins with it."""
    kind: AskKind
    question: str
    shown: Json
    to: tuple[str, ...]
    bells: tuple[Bell, ...]
    form: Codec | None = None
    schema: Mapping[str, Json] | None = None
    default: Json = None
    """What holds in the end, as on record; None: nothing."""
    notify: Notify | None = None
    action: str | None = None
    """What will be done: a tool, by its name."""
    evidence: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """What is shown beside the question, by its title."""
    quorum: int = 1
    """How many people must say yes."""


def shown_as(value: object) -> Json:
    """What a person is shown, as JSON; secrets in it are sealed. Raises UnserialisableResult."""
    return json.loads(roundtrip(codec(Any), value)[0])


def evidence_as(given: Mapping[str, object]) -> Mapping[str, Json]:
    """Evidence as JSON, by its titles. Raises UnserialisableResult, and InputError for what has no titles."""
    if not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise InputError(f"evidence is a {type(given).__name__}", remedy='give it by title: evidence={"invoice": …}')
    return {str(title): shown_as(content) for title, content in given.items()}


async def put(scope: FlowScope, request: Request) -> tuple[Said, str, str]:
    """Ask, and wait for what decides it: a person's word or, after its time, `expired`. Gives that, its key and id.

    Journaled under `CALL[fingerprint of the question and of what is shown]#k`, with all that belongs to it below.
    """
    if not isinstance(request.question, str):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise InputError(f"segue.{request.call}: the question is a text, not {request.question!r}")
    evidence = tuple(evidence_of(title, content) for title, content in request.evidence.items())
    bound = binding(request.action, request.shown, tuple(one.hash for one in evidence))
    key = scope.key(request.call, _digits([request.question, bound]))
    asked = _record(request, bound, evidence, _named(scope, request, key), scope.drive.now)
    scope.record(asked, key, dumps(request.evidence) if evidence else None)
    return await _Open(scope, request, asked, key).decided(), key, asked.id


def _digits(of: object, size: int = 3) -> str:
    """Six hex digits. They tell keys apart, which are numbered too; what a word is bound to is the whole hash."""
    text = json.dumps(of, ensure_ascii=False, separators=(",", ":"))
    return blake2b(text.encode(errors="backslashreplace"), digest_size=size).hexdigest()


def _named(scope: FlowScope, request: Request, key: str) -> str:
    """The id of a question in its run: the one on record, else one that no other question has. A word is known by it,
    so of two with one name the second could not be decided. Six digits tell a few hundred apart: where they are taken,
    and in a run that has gone on as new, whose earlier names are not at hand, it has more.
    """
    known, drive = scope.drive.questions, scope.drive
    if key not in known:
        slug = re.sub(r"[^a-z0-9]+", "-", request.question.lower()).strip("-")[:40].strip("-")
        name = f"{request.call}:{slug}#{_digits(key)}"
        known[key] = f"{name}{_digits(key, 8)[6:]}" if drive.scope.path or name in known.values() else name
    return known[key]


def _record(request: Request, bound: str, evidence: tuple[Evidence, ...], id: str, at: float) -> ApprovalAsked:
    bells = request.bells
    goes_on = [bell for bell in bells if bell.kind == "reassignment"]
    return ApprovalAsked(
        id=id,
        question=request.question, bound=bound, kind=request.kind, shown=request.shown, by=request.to,
        action=request.action, evidence=evidence, quorum=request.quorum,
        due_at=next((at + bell.after_s for bell in bells if bell.kind == "limit"), None),
        default=request.default, form=request.schema,
        remind_at=tuple(at + bell.after_s for bell in bells if bell.kind == "reminder"),
        reassign_at=tuple(at + bell.after_s for bell in goes_on), or_else=tuple(bell.to for bell in goes_on),
        asked_at=at,
    )  # fmt: skip


def _below(scope: FlowScope, key: str, request: Request) -> FlowScope:
    """The scope of what belongs to a question: its timers and notices.

    An earlier version wrote the path to the question twice there: where a run has such calls on record, it goes on so.
    """
    before = scope.child(key)
    firsts = [f"{bell.kind}#1" for bell in request.bells]
    if request.notify is not None:
        firsts.append(f"{Notices(before, request.notify).name}[asked-1]#1")
    known = scope.drive.claims.memory
    return before if any(known.holds(f"{before.path}{one}") for one in firsts) else FlowScope(scope.drive, f"{key}/")


class _Open:
    """A question that waits."""

    def __init__(self, scope: FlowScope, request: Request, asked: ApprovalAsked, key: str):
        self.scope, self.request, self.asked, self.key = scope, request, asked, key
        self.drive, self.to = scope.drive, asked.by
        self.most = len(asked.by)
        """How many people were asked at most: a question that goes on to one of them is no refusal of the others."""
        self.inner = _below(scope, key, request)
        self.notices = Notices(self.inner, request.notify)
        self._bells = list(request.bells)
        self._past_s = 0.0
        self._counts: dict[str, int] = {}
        self._votes = Votes(request.quorum)

    async def decided(self) -> Said:
        """Wait for what decides it."""
        self._tell("asked")
        word, bell = self._next_word(), self._next_bell()
        try:
            while True:
                await asyncio.wait([f for _, f in (word, bell) if f is not None], return_when=asyncio.FIRST_COMPLETED)
                if word[1].done():
                    said = self._heard(self.drive.seal(self._wait, word[1].result()))
                    if said is not None:
                        return said
                    word = self._next_word()
                elif bell[1] is not None:
                    bell[1].result()
                    rung = self._bells.pop(0)
                    self._past_s = rung.after_s
                    said = self._rings(rung)
                    if said is not None:
                        return said
                    bell = self._next_bell()
        except asyncio.CancelledError:
            self._record(Verdict.WITHDRAWN, "decided", why="the flow no longer waits for it")
            raise
        finally:
            self.drive.give_up(word[0])
            self.drive.give_up(bell[0])
            self.notices.stop()

    def _next_word(self) -> tuple[str, Future]:
        name = self.asked.id
        self._wait = wait = Wait(self.inner.key("word"), self.drive.seen, name, self.request.form)
        return wait.key, self.drive.request(wait)

    def _next_bell(self) -> tuple[str, Future | None]:
        """The timer of what comes next. It counts from asking, however late the one before it was seen to be over."""
        if not self._bells:
            return "", None
        bell = self._bells[0]
        timer = Timer(self.inner.key(bell.kind), self.drive.seen, bell.after_s, bell.kind, self.key)
        return timer.key, self.drive.request(timer)

    def _heard(self, event: Event) -> Said | None:
        """A word that decides; None where it does not, and the question waits on."""
        payload = json.loads(event.value or b"null")
        if had_refused(self.drive, EventType.APPROVAL_DECIDED, f"{self.key}/refused@{event.seq}"):
            return None
        try:
            word = said_in(payload, self.request.kind, self.asked.bound)
            if word.word == "answer":
                self._fits(word.answer, f"{self.key}/refused@{event.seq}")
            if word.word in ("approve", "deny") and self.request.kind is AskKind.APPROVAL:
                verdict = self._votes.take(word.word == "approve", word.by, word.note, self.most)
            else:
                verdict = _VERDICTS.get(word.word)
        except ValueError as error:
            by = str(payload.get("by") or "") if isinstance(payload, dict) else ""  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
            self._record(Verdict.REFUSED, f"refused@{event.seq}", Word("", by=by), why=str(error))
            return None
        if word.word == "reassign":
            self._goes_to(word.to, word)
            return None
        if verdict is None:
            yes = word.word == "approve"
            self._record(Verdict.AGREED if yes else Verdict.OBJECTED, self._nth("voted"), word)
            return None
        word = self._votes.joined(word, verdict)
        self._record(verdict, "decided", word, answer=word.answer)
        return Said(verdict.value, word.by, word.at or event.at, word.note, word.answer, asked_of=self.to, via=word.via)

    def _fits(self, answer: Json, refused: str) -> None:
        """Raises ValueError, naming the field; sets the run aside where the answer was taken before."""
        form = self.request.form
        assert form is not None
        try:
            form.decode(json.dumps(answer).encode())
        except ValueError as error:
            why = misfit(form, error)
            if had_taken(self.drive, EventType.APPROVAL_DECIDED, refused):
                raise self.drive.undecodable(self.key, why, taken=True) from None
            raise ValueError(why) from None

    def _rings(self, bell: Bell) -> Said | None:
        if bell.kind == "limit":
            said = self._votes.told()
            self._record(Verdict.EXPIRED, "decided", answer=self.request.default, why=said)
            return Said("expired", "segue", self.drive.now, said, self.request.default, asked_of=self.to)
        if bell.kind == "reminder":
            self._record(Verdict.REMINDED, self._nth("reminded"), to=self.to)
            self._tell("reminded")
        else:
            self._goes_to((bell.to,), Word("", by="segue", note="nobody had answered"))
        return None

    def _goes_to(self, to: tuple[str, ...], word: Word) -> None:
        self._record(Verdict.REASSIGNED, self._nth("reassigned"), word, to=to)
        self.to, self.most = to, max(self.most, len(to))
        self._tell("reassigned")

    def _nth(self, what: str) -> str:
        n = self._counts[what] = self._counts.get(what, 0) + 1
        return f"{what}#{n}"

    def _record(self, verdict: Verdict, at: str, word: Word | None = None, why: str = "", **more: Any) -> None:
        said = word or Word("", by="segue")
        record = ApprovalDecided(
            asked=self.asked.id, verdict=verdict, by=said.by, bound=said.bound or self.asked.bound,
            why=why or said.note, at=said.at, via=said.via, asked_of=self.to, **more,
        )  # fmt: skip
        self.scope.record(record, f"{self.key}/{at}")

    def _tell(self, why: Any) -> None:
        asked, run = self.asked, self.drive.run
        limit = next((bell for bell in self._bells if bell.kind == "limit"), None)
        self.notices.send(
            why, id=ticket(run, asked.id), run=run, kind=asked.kind.value, question=asked.question, to=self.to,
            shown=asked.shown, left_s=None if limit is None else limit.after_s - self._past_s,
        )  # fmt: skip
