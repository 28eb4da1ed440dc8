"""A run's journal as a reader follows it: the tree of its calls, and where it stands. Pure.

`Story.add` takes the events in order, one at a time, so that a story can be followed live.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..core.asked import LEFT_OPEN
from ..core.codec import dumps, loads
from ..core.events import ENDS, Event, EventType
from ..core.faults import Fault
from ..journal import RunRow
from .spending import Spending

_BRANCHES = re.compile(r"(gather|map|as_completed)#\d+$")
_CALL = re.compile(r"#\d+$")


class Stand(StrEnum):
    """Where one call stands."""

    DONE = "done"
    FAILED = "failed"
    RUNNING = "running"
    RETRYING = "retrying"
    ASKING = "asking"
    WAITING = "waiting"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


OPEN_STANDS = frozenset({Stand.RUNNING, Stand.RETRYING, Stand.ASKING, Stand.WAITING, Stand.INTERRUPTED})


@dataclass(slots=True)
class Call:
    """One call of the flow: a step, timer, child or signal. Times are seconds since the epoch, UTC."""

    key: str
    kind: str
    stand: Stand = Stand.RUNNING
    began: float | None = None
    ended: float | None = None
    attempts: int = 0
    epoch: int = 0
    failures: list[tuple[int, Fault]] = field(default_factory=list[tuple[int, Fault]])
    """Attempts that failed and were made again."""
    fault: Fault | None = None
    args: bytes | None = None
    value: bytes | None = None
    due_at: float | None = None
    child: str | None = None
    notes: list[str] = field(default_factory=list[str])
    kept: bool = False
    """Whether a fork has it from its parent."""
    why: str = ""
    asks: str = ""
    """The person that it waits for, or the service."""
    service: bool = False
    """Whether it is no person: a batch, which takes its time."""
    effect: str = ""
    """Of a tool that a model has called: `read`, `write` or `once`."""
    question: str = ""
    """The id of the question that it is, where the flow asks a person."""
    decisions: list[bytes] = field(default_factory=list[bytes])
    """Who was chosen, and how, as on record: one for each attempt."""

    @property
    def open(self) -> bool:
        """Whether it has no outcome yet."""
        return self.stand in OPEN_STANDS


@dataclass(slots=True)
class Branch:
    """A level of the tree: a scope with the calls and scopes in it, in the order in which they were seen."""

    name: str
    call: Call | None = None
    below: dict[str, Branch] = field(default_factory=lambda: {})

    def calls(self) -> Iterator[Call]:
        """All calls at and below it."""
        if self.call is not None:
            yield self.call
        for branch in self.below.values():
            yield from branch.calls()


class Story:
    """What the events so far say.

    `memo_seq` is where the events of a fork's parent end, `replaced` gives other results for its steps, as JSON by key.
    """

    def __init__(self, memo_seq: int = 0, replaced: Mapping[str, str] | None = None):
        self.memo_seq, self._replaced = memo_seq, replaced or {}
        self.calls: dict[str, Call] = {}
        self.waits: list[dict[str, Any]] = []
        """What it waited for when it last came to rest; empty once it moved again."""
        self.starts = self.last_seq = 0
        """`starts` leaves out those after it had parked or was set aside: it is 1, and one for each crash."""
        self._rested = False
        self.began_at = self.last_at = 0.0
        self.args: bytes | None = None
        self.part = 0
        """How often it has gone on as new, `part_args` with which input."""
        self.part_args: bytes | None = None
        self.fork_of: str | None = None
        self.fork_at: Any = None
        self.paused_by = self.cancelled_by = self.cancelled_how = ""
        self.cancelling = False
        self.stuck: dict[str, Any] = {}
        self.end: Event | None = None
        self.feedback: list[str] = []
        self.spending = Spending()
        self._questions: dict[str, str] = {}
        """The keys of the flow's own questions, by their ids."""

    @classmethod
    def of(cls, events: Iterable[Event], row: RunRow) -> Story:
        """The story of a run's journal."""
        story = cls(row.memo_seq, row.replaced)
        for event in events:
            story.add(event)
        return story

    @property
    def fault(self) -> Fault | None:
        """The error that ended it, if one did."""
        body = loads(self.end.body) if self.end is not None and self.end.type == EventType.RUN_FAILED else {}
        return Fault.read(body["fault"]) if "fault" in body else None

    @property
    def orphans(self) -> list[str]:
        """Recorded outcomes that the code no longer asked for at its end."""
        return [] if self.end is None else loads(self.end.body).get("orphaned", [])

    @property
    def done(self) -> int:
        """How many calls have an outcome."""
        return sum(not c.open for c in self.calls.values())

    def is_open(self, key: str) -> bool:
        """Whether a call has no outcome, as far as this tells."""
        return key not in self.calls or self.calls[key].open

    def tree(self) -> Branch:
        """The calls by scope."""
        root = Branch("")
        for key, call in self.calls.items():
            at = root
            for part in parts(key):
                at = at.below.setdefault(part, Branch(part))
            at.call = call
        return root

    def add(self, event: Event) -> None:
        """Take the next event."""
        self.last_seq, self.last_at = event.seq, event.at
        kind = event.type
        if event.seq > self.memo_seq:  # what a fork has kept, its parent has paid
            self.spending.add(event)
        if kind.startswith("run."):
            self._of_run(event)
        elif kind in (EventType.SIGNAL_RECEIVED, EventType.SIGNAL_REJECTED):
            self._of_signal(event)
        elif kind in (EventType.APPROVAL_ASKED, EventType.APPROVAL_DECIDED):
            self._of_question(event)
        elif kind in (EventType.OPERATOR_ACTED, EventType.FEEDBACK_GIVEN):
            self._of_person(event)
        elif kind == EventType.DECISION_MADE and event.key is not None:
            self._call(event).decisions.append(event.body or b"{}")
        elif kind == EventType.TOOL_ANSWERED:
            self._of_tool(event, loads(event.body))
        elif kind == EventType.CALL_REKEYED and event.key is not None:
            self._call(event).notes.append(f"changed code calls it {loads(event.body)['asked_as']}")
        elif kind.partition(".")[0] in ("attempt", "step", "timer", "child") and event.key is not None:
            self._of_call(event, self._call(event))

    def _of_run(self, event: Event) -> None:
        body = loads(event.body)
        self.waits = []
        match event.type:
            case EventType.RUN_ACCEPTED | EventType.RUN_FORKED:
                self.args, self.began_at = event.args, event.at
                self.fork_of, self.fork_at = body.get("fork_of"), body.get("at")
                self.stuck, self.end = {}, None
            case EventType.RUN_STARTED:
                self.starts += event.seq > self.memo_seq and not self._rested
                self._rested = False
                self.stuck = {}
                for call in self.calls.values():
                    if call.stand is Stand.RUNNING and call.kind == "step" and call.epoch < event.epoch:
                        call.stand = Stand.INTERRUPTED
            case EventType.RUN_PARKED:
                self.waits, self._rested = body.get("waits_on", []), True
            case EventType.RUN_CONTINUED:
                self._renew(event, body["part"])
            case EventType.RUN_PAUSED:
                self.paused_by = _who(body) or "an operator"
            case EventType.RUN_RESUMED:
                self.paused_by = ""
            case EventType.RUN_CANCELLING:
                self.cancelling, self.cancelled_by = True, _who(body)
                self.cancelled_how = (
                    (" by " if body.get("by") else ": ") + self.cancelled_by if self.cancelled_by else ""
                )
            case EventType.RUN_STUCK:
                self.stuck, self._rested = body, True
            case _ if event.type in ENDS:
                self.end = event
            case _:
                pass

    def _renew(self, event: Event, part: int) -> None:
        self.part, self.part_args = part, event.args
        for call in self.calls.values():
            if call.stand in OPEN_STANDS:
                call.stand, call.ended = Stand.CANCELLED, event.at

    def _of_question(self, event: Event) -> None:
        body = loads(event.body)
        if event.type == EventType.APPROVAL_DECIDED:
            if event.attempt is None:
                self._of_decision(event, body)
            else:
                self._of_word(event)
        elif event.key in self.calls:
            self.calls[event.key].due_at = body.get("due_at")
        elif event.attempt is None:
            key = self._questions[body["id"]] = event.key or ""
            self.calls[key] = Call(
                key, "question", Stand.ASKING, event.at, asks=", ".join(body.get("by", ())) or "anybody",
                why=body["question"], question=body["id"], due_at=body.get("due_at"), kept=event.seq <= self.memo_seq,
            )  # fmt: skip

    def _of_decision(self, event: Event, body: dict[str, Any]) -> None:
        """What was said of a question of the flow's own."""
        call = self.calls.get(self._questions.get(body.get("asked", ""), ""))
        if call is None:
            return
        verdict, note = body["verdict"], f": {body['why']}" if body.get("why") else ""
        if verdict == "reassigned":
            call.asks = ", ".join(body.get("to", ()))
        elif verdict not in LEFT_OPEN:
            gone = verdict == "withdrawn"
            call.stand, call.ended, call.due_at = (Stand.CANCELLED if gone else Stand.DONE), event.at, None
            call.value = None if body.get("answer") is None else dumps({"": body["answer"]})[4:-1]
        to = f" to {call.asks}" if verdict == "reassigned" else ""
        call.notes.append(f"{verdict}{to} by {body.get('by') or 'somebody'}{note}")

    def _of_signal(self, event: Event) -> None:
        name = event.key or ""
        if name in self._questions:
            return  # it is told by what came of it
        if event.type == EventType.SIGNAL_REJECTED:
            if name in self.calls:
                self.calls[name].stand = Stand.FAILED
                self.calls[name].notes.append(f"rejected: {loads(event.body).get('why', '')}")
            return
        kept = event.seq <= self.memo_seq
        who = _who(loads(event.body))
        self.calls[f"{name}@{event.seq}"] = Call(
            name, "signal", Stand.DONE, event.at, event.at, value=event.value, kept=kept,
            notes=[f"from {who}"] if who else [],
        )  # fmt: skip

    def _of_person(self, event: Event) -> None:
        body = loads(event.body)
        who = _who(body)
        if event.type == EventType.FEEDBACK_GIVEN:
            said = "preferred to another answer" if body.get("better_than") else f"feedback {body.get('score')}"
            note = said + (f" by {who}" if who else "")
            note += f": {body['note']}" if body.get("note") else ""
        else:
            target = f" of {body['target']}" if body.get("target") else ""
            note = f"{body.get('act', 'act')}{target}" + (f" by {who or 'an operator'}" if who or not target else "")
        call = self.calls.get(event.key or "")
        if call is not None:
            call.notes.append(note)
        else:
            self.feedback.append(note if event.key is None else f"{event.key}: {note}")

    def _of_tool(self, event: Event, body: dict[str, Any]) -> None:
        """What a model was told of a call; one that was not made has only this, and one of an agent or in the flow."""
        key, outcome = event.key or "", body["outcome"]
        call = self.calls.get(key)
        if call is None:
            stand = Stand.DONE if outcome == "given" else Stand.CANCELLED
            call = self.calls[key] = Call(key, "tool", stand, kept=event.seq <= self.memo_seq)
            call.why = body.get("why", "")
        call.effect = body.get("effect") or ""
        asked = self._questions.get(body.get("approval") or "", "")
        if asked in self.calls and outcome != "denied":
            call.notes.append(next((n for n in reversed(self.calls[asked].notes) if n.startswith("approved")), ""))
        if outcome == "unknown":
            call.notes.append("nobody knows whether it had its effect")
        if "recall" in body:
            call.notes.append(f"shown {body['shown']:,} of {body['chars']:,} characters, recall {body['recall']}")

    def _of_word(self, event: Event) -> None:
        """What a person said of a failed step, or that nobody did in time."""
        call, body = self.calls.get(event.key or ""), loads(event.body)
        if call is None:
            return
        said: dict[str, str] = body.get("answer") or {}
        word = " ".join(filter(None, (said.get("word", ""), said.get("candidate", ""))))
        by_batch = body.get("by") == "segue:batch"
        note = f"{word} by {'its batch' if by_batch else _who(body) or 'a person'}"
        if not by_batch or note not in call.notes:  # of several batches it is the same
            call.notes.append(note)
        if call.stand is Stand.ASKING:
            call.stand, call.asks, call.due_at = Stand.RETRYING, "", None

    def _call(self, event: Event) -> Call:
        key = event.key or ""
        if key not in self.calls:
            kind = {"timer": "timer", "child": "child"}.get(event.type.partition(".")[0], "step")
            self.calls[key] = Call(key, kind, began=event.began or event.at)
        call = self.calls[key]
        call.epoch, call.kept = event.epoch, event.seq <= self.memo_seq
        call.args = event.args or call.args
        return call

    def _of_call(self, event: Event, call: Call) -> None:
        match event.type:
            case EventType.ATTEMPT_STARTED:
                call.stand, call.attempts, call.due_at = Stand.RUNNING, max(call.attempts, event.attempt or 1), None
            case EventType.ATTEMPT_FAILED:
                body = loads(event.body)
                call.failures.append((event.attempt or 1, Fault.read(body["fault"])))
                call.attempts = max(call.attempts, event.attempt or 1)
                call.stand, call.due_at = Stand.RETRYING, body.get("retry_at")
                if body.get("then") == "ask person":
                    call.stand, call.asks = Stand.ASKING, str(body.get("to", ""))
                    call.service = bool(loads(event.value).get("service"))
                    if call.service:
                        call.failures.pop()  # it has not failed: its answer is to come
            case EventType.TIMER_SET:
                body = loads(event.body)
                call.stand, call.due_at, call.why = Stand.WAITING, body.get("due_at"), body.get("why", "")
            case EventType.CHILD_STARTED | EventType.CHILD_DETACHED:
                call.child = loads(event.body).get("run")
                detached = event.type == EventType.CHILD_DETACHED
                call.stand, call.ended = (Stand.DONE, event.at) if detached else (Stand.RUNNING, None)
                call.notes += ["detached"] if detached else []
            case EventType.STEP_CANCELLED:
                call.stand, call.ended = Stand.CANCELLED, event.at
            case EventType.ATTEMPT_RECORDED:
                pass
            case _:
                self._ended(event, call)

    def _ended(self, event: Event, call: Call) -> None:
        failed = event.type == EventType.STEP_FAILED or (event.type == EventType.CHILD_ENDED and event.value is None)
        call.stand, call.ended, call.due_at = Stand.FAILED if failed else Stand.DONE, event.at, None
        call.value, call.began = event.value, event.began or call.began
        call.attempts = max(call.attempts, event.attempt or 0)
        fault = loads(event.body).get("fault") if failed else None
        call.fault = None if fault is None else Fault.read(fault)
        if call.kept and call.key in self._replaced:
            call.stand, call.value, call.fault = Stand.DONE, self._replaced[call.key].encode(), None
            call.notes.append("replaced")


def parts(key: str) -> list[str]:
    """A key's scopes and its name. Slashes in brackets, and those of a branch's own key, part nothing."""
    cut: list[str] = []
    depth, start = 0, 0
    for at, character in enumerate(key):
        depth = max(0, depth + (character == "[") - (character == "]"))
        if character == "/" and depth == 0:
            cut.append(key[start:at])
            start = at + 1
    cut.append(key[start:])
    return _joined(cut)


def _joined(cut: list[str]) -> list[str]:
    """After `map#1` comes one branch, up to the next call: its key may hold slashes."""
    made: list[str] = []
    for part in cut:
        in_branch = len(made) > 1 and _BRANCHES.match(made[-2]) and not _CALL.search(made[-1])
        if in_branch and not _CALL.search(part):
            made[-1] += f"/{part}"
        else:
            made.append(part)
    return made


def _who(body: dict[str, Any]) -> str:
    by, why = body.get("by", ""), body.get("why", "")
    return f"{by}: {why}" if by and why else by or why
