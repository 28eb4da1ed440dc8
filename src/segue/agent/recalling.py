"""What a call was not shown, given back by its handle: as guards let it be shown, never as it was before them.

A handle is a hash of what a model was shown, so where guards take something out of requests, the turns are looked up as
they left them. It is a step: a guard may be any function, and only the engine knows all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..models.errors import ContentBlocked
from ..runtime.scope import StepScope, here, step_scope
from ..runtime.step import step
from .guards import Guard, Guarding, holding
from .threads import outside, said
from .tools import GiveBack
from .tools.box import Read
from .tools.result import handle_of, piece
from .turns import recalled

__all__ = ["recalling"]


@step(name="recall")
async def recall(thread: str, upto: int, handle: str) -> str | None:
    """What was said in a thread, by the handle that stands in its place; None where nothing has it."""
    _falls_under(thread)
    return await _found(handle, said(thread, upto), Guarding(holding()))


def recalling(own: Sequence[Guard]) -> GiveBack:
    """Gives back what a handle stands for; `own` are the guards of the question, beside those of the engine."""

    async def give_back(
        wanted: str, turns: Sequence[dict[str, Any]], before: tuple[str, int] | None, read: Read
    ) -> str | None:
        async def look(thread: str, upto: int, handle: str) -> str | None:
            _falls_under(thread)
            guards = Guarding(holding(own))
            found = await _found(handle, [turns], guards)
            if found is None and before is not None:
                found = await _found(handle, said(thread, upto), guards)
            return _rest(thread, upto, handle, read) if found is None and before is not None else found

        asked = recall.carried_out_by(look, recall.options.retry)
        return await asked(*(before or ("", len(turns))), wanted)

    return give_back


def _falls_under(thread: str) -> None:
    """What guards pay for in here counts against the thread of the question that wants it back."""
    scope = here()
    if isinstance(scope, StepScope):
        scope.thread = thread or None


def _rest(thread: str, upto: int, handle: str, read: Read) -> str | None:
    """Of a result that an earlier turn was shown in part, what follows. Guards see it when it is shown."""
    name, _, place = handle.strip().partition("@")
    around = outside()
    for value, tool, shown in () if around is None else around.cut(step_scope().tenant, thread, upto, name):
        text = read(tool, value)
        if text is not None and handle_of(text) == name:
            return piece(text, shown, name, place)
    return None


async def _found(handle: str, turns: Iterable[Sequence[dict[str, Any]]], guards: Guarding) -> str | None:
    for some in turns:
        try:
            found = recalled(await guards.shown(some), handle)
        except ContentBlocked as blocked:  # a guard that fails now: nothing is given back
            return f"(it cannot be given back: {blocked.message})"
        if found is not None:
            return found
    return None
