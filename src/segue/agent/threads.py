"""A thread: what was asked and answered under one name, over all runs, is what the next question goes on from.

Nothing is copied. The outcome of a question is a turn of its thread, noted in the same commit; the next question
journals how far it has read, so that a replay and a later attempt see the same turns. Only as much of the past is read
as the largest window could hold with old results of tools cleared; what a summary stands for is read no more. Where
turns are left that were not read, the first message that was says so: they are to be summed up, and on record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..context import Kind, Part, Role, Work
from ..core.codec import codec
from ..core.recovery import Retry
from ..errors import InputError
from ..journal.hearing import READ
from ..runtime.scope import Outside, StepScope, step_scope, surroundings
from ..runtime.step import step
from .given import Shows, below
from .memories import remembered
from .past import MOST, Past, Turn, said_before
from .resent import Words, known, without_question
from .turns import Unread, stands, told, with_unread

if TYPE_CHECKING:
    from ..journal import Outcome
    from .request import Question

__all__ = [
    "Room", "Since", "fresh", "heard", "history", "kept_past", "latest", "outside", "raw_most", "said", "summary_of",
    "turns_down",
]  # fmt: skip

_MOST = 1.5
"""So many windows are read: counts are estimates, and what is read must fill one. Results of tools count as cleared."""
_RAW = 4
"""So many windows are read at most, as they were said: what tools gave must be read before it is cleared."""
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
    covered: int = 0
    """Of all turns that it stands for, those of the summaries before it included."""
    model: str = ""
    goal: int = 0
    """The turn up to which the question wants it summed up."""
    children: dict[str, str] = field(default_factory=dict[str, str])
    wrong: str = ""
    """Why no summary was made."""
    failed: int = 0
    """How many turns the thread had when that was tried; 0: it did not fail."""


_ROOM = codec(Room)


class Since(list[dict[str, str]]):
    """What was said in one question after another, as messages. A thread holds it for the next one; but a fork hears no
    more of a thread than it did before it spoke, so there it is the history of the next question.
    """

    def __init__(self) -> None:
        super().__init__()
        self._upto, self._heard = 0, list[int]()

    def __bool__(self) -> bool:
        return True  # each question says how far it hears the thread, the first one too

    def add(self, asked: str, answered: str) -> None:
        """What was asked last, and the answer."""
        self += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        self._heard += [self._upto] * 2

    def unheard(self, upto: int) -> list[dict[str, str]]:
        """What a question does not hear that hears the thread up to this turn: whatever was said in the thread has made
        it longer.
        """
        self._upto = upto
        return [one for one, heard in zip(self, self._heard, strict=True) if heard >= upto]


def outside() -> Outside | None:
    """The engine around, if one is open."""
    around = surroundings()
    return None if around is None else around.outside


@step(name=READ)
async def heard(thread: str) -> int:
    """The number of the last turn of a thread: how far it is read; 0 where it has none, and outside of an engine."""
    around, scope = outside(), step_scope()
    return 0 if around is None else around.heard(scope.tenant, thread, scope.run)


def said(thread: str, upto: int) -> Iterator[Sequence[dict[str, Any]]]:
    """The turns of a thread down from a number, the newest first, as messages; within a step."""
    around = outside()
    if around is not None:
        yield from (turn.messages for _, turn in turns_down(around, step_scope(), thread, upto, 0))


@step(name="news")
async def _news(thread: str, upto: int, count: int) -> int:
    """How many of the messages that a client sends its thread holds. `fresh` gives it its body."""
    raise InputError("this step is made by segue.ask", remedy="call segue.ask")


async def fresh(question: Question, sent: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """What a client says was said before the question, without what its thread holds already, and without the question.

    Raises InputError for what is no message.
    """
    if isinstance(sent, Since):
        return sent.unheard(question.heard)
    words = Words.of(question.prompt, question.parts)
    said, asked = without_question([_message(one) for one in sent], words)
    if not said or question.thread is None or not question.heard:
        return said
    news = _news.carried_out_by(partial(_known, said, partial(known, question=words, asked=asked)), Retry(attempts=1))
    return said[await news(question.thread, question.heard, len(said)) :]


async def _known(
    said: Sequence[Mapping[str, str]],
    matched: Callable[[list[Words], list[str]], int],
    thread: str,
    upto: int,
    count: int,
) -> int:
    """What both hold is told by what the user said: an answer may have another form here than there."""
    around = outside()
    sent = [one["content"] for one in said if one["role"] == "user"]
    if around is None or not sent:
        return 0
    turns = turns_down(around, step_scope(), thread, upto, 0)
    looked_at = [turn for _, turn in islice(turns, 2 * len(sent) + _LOOKED_AT)]
    have = [words for turn in reversed(looked_at) for words in turn.asked]
    found = matched(have, sent)
    users = [at for at, one in enumerate(said) if one["role"] == "user"]
    return len(said) if found == len(users) else users[found] if found else 0


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


def history(question: Question, scope: StepScope, window: int) -> Sequence[dict[str, Any]]:
    """What a question goes on from, as messages of pydantic-ai, oldest first: the state and the summary of its thread,
    the turns since, and what the caller says was said before.
    """
    said = told([*said_before(question.before), *map(stands, remembered(question.recalled))])
    around, thread = outside(), question.thread
    if around is None or thread is None or not question.heard:
        return said
    room = latest(scope, thread, question.summed)
    after = 0 if room is None else room.upto
    turns, last = _read(around.said(scope.tenant, thread, question.heard, after), window, below(question))
    messages = [message for turn in reversed(turns) for message in turn.messages]
    if last:
        messages[0] = with_unread(messages[0], Unread(after + 1, last))
    standing = told(list(_standing(room, question.children)))
    return [*standing, *messages, *said]


def _read(outcomes: Iterator[Outcome], window: int, shows: Shows) -> tuple[list[Turn], int]:
    """Turns, the newest first, until they fill a window, and the number of the first one that was not read; 0: none.
    A document counts where it is shown.
    """
    turns, past = list[Turn](), kept_past()
    left, raw = int(window * _MOST), raw_most(window)
    for said in outcomes:
        if left < 0 or raw < 0:
            return turns, said.no
        turn = past.turn(said)
        turns.append(turn)
        once = turn.once(shows)
        left -= once.least
        raw -= turn.read_as(once)
    return turns, 0


def raw_most(window: int) -> int:
    """Tokens of turns, as they were said, that are read for a window at most."""
    return max(int(window * _MOST), min(window * _RAW, MOST // 2))


def turns_down(around: Outside, scope: StepScope, thread: str, upto: int, after: int) -> Iterator[tuple[int, Turn]]:
    """Turns of a thread down from a number, the newest first, each with its number."""
    past = kept_past()
    return ((said.no, past.turn(said)) for said in around.said(scope.tenant, thread, upto, after))


def kept_past() -> Past:
    """What this process has read."""
    around = surroundings()
    return Past() if around is None else around.share("past", Past)


def _standing(room: Room | None, children: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The state of the work, and the summary."""
    work = (Work() if room is None else room.work).with_children(children)
    if work != Work():
        yield stands(work.part())
    if room is not None:
        yield stands(summary_of(room), covers=room.covered or room.tokens)


def summary_of(room: Room) -> Part:
    """A summary as a part."""
    return Part(
        role=Role.USER, kind=Kind.SUMMARY, text=room.text, made_of=room.made_of, source=f"turns 1 to {room.upto}",
        model=room.model or None,
    )  # fmt: skip
