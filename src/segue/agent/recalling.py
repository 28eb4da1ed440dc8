"""What a call was not shown, given back by its handle: as guards let it be shown, never as it was before them.

A handle is a hash of what a model was shown, so where guards take something out of requests, the turns are looked up as
they left them. It is a step: a guard may be any function, and only the engine knows all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..models.errors import ContentBlocked
from ..runtime.step import step
from .guards import Guard, Guarding, configured
from .threads import said
from .tools import GiveBack
from .turns import recalled

__all__ = ["recalling"]


@step(name="recall")
async def recall(thread: str, upto: int, handle: str) -> str | None:
    """What was said in a thread, by the handle that stands in its place; None where nothing has it."""
    return await _found(handle, said(thread, upto), Guarding(configured()))


def recalling(own: Sequence[Guard]) -> GiveBack:
    """Gives back what a handle stands for; `own` are the guards of the question, beside those of the engine."""

    async def give_back(wanted: str, turns: Sequence[dict[str, Any]], before: tuple[str, int] | None) -> str | None:
        async def look(thread: str, upto: int, handle: str) -> str | None:
            guards = Guarding((*configured(), *own))
            found = await _found(handle, [turns], guards)
            return await _found(handle, said(thread, upto), guards) if found is None and before is not None else found

        asked = recall.carried_out_by(look, recall.options.retry)
        return await asked(*(before or ("", len(turns))), wanted)

    return give_back


async def _found(handle: str, turns: Iterable[Sequence[dict[str, Any]]], guards: Guarding) -> str | None:
    for some in turns:
        try:
            found = recalled(await guards.shown(some), handle)
        except ContentBlocked as blocked:  # a guard that fails now: nothing is given back
            return f"(it cannot be given back: {blocked.message})"
        if found is not None:
            return found
    return None
