"""What a thread has too much of for its model's window is summed up, before the question is asked.

Each bite is a durable step `compact` whose outcome is the summary, noted in the same commit: it is made once for a
thread, and later turns, branches and replays read it. Which turns it stands for is told by a number, so what it covers
is read no more. What it must not lose (the task, constraints, decisions, open work) is kept beside its prose, word for
word, and only ever added to; children in flight are looked up. A summary that fails its check is not used: then old
turns are left out, as before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from ..context import Budget, Compaction, ContextOverflow, Kind, Part, Role, Work, tokens_of
from ..context.compaction import LEFT, as_read, covering, length, may_take, unknown_in, wrong_with
from ..core.codec import codec
from ..core.faults import FaultKind, classify
from ..core.recovery import Retry
from ..errors import InputError, SegueError
from ..models import Model
from ..runtime.scope import Outside, StepScope, step_scope
from ..runtime.step import step
from .given import Shows, below
from .media import Shown
from .past import CLEARED, Turn
from .request import Question, bound
from .threads import Room, history, kept_past, latest, outside, raw_most, summary_of, turns_down
from .window import overfull, room_beside, room_in, with_recall

__all__ = ["Summarise", "Told", "roomy"]

STEPS = 4
"""Summaries that one question waits for at most; the next one goes on."""
BITE = 24_000
"""Tokens that one of them stands for at most."""
_ITEMS, _LONGEST, _KEPT = 12, 300, 40
"""Of what stands beside a summary: so many of each kind at once, so many characters each, so many of a kind in all."""
AGAIN = 8
"""Turns before a summary that failed is tried again."""
_TASK = 600
"""Characters of the first request of a thread that are kept as its task."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a summariser gives: the summary, and beside it, as short sentences, what must never be lost."""

    summary: str
    constraints: list[str] = field(default_factory=list[str])
    decisions: list[str] = field(default_factory=list[str])
    open: list[str] = field(default_factory=list[str])
    done: list[str] = field(default_factory=list[str])


Summarise = Callable[[Compaction, Callable[[Told], Any]], Awaitable[tuple[Told, str]]]
"""Asks a model for a summary that a check takes. Gives it, and who made it. Raises a SegueError."""


@step(name="compact")
async def compact(thread: str, upto: int, n: int) -> Room | None:
    """The durable step of a compaction. `roomy` gives it its body."""
    raise InputError("this step is made by segue.ask", remedy="call segue.ask")


async def roomy(
    question: Question, whom: Callable[[], Model | None], summarise: Summarise, media: Sequence[Shown] = ()
) -> Question:
    """The question with as much of its thread summed up as it takes to fit the model that will be asked."""
    if question.thread is None or not question.heard:
        return question
    goal = 0
    question = replace(question, media=list(media))
    for n in range(STEPS):
        made = compact.carried_out_by(partial(_compacted, question, whom, summarise, goal), Retry(attempts=1))
        room = await made(question.thread, question.heard, n)
        if room is not None:
            question, goal = replace(question, summed=room.upto, children=room.children), room.goal
        if room is None or room.upto >= room.goal:
            break
    return replace(question, media=[])


async def _compacted(  # noqa: PLR0917  made in `roomy`
    question: Question, whom: Callable[[], Model | None], summarise: Summarise, goal: int, thread: str, upto: int,
    n: int,
) -> Room | None:  # fmt: skip
    scope, around = step_scope(), outside()
    if around is None:
        return None
    before, children = latest(scope, thread, upto), _others(around.children(scope.tenant, thread, scope.run), scope.run)
    stands = Room(upto=0 if before is None else before.upto, children=children)
    model = whom()
    if model is None:
        return stands if stands.upto or children else None
    reading = _Reading(replace(question, summed=stands.upto, children=children), model, before, scope, around)
    goal = goal or reading.goal()
    wrong: SegueError | None = None
    failed = _failed(around, scope, thread, upto) if goal else None
    if failed is not None:
        not_now = f"not tried again before turn {failed.failed + AGAIN + 1}: "
        return replace(stands, wrong=not_now + failed.wrong.removeprefix(not_now), failed=failed.failed)
    for share in _SHARES:
        bite = reading.bite(goal, share)
        if bite is None:
            break
        try:
            told, by = await summarise(bite.asks, partial(_checked, bite.asks))
        except SegueError as error:
            wrong = error
            if classify(error).kind is not FaultKind.CONTEXT_TOO_LONG:
                break
            continue
        scope.sums_up = (thread, bite.last)
        return Room(
            upto=bite.last, text=told.summary.strip(), work=_kept(bite.work, told), since=bite.since, goal=goal,
            made_of=bite.made_of, tokens=bite.tokens, model=by, children=children,
            covered=bite.tokens + (0 if before is None else before.covered or before.tokens),
        )  # fmt: skip
    if wrong is not None:
        return replace(stands, wrong=f"{type(wrong).__name__}: {wrong}"[:500], failed=upto)
    return stands if stands.upto or children else None


def _others(children: dict[str, str], run: str) -> dict[str, str]:
    """Without the run that asks, and those that wait for it."""
    return {other: does for other, does in children.items() if not f"{run}/".startswith(f"{other}/")}


def _failed(around: Outside, scope: StepScope, thread: str, upto: int) -> Room | None:
    """The outcome that says that a thread could not be summed up, if that is not long ago: its window stays full, and
    who could not do it is not asked at every turn. None where it was summed up since.
    """
    for value in around.results(scope.tenant, thread, upto, max(0, upto - AGAIN), step=compact.name, run=scope.run):
        room = _room(value)
        if room is not None and (room.text or room.failed):
            return room if room.failed and 0 <= upto - room.failed < AGAIN else None
    return None


def _room(value: bytes) -> Room | None:
    """An outcome of `compact`; None where it brought nothing, and of a step of the flow's own that has this name."""
    try:
        return _OUTCOME.decode(value)
    except ValueError:
        return None


_OUTCOME = codec(Room | None)


_PART = 0.6
"""Of the room that a question leaves beside a summary, what turns that are not summed up take at most."""
_SHARES = (2 / 3, 1 / 4)
"""Of the window that is too full, for one bite; the second one where the first is too long for whoever sums up."""


class _Bite(NamedTuple):
    """What one step sums up: from which turn to which, and what is known beside it."""

    asks: Compaction
    made_of: tuple[str, ...]
    """The hashes of what it sums up, as it was said."""
    since: int
    last: int
    tokens: int
    work: Work


class _Beside(NamedTuple):
    """What turns that are not summed up take beside what is asked and a summary."""

    most: int
    """Tokens, of all of them."""
    newest: int
    """Tokens, of the newest one alone: one that takes more would be left out, so it is summed up, too. A whole window
    where its summary would be left out as well.
    """
    result: bool
    """Whether one more result of a tool counts beside them."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A thread as one question has it before it, since its last summary."""

    question: Question
    model: Model
    before: Room | None
    scope: StepScope
    around: Outside

    def goal(self) -> int:
        """The last turn that must be summed up; 0 where all fits, and where nothing would help."""
        budget = room_in(self.question, self.model)
        if not self._may_be_full(budget):
            return 0
        question = replace(self.question, history=list(history(self.question, self.scope, self.model.window)))
        room = self._beside(budget)
        try:
            if not overfull(question, self.model, more=room.result):
                return 0
        except ContextOverflow:
            return 0
        kept = raw = results = 0
        first, shows = self.question.heard + 1, below(self.question)
        for no, turn in self._down():
            once = turn.once(shows)
            sizes = self._shown(once, budget, budget.results_kept - results)
            kept, raw, results = kept + sum(sizes), raw + turn.read_as(once), results + _results(turn)
            full = kept > room.most or raw > raw_most(self.model.window) * LEFT
            if full and (first <= self.question.heard or sum(self._shown(once, budget, 0)) > room.newest):
                break
            first = no
        return first - 1

    def bite(self, goal: int, share: float) -> _Bite | None:
        """What the next summary stands for, on the way to a goal. None where it is reached."""
        budget = room_in(self.question, self.model)
        covers: list[Part] = [] if self.before is None else [summary_of(self.before)]
        made_of, shows = [part.hash for part in covers], Shows("above")
        taken, tokens, since, last, most = 0, 0, 0, 0, min(BITE, int(budget.input * share))
        work, past, count = Work() if self.before is None else self.before.work, kept_past(), tokens_of(self.model)
        for said in self.around.said(self.scope.tenant, self._thread, goal, self._after, oldest=True):
            turn, no = past.turn(said), said.no
            if self.before is None and not work.task:
                work = replace(work, task=_task(turn))
            once = turn.once(shows)
            taken += sum(as_read(part, count) + budget.per_part for part in once.parts)
            if last and taken > most:
                break
            tokens += sum(count(part.text) + budget.per_part for part in turn.parts)
            covers += once.parts
            made_of += [part.hash for part in turn.parts]
            since, last = since or no, no
        return _Bite(covering(covers, budget, count, work), (*made_of,), since, last, tokens, work) if last else None

    def _beside(self, budget: Budget) -> _Beside:
        """What turns that are not summed up take.

        What is asked itself may leave fewer than ever: of what it leaves beside a summary they take a part, so that not
        each question finds too many of them again. Where it leaves no summary its room, they share it.
        """
        asked, standing = with_recall(self.question), self._standing(budget)  # beside a summary it is offered
        beside = max(0, room_beside(asked, self.model))
        room, result = beside - standing, int(budget.input * budget.result_share)
        newest = max(0, room) if room + budget.margin >= 0 else budget.window
        more = bool(self.question.tools) and room - result >= beside // 4
        room = max(room - result if more else room, beside // 2)
        return _Beside(min(int(budget.input * LEFT), int(room * _PART)), newest, more)

    def _standing(self, budget: Budget) -> int:
        """Tokens that the next summary takes at most, with what stands beside it now."""
        count, before = tokens_of(self.model), self.before
        earlier = 0 if before is None else count(before.text) + budget.per_part
        raw, longest = earlier, length(budget.window, budget)
        for _, turn in self._down():
            if length(raw, budget, earlier) == longest:
                break
            raw += turn.tokens
        work = (Work() if before is None else before.work).with_children(self.question.children)
        return may_take(length(raw, budget, earlier)) + count(work.part().text)

    def _may_be_full(self, budget: Budget) -> bool:
        """Whether it is worth fitting it: estimates are no further off than by half."""
        left = budget.input // 2 - bound(self.question)
        return any((left := left - turn.tokens) < 0 for _, turn in self._down())

    def _shown(self, turn: Turn, budget: Budget, whole: int) -> Iterator[int]:
        """What its parts take when they are shown: of results the last `whole`, cut; the others are cleared."""
        count, most = tokens_of(self.model), int(budget.input * budget.result_share)
        for part in reversed([*turn.parts]):
            size = count(part.text) + budget.per_part
            if part.kind is Kind.RESULT:
                size, whole = min(size, most if whole > 0 else CLEARED), whole - 1
            yield size

    def _down(self) -> Iterator[tuple[int, Turn]]:
        return turns_down(self.around, self.scope, self._thread, self.question.heard, self._after)

    @property
    def _thread(self) -> str:
        return self.question.thread or ""

    @property
    def _after(self) -> int:
        return 0 if self.before is None else self.before.upto


def _results(turn: Turn) -> int:
    return sum(part.kind is Kind.RESULT for part in turn.parts)


def _task(turn: Turn) -> str:
    said = next((part.text for part in turn.parts if part.role is Role.USER and part.kind is Kind.TEXT), "")
    return said if len(said) <= _TASK else f"{said[:_TASK]}…"


def _checked(bite: Compaction, told: Told) -> None:
    """Raises ValueError, worded for the model, where a summary may not be used."""
    from ..context import estimate  # noqa: PLC0415  it names the same module that is lazy there

    wrong = wrong_with(told.summary, bite, estimate())
    if wrong:
        raise ValueError(f"the summary cannot be used: {wrong}")
    for name, items in asdict(told).items():
        if name == "summary":
            continue
        if len(items) > _ITEMS or any(len(one) > _LONGEST for one in items):
            raise ValueError(f"{name}: at most {_ITEMS} short sentences")
        made_up = [one for one in items if name != "done" and unknown_in(one, bite.text)]
        if made_up:
            raise ValueError(f"{name} names what the turns do not: {made_up[0]}")


def _kept(work: Work, told: Told) -> Work:
    """The state with what is new. Nothing in it is told anew; of very many decisions the oldest give way."""
    made = work.constrained(*told.constraints).decided(*told.decisions).begun(*told.open).done(*told.done)
    return replace(
        made, constraints=made.constraints[:_KEPT], decisions=made.decisions[-_KEPT:], open=made.open[-_KEPT:]
    )
