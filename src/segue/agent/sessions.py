"""What came before a question: whom its conversation was with, and what the models' prompt caches hold of it.

A process remembers it, of the last few thousand conversations. Nothing of it is journaled, and no key is kept: only
hashes. What a provider reports of its cache goes before what is guessed.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

from ..core.records import Usage
from ..routing import Conversation, Held
from ..routing.features import count_tokens
from .request import Question

__all__ = ["Session", "Sessions"]

_DEFAULT_TENANT = "default"
_LEAST = 1024
"""Tokens that a prefix has at least for a provider to keep it, where none has said."""
_TTL_S = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Whose question it is."""

    sticky: str | None = None
    """What a split sticks to, if it was said."""
    conversation: str | None = None
    """What it goes on with, if it was said."""
    tenant: str = _DEFAULT_TENANT
    run: str = ""

    @property
    def key(self) -> str | None:
        """What a split sticks to: what was said, else the conversation, a tenant that has a name, the run."""
        tenant = None if self.tenant == _DEFAULT_TENANT else self.tenant
        return self.sticky or self.conversation or tenant or self.run or None


@dataclass(slots=True)
class _Known:
    """What is known of one conversation, or of one instruction that many questions begin with."""

    last: str | None = None
    places: dict[str, str] = field(default_factory=dict[str, str])
    """By model: its deployment that answered last."""
    held: dict[str, tuple[int, float]] = field(default_factory=dict[str, "tuple[int, float]"])
    """By model: tokens of the prefix that it was sent, and when."""


@dataclass(slots=True)
class Sessions:
    """The last conversations of this process. `kept` bounds how many of them."""

    kept: int = 4096
    clock: Callable[[], float] = time.monotonic
    _known: OrderedDict[bytes, _Known] = field(default_factory=OrderedDict[bytes, _Known], init=False)

    def before(self, session: Session, question: Question) -> Conversation:
        """What the router is told."""
        now, with_whom = self.clock(), self._known.get(_hash("with", session.conversation or session.run))
        prefix = self._known.get(_prefix(session, question))
        held = {} if prefix is None else prefix.held
        warm = {name: Held(tokens, now - at) for name, (tokens, at) in held.items() if tokens and now - at < _TTL_S}
        return Conversation(last=None if with_whom is None else with_whom.last, held=warm)

    def home(self, session: Session, model: str) -> str | None:
        """The deployment of a model that a conversation was last with: there is its prompt cache."""
        with_whom = self._known.get(_hash("with", session.conversation)) if session.conversation else None
        return None if with_whom is None else with_whom.places.get(model)

    def answered(
        self, session: Session, question: Question, model: str, usage: Usage, place: str | None = None
    ) -> None:
        """A model has answered, by its deployment `place`: the conversation is with it, and its cache holds what the
        question began with.
        """
        if session.conversation or session.run:
            with_whom = self._of(_hash("with", session.conversation or session.run))
            with_whom.last = model
            if place is not None:
                with_whom.places[model] = place
        held = self._of(_prefix(session, question)).held
        now, (_, before) = self.clock(), held.get(model, (0, -_TTL_S))
        said = usage.tokens_cache_read + usage.tokens_cache_write
        whole = usage.tokens_in if session.conversation else count_tokens(_head(question))
        fresh = now - before >= _TTL_S  # else it would have said that it had it
        held[model] = (said or (whole if fresh and whole >= _LEAST else 0), now)

    def _of(self, key: bytes) -> _Known:
        known = self._known.setdefault(key, _Known())
        self._known.move_to_end(key)
        while len(self._known) > self.kept:
            self._known.popitem(last=False)
        return known


def _prefix(session: Session, question: Question) -> bytes:
    """What a provider's cache goes by: a conversation that grows, or an instruction that stays the same."""
    return _hash("prefix", session.conversation or _head(question))


def _head(question: Question) -> str:
    """The part of a question that does not change with its parts."""
    examples = (f"{one.input}\0{one.output}" for one in question.examples)
    return "\0".join((question.system, question.prompt if question.parts else "", *examples))


def _hash(what: str, text: str) -> bytes:
    return blake2b(f"{what}\0{text}".encode("utf-8", "replace"), digest_size=12).digest()
