"""What one question recalls: the step `memory`. It takes up what was said, and leaves out what is shown anyway.

What is journaled of a recall is which notes were found. Their texts are read when they are shown: what was corrected
is shown as it is now, and what was forgotten is gone from every prompt to come, also of runs in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ..context.compaction import LEFT
from ..context.notes import NEVER, Scope
from ..context.tokens import dearest
from ..models import Model
from ..runtime.scope import step_scope
from ..runtime.step import step
from .memories import Recalled, memory_here
from .request import Question, bound
from .taking import taken_up
from .threads import latest, outside, turns_down
from .window import room_in

__all__ = ["recalled", "recalled_for"]

_SURELY = 0.75
"""Of what a summary leaves of a thread: so much is shown, however wrong the estimates are."""


@step(name="memory")
async def recalled(request: str, scopes: list[str], tokens: int) -> list[Recalled]:
    """The notes that memories hold on a request, the first scope first."""
    return await _found(None, None, request, scopes, tokens)


async def recalled_for(
    question: Question, those: Callable[[], Sequence[Model]], scopes: Sequence[str], tokens: int
) -> list[Recalled]:
    """The same for a question that `those` may be asked now, the first of them most likely."""
    made = recalled.carried_out_by(partial(_found, question, those), recalled.options.retry)
    return await made(question.text, list(scopes), tokens)


async def _found(
    question: Question | None, those: Callable[[], Sequence[Model]] | None, request: str, scopes: list[str], tokens: int
) -> list[Recalled]:
    shown, models = ("", NEVER), those() if those is not None else ()
    if question is not None and question.thread is not None and question.heard:
        shown = (question.thread, _shown_from(question, next(iter(models), None), tokens))
    memory = memory_here()
    views = await taken_up(memory, map(Scope.of, scopes), shown)
    return [Recalled.of(part) for part in memory.recall(request, views, tokens, dearest(models))]


def _shown_from(question: Question, model: Model | None, tokens: int) -> int:
    """The first turn of its thread that a question surely shows by itself: of those since the last summary all, if they
    fill no more than half of the window; else the last, which no summary takes.
    """
    scope, around, thread = step_scope(), outside(), question.thread
    if model is None or around is None or thread is None:
        return NEVER
    room = latest(scope, thread, question.heard)
    after = 0 if room is None else room.upto
    window = room_in(question, model).input
    all_, last = window // 2 - bound(question) - tokens, int(window * LEFT * _SURELY)
    taken, first = 0, question.heard + 1
    for no, turn in turns_down(around, scope, thread, question.heard, after):
        taken += turn.tokens
        if taken <= last:
            first = no
        if taken > max(all_, last):
            break
    return after + 1 if taken <= all_ else first
