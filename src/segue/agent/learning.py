"""What the router of a running engine learns: quality from judged traffic, length and seconds from what calls took.

Both are per database. Quality is trained anew in the background as outcomes come, by versions that can be gone back to
(`segue routes versions`, `rollback`); what calls take is learned at once, and begins with the journal's last asks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SegueError
from ..journal import Journal
from ..models.exchange import Reply
from ..routing import Option, Predictors
from ..routing.learned import Learned, Learning
from ..routing.takes import Takes, task_of
from .request import Question

__all__ = ["Live", "task"]


@dataclass(slots=True)
class Live:
    """What one process learns and knows."""

    takes: Takes = field(default_factory=Takes)
    quality: Learned | None = None
    """None: there is no database that it could learn from."""

    @classmethod
    def of(cls, options: Iterable[Option], database: str | None, how: Learning) -> Live:
        """Load the current version, if there is one; all else happens in the background."""
        if database is None:
            return cls()
        learned = Learned(
            database, options, least=how.least, share=how.share, look_s=how.look_s, learn=how.on, apart=how.apart
        )
        live = cls(quality=learned)
        if Path(database).exists():
            threading.Thread(target=live.remember, args=(database,), name="segue-takes", daemon=True).start()
        return live

    @property
    def predictors(self) -> Predictors:
        """For the router."""
        return Predictors(quality=self.quality, tokens_out=self.takes.tokens_out, latency=self.takes.latency)

    def answered(self, question: Question, model: str, reply: Reply) -> None:
        """A call has ended with an answer."""
        self.takes.note(model, task(question), reply.usage.tokens_out, reply.latency_s)

    def remember(self, database: str) -> None:
        """Begin with what the last asks took. Where the file cannot be read just now, priors speak until calls do."""
        try:
            with Journal.open_readonly(database) as reader:
                self.takes.read(reader)
        except (SegueError, OSError):
            return

    def close(self) -> None:
        """Learn no more."""
        if self.quality is not None:
            self.quality.close()


def task(question: Question) -> str:
    """What calls like this one have in common."""
    return task_of(question.kind, question.prompt, len(question.parts))
