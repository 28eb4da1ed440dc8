"""What guards that ask models have said of texts is kept over the attempts of a question: it was paid for.

An attempt that fails carries it to the next one in its fault, so that it is in the journal, too.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from hashlib import blake2b

from ...core.recovery import Attempt
from ...errors import SegueError
from ..failures import LOOKED
from .guard import Finding, Guard

__all__ = ["Verdicts"]


class Verdicts:
    """Those of one question so far: why a text was found fault with, or an empty text, by guard and text."""

    def __init__(self, history: Sequence[Attempt] = ()) -> None:
        self._known, self._new = dict[str, str](), dict[str, str]()
        for attempt in history:
            state = {} if attempt.fault is None else attempt.fault.state or {}
            self._known |= json.loads(state.get(LOOKED, "{}"))

    async def of(self, guard: Guard, text: str) -> Finding | None:
        """What a guard finds in a text; what a model has said of it is not asked for again. Raises what it raises."""
        if not guard.asks:
            return await guard.found(text)
        name = blake2b(f"{guard.name}\0{guard.look!r}\0{text}".encode(), digest_size=12).hexdigest()
        if name in self._known:
            return Finding(self._known[name]) if self._known[name] else None
        found = await guard.found(text)
        if found is None or found.text is None:
            self._known[name] = self._new[name] = "" if found is None else found.why
        return found

    @contextmanager
    def carried(self) -> Generator[None]:
        """An error of the attempt that is made in here has those that are new."""
        try:
            yield
        except SegueError as error:
            if self._new:
                setattr(error, LOOKED, json.dumps(self._new))
            raise
