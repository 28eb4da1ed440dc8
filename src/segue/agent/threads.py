"""A thread: what was asked and answered under one name, over all runs, is what the next question goes on from.

Nothing is copied. The outcome of a question is a turn of its thread, noted in the same commit; the next question
journals how far it has read, so that a replay and a later attempt see the same turns. Only as much of the past is read
as the largest window could hold; what a summary stands for is read no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ..context import Kind, Part, Role, Work
from ..core.codec import codec
from ..core.recovery import Retry
from ..errors import InputError
from ..runtime.scope import Outside, StepScope, step_scope, surroundings
from ..runtime.step import step
from .turns import recalled, stands

if TYPE_CHECKING:
    from .request import Question

__all__ = ["Room", "fresh", "heard", "history", "latest", "outside", "recall", "summary_of", "turn_of"]

_MOST = 8
"""Characters for one token of a window: more than a token has in the mean, so that what is read fills it."""
_LOOKED_AT = 64
"""Turns that are looked through at least for what a client sends again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """What a question is shown in place of old turns. Where the step has made a summary, it has `text`."""

    upto: int = 0
    """The last turn that the summary stands for."""
    text: str = ""
    work: Work = field(default_factory=Work)
    """What the summary must not lose."""
    made_of: tuple[str, ...] = ()
    """The hashes of what it stands for: the summary before it, and the parts of the turns since."""
    since: int = 0
    """The first turn that it sums up itself."""
    tokens: int = 0
    """Of what it sums up."""
    model: str = ""
    more: bool = False
    """Whether more may have to be summed up."""
    children: dict[str, str] = field(default_factory=dict[str, str])
    wrong: str = ""
    """Why no summary was made."""


_ROOM = codec(Room)


def outside() -> Outside | None:
    """The engine around, if one is open."""
    around = surroundings()
    return None if around is None else around.outside


@step(name="thread")
async def heard(thread: str) -> int:
    """The number of the last turn of a thread: how far it is read; 0 where it has none, and outside of an engine."""
    around = outside()
    return 0 if around is None else around.heard(step_scope().tenant, thread)


@step(name="recall")
async def recall(thread: str, upto: int, handle: str) -> str | None:
    """What was said in a thread, by the handle that stands in its place; None where nothing has it."""
    around = outside()
    if around is None:
        return None
    said = around.said(step_scope().tenant, thread, upto)
    found = (recalled(list(turn_of(json.loads(args), json.loads(value))), handle) for _, args, value in said)
    return next((text for text in found if text is not None), None)


@step(name="news")
async def _news(thread: str, upto: int, count: int) -> int:
    """How many of the messages that a client sends its thread holds. `fresh` gives it its body."""
    raise InputError("this step is made by segue.ask", remedy="call segue.ask")


async def fresh(question: Question, sent: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """What a client says was said before the question, without what its thread holds already, and without the question.

    Raises InputError for what is no message.
    """
    said = [_message(one) for one in sent]
    if said and said[-1] == {"role": "user", "content": question.prompt}:
        said = said[:-1]
    if not said or question.thread is None or not question.heard:
        return said
    known = _news.carried_out_by(partial(_known, said), Retry(attempts=1))
    return said[await known(question.thread, question.heard, len(said)) :]


async def _known(said: Sequence[Mapping[str, str]], thread: str, upto: int, count: int) -> int:
    """What both hold is told by what the user said: an answer may have another form here than there."""
    around = outside()
    sent = [one["content"] for one in said if one["role"] == "user"]
    if around is None or not sent:
        return 0
    turns = around.said(step_scope().tenant, thread, upto)
    have = [
        text for _, (_, args, _) in zip(range(2 * len(sent) + _LOOKED_AT), turns, strict=False) for text in _asked(args)
    ]
    known = _overlap(have[::-1], sent)
    users = [at for at, one in enumerate(said) if one["role"] == "user"]
    return len(said) if known == len(users) else users[known] if known else 0


def _asked(args: bytes) -> list[str]:
    """What the user said in a turn, the last first."""
    question = json.loads(args)["question"]
    before = [one["content"] for one in question.get("before", ()) if one["role"] == "user"]
    return ["\n".join([question["prompt"], *question.get("parts", ())]), *reversed(before)]


def _overlap(have: Sequence[str], sent: Sequence[str]) -> int:
    """How many of the first of `sent` stand in `have`, in this order: others may have spoken in between."""
    known = 0
    for text in have:
        if known < len(sent) and _same(text, sent[known]):
            known += 1
    return known


def _same(have: str, sent: str) -> bool:
    """A flow may put words of its own before what the user said."""
    return have == sent or have.endswith(f"\n{sent}")


def _message(one: Mapping[str, str]) -> dict[str, str]:
    if one.get("role") not in ("user", "assistant") or not isinstance(one.get("content"), str):
        raise InputError(
            f"ask: history has {one!r}", remedy='each message is {"role": "user" or "assistant", "content": text}'
        )
    return {"role": one["role"], "content": one["content"]}


def latest(scope: StepScope, thread: str, upto: int) -> Room | None:
    """The summary of a thread that reaches furthest, but not past this turn."""
    around = outside()
    found = None if around is None or not upto else around.summary(scope.tenant, thread, upto)
    if found is None:
        return None
    return _ROOM.decode(found)


def history(question: Question, scope: StepScope, window: int) -> list[dict[str, Any]]:
    """What a question goes on from, as messages of pydantic-ai, oldest first: the state and the summary of its thread,
    the turns since, and what the caller says was said before.
    """
    said = list(said_before(question.before))
    around, thread = outside(), question.thread
    if around is None or thread is None or not question.heard:
        return said
    room = latest(scope, thread, question.summed)
    turns: list[list[dict[str, Any]]] = []
    left = window * _MOST
    for _, args, value in around.said(scope.tenant, thread, question.heard, 0 if room is None else room.upto):
        turns.append(list(turn_of(json.loads(args), json.loads(value))))
        left -= size_of(turns[-1])
        if left < 0:
            break
    return [*_standing(room, question.children), *(message for turn in reversed(turns) for message in turn), *said]


def size_of(turn: Iterable[Mapping[str, Any]]) -> int:
    """Characters of a turn, about."""
    return sum(len(str(part.get("content", part.get("args", "")))) for one in turn for part in one["parts"])


def _standing(room: Room | None, children: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The state of the work, and the summary."""
    work = (Work() if room is None else room.work).with_children(children)
    if work != Work():
        yield stands(work.part())
    if room is not None:
        yield stands(summary_of(room))


def summary_of(room: Room) -> Part:
    """A summary as a part."""
    return Part(
        role=Role.USER, kind=Kind.SUMMARY, text=room.text, made_of=room.made_of, source=f"turns 1 to {room.upto}",
        model=room.model or None,
    )  # fmt: skip


def said_before(messages: Iterable[Mapping[str, str]]) -> Iterator[dict[str, Any]]:
    """What a client sends, as messages of pydantic-ai."""
    for one in messages:
        if one["role"] == "user":
            yield {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": one["content"]}]}
        else:
            yield {"kind": "response", "parts": [{"part_kind": "text", "content": one["content"]}]}


def turn_of(args: dict[str, Any], given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One turn: what was asked, what tools gave, and the answer."""
    from ..models.conversation import MAKER  # noqa: PLC0415  heavy, and only who asks needs it

    question: dict[str, Any] = args["question"]
    yield from said_before(question.get("before", ()))
    seen = [f"({one['type']} was shown)" for one in args.get("media", ())]
    asked = "\n".join([question["prompt"], *question.get("parts", ()), *seen])
    yield {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": asked}]}
    yield from args.get("turns", ())
    tried: list[dict[str, Any]] = given["tried"]
    last: dict[str, Any] = tried[-1] if tried else {}
    said = last.get("text") or json.dumps(given["value"], ensure_ascii=False)
    maker = {"metadata": {MAKER: {"model": last["model"], "deployment": None}}} if last.get("model") else {}
    yield {"kind": "response", "parts": [{"part_kind": "text", "content": said}], **maker}
