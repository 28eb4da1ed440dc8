"""Gives each question of a batch its answer: what the provider says of it, or what became of the whole batch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from .api import BatchApi, Result, Standing, answered
from .limits import RESULTS_S, Hangs, steadily
from .outbox import Asker, Batch, Outbox

__all__ = ["Answers", "Desk"]

T = TypeVar("T")

_CUTS = 5
"""After so many it is given no more time."""
_TOGETHER = 100
"""Answers that are given out at once."""
_NO_LINE = {"missing": True}
"""In place of a response, where the results have none for a request."""


class Desk(Protocol):
    """Who asks, and takes the answers."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def is_open(self, run: str) -> bool:
        """Whether the run may still want an answer."""
        ...

    def is_asked_to_end(self, run: str) -> bool:
        """Whether the run, or one that waits for it, was told to end, and has not heard so yet."""
        ...

    async def answer(self, run: str, key: str, attempt: int, value: bytes, by: str) -> bool:
        """Give an attempt its answer. It is on disk then."""
        ...


class Answers:
    """Those of one process; `by` is whom they are said to be from."""

    def __init__(self, outbox: Outbox, by: str):
        self._outbox, self._by = outbox, by
        self._cut: dict[str, int] = {}
        """How often results that come as a whole did not come in time, by batch."""

    async def results(self, batch: Batch, api: BatchApi, desk: Desk, rest: Mapping[str, Any] | None) -> None:
        """What the provider says of each of its requests; `rest` of those that it says nothing of."""
        assert batch.provider_id is not None
        whose, found = self._outbox.whose(batch.id), dict[str, dict[str, Any]]()
        async for result in self._in_time(batch, api):
            if result.id not in whose:
                if not batch.sure:
                    await self._not_ours(batch, desk)
                    return
                continue
            found[result.id] = {**result.said, "batch": batch.provider_id}
            if len(found) >= _TOGETHER:
                await self._give(desk, whose, found)
                found = {}
        await self._give(desk, whose, found)
        await self.all(batch, desk, {**(rest or _NO_LINE), "batch": batch.provider_id})

    async def _in_time(self, batch: Batch, api: BatchApi) -> AsyncIterator[Result]:
        """What the provider says. Where it says all at once it has twice as long after each time that it did not."""
        assert batch.provider_id is not None
        cut = self._cut.get(batch.id, 0)
        try:
            async for result in steadily(api.results(batch.provider_id), RESULTS_S * 2.0**cut):
                yield result
        except Hangs:
            if api.whole:
                self._cut[batch.id] = min(cut + 1, _CUTS)
            raise
        self._cut.pop(batch.id, None)

    async def _not_ours(self, batch: Batch, desk: Desk) -> None:
        """It looked like the one that nobody heard of, and is another's: look on."""
        not_ours = json.dumps([*batch.not_ours, batch.provider_id])
        self._outbox.change(
            batch.id, provider_id=None, sent_at=None, sure=1, not_ours=not_ours, look_at=desk.now(), looks=0
        )

    async def refusals(self, batch: Batch, desk: Desk, standing: Standing) -> None:
        """What is said of a batch that was refused as a whole, by line."""
        said = standing.failed or {}
        rest = said.get(None) or answered(409, {"error": {"message": "the batch failed"}})
        ids = [item.id for item in self._outbox.items(batch.id)]
        told = {one: said.get(at, rest) for at, one in enumerate(ids, 1)}
        await self._give(desk, self._outbox.whose(batch.id), told)
        self._outbox.done(batch.id)

    async def all(self, batch: Batch, desk: Desk, said: Mapping[str, Any]) -> None:
        """What is left of a batch is told the same."""
        whose = self._outbox.whose(batch.id)
        await self._give(desk, whose, dict.fromkeys(whose, said))
        self._outbox.done(batch.id)

    async def _give(self, desk: Desk, whose: Mapping[str, Asker], found: Mapping[str, Mapping[str, Any]]) -> None:
        """Put answers into the inboxes of their runs, and then take the questions off the list."""
        mine = [(one, whose[one], said) for one, said in found.items() if one in whose]
        for some in _in(mine, _TOGETHER):
            await asyncio.gather(*(self._tell(desk, who, said) for _, who, said in some if not who.dropped))
            self._outbox.delivered(one for one, *_ in some)

    async def _tell(self, desk: Desk, who: Asker, said: Mapping[str, Any]) -> None:
        value = json.dumps(said, ensure_ascii=False).encode()
        await desk.answer(who.run, who.key, who.attempt, value, self._by)


def _in(items: list[T], many: int) -> Iterable[list[T]]:
    return (items[at : at + many] for at in range(0, len(items), many))
