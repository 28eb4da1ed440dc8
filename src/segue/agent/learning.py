"""What the router of a running engine learns: quality from judged traffic, length and seconds from what calls took.

Both are per database. Quality is trained anew in the background as outcomes come, by versions that can be gone back to
(`segue routes versions`, `rollback`); what calls take is learned at once, and begins with the journal's last asks.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..models.exchange import Reply
from ..routing import Option, Predictors
from ..routing.learned import Learned, Learning
from ..routing.takes import Takes, task_of
from .request import Question

__all__ = ["Live", "task"]

_SOON_S = 2.0
"""How long the first ask of an engine waits for what earlier ones took: to read five hundred takes half a second."""


@dataclass(slots=True)
class Live:
    """What one process learns and knows."""

    takes: Takes = field(default_factory=Takes)
    quality: Learned | None = None
    """None: there is no database that it could learn from."""
    reads: threading.Thread | None = None
    """Reads what the last asks took."""

    @classmethod
    def of(cls, options: Iterable[Option], database: str | None, how: Learning) -> Live:
        """Load the current version, if there is one; all else happens in the background."""
        if database is None:
            return cls()
        learned = Learned(
            database, options, least=how.least, share=how.share, look_s=how.look_s, learn=how.on, apart=how.apart
        )
        live = cls(quality=learned)
        live.reads = threading.Thread(target=live.takes.remember, args=(database,), name="segue-takes", daemon=True)
        live.reads.start()
        return live

    async def begun(self) -> None:
        """Wait until the last asks are known, though not for long: the first one goes by them, too."""
        if self.reads is not None and self.reads.is_alive():
            await asyncio.to_thread(self.reads.join, _SOON_S)
        self.reads = None

    @property
    def predictors(self) -> Predictors:
        """For the router."""
        return Predictors(quality=self.quality, tokens_out=self.takes.tokens_out, latency=self.takes.latency)

    def answered(self, question: Question, model: str, reply: Reply, kind: str) -> None:
        """A call has ended with an answer; `kind` is that of the request, where nothing else says what it was for."""
        self.takes.note(model, task(question) or kind, reply.usage.tokens_out, reply.latency_s)

    def close(self) -> None:
        """Learn no more."""
        if self.quality is not None:
            self.quality.close()


def task(question: Question) -> str:
    """What calls like this one have in common."""
    return task_of(question.kind, question.prompt, len(question.parts))
