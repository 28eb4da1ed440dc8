"""`notify=`: tells people of a question, each time as a step of its own."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from ...runtime.scope import FlowScope, enter
from ...runtime.step import Step, step

__all__ = ["Notice", "Notices", "Notify"]

Why = Literal["asked", "reminded", "reassigned"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """What `notify` is called with. `id` is what `segue approve` and `engine.decide` take."""

    why: Why
    n: int
    """How often it was said: the second reminder has 2."""
    id: str
    run: str
    kind: str
    question: str
    to: tuple[str, ...]
    """Who is asked now."""
    shown: Any = None
    left_s: float | None = None
    """How many seconds are left until its time is over, counted from the last timer; None: it waits for ever."""


Notify = Step[[Notice], Any] | Callable[[Notice], Any]
"""A step, or a function that is run as one, of a Notice."""


class Notices:
    """Sends the notices of one question. None holds the question up, and one that fails is on record and no more."""

    def __init__(self, scope: FlowScope, notify: Notify | None):
        self._scope = scope
        self._step: Step[..., Any] | None = notify if notify is None or isinstance(notify, Step) else step(notify)
        self._sent: dict[str, int] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def name(self) -> str:
        """What the calls are named by that tell of it; empty where nobody is told."""
        return "" if self._step is None else self._step.name

    def send(self, why: Why, **about: Any) -> None:
        """Tell of it, under the key `NAME[asked-1]`. Raises InputError where `notify` does not take a Notice."""
        if self._step is None:
            return
        n = self._sent[why] = self._sent.get(why, 0) + 1
        notice = Notice(why=why, n=n, **about)
        self._step.signature.bind((notice,), {}, self._step.name)
        context = contextvars.copy_context()
        context.run(enter, self._scope)
        call = _told(self._step.using(key=f"{why}-{n}"), notice)
        self._tasks.append(asyncio.get_running_loop().create_task(call, context=context))

    def stop(self) -> None:
        """The question is closed: what is still on its way is given up."""
        for task in self._tasks:
            task.cancel()


async def _told(tell: Step[..., Any], notice: Notice) -> None:
    with suppress(Exception):  # the step's own failure is in the journal; the question waits on
        await tell(notice)
