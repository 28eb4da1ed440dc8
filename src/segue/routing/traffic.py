"""Past traffic, as the journal tells it: who was asked and why, what came of it, and what people thought of it.

    traffic = Traffic()
    with Journal.open_readonly("segue.db") as reader:
        traffic.read(reader)                  # again later: only what is new
    rows(traffic)                             # for the judge (`past`); `lessons.lessons(traffic)` to learn from

An `Ask` is one durable call of a model: its decisions, its attempts, what they cost, and what was said of its answer.
What is missing or cannot be read is passed over and counted: traffic is never complete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from ..core.codec import loads
from ..core.events import Event, EventType
from ..core.records import (
    AnswerRef,
    AttemptEnd,
    AttemptRecorded,
    AttemptWhy,
    Decision,
    Feedback,
    Record,
    Settlement,
    record_of,
)
from ..errors import RecordError, SegueError, StoreCorrupt
from ..journal import Reader, RunRow

__all__ = ["OUTCOMES", "Ask", "Preferred", "Traffic", "Wanted", "request_of"]

_BATCH = 500
_ASKS_MAX = 20_000
_DECIDED = (EventType.DECISION_MADE, EventType.ATTEMPT_RECORDED, EventType.USAGE_SETTLED, EventType.FEEDBACK_GIVEN)
OUTCOMES = (EventType.ATTEMPT_RECORDED, EventType.FEEDBACK_GIVEN)
"""What there is to learn from."""
_STEP_ENDS = (EventType.STEP_COMPLETED, EventType.STEP_FAILED, EventType.STEP_CANCELLED)
_ASIDE = frozenset({AttemptWhy.SHADOW, AttemptWhy.PROBE})


class Wanted(NamedTuple):
    """What was asked, as the router saw it, and what kind of request it is."""

    text: str
    task: str


@dataclass(slots=True, eq=False)
class Ask:
    """One durable call of a model, and all that is known of it so far."""

    run: RunRow
    key: str
    at: float
    """When it was first heard of; seconds since the epoch, UTC."""
    seq: int
    position: int
    """Of the last event that is about it."""
    decisions: list[Decision] = field(default_factory=list[Decision])
    attempts: list[AttemptRecorded] = field(default_factory=list[AttemptRecorded])
    settled: dict[str, Settlement] = field(default_factory=dict[str, Settlement])
    """By reservation."""
    opinions: list[Feedback] = field(default_factory=list[Feedback])
    request: Wanted | None = None
    over_at: float | None = None
    """When its step ended; None: it has not, or that is not known."""

    @property
    def taken(self) -> AttemptRecorded | None:
        """The attempt whose answer was used; None where there is none (yet)."""
        good = [a for a in self.attempts if a.end is AttemptEnd.ANSWERED and a.why not in _ASIDE]
        return good[-1] if good else None

    @property
    def score(self) -> float | None:
        """What was thought of the answer, 0 to 1: the last word of each, weighed. None: nobody said anything."""
        last = {(o.source, o.by): o for o in self.opinions if o.score is not None}
        weight = sum(o.weight for o in last.values())
        return sum(o.weight * (o.score or 0.0) for o in last.values()) / weight if weight > 0 else None

    def by(self, ref: AnswerRef | None) -> AttemptRecorded | None:
        """The attempt that a reference means; without one, the one whose answer was used."""
        if ref is not None and ref.attempt is not None:
            named = (ref.attempt.epoch, ref.attempt.n)
            return next((a for a in self.attempts if (a.epoch, a.n) == named), None)
        if ref is not None and ref.decision is not None:
            made = [a for a in self.attempts if a.decision == ref.decision]
            return made[-1] if made else None
        return self.taken


class Preferred(NamedTuple):
    """An answer that was preferred to another one, by model; or neither was."""

    ask: Ask
    better: str
    worse: str
    strength: float
    """0 to 1; 0: they are equally good."""
    position: int


class Traffic:
    """What was read so far. `read` goes on from there; of more than `asks_max` asks the oldest are forgotten.

    Without `decisions` they are passed over: who only learns does not need them. Use it from one thread at a time.
    """

    def __init__(self, *, position: int = 0, decisions: bool = True, asks_max: int = _ASKS_MAX) -> None:
        self.position = position
        """Of the last event that was looked at."""
        self.passed_over: Counter[str] = Counter()
        """What could not be read, by reason."""
        self.preferred: list[Preferred] = []
        self._types = [t.value for t in (_DECIDED if decisions else OUTCOMES)]
        self._asks: dict[tuple[int, str], Ask] = {}
        self._of_run: dict[int, list[Ask]] = {}
        self._runs: dict[int | str, RunRow | None] = {}
        self._open: dict[tuple[int, str], Ask] = {}
        """Asks whose step has not ended: what was asked is not known yet."""
        self._asks_max = asks_max

    @property
    def asks(self) -> Iterator[Ask]:
        """In the order in which they were first heard of."""
        return iter(self._asks.values())

    def __len__(self) -> int:
        return len(self._asks)

    def read(self, reader: Reader, events_max: int | None = None) -> int:
        """Read what came since, all as of one moment, and say how many events that were. Raises StoreError where the
        file cannot be read.
        """
        with reader.moment():
            return self._read(reader, events_max)

    def _read(self, reader: Reader, events_max: int | None) -> int:
        many = 0
        if not self.position:
            self.position = self._beginning(reader)
        while events_max is None or many < events_max:
            batch = reader.since(self.position, self._types, _BATCH)
            for position, event in batch:
                self._take(reader, position, event)
                self.position = position
            many += len(batch)
            if len(batch) < _BATCH:
                break
        self._close(reader)
        self._trim()
        return many

    def _beginning(self, reader: Reader) -> int:
        """Before so many of the last attempts that no ask that will be kept is missed, unless it took very many."""
        found = reader.query(
            "select pos from events where type = ? order by pos desc limit 1 offset ?",
            (EventType.ATTEMPT_RECORDED, 3 * self._asks_max),
        )
        return found[0][0] if found else 0

    def _take(self, reader: Reader, position: int, event: Event) -> None:
        run = self._run(reader, event.run)
        record = None if run is None else self._record(reader, event)
        if run is None or record is None or _delegated(record):
            return
        if isinstance(record, Feedback):
            self._hear(reader, run, event.key, record, position)
        elif event.key is not None:
            _add(self._ask(run, event, position), record)

    def _record(self, reader: Reader, event: Event) -> Record | None:
        try:
            return record_of(reader.whole(event))
        except (RecordError, StoreCorrupt) as error:
            self.passed_over[f"{event.type}: {type(error).__name__}"] += 1
            return None

    def _ask(self, run: RunRow, event: Event, position: int) -> Ask:
        name = run.no, cast("str", event.key)
        ask = self._asks.get(name)
        if ask is None:
            ask = Ask(run=run, key=name[1], at=event.began or event.at, seq=event.seq, position=position)
            self._asks[name] = self._open[name] = ask
            self._of_run.setdefault(run.no, []).append(ask)
        ask.position = position
        return ask

    def _run(self, reader: Reader, named: int | str) -> RunRow | None:
        if named not in self._runs:
            self._runs[named] = reader.find(named)
        return self._runs[named]

    def _hear(self, reader: Reader, run: RunRow, key: str | None, said: Feedback, position: int) -> None:
        """Feedback, for the asks that it is about: one, those within a scope, or all of a run up to now."""
        about = self._meant(reader, said.about, run, key)
        if not about:
            self.passed_over["feedback on what is not known"] += 1
        if said.better_than is not None:
            self._compare(reader, run, about, said, position)
        for ask in about if said.score is not None else ():
            ask.opinions.append(said)
            ask.position = position

    def _meant(self, reader: Reader, ref: AnswerRef | None, run: RunRow, key: str | None) -> list[Ask]:
        if ref is not None:
            named = self._run(reader, ref.run) if ref.run is not None else run
            if named is None:
                return []
            run, key = named, ref.key or key
        seen: RunRow | None = run
        while seen is not None:  # what a fork has from the run that it was made of stands there
            asks = self._of_run.get(seen.no, [])
            found = [a for a in asks if key is None or a.key == key] or [
                a for a in asks if key is not None and a.key.startswith(f"{key}/")
            ]
            if found:
                return found
            seen = None if seen.memo_run is None else self._run(reader, seen.memo_run)
        return []

    def _compare(self, reader: Reader, run: RunRow, about: list[Ask], said: Feedback, position: int) -> None:
        others = self._meant(reader, said.better_than, run, about[0].key if about else None)
        if len(about) != 1 or len(others) != 1:
            self.passed_over["a preference that names no two answers"] += 1
            return
        better, worse = about[0].by(said.about), others[0].by(said.better_than)
        if better is None or worse is None or better.target.name == worse.target.name:
            self.passed_over["a preference between answers of one model, or of none"] += 1
            return
        strength = 0.0 if said.tied else 1.0 if said.strength is None else said.strength
        self.preferred.append(Preferred(about[0], better.target.name, worse.target.name, strength, position))
        about[0].position = position

    def _close(self, reader: Reader) -> None:
        """See whose step has ended since: its arguments say what was asked."""
        marks = ", ".join("?" for _ in _STEP_ENDS)
        for name, ask in list(self._open.items()):
            found = reader.query(
                f"select seq from events where run = ? and seq > ? and key = ? and type in ({marks})"
                " order by seq limit 1",
                (name[0], ask.seq, ask.key, *_STEP_ENDS),
            )
            if not found:
                continue
            del self._open[name]
            try:
                (event,) = reader.events(ask.run, found[0][0] - 1, found[0][0])
            except SegueError:
                self.passed_over["a request that is gone"] += 1
                continue
            ask.over_at, ask.request = event.at, request_of(event.args, ask.run.flow)

    def _trim(self) -> None:
        for name in list(self._asks)[: max(0, len(self._asks) - self._asks_max)]:
            ask = self._asks.pop(name)
            self._open.pop(name, None)
            left = self._of_run[ask.run.no]
            left.remove(ask)
            if not left:
                del self._of_run[ask.run.no]
        self._runs = {no: row for no, row in self._runs.items() if no in self._of_run}
        kept = {id(ask) for ask in self._asks.values()}
        self.preferred = [one for one in self.preferred if id(one.ask) in kept]


def _delegated(record: Record) -> bool:
    """Whether it is of a delegation: whoever it chose, that is no call of a model."""
    if isinstance(record, Decision):
        return (record.route or "").partition("/")[0] == "delegate"
    return isinstance(record, AttemptRecorded) and bool(record.details.get("delegated"))


def _add(ask: Ask, record: Record) -> None:
    if isinstance(record, Decision):
        ask.decisions.append(record)
    elif isinstance(record, AttemptRecorded):
        ask.attempts.append(record)
    elif isinstance(record, Settlement):
        before = ask.settled.get(record.settles)
        if before is None or before.estimated or not record.estimated:
            ask.settled[record.settles] = record


def request_of(args: bytes | None, flow: str = "") -> Wanted | None:
    """The request in the arguments of a step: the first object with a text named `prompt`. None: there is none.

    Its text is that which the router goes by: system, prompt and parts, a line each. Its task is what does not change
    from call to call: the flow, and the instruction where it has parts.
    """
    said: Any = None if args is None else loads(args)
    if not isinstance(said, dict):
        return None
    given = cast("dict[str, Any]", said)
    for one in (given, *given.values()):
        if isinstance(one, dict) and isinstance(cast("dict[str, Any]", one).get("prompt"), str):
            return _wanted(cast("dict[str, Any]", one), flow)
    return None


def _wanted(said: dict[str, Any], flow: str) -> Wanted:
    parts: list[Any] = list(said["parts"]) if isinstance(said.get("parts"), list) else [said.get("input")]
    texts = [part for part in parts if isinstance(part, str) and part]
    system = said.get("system") if isinstance(said.get("system"), str) else ""
    text = "\n".join(filter(None, (system, said["prompt"], *texts)))
    kind = said.get("kind") if isinstance(said.get("kind"), str) else ""
    return Wanted(text, "/".join(filter(None, (flow, kind, said["prompt"] if texts else ""))))
