"""A guard: what it looks at, what it finds, and what follows."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

from ...core.redaction import Cut
from ...errors import DefinitionError
from ...runtime.scope import Surroundings, surroundings
from ..held import paced

__all__ = ["Cut", "Finding", "Guard", "Look", "OnFail", "OnHit", "Stage", "looking"]

Stage = Literal["both", "before", "after"]
OnHit = Literal["block", "redact", "flag"]
OnFail = Literal["closed", "open"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a guard has found in a text. `text` is the text without it, where the guard can take it out."""

    why: str
    text: str | None = None
    cuts: tuple[Cut, ...] = field(default=(), compare=False)
    """Where it stood. A guard need not say so: else what differs in `text` is taken for one piece."""


Look = Callable[[str], "Finding | str | Awaitable[Finding | str | None] | None"]
"""Looks at one text: a Finding, or only why; None when nothing is wrong. Async, or quick: it runs on the loop.
What it asks goes past the guards of the engine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """Looks at requests, at answers, or at both. Raises DefinitionError for a policy that it cannot have."""

    name: str
    look: Look
    stage: Stage = "both"
    """`before` the call (on the request), `after` it (on the answer)."""
    on_hit: OnHit = "block"
    """`block` raises ContentBlocked, `redact` goes on without what was found, `flag` only puts it on record."""
    on_fail: OnFail = "closed"
    """A guard that itself raises or takes too long: `closed` blocks, `open` lets it pass, on record."""
    timeout_s: float = 10.0
    """Of one text. While it waits for money that calls under way hold, its time stands still."""
    untrusted: bool = False
    """Whether it looks only at what is shown (parts, results of tools), and not at the instructions."""
    together: bool = False
    """Whether it looks at all texts as one; then it cannot redact."""
    written_at: str = field(default="", compare=False, repr=False)
    """Where a file describes it, for errors; empty where the code does."""

    def __post_init__(self) -> None:
        allowed = {"stage": ("both", "before", "after"), "on_hit": ("block", "redact", "flag"),
                   "on_fail": ("closed", "open")}  # fmt: skip
        for named, words in allowed.items():
            if getattr(self, named) not in words:
                raise DefinitionError(f"guard {self.name}: {named} is one of {', '.join(words)}")
        if self.together and self.on_hit == "redact":
            raise DefinitionError(f"guard {self.name} cannot redact: it says what is wrong, and not where")
        if not self.timeout_s > 0 or not callable(self.look):
            raise DefinitionError(f"guard {self.name}: look is a function, and timeout_s more than 0")

    @classmethod
    def of(cls, given: Guard | Callable[..., Any]) -> Guard:
        """A guard, or one of a function with the defaults."""
        return given if isinstance(given, Guard) else cls(name=getattr(given, "__name__", "guard"), look=given)

    @property
    def asks(self) -> bool:
        """Whether its look asks a model, and says so: the same text is not paid for twice in one question."""
        return bool(getattr(self.look, "asks", False))

    def at(self, stage: str) -> bool:
        """Whether it looks at this stage."""
        return self.stage in ("both", stage)

    async def found(self, text: str) -> Finding | None:
        """What it finds; an empty text is nothing. Raises TimeoutError, TypeError, and what the function raises."""
        limit = asyncio.timeout(self.timeout_s)
        try:
            async with limit:
                with paced(limit), _within(self.look):
                    said = self.look(text)
                    if inspect.isawaitable(said):
                        said = await said
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TimeoutError(f"it took longer than its timeout_s of {self.timeout_s:g} s") from error
        if isinstance(said, str):
            return Finding(said) if said else None
        if not isinstance(said, Finding | None):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
            raise TypeError(f"a guard says what is wrong, as a text or a Finding, or None; it said {said!r:.40}")
        return said


_looks: ContextVar[tuple[tuple[Surroundings | None, Look], ...]] = ContextVar("segue_guards_looking", default=())
"""Those that look where this is done, the outermost first, each with the engine for which it looks."""


@contextmanager
def _within(look: Look) -> Generator[None]:
    """This one looks, for the current engine: another one that is opened in here has guards of its own."""
    token = _looks.set((*_looks.get(), (surroundings(), look)))
    try:
        yield
    finally:
        _looks.reset(token)


def looking() -> tuple[Look, ...]:
    """Those that look just now, where this is done within a look: the outermost first."""
    around = surroundings()
    return tuple(look for of, look in _looks.get() if of is around)
