"""Carries batches: collects what waits, sends it, looks after it, and gives each question its answer.

One task of one process does it for all processes on the database, however many questions wait: a lock says whose turn
it is. Every act is noted in the outbox around the call that it makes, so that whoever has the next turn goes on:

| the process died | what the next one does |
| --- | --- |
| before a batch was `tried` | sends it |
| while it was sent | looks for it in the provider's list, and sends it only if it is not there |
| while it was worked on | looks at it |
| while its answers were given out | reads them again: each question takes its answer once |
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from ...core.faults import FaultKind
from ...errors import SegueError
from ..signals import error_of
from ..spec import Model
from .answers import Answers, Desk
from .api import BYTES_MAX, PASSES, REQUESTS_MAX, Request, refused, undelivered
from .limits import LOOK_S, Hangs, send_s, within
from .outbox import Batch, Outbox
from .reach import OutOfReach
from .rules import BatchRules
from .turn import Turn
from .ways import NoWay, Way, Ways, other_account

__all__ = ["Batcher"]

log = logging.getLogger("segue")

_PASSING = frozenset({FaultKind.RATE_LIMITED, FaultKind.OVERLOADED, FaultKind.TIMED_OUT, FaultKind.UNREACHABLE})
"""After these a submission is tried again; what else the provider says of it is what all its requests are told."""
_REFUSED = 400
_TURNED_AWAY = frozenset({503, 529})
"""Statuses from 500 on that say that nothing was taken."""
_PATIENCE_S = 2.0
"""How long what is done for one place is waited for before the others go on."""
_AWAY_TURNS = 2
"""Of `turn_s`: how long others have the turn; they look whether it is theirs once in each."""
_DRAFT_S = 3600.0
"""How long an item may take to be ready before it is looked into."""


class Batcher:
    """The task of one process. `models` gives a model by its name; `by` is whom the answers are said to be from."""

    def __init__(  # noqa: PLR0917  made in one place
        self, outbox: Outbox, turn: Turn, rules: BatchRules, desk: Callable[[], Desk | None],
        models: Callable[[str], Model | None], by: str,
    ):  # fmt: skip
        self._outbox, self._turn, self._rules, self._desk = outbox, turn, rules, desk
        self._answers = Answers(outbox, by)
        self._ways = Ways(outbox, models, lambda batch: self._hung.add(_place(batch)))
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._complaints: dict[str, str] = {}
        self._out_of_reach = OutOfReach(rules.pause_s)
        self._under_way: dict[tuple[str, str], asyncio.Task[None]] = {}
        """By place, what is done for its batches just now."""
        self._hung: set[tuple[str, str]] = set()
        """Places whose provider has not answered in its time, in this round."""
        self._slow: dict[tuple[str, str], asyncio.Task[None]] = {}
        """Places for which that was not done in a moment when it was last done."""
        self._gives_way = False
        """Whether somebody else may be able to do more with some batch."""
        self._away_until: float | None = None
        """When it takes the turn again that it has given away; on the loop's clock."""

    def start(self) -> None:
        """Work from now on, on this loop."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="segue-batches")

    def wake(self) -> None:
        """Something new waits."""
        self._news.set()
        self.start()

    def hurry(self) -> None:
        """What can be fetched is to be fetched now, also where a provider has just refused that."""
        self._out_of_reach.hurry()
        self.wake()

    @property
    def carries(self) -> bool:
        """Whether it is this process's turn, or it has given it away for a moment and nobody else has taken it."""
        return self._turn.taken or self._away_until is not None

    def reaches(self, batch: str) -> bool:
        """Whether a batch may be sent or looked at from here, as far as is known."""
        return batch not in self._out_of_reach

    async def stop(self) -> None:
        """Let others have the turn."""
        tasks = [*self._under_way.values(), *([] if self._task is None else [self._task])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._under_way.clear()
        self._turn.give()

    async def _run(self) -> None:
        """Until there is nothing to do: then whoever queues something begins it again."""
        while True:
            self._news.clear()
            try:
                wait_s = await self.once()
            except (SegueError, OSError) as error:
                log.error("batches: %s", error)
                wait_s = self._rules.look_s
            if wait_s is None:
                if self._outbox.path is None and not self._news.is_set():
                    return
                wait_s = 4 * self._rules.turn_s  # another process may die with batches on their way
            try:
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def once(self) -> float | None:
        """Do what is due. Gives the seconds until something else may be; None where nothing waits at all."""
        desk = self._desk()
        if desk is None or self._outbox.empty:
            self._turn.give()
            self._away_until = None
            return None
        if (away_s := self._away_s()) > 0:
            return away_s
        if not self._turn.take():
            return self._rules.turn_s
        now = desk.now()
        self._gives_way &= bool(self._under_way)
        self._form(desk, now)
        due = [batch for batch in self._outbox.batches() if batch.look_at <= now]
        await self._carry(due, desk)
        # those of which this is known no more have been with others
        self._out_of_reach.keep({one.id for one in due} & {one.id for one in self._outbox.batches()})
        if self._gives_way and not self._under_way and self._outbox.path is not None:
            self._turn.give()
            self._away_until = asyncio.get_running_loop().time() + _AWAY_TURNS * self._rules.turn_s
        return self._away_s() or self._until(desk.now())

    async def _carry(self, due: Sequence[Batch], desk: Desk) -> None:
        """Each a step further, those of a place together; one whose provider hangs is not waited for by the others, but
        where the turn is to be given away none that was slow is begun: one after the other they would keep it for ever.
        """
        slow = self._slow if self._gives_way and self._under_way and self._outbox.path is not None else {}
        for place in dict.fromkeys(map(_place, due)):
            if place not in self._under_way and place not in slow:
                mine = [batch for batch in due if _place(batch) == place]
                self._under_way[place] = task = asyncio.create_task(self._together(mine, desk))
                task.add_done_callback(lambda _: self._news.set())
        if not self._under_way:
            return
        done, _ = await asyncio.wait(self._under_way.values(), timeout=_PATIENCE_S)
        quick = {place for place, task in self._under_way.items() if task in done and self._slow.get(place) is not task}
        self._under_way = {place: task for place, task in self._under_way.items() if task not in done}
        self._slow = {place: task for place, task in self._slow.items() if place not in quick} | self._under_way
        self._news.clear()
        failed = [error for task in done if (error := task.exception()) is not None]
        if failed:
            raise failed[0]

    async def _together(self, batches: Sequence[Batch], desk: Desk) -> None:
        """Those of one place; where its provider hangs the others come later, since it keeps the turn."""
        place, many = _place(batches[0]), self._rules.calls_at_once
        self._hung.discard(place)
        for at in range(0, len(batches), many):
            if place in self._hung:
                return self._put_off(batches[at:], desk.now(), ours=self.reaches(batches[at - 1].id))
            some = batches[at : at + many]
            made = await asyncio.gather(*(self._forward(one, desk) for one in some), return_exceptions=True)
            failed = [error for error in made if error is not None]
            if failed:  # but nothing of the others is left on its way, unwatched
                raise failed[0]

    def _put_off(self, batches: Sequence[Batch], now: float, *, ours: bool) -> None:
        """Those of a place whose provider hangs; `ours`: it is this process that can do something for them."""
        for one in batches:
            if ours:
                self._outbox.change(one.id, look_at=now + self._rules.look_s)
            else:
                self._out_of_reach.put(one.id, now, called=True)

    def _away_s(self) -> float:
        """How long others still may take the turn that this process has given away."""
        if self._away_until is None:
            return 0.0
        left_s = self._away_until - asyncio.get_running_loop().time()
        self._away_until = self._away_until if left_s > 0 else None
        return max(0.0, left_s)

    def _until(self, now: float) -> float:
        waits = [b.look_at for b in self._outbox.batches() if self.reaches(b.id) and _place(b) not in self._under_way]
        waits += [self._rules.due_at(group.first_at, group.last_at) for group in self._outbox.groups(now)]
        alone = self._outbox.path is None
        waits += [now + self._rules.look_s] if alone and self._out_of_reach else []
        waits.append(now + (self._rules.look_s_max if alone else self._rules.turn_s))
        return max(0.0, min(waits) - now)

    # --- collecting ---

    def _form(self, desk: Desk, now: float) -> None:
        """Put together what has waited long enough, or is as much as one batch takes."""
        for request, run in self._outbox.drafts(now - _DRAFT_S):
            if not desk.is_open(run):  # it ended before it could say that it waits
                self._outbox.discard(request)
        for group in self._outbox.groups(now):
            most = min(self._rules.requests or REQUESTS_MAX, REQUESTS_MAX)
            if group.many < most and now < self._rules.due_at(group.first_at, group.last_at):
                continue
            ids: list[str] = []
            room = BYTES_MAX
            for request, run, size in self._outbox.waiting(group, most, now):
                if not desk.is_open(run):
                    self._outbox.discard(request)
                    continue
                if desk.is_asked_to_end(run):  # it takes its questions back as soon as it is carried out
                    self._outbox.put_off(request, now + self._rules.look_s)
                    continue
                if ids and size > room:
                    break
                room -= size
                ids.append(request)
            if ids:
                self._outbox.form(f"segue-{secrets.token_hex(12)}", group, ids)

    # --- one batch, one step further ---

    async def _forward(self, batch: Batch, desk: Desk) -> None:
        if self._out_of_reach.rests(batch.id, desk.now()):
            self._gives_way = True
            return
        try:
            way = await self._ways.to(batch)
            no = way if isinstance(way, NoWay) else await self._go(batch, way, desk)
        except Exception as error:  # noqa: BLE001  whatever an SDK raises: it is tried again later
            self._note(batch, error)
            no = None if batch.tried_at is None else self._ways.refused(batch, error)
            if no is None:
                self._complain(batch, error_of(error, model=batch.model))
                self._later(batch, desk)
                return
        if no is None:
            self._out_of_reach.reached(batch.id)
        else:
            await self._stays(batch, no, desk)

    async def _go(self, batch: Batch, way: Way, desk: Desk) -> NoWay | None:
        step = self._send if batch.provider_id is None else self._look
        try:
            return await step(batch, way, desk)
        except Exception as error:
            other = await self._ways.instead(way, batch, error)
            if other is None:
                raise
            return await step(batch, other, desk)

    async def _stays(self, batch: Batch, no: NoWay, desk: Desk) -> None:
        """A batch that this process cannot reach is as it was, for one that can: it is due, and the turn is given away.
        What nobody has sent goes elsewhere after `retry_s`. What was sent is its questions', until their time is over;
        or until a deployment that has left its pool, and perhaps the world, was not known here for `retry_s`.
        """
        now, tried = desk.now(), batch.tried_at is not None and no.says is None
        since, self._gives_way = self._out_of_reach.put(batch.id, now, called=no.called), True
        self._complain(batch, no.why, of_us=True)
        if all(who.dropped for who in self._outbox.whose(batch.id).values()):
            self._outbox.done(batch.id)
        elif not tried and now >= since + self._rules.retry_s:
            await self._answers.all(batch, desk, no.says or undelivered(no.why))
        elif no.left and now >= max(since, batch.tried_at or since) + self._rules.retry_s:
            log.warning("a batch of %s (%s) is given up: %s", batch.model, batch.id, no.why)
            said = refused(PASSES, "unknown_deployment", no.why)
            await self._answers.all(batch, desk, {**said, "billed": tried})  # it may be done, and nobody will hear so

    async def _send(self, batch: Batch, way: Way, desk: Desk) -> NoWay | None:
        if batch.tried_at is not None:
            settled, no = await self._sought(batch, way, desk)
            if settled:
                return no
        wanted = not all(dropped for *_, dropped in self._outbox.whose(batch.id).values())
        items = self._outbox.begin(batch.id, desk.now(), way.account(batch.id)) if wanted else []
        if not items:
            self._outbox.done(batch.id)
            return None
        requests = [Request(i.id, json.loads(i.body), json.loads(i.headers)) for i in items]
        try:
            async with within(send_s(sum(len(i.body) for i in items))):
                sent = await way.api.submit(batch.id, requests)
        except Exception as error:  # noqa: BLE001  whatever an SDK raises
            return await self._unsent(batch, desk, error)
        self._sent(batch, sent, desk.now())
        return None

    async def _sought(self, batch: Batch, way: Way, desk: Desk) -> tuple[bool, NoWay | None]:
        """Whether it need not be sent again, as it was taken, or for another reason; nor by this process at all."""
        assert batch.tried_at is not None
        async with within(LOOK_S):
            now, found = desk.now(), await self._ways.found(batch, way)
        if found is not None:
            self._sent(batch, found[0], now, sure=found[1])
        elif batch.account not in {None, way.account(batch.id)}:
            return True, other_account(batch)
        elif now < (over_at := self._over_at(batch, now)) + self._rules.settle_s:
            self._outbox.change(batch.id, over_at=over_at, look_at=over_at + self._rules.settle_s)
        elif self._tried_enough(batch, now):
            await self._answers.all(batch, desk, undelivered(batch.complaint or "it is not in the list"))
        else:
            return False, None
        return True, None

    @staticmethod
    def _over_at(batch: Batch, now: float) -> float:
        """When a submission of which nobody heard was over: now, where whoever sent it has not said so."""
        said, tried = batch.over_at, batch.tried_at or 0.0
        return said if said is not None and (said >= tried or tried > now) else now  # a clock may be set back

    def _sent(self, batch: Batch, id: str, now: float, *, sure: bool = True) -> None:
        look_at = now + self._rules.look_s if sure else now
        self._outbox.change(
            batch.id, provider_id=id, sent_at=now, look_at=look_at, looks=0, sure=int(sure), complaint=None
        )

    async def _unsent(self, batch: Batch, desk: Desk, error: Exception) -> NoWay | None:
        """What a submission met: it passes, or it is what all its requests are told; what is wrong with the key of this
        process, only where none comes with a better one.
        """
        self._note(batch, error)
        ours: Any = error_of(error, model=batch.model)
        kind, status = getattr(ours, "fault_kind", None), getattr(ours, "status", None)
        certain = bool(getattr(ours, "unconnected", None)) or status in _TURNED_AWAY
        certain = certain or (isinstance(status, int) and _REFUSED <= status < 500)
        self._outbox.change(batch.id, **({"tried_at": None} if certain else {"over_at": desk.now()}))
        if kind in _PASSING or not certain:
            self._complain(batch, ours)
            after_s = float(getattr(ours, "retry_after_s", None) or 0.0)
            if certain and self._tried_enough(batch, desk.now() + after_s):
                await self._answers.all(batch, desk, undelivered(str(ours), after_s))
                return None
            self._later(batch, desk, at_least=after_s)
            return None
        code = str(getattr(ours, "said", None) or kind)
        said = refused(int(status or _REFUSED), code, f"the batch was refused: {ours}")
        no = None if self._outbox.path is None else self._ways.refused(batch, error, says=said)
        if no is None:
            await self._answers.all(batch, desk, said)
        return no

    def _tried_enough(self, batch: Batch, at: float) -> bool:
        """Whether it will have been tried for long enough by then."""
        first = self._outbox.first_tried(batch.id)
        return first is not None and at >= first + self._rules.retry_s

    async def _look(self, batch: Batch, way: Way, desk: Desk) -> None:
        assert batch.provider_id is not None
        async with within(LOOK_S):
            standing = await way.api.look(batch.provider_id)
        if not standing.ended:
            self._outbox.change(batch.id, done=standing.done, total=standing.total or batch.total, complaint=None)
            self._later(batch, desk)
        elif standing.failed is not None:
            await self._answers.refusals(batch, desk, standing)
        else:
            await self._answers.results(batch, way.api, desk, standing.rest)

    def _note(self, batch: Batch, error: Exception) -> None:
        if isinstance(error, Hangs):
            self._hung.add(_place(batch))

    def _later(self, batch: Batch, desk: Desk, at_least: float = 0.0) -> None:
        wait_s = max(self._rules.pause_s(batch.looks), at_least)
        self._outbox.change(batch.id, look_at=desk.now() + wait_s, looks=batch.looks + 1)

    def _complain(self, batch: Batch, error: object, *, of_us: bool = False) -> None:
        """Log it, once as long as it is the same, and note it for those who look. What is wrong with this process alone
        (`of_us`) is noted once, and leaves what a process that can do more has to say.
        """
        said = str(error)
        new = self._complaints.get(batch.id) != said
        if new:
            self._complaints[batch.id] = said
            log.warning("a batch of %s (%s) must wait: %s", batch.model, batch.id, said)
        if batch.complaint is None or (new if of_us else batch.complaint != said):
            self._outbox.change(batch.id, complaint=said)


def _place(batch: Batch) -> tuple[str, str]:
    """The model and the deployment."""
    return batch.model, batch.deployment
