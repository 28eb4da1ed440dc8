"""What a journal says to the run that continues from it. Pure.

`Memory.of(events)` reads a run's events once: what to deliver again, which attempts were made, which timers are set,
which children were started, what was recorded. Replaying is then: deliver `outcomes` in order, draining in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .codec import loads
from .empties import plain_dict, plain_list, plain_set
from .events import DELIVERED, OUTCOMES, Event, EventType
from .faults import INTERRUPTED, Fault
from .keys import part_of_run
from .placed import Placed
from .questions import Put, asked_again, word_of
from .recovery import Amend, Answer, AskPerson, Attempt, Use

_RECORDS = frozenset(
    {
        EventType.SIGNAL_REJECTED,
        EventType.DECISION_MADE,
        EventType.CONTEXT_ASSEMBLED,
        EventType.APPROVAL_ASKED,
        EventType.APPROVAL_DECIDED,
        EventType.ATTEMPT_RECORDED,
        EventType.TOOL_ANSWERED,
        EventType.USAGE_RESERVED,
        EventType.USAGE_SETTLED,
        EventType.STREAM_ENDED,
    }
)

_REPLACEABLE: dict[str, str] = {
    EventType.STEP_COMPLETED: EventType.STEP_COMPLETED,
    EventType.STEP_FAILED: EventType.STEP_COMPLETED,
    EventType.CHILD_ENDED: EventType.CHILD_ENDED,
}

UNDER_WAY = {"under_way": True}
"""The details of an operator's word on an effect that is on its way: what came of it is still to be found out."""


@dataclass(slots=True)
class Memory:
    """A journal, read for replay."""

    outcomes: list[Event] = field(default_factory=plain_list)
    attempts: dict[str, list[Attempt]] = field(default_factory=plain_dict)
    """Attempts of steps that have no outcome; one that has no end carries the fault `interrupted`."""
    retry_at: dict[str, float] = field(default_factory=plain_dict)
    due_at: dict[str, float] = field(default_factory=plain_dict)
    """When the time of a question to a person is over."""
    asked: set[str] = field(default_factory=plain_set)
    """Steps that wait for a person's word, and whose question is on record."""
    bounds: dict[str, str] = field(default_factory=plain_dict)
    """What the questions of steps are bound to, by their ids."""
    timers: dict[str, float] = field(default_factory=plain_dict)
    put: dict[str, Put] = field(default_factory=plain_dict)
    """The questions that the flow has put to people, by key."""
    children: dict[str, str] = field(default_factory=plain_dict)
    """Children that have not ended and that the run has not given up."""
    begun_children: set[str] = field(default_factory=plain_set)
    """Children that were started and have no end, given up or not, and those of a fork's parent."""
    cancelled: set[str] = field(default_factory=plain_set)
    """Calls that the run gave up, on record."""
    effects: set[str] = field(default_factory=plain_set)
    """Once-effects that were begun and have no outcome, given up or not: what came of them must be found out."""
    inherited: set[str] = field(default_factory=plain_set)
    """Those of them, and of the children below, that a fork has from its parent, and has not begun itself."""
    doubts: dict[str, str] = field(default_factory=plain_dict)
    """Why it is unknown what came of them, where that was found out."""
    doubted: dict[str, int] = field(default_factory=plain_dict)
    """The `seq` of the event that first said so: only a word that was said later answers it."""
    anew: set[str] = field(default_factory=plain_set)
    """Once-effects that an operator lets begin anew, and that have not begun."""
    open_args: dict[str, bytes] = field(default_factory=plain_dict)
    """The arguments of steps that were begun and of children that were started, and have no outcome."""
    rekeyed: dict[str, str] = field(default_factory=plain_dict)
    """Keys that changed code has given to calls on record: the keys that those have here, by the newer ones."""
    given_begun: dict[str, list[str]] = field(default_factory=plain_dict)
    """Effects begun after the point of a fork that it was given results for: their keys on record, with other ones."""
    again: set[str] = field(default_factory=plain_set)  # others, which such a fork makes anew
    placed: Placed = field(default_factory=Placed)
    """What was said of calls in whose way recorded ones stood."""
    numbers: dict[str, int] = field(default_factory=plain_dict)
    """The last attempt of steps that an operator lets begin anew: numbers are never used again."""
    ended: set[str] = field(default_factory=plain_set)
    """Calls that have their outcome."""
    recorded: set[tuple[str, str]] = field(default_factory=plain_set)
    moved: int = 0
    """Up to which `seq` an earlier incarnation is known to have given the flow what came, and to have heard its answer:
    what the flow has asked for since is on record, or it had come to rest.
    """
    fresh: bool = False
    """Whether the run has no past."""
    paused: bool = False
    edited: bool = False
    """Whether it is a fork with another input: its calls may differ from the recorded ones."""
    replaced: Mapping[str, bytes] = field(default_factory=plain_dict)
    """The other results that it was given, as a fork, by key."""
    args: bytes = b"{}"
    part: int = 0
    """How often the run has gone on as new."""
    forked_at: int = 0
    """The `seq` of the first fork that does not say what it was given, as those of earlier versions do not; else 0."""
    given_at: dict[str, int] = field(default_factory=plain_dict)
    """The `seq` of the fork that was given a result, by the call's key: of several the last one."""
    begun_at: int = 0
    """The `seq` from which this part goes: what the flow has seen when it begins."""
    seeds: list[tuple[int, str]] = field(default_factory=plain_list)
    """From which `seq` on which seed gives the run's random values: a fork keeps its parent's up to its own."""
    idle_starts: int = 0
    """Incarnations since the run last made progress."""
    revisions: set[str] = field(default_factory=plain_set)
    """The code that wrote this journal."""
    last_seq: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    _revision: str = ""
    """The last of them."""
    _kept_at: float = 0.0
    """The time of the event before the last one that was read."""

    @classmethod
    def of(cls, events: Iterable[Event], replaced: Mapping[str, bytes] | None = None) -> Memory:
        """Read a journal. `replaced` gives other results for steps, by key: a fork with results replaced."""
        memory = cls()
        for event in events:
            if event.type == EventType.RUN_CONTINUED:
                memory = memory._renewed(event)
            else:
                memory._read(event, replaced or {})
        memory.replaced = replaced or {}
        return memory

    def _renewed(self, event: Event) -> Memory:
        """The run goes on as new: all that is left of its past are the signals that nobody had waited for."""
        body = loads(event.body)
        carried = set(body.get("carried", ()))
        return Memory(
            outcomes=[e for e in self.outcomes if e.type == EventType.SIGNAL_RECEIVED and e.seq in carried],
            part=body["part"], begun_at=event.seq, args=event.args or b"{}", paused=bool(body.get("paused")),
            seeds=[(event.seq, body["seed"])], revisions={body.get("revision", "")}, _revision=self._revision,
            last_seq=event.seq, first_at=event.at, last_at=event.at, _kept_at=self.last_at,
        )  # fmt: skip

    def _read(self, event: Event, replaced: Mapping[str, bytes]) -> None:
        self._kept_at, self.last_seq, self.last_at = self.last_at, event.seq, event.at
        self.first_at = self.first_at or event.at
        kind, key = event.type, event.key or ""
        if event.seen is not None and event.seen > self.moved:
            self.moved = event.seen
        if self.part and kind == EventType.CHILD_ENDED and not key.startswith(part_of_run(self.part)):
            return  # the run had gone on without this child
        if kind in DELIVERED:
            if kind in OUTCOMES:
                if key in self.ended:
                    return  # somebody has said what came of it, and at the same time it came
                self.ended.add(key)
                self.placed.begins(key)
            if key in replaced and kind in _REPLACEABLE:
                event = event._replace(type=_REPLACEABLE[kind], value=replaced[key], body=None)
            if event.args is None and key in self.open_args:  # a child's end does not repeat them
                event = event._replace(args=self.open_args[key])
            self.outcomes.append(event)
            self.open_args.pop(key, None)
            self.idle_starts = 0
            self.attempts.pop(key, None)
            self.retry_at.pop(key, None)
            self.asked.discard(key)
            self.timers.pop(key, None)
            if self.begun_children:
                self.children.pop(key, None)
                self.begun_children.discard(key)
            self.effects.discard(key)
            self.anew.discard(key)
        elif kind in _RECORDS:
            self.recorded.add((kind, key))
            if event.attempt is not None and kind in (EventType.APPROVAL_ASKED, EventType.APPROVAL_DECIDED):
                self._read_question(event, key)
            elif kind == EventType.APPROVAL_ASKED:
                self.put.setdefault(key, Put(loads(event.body)["id"], event.at))  # asked anew it keeps its time
        else:
            self._read_own(event, key)

    def _read_own(self, event: Event, key: str) -> None:  # noqa: PLR0912, PLR0915  one branch a type
        match event.type:
            case EventType.ATTEMPT_STARTED:
                body = loads(event.body)
                if "late" not in body:  # one that was made to count
                    self.idle_starts = 0
                if body.get("effect") == "once":
                    self.effects.add(key)
                    self.inherited.discard(key)
                self.open_args[key] = event.args or b"{}"
                self.settle_doubt(key)
                tries = self.attempts.setdefault(key, [])
                tries.append(Attempt(event.epoch, event.attempt or 1, event.at, INTERRUPTED))
            case EventType.ATTEMPT_FAILED:
                self._read_failure(event, key)
            case EventType.CALL_REKEYED:
                self.rekeyed[loads(event.body)["asked_as"]] = key
            case EventType.TIMER_SET:
                self.timers[key] = loads(event.body)["due_at"]
            case EventType.CHILD_STARTED:
                self.children[key] = loads(event.body)["run"]
                self.begun_children.add(key)
                self.placed.begins(key)
                self.inherited.discard(key)
                self.open_args[key] = event.args or b"{}"
            case EventType.RUN_PAUSED | EventType.RUN_RESUMED:
                self.paused = event.type == EventType.RUN_PAUSED
            case EventType.RUN_STARTED:
                self.idle_starts += 1
                self._begin_with(loads(event.body).get("revision", ""))
            case EventType.RUN_ACCEPTED | EventType.RUN_FORKED:
                self._leave_parent(event.at)
                self.args, body = event.args or b"{}", loads(event.body)
                if event.type == EventType.RUN_FORKED and "given" not in body:
                    self.forked_at = self.forked_at or event.seq
                self.edited = self.edited or bool(body.get("edited"))
                self.seeds.append((event.seq, body.get("seed", "")))
                self.given_at |= dict.fromkeys(body.get("given", ()), event.seq)
                self.given_begun.update(body.get("begun", {}))
                self.again.update(body.get("again", ()))
                self.idle_starts = 0
            case EventType.RUN_PARKED | EventType.RUN_STUCK:
                self.idle_starts = 0
                if event.type == EventType.RUN_PARKED and not self.paused:  # else it may have held something back
                    self.moved = event.seq
                self._read_doubts(event)
            case EventType.OPERATOR_ACTED:
                self.idle_starts = 0
                self.hear(loads(event.body), key)
            case EventType.STEP_CANCELLED:
                self.cancelled.add(key)
                self.children.pop(key, None)
                self.timers.pop(key, None)
                if key not in self.effects:
                    self.open_args.pop(key, None)
                if key not in self.effects or loads(event.body).get("applied") is False:
                    self._forget_attempts(key)
            case _:
                pass

    def hear(self, said: dict[str, Any], key: str) -> None:
        """An operator's word on a call."""
        self.placed.hear(said, key, begun=self.holds(key))
        if _is_retry(said):
            self.begin_anew(key)

    def _read_failure(self, event: Event, key: str) -> None:
        body = loads(event.body)
        tries = self.attempts.setdefault(key, [])
        failed = Attempt(
            event.epoch, event.attempt or 1, event.began or event.at, Fault.read(body["fault"]),
            self._answer(body, event.value, key, event.at), event.at,
        )  # fmt: skip
        if tries and tries[-1].n == failed.n:  # a later incarnation may be the one to write its failure
            tries[-1] = failed
        else:
            tries.append(failed)
        if "retry_at" in body:
            self.retry_at[key] = body["retry_at"]

    def _read_question(self, event: Event, key: str) -> None:
        """A question of a step's Recovery, or the word that was said: it stands in the place of the answer."""
        if event.type == EventType.APPROVAL_ASKED:
            self.asked.add(key)
            body = loads(event.body)
            self.bounds[body["id"]] = body["bound"]
            return
        tries, body = self.attempts.get(key), loads(event.body)
        if not tries or tries[-1].n != event.attempt or not isinstance(tries[-1].answer, AskPerson):
            return
        if body.get("verdict") == "reassigned":
            tries[-1] = tries[-1]._replace(answer=tries[-1].answer._replace(to=", ".join(body.get("to", ()))))
        elif body.get("answer"):
            word = word_of(body["answer"], event.value, body.get("by", ""), told=tries[-1].answer.told)
            tries[-1] = tries[-1]._replace(answer=word, decided=True)
            self.asked.discard(key)
            self.idle_starts = 0

    def _answer(self, body: dict[str, Any], value: bytes | None, key: str, at: float) -> Answer | None:
        """What the Recovery said to an attempt that failed at this time, as far as the next one must know."""
        match body.get("then"):
            case "use":
                return Use(body["to"], max(0.0, body.get("retry_at", at) - at))
            case "amend":
                return Amend(loads(value), max(0.0, body.get("retry_at", at) - at))
            case "ask person":
                answer, due_at = asked_again(body["to"], value)
                self.ends_at(key, due_at)
                return answer
            case _:
                return None

    def ends_at(self, key: str, due_at: float | None) -> None:
        """When the time of the last question of a step is over; None: never, whatever held for those before it."""
        if due_at is None:
            self.due_at.pop(key, None)
        else:
            self.due_at[key] = due_at

    def merge(self, key: str, recorded: str) -> None:
        """Let a call go by the key on record also in what an earlier version of Segue wrote about it under `key`."""
        for known in (self.retry_at, self.due_at, self.numbers, self.doubts, self.doubted):
            if key in known:
                known[recorded] = known.pop(key)  # pyright: ignore[reportArgumentType]  each is moved into itself
        for keys in (self.asked, self.anew):
            if key in keys:
                keys.remove(key)
                keys.add(recorded)
        later = self.attempts.pop(key, None)
        if later:
            before = [one for one in self.attempts.get(recorded, ()) if one.n < later[0].n]
            self.attempts[recorded] = before + later

    def holds(self, key: str) -> bool:
        """Whether a call of this key was begun, was given up, or has its outcome."""
        return key in self.ended or key in self.open_args or key in self.cancelled

    def _read_doubts(self, event: Event) -> None:
        """It is on record that nobody knows what came of these effects."""
        unknown: dict[str, str] = loads(event.body).get("unknown", {}) if event.version > 1 else {}
        self.doubts |= unknown
        for key in unknown:
            self.doubted.setdefault(key, event.seq)

    def settle_doubt(self, key: str) -> None:
        """An attempt begins: what is found out about the last one no longer counts."""
        self.placed.begins(key)
        self.doubts.pop(key, None)
        self.doubted.pop(key, None)
        self.anew.discard(key)

    def begin_anew(self, key: str) -> None:
        """An operator's word: the step is made as if it had never been tried."""
        if key in self.effects and key in self.attempts:
            self.anew.add(key)
        self._forget_attempts(key)
        self.doubts.pop(key, None)
        self.doubted.pop(key, None)

    def _forget_attempts(self, key: str) -> None:
        tries = self.attempts.pop(key, None)
        if tries:
            self.numbers[key] = tries[-1].n
        self.retry_at.pop(key, None)
        self.asked.discard(key)
        self.due_at.pop(key, None)
        self.effects.discard(key)

    def is_kept(self, event: Event) -> bool:
        """Whether a fork has this outcome, or this effect or child that was begun, from its parent."""
        return event.seq < self.seeds[-1][0] if event.seq and self.seeds else event.key in self.inherited

    def _begin_with(self, revision: str) -> None:
        """An incarnation; one with other code may ask people something else."""
        if revision != self._revision:
            self._ask_anew()
        self._revision = revision
        self.revisions.add(revision)

    def _ask_anew(self) -> None:
        """Whether the questions that are open are still asked goes on record when the flow comes to them."""
        open_ = {key for key in self.put if (EventType.APPROVAL_DECIDED, f"{key}/decided") not in self.recorded}
        self.recorded -= {(EventType.APPROVAL_ASKED, key) for key in open_}

    def _leave_parent(self, at: float) -> None:
        """A fork makes anew what its parent had on its way: children, attempts. Only of once-effects it must ask.

        Its timers have as much time left as the parent's had at the fork.
        """
        later_s = at - self._kept_at
        self.timers = {key: due + later_s for key, due in self.timers.items()}
        self.put = {key: Put(put.id, put.at + later_s) for key, put in self.put.items()}
        self.inherited = self.effects | self.begun_children
        self.placed.through.clear()  # said of a call of the parent's, which may make it still
        self._ask_anew()
        self.children.clear()
        self.retry_at.clear()
        self.open_args = {k: v for k, v in self.open_args.items() if k in self.effects}
        self.rekeyed = {k: known for k, known in self.rekeyed.items() if self.holds(known)}
        self.numbers |= {k: v[-1].n for k, v in self.attempts.items() if k not in self.effects}
        self.attempts = {k: v for k, v in self.attempts.items() if k in self.effects}
        self.asked &= self.effects
        self.paused = False


def _is_retry(said: dict[str, Any]) -> bool:
    """Whether an operator's word lets a step begin anew."""
    return said.get("act") == "retry" and said.get("details") != UNDER_WAY
