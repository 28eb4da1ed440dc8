"""What a thread has too much of for its model's window is summed up, before the question is asked.

Each bite is a durable step `compact` whose outcome is the summary, noted in the same commit: it is made once for a
thread, and later turns, branches and replays read it. Which turns it stands for is told by a number, so what it covers
is read no more. What it must not lose (the task, constraints, decisions, open work) is kept beside its prose, word for
word, and only ever added to; children in flight are looked up. A summary that fails its check is not used: then old
turns are left out, as before.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from ..context import Compaction, ContextOverflow, Kind, Part, Role, Work, tokens_of
from ..context.compaction import BITE, LEFT, covering, unknown_in, wrong_with
from ..core.recovery import Retry
from ..errors import InputError, SegueError
from ..models import Model
from ..runtime.scope import Outside, StepScope, step_scope
from ..runtime.step import step
from .media import Shown
from .request import Question
from .threads import Room, history, latest, outside, summary_of, turn_of
from .turns import parts_in
from .window import overfull, room_in

__all__ = ["Summarise", "Told", "roomy"]

STEPS = 8
"""Summaries that one question waits for at most; the next one goes on."""
_ITEMS, _LONGEST, _KEPT = 12, 300, 40
"""Of what stands beside a summary: so many of each kind at once, so many characters each, so many of a kind in all."""
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
    for n in range(STEPS):
        made = compact.carried_out_by(
            partial(_compacted, replace(question, media=list(media)), whom, summarise), Retry(attempts=1)
        )
        room = await made(question.thread, question.heard, n)
        if room is not None:
            question = replace(question, summed=room.upto, children=room.children)
        if room is None or not room.more:
            break
    return question


async def _compacted(  # noqa: PLR0917  made in `roomy`
    question: Question, whom: Callable[[], Model | None], summarise: Summarise, thread: str, upto: int, n: int
) -> Room | None:
    scope, around = step_scope(), outside()
    if around is None:
        return None
    before, children = latest(scope, thread, upto), around.children(scope.tenant, thread)
    stands = Room(upto=0 if before is None else before.upto, children=children)
    step = _next(replace(question, summed=stands.upto, children=children), whom(), before, scope, around)
    if step is None:
        return stands if stands.upto or children else None
    bite, since, last, work = step
    try:
        told, model = await summarise(bite, partial(_checked, bite))
    except SegueError as error:
        return replace(stands, wrong=f"{type(error).__name__}: {error}"[:500])
    scope.sums_up = (thread, last)
    return Room(
        upto=last, text=told.summary.strip(), work=_kept(work, told), made_of=tuple(part.hash for part in bite.covers),
        since=since, tokens=sum(len(part.text) for part in bite.covers) // 4, model=model, more=True, children=children,
    )  # fmt: skip


def _next(
    question: Question, model: Model | None, before: Room | None, scope: StepScope, around: Outside
) -> tuple[Compaction, int, int, Work] | None:
    """The next bite: what to sum up, from which turn to which, and what is known beside it. None where all fits."""
    if model is None:
        return None
    question = replace(question, history=history(question, scope, model.window))
    try:
        if not overfull(question, model):
            return None
    except ContextOverflow:
        return None
    budget, tokens = room_in(question, model), tokens_of(model)
    after, kept = (0 if before is None else before.upto), 0
    thread = question.thread or ""
    first = question.heard + 1
    for no, args, value in around.said(scope.tenant, thread, question.heard, after):
        kept += sum(tokens(part.text) + budget.per_part for part in _parts(args, value))
        if kept > budget.input * LEFT and first <= question.heard:
            break
        first = no
    covers: list[Part] = [] if before is None else [summary_of(before)]
    taken, since, last = 0, 0, 0
    work = Work() if before is None else before.work
    for no, args, value in around.said(scope.tenant, thread, first - 1, after, oldest=True):
        parts = list(_parts(args, value))
        if before is None and not work.task:
            work = replace(work, task=_task(parts))
        taken += sum(tokens(part.text) + budget.per_part for part in parts)
        if last and taken > BITE:
            break
        covers += parts
        since, last = since or no, no
    return (covering(covers, budget, tokens, work), since, last, work) if last else None


def _parts(args: bytes, value: bytes) -> Iterator[Part]:
    return (part for _, part in parts_in(list(turn_of(json.loads(args), json.loads(value)))))


def _task(parts: Sequence[Part]) -> str:
    said = next((part.text for part in parts if part.role is Role.USER and part.kind is Kind.TEXT), "")
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
