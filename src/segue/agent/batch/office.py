"""What an engine has for questions that go by batches: the outbox beside its database, and the batcher.

It is made when the first question is queued; and when an engine opens whose database has an outbox, since runs of an
earlier process may wait for what is in it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.budgets import unused
from ...errors import ConfigError, StoreError
from ...models import Model
from ...models.batches import BatchRules, Item, Outbox
from ...runtime.companions import beside
from ...runtime.scope import Forgone, Surroundings
from ..gateway import batch_rules, gateway
from .ticket import BATCH, Ticket

if TYPE_CHECKING:
    from ...models.batches.batcher import Batcher

__all__ = ["Office", "office", "path_beside"]

log = logging.getLogger("segue")

_AGAIN_S = 5.0
_TURNS = 5
"""Of `turn_s`: how long another process may take to look at what it was told to look at."""


@dataclass(slots=True)
class Office:
    """The outbox, and what carries it."""

    outbox: Outbox
    around: Surroundings
    rules: BatchRules
    own: bool = True
    """Whether the outbox is closed with the engine."""
    batcher: Batcher = field(init=False)

    def __post_init__(self) -> None:
        from ...models.batches.batcher import Batcher  # noqa: PLC0415  heavy, and only who has batches needs it
        from ...models.batches.turn import Turn  # noqa: PLC0415

        path = self.outbox.path
        turn = Turn(None if path is None else path.with_name(f"{path.name}.turn"))
        self.batcher = Batcher(self.outbox, turn, self.rules, lambda: self.around.outside, self._model, BATCH)
        self.around.waits, self.around.forgoes, self.around.looks = self._waits, self._forgoes, self._looks
        self.batcher.start()

    async def queue(self, item: Item) -> None:
        """Put an item into the outbox. It is on disk then."""
        size = len(item.body.encode()) + 200
        if self.outbox.path is None:
            self.outbox.add(item, size)
        else:
            await asyncio.to_thread(self.outbox.add, item, size)

    def now(self) -> float:
        """Seconds since the epoch, UTC, of the engine's clock."""
        assert self.around.outside is not None, "a question is queued by a run of an open engine"
        return self.around.outside.now()

    def hurry(self, now: float) -> None:
        """Have all batches looked at now that the provider has, whoever carries them."""
        self.outbox.hurry(now)
        self.batcher.hurry()

    def moves(self, since: float, until: float) -> bool:
        """Whether a batch of the provider's was not looked at since then, or one is to be sent by `until`. Of a process
        that has the turn and does neither, or of one that would have to be there since this one has no way to a batch,
        no more is hoped for after a while.
        """
        others, carrier = self.now() <= since + _TURNS * self.rules.turn_s, self.batcher
        if not carrier.carries and not others:
            return False
        batches = [one for one in self.outbox.batches() if others or carrier.reaches(one.id)]
        limits = [(b.look_at, until if b.provider_id is None else since) for b in batches]
        limits += [(self.rules.due_at(g.first_at, g.last_at), until) for g in self.outbox.groups(until)]
        return any(at <= limit for at, limit in limits)

    @property
    def engine(self) -> str:
        """What names this engine among all that the database has had."""
        return "" if self.around.engine is None else self.around.engine.journal.owner

    def may_be_others(self, run: str) -> bool:
        """Whether other processes may have a run: not one that this process has begun and had since, and none of an
        engine in memory.
        """
        engine = self.around.engine
        if engine is None or engine.journal.in_memory_only():
            return False
        row = engine.journal.get(run)
        return not engine.host.passed.is_own(row.no, row.epoch)

    def passes(self, run: str, seconds: float) -> None:
        """Leave a run to other processes for so long, once it has parked."""
        engine = self.around.engine
        if engine is not None and not engine.journal.in_memory_only():
            engine.host.passed.put(engine.journal.get(run).no, seconds)

    async def leave(self) -> None:
        """The journal will close: no answer can be given out any more."""
        await self.batcher.stop()

    async def close(self) -> None:
        """Leave the file."""
        if self.own:
            self.outbox.close()

    def _waits(self, run: str, key: str, attempt: int) -> None:
        """A run says on disk that it waits: what it waits for may be sent."""
        try:
            if self.outbox.release(run, key, attempt):
                self.batcher.wake()
        except StoreError as error:  # the run waits all the same
            log.error("%s", error)
            asyncio.get_running_loop().call_later(_AGAIN_S, self._waits, run, key, attempt)

    def _looks(self) -> Callable[[], bool]:
        """The time of a question is over: what the provider has by now is fetched before that counts."""
        now = self.now()
        try:
            self.hurry(now)
        except StoreError as error:  # then it counts as it is
            log.error("%s", error)
            return lambda: False
        return partial(self.moves, now, 0.0)

    def _forgoes(self, run: str, key: str | None) -> Forgone:
        """Nobody waits any more: what no batch was sent with yet is taken back, and takes nothing."""
        try:
            items = self.outbox.withdraw_all(run, key)
        except StoreError as error:  # then it counts in full
            log.error("%s", error)
            return Forgone()
        tickets = [(item, Ticket.read(item.ticket)) for item in items]
        took = [(i.key, i.attempt, unused(held)) for i, ticket in tickets if (held := ticket.held) is not None]
        forget = partial(self._forget, [item.id for item in items])
        if not took and items:
            forget()
        return Forgone(took, forget)

    def _forget(self, ids: list[str]) -> None:
        try:
            self.outbox.forget(ids)
        except StoreError as error:  # they are not sent all the same
            log.error("%s", error)

    def _model(self, name: str) -> Model | None:
        catalogue = gateway().catalogue
        return catalogue.get(name) if name in catalogue else None


def path_beside(database: str) -> Path:
    """Where the outbox of a database is."""
    return Path(f"{database}-batches")


def office(around: Surroundings) -> Office:
    """That of an engine."""
    return around.share("batches", lambda: _make(around), Office.close, Office.leave)


def _make(around: Surroundings) -> Office:
    given = around.given.get("outbox")
    rules = batch_rules(around)
    if isinstance(given, Outbox):
        return Office(given, around, rules, own=False)
    return Office(Outbox(None if around.database is None else path_beside(around.database)), around, rules)


@beside
def _begin(around: Surroundings) -> None:
    """An engine has opened: runs of an earlier one may wait."""
    queued = around.database is not None and path_beside(around.database).exists()
    if not queued and not isinstance(around.given.get("outbox"), Outbox):
        return
    try:
        office(around)
    except ConfigError as error:  # who asks nobody need not know of segue.toml; who asks hears of it then
        log.error("this process carries no batches: %s", error)
