"""What runs ask of people, read from the journals: the inbox, and one question by the id that people know it by."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from ..core.asked import TYPES, Asked, Said, asked_in, person, ticket
from ..core.codec import dumps, loads
from ..core.events import Event
from ..core.lifecycle import ENDED, RunState
from ..core.redaction import mask
from ..core.shell import command
from ..errors import AlreadyDecided, InputError, RunEnded, SegueError, StaleDecision, UnknownQuestion
from ..journal import Item, Reader, RunRow, cancels

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Found", "InboxItem", "find", "inbox", "item_of"]

Kind = Literal["approval", "form", "escalation", "other"]

_ENDED = ", ".join(f"'{state}'" for state in sorted(ENDED))
_ASKING = (
    "with recursive asking(no) as (select distinct run from events where type = 'approval.asked'"
    " union select r.no from asking join runs r on r.memo_run = asking.no)"
    " select {} from asking join runs r on r.no = asking.no"
)
"""Runs that have asked somebody something, or are a fork of one that has."""
_MARKS = ", ".join(f"'{type_.value}'" for type_ in TYPES)
_TELLING = "'approval.asked', 'approval.decided', 'signal.received'"
"""Whose values are evidence, or a person's words."""
_WORDS = {"fail": "deny"}
"""What the words to a failed step come to; all others answer it."""
_PREFIX_MIN = 3
_WAITS_NOTED = 20
"""How many waits a row of a parked run names (`embedded.resting.park`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InboxItem:
    """One question that waits for a person. Times are seconds since the epoch, UTC.

    Its methods decide it, from any process; each returns once the word is on disk. `by` is who decides: it is on
    record, and may be somebody else than who is asked. They raise AlreadyDecided (who, what, when) when somebody was
    quicker, StaleDecision when what is asked is no longer what this item shows, RunEnded after the end of the run, and
    once it was asked to end.
    """

    id: str
    """What `segue approve` and `engine.decide` take."""
    run: str
    flow: str
    tenant: str
    key: str
    """The call that asks."""
    name: str
    """The question's own id in its run, as in its records."""
    kind: Kind
    """`approval` (yes or no), `form` and `escalation` (an answer), `other` (a failed step asks for a word)."""
    question: str
    to: tuple[str, ...]
    """Who is asked now: people or roles. Empty: anybody."""
    asked_at: float
    bound: str
    """The hash of what is shown: a decision holds for nothing else."""
    shown: Any = None
    """The exact arguments. Secrets are masked."""
    action: str | None = None
    """What will be done: a tool, by its name."""
    evidence: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What is shown beside it, by its title: the decision holds for exactly this too."""
    quorum: int = 1
    """How many people must say yes."""
    votes: tuple[Said, ...] = ()
    """Of those who have spoken, where several must agree."""
    story: list[Any] = field(default_factory=list[Any])
    """For an escalation: what was tried, and why it failed."""
    form: Mapping[str, Any] | None = None
    """The JSON Schema of an answer."""
    choices: tuple[str, ...] = ()
    due_at: float | None = None
    default: Any = None
    """What holds after `due_at`; None: an error."""
    remind_at: tuple[float, ...] = ()
    reassign_at: tuple[float, ...] = ()
    or_else: tuple[str, ...] = ()
    """To whom it goes on at `reassign_at`."""
    history: tuple[Said, ...] = ()
    """What was said so far, and decided nothing: reminders, reassignments, refused answers."""
    pending: Said | None = None
    """A word that is sent, and that the run has not taken up yet."""
    state: str = ""
    """Of the run."""
    _engine: Engine | None = field(default=None, repr=False, compare=False)

    async def approve(self, *, by: str, note: str = "") -> None:
        """Say yes."""
        await self._decide(approved=True, by=by, note=note)

    async def deny(self, *, by: str, note: str = "") -> None:
        """Say no; to a question for an answer: decline it."""
        await self._decide(approved=False, by=by, note=note)

    async def answer(self, value: Any, *, by: str, note: str = "") -> None:
        """Give the answer. Raises WrongAnswer, naming the field, where the flow is known here and it does not fit.

        Else the run itself holds it against its type. It refuses what does not fit, and the question waits on.
        """
        await self._decide(answer=value, by=by, note=note)

    async def reassign(self, *to: str, by: str, note: str = "") -> None:
        """Ask somebody else from now on."""
        await self._decide(to=to, by=by, note=note)

    async def _decide(self, **word: Any) -> None:
        if self._engine is None:
            raise InputError("this item was only read", run=self.run, remedy="get it by engine.inbox()")
        await self._engine.decide(self.id, bound=self.bound, **word)


class Found(NamedTuple):
    """A question with its run."""

    row: RunRow
    asked: Asked
    live: bool
    """Whether the run, as far as it says, still waits for it."""
    cancel: bytes | None = None
    """The body of a cancel that its run, or one that waits for it, has not taken up: nobody can decide it any more."""

    @property
    def id(self) -> str:
        """The id that people know it by."""
        return ticket(self.row.id, self.asked.id)

    @property
    def waits(self) -> bool:
        """Whether its run still waits for it, or for the cancel that ends that to be taken up."""
        return self.asked.end is None and self.row.state not in ENDED and self.live

    @property
    def open(self) -> bool:
        """Whether a word would be taken."""
        return self.waits and self.cancel is None


def inbox(reader: Reader, engine: Engine | None = None, for_: str | None = None) -> list[InboxItem]:
    """The open questions of all runs, what is due first coming first; `for_`: only those that ask them, or anybody."""
    rows = reader.runs(f"state not in ({_ENDED}) and no in ({_ASKING.format('r.no')})", limit=-1)
    sent: dict[str, list[Item]] = {}
    for item, _ in reader.items():
        sent.setdefault(item.run, []).append(item)
    found = (f for row in rows for f in _of(reader, row, sent.get(row.id, ())) if f.open and f.asked.word is None)
    items = [item_of(f, engine) for f in found if for_ is None or _waits_for(f.asked, for_)]
    return sorted(items, key=lambda item: (item.due_at is None, item.due_at or item.asked_at, item.asked_at))


def _waits_for(asked: Asked, name: str) -> bool:
    """Whether it asks this person or role, who has not spoken yet."""
    asked_of = {person(one) for one in asked.asked_of}
    return (not asked_of or person(name) in asked_of) and spoken(asked, name) is None


def spoken(asked: Asked, by: str) -> Said | None:
    """What this person has said, where several must agree."""
    return next((said for said in asked.votes if person(said.by) == person(by)), None)


def of_run(reader: Reader, row: RunRow) -> list[Found]:
    """The questions of one run, with the words that are on their way to it."""
    return _of(reader, row, reader.items_of(row.no))


def _of(reader: Reader, row: RunRow, sent: Iterable[Item]) -> list[Found]:
    asked = asked_in(_events(reader, row, 1 << 62))
    _hear(sent, asked)
    cancel = next((body or b"{}" for (body,) in reader.query(cancels.ABOVE, (row.id,))), None) if asked else None
    noted: list[dict[str, Any]] = row.detail.get("waits_on", [])
    rests = row.state in (RunState.PARKED, RunState.QUEUED)
    told, names = rests and len(noted) < _WAITS_NOTED, {str(wait.get("signal", "")) for wait in noted}

    def live(one: Asked) -> bool:
        return one.attempt is not None or one.id in names if told else rests or not one.earlier

    return [Found(row, one, live(one), cancel) for one in asked.values()]


def _events(reader: Reader, row: RunRow, until: int) -> Iterator[Event]:
    """The events of a run that tell of questions, without the results of its steps."""
    if row.memo_run is not None:
        yield from _events(reader, reader.get(row.memo_run), min(until, row.memo_seq))
    columns = ", ".join(Event._fields[:-2])  # neither arguments nor values, but for a person's words
    found = reader.query(
        f"select {columns}, null, iif(type in ({_TELLING}), value, null) from events"
        f" where run = ? and seq <= ? and type in ({_MARKS}) order by seq",
        (row.no, until),
    )
    yield from (reader.whole(Event._make(event)) for event in found)


def _hear(sent: Iterable[Item], asked: Mapping[str, Asked]) -> None:
    """Words that are sent, and that the run has not taken up yet."""
    for item in sent:
        body = loads(item.body)
        if item.kind == "signal" and item.name in asked:
            asked[item.name].hear(item.value, item.at, str(body.get("by", "")))
        elif item.kind in ("decide", "reassign"):
            question = asked.get(str(body.get("asked") or item.id.partition("\x1f")[2]))
            if question is not None:
                word = "reassign" if item.kind == "reassign" else _WORDS.get(str(body.get("word")), "answer")
                said = {"word": word, "by": body.get("by"), "note": body.get("why"), "to": body.get("to")}
                question.hear(dumps(said), item.at)


def item_of(found: Found, engine: Engine | None = None) -> InboxItem:
    """A question for people to see."""
    row, asked = found.row, found.asked
    shown, moved = mask(asked.shown), [said for said in asked.heard if said.verdict == "reassigned"]
    if asked.kind == "escalation" and isinstance(shown, dict):
        shown = {k: v for k, v in cast("dict[str, Any]", shown).items() if k != "tried"} or None
    return InboxItem(
        id=found.id, run=row.id, flow=row.flow, tenant=row.tenant, key=asked.key, name=asked.id,
        kind=cast("Kind", asked.kind), question=asked.question, to=asked.asked_of, asked_at=asked.asked_at,
        bound=asked.bound, shown=shown, action=asked.action, evidence=mask(asked.evidence), quorum=asked.quorum,
        votes=tuple(asked.votes), story=mask(asked.story), form=asked.form, choices=asked.choices,
        due_at=asked.due_at, default=mask(asked.default), remind_at=asked.remind_at, reassign_at=asked.reassign_at,
        or_else=asked.or_else, history=tuple(s._replace(answer=mask(s.answer)) for s in (*asked.said, *moved)),
        pending=asked.word, state=row.state, _engine=engine,
    )  # fmt: skip


def find(reader: Reader, given: str) -> Found:
    """The open question of this id, of a unique beginning of it, or the only one of this run.

    Raises UnknownQuestion, InputError when several fit, AlreadyDecided, StaleDecision, RunEnded.
    """
    known = _tickets(reader)
    exact = [(no, id_) for no, id_, _ in known if id_ == given]
    if not exact and len(given) >= _PREFIX_MIN:
        exact = [(no, id_) for no, id_, ended in known if id_.startswith(given) and not ended]
    fits = [f for no, id_ in exact for f in of_run(reader, reader.get(no)) if f.id == id_]
    row = None if fits else reader.find(given)
    if row is not None:
        of_it = of_run(reader, row)
        fits = [f for f in of_it if f.open and f.asked.word is None] or of_it[-1:]
    fits = [f for f in fits if f.open] or fits  # of two with one id the one that can be decided
    if len(fits) > 1:
        some = ", ".join(f.id for f in fits[:5])
        raise InputError(f"{given!r} fits {len(fits)} questions: {some}", remedy="name one of them in full")
    if fits:
        return _still_open(fits[0], () if fits[0].live else of_run(reader, fits[0].row))
    near = difflib.get_close_matches(given, [id_ for _, id_, ended in known if not ended], n=3)
    hint = f"; near it: {', '.join(near)}" if near else ""
    raise UnknownQuestion(
        f"no question {given!r} waits for anybody{hint}", remedy=f"list what waits: {command('inbox')}"
    )


def _tickets(reader: Reader) -> list[tuple[int, str, bool]]:
    """Each question that was ever asked: its run's number, its id, and whether the run has ended."""
    asked: dict[int, list[tuple[int, str]]] = {}
    columns = ", ".join(Event._fields)
    for row in reader.query(f"select {columns} from events where type = 'approval.asked'"):
        event = Event._make(row)
        body = event.body if event.body is not None and event.body[:1] == b"{" else reader.whole(event).body
        asked.setdefault(event.run, []).append((event.seq, loads(body)["id"]))
    runs = {row[0]: row for row in reader.query(_ASKING.format("r.no, r.id, r.state, r.memo_run, r.memo_seq"))}
    made: list[tuple[int, str, bool]] = []
    for no, id_, state, memo_run, memo_seq in runs.values():
        names, of, upto = dict.fromkeys(name for _, name in asked.get(no, ())), memo_run, memo_seq
        while of is not None:  # a fork waits for what its parent has asked
            names |= dict.fromkeys(name for seq, name in asked.get(of, ()) if seq <= upto)
            parent = runs.get(of)
            of, upto = (None, 0) if parent is None else (parent[3], min(upto, parent[4]))
        made += [(no, ticket(id_, name), state in ENDED) for name in names]
    return made


def _still_open(found: Found, of_it: Sequence[Found]) -> Found:
    if found.asked.end is not None or found.row.state in ENDED:
        raise closed(found)
    if found.asked.word is not None:
        raise decided(found, found.asked.word, "; the run has not taken it up yet")
    if found.cancel is not None:
        raise cancels.ending(cancels.told(found.cancel), found.row.id, found.asked.question, found.asked.key)
    if not found.live:
        instead = [f.id for f in of_it if f.open]
        now = f"; it now asks {', '.join(instead)}" if instead else ""
        what = "no longer asks this: what it shows has changed"
        if found.asked.earlier:  # a fork's parent did, or other code
            what = "has not come to ask this itself, and may ask something else"
        raise StaleDecision(
            f"the run {what}{now}", run=found.row.id, key=found.asked.key,
            remedy=f"look at what it asks now: {command('inbox')}",
        )  # fmt: skip
    return found


def closed(found: Found) -> SegueError:
    """The error of a question that nobody can decide any more: who did, or that its run has ended."""
    end = found.asked.end
    if end is not None and end.verdict != "withdrawn":
        return decided(found, end)
    what = f"the run has ended ({found.row.state})" if end is None else "the run no longer waits for it"
    return RunEnded(
        f"{what}: nobody is asked {found.asked.question!r} any more", run=found.row.id, key=found.asked.key,
        remedy=f"to ask again, fork it: {command('fork', found.row.id)}",
    )  # fmt: skip


def decided(found: Found, said: Said, more: str = "") -> AlreadyDecided:
    """The error of a word that comes second."""
    note = f" ({said.note})" if said.note else ""
    error = AlreadyDecided(
        f"{said.by or 'somebody'} has {said.verdict} it, {_when(said.at)}{note}{more}" if said.verdict != "expired" else
        f"its time was over: the default holds{note}",
        run=found.row.id, key=found.asked.key, remedy=f"look at the run: {command('show', found.row.id)}",
    )  # fmt: skip
    error.by, error.verdict, error.at = said.by, said.verdict, said.at
    return error


def _when(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
