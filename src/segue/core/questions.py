"""What a person is asked when a step's Recovery answers `AskPerson`, and what they may say. Pure.

The words are JSON: `{"word": "retry"}`, `{"word": "use", "candidate": …}`, `{"word": "result"}` (the result itself is
the event's value) and `{"word": "fail"}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .asked import LEFT_OPEN
from .codec import dumps, loads
from .events import Event, EventType
from .recovery import Again, AskPerson, Fail, Take, Told, Use, Word

WORDS = ("retry", "result", "use", "fail")
ESCALATION, SERVICE = "escalation", "service"
_CLOSED = frozenset({EventType.STEP_COMPLETED, EventType.STEP_FAILED, EventType.STEP_CANCELLED})


class Question(NamedTuple):
    """A question about a step that nobody has answered yet. Times are seconds since the epoch, UTC."""

    key: str
    id: str
    to: str
    text: str
    due_at: float | None = None
    escalated: bool = False
    """Whether the step judges what the person says, instead of taking it as it is."""
    shown: Any = None
    service: bool = False
    """Whether no person is asked: something outside takes its time to answer."""
    form: Any = None
    """The JSON schema of an answer, where the question has one."""

    def over(self, at: float) -> bool:
        """Whether a person's word at this time is too late. What something outside answers is taken however late."""
        return self.due_at is not None and not self.service and at >= self.due_at


class Put(NamedTuple):
    """A question of a flow, on record."""

    id: str
    at: float
    """When it was put: its timers count from there."""


def question_id(key: str, attempt: int) -> str:
    """Names a question in its run: attempts are never numbered twice."""
    return f"{key}?{attempt}"


def body_of(word: Word) -> dict[str, Any]:
    """A word as JSON."""
    match word:
        case Use():
            return {"word": "use", "candidate": word.candidate}
        case Take():
            return {"word": "result"}
        case Fail():
            return {"word": "fail"}
        case Again():
            return {"word": "retry"}


def word_of(body: Mapping[str, Any], value: bytes | None, by: str = "", *, told: bool = False) -> Word | Told:
    """The word that JSON says; `told`: a result is for the step's body to judge."""
    match body.get("word"):
        case "use":
            return Use(str(body.get("candidate", "")))
        case "result":
            said = json.loads(value or b"null")
            return Told(said, by) if told else Take(said)
        case "fail":
            return Fail()
        case _:
            return Again(0.0)


def details(answer: AskPerson, due_at: float | None) -> bytes:
    """What a later incarnation must know of a question, beside what is shown."""
    said: dict[str, Any] = {"question": answer.question, "due_at": due_at, "told": answer.told or None}
    said["service"] = answer.service or None
    if due_at is not None:
        said["default"] = body_of(answer.default)
        if isinstance(answer.default, Take):
            said["default"]["value"] = answer.default.value
    return dumps({k: v for k, v in said.items() if v not in (None, "")})


def asked_again(to: str, value: bytes | None) -> tuple[AskPerson, float | None]:
    """The inverse of `details`: the answer, and when its time is over."""
    said: dict[str, Any] = loads(value)
    default = said.get("default", {"word": "fail"})
    word = word_of(default, dumps(default["value"]) if "value" in default else None)
    assert not isinstance(word, Told)
    told, service = bool(said.get("told")), bool(said.get("service"))
    answer = AskPerson(to, question=said.get("question", ""), default=word, told=told, service=service)
    return answer, said.get("due_at")


def open_questions(events: Iterable[Event]) -> dict[str, Question]:
    """The questions of a run's journal that are open, by the key of their step."""
    found: dict[str, Question] = {}
    for event in events:
        key = event.key or ""
        if event.type == EventType.APPROVAL_ASKED and event.attempt is not None:
            body = loads(event.body)
            to = ", ".join(body.get("by", ()))
            kind = body.get("kind")
            escalated, service = kind in (ESCALATION, SERVICE), kind == SERVICE
            found[key] = Question(
                key, body["id"], to, body["question"], body.get("due_at"), escalated, body.get("shown"), service,
                body.get("form"),
            )  # fmt: skip
        elif event.type in _CLOSED or (event.type == EventType.APPROVAL_DECIDED and _decides(event)):
            found.pop(key, None)
        elif event.type == EventType.APPROVAL_DECIDED and event.attempt is not None and key in found:
            found[key] = found[key]._replace(to=", ".join(loads(event.body).get("to", ())) or found[key].to)
        elif event.type in (EventType.RUN_FORKED, EventType.RUN_CONTINUED):
            found.clear()
        elif event.type == EventType.OPERATOR_ACTED:
            found.pop(key, None)
    return found


def _decides(event: Event) -> bool:
    return event.attempt is not None and loads(event.body).get("verdict") not in LEFT_OPEN
