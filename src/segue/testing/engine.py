"""The engine in memory: the one that ships, over SQLite's `:memory:`, which can be killed at any commit."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from ..core.events import Event
from ..journal import Journal
from ..journal.blobs import Payloads
from ..journal.connect import MEMORY
from ..journal.reading import Reader
from ..journal.writer import ProcessDied
from ..runtime import engine as shipped
from ..runtime.clock import SystemClock
from .loop import VirtualClock, VirtualLoop

if TYPE_CHECKING:
    from .crash import Crash

T = TypeVar("T")


class Died(Exception):
    """The engine was killed. A fresh one goes on from its journal: `Engine(after=dead)`."""


class Engine(shipped.Engine):
    """An engine in memory. On a virtual loop its clock is virtual.

    `after` is the engine whose journal it goes on from, dead or closed. `crash` kills it at a commit. `seed` makes it
    reproducible and varies in which order steps end: each one begins up to `pace_s` seconds late. Other options are
    those of segue.EngineOptions.
    """

    def __init__(
        self,
        *,
        after: Engine | None = None,
        crash: Crash | None = None,
        seed: object = None,
        pace_s: float = 1.0,
        **options: Any,
    ):
        super().__init__(":memory:", **options)
        self.crash = crash
        self.commits = 0
        """Commits that this engine has begun."""
        self.dead = False
        if seed is not None:
            self.chance, self.pace_s = random.Random(repr(seed)), pace_s
        self._after = after
        if after is not None:
            self.keyring = after.keyring
        self._connection: sqlite3.Connection | None = None
        self._died: asyncio.Event = asyncio.Event()

    def open_journal(self) -> Journal:
        """A journal in memory: a new one, or that of the engine before."""
        loop = asyncio.get_running_loop()
        self.clock = VirtualClock(loop) if isinstance(loop, VirtualLoop) else SystemClock()
        journal = Journal.in_memory(None if self._after is None else self._after.connection, self._probe)
        self._connection = journal.connection
        return journal

    @property
    def connection(self) -> sqlite3.Connection:
        """The database, which outlives the engine. Raises RuntimeError before the engine was opened."""
        if self._connection is None:
            raise RuntimeError("the engine was never opened: use it inside of `async with`")
        return self._connection

    def history(self, run: str) -> list[Event]:
        """The journal of a run, also after the engine is dead or closed. Raises UnknownRun."""
        reader = self.reader
        return list(reader.events(reader.get(run)))

    @property
    def reader(self) -> Reader:
        """The database to read: `runs`, `events`, `query`; also after the engine is dead or closed."""
        return Reader(MEMORY, self.connection, Payloads(None))

    def kill(self) -> None:
        """Die as a process does: nothing more is written, nobody is told, what runs is dropped where it stands.

        What code can still do as it is cancelled does not reach the journal.
        """
        if self.dead:
            return
        self.dead = True
        self._died.set()
        for execution in list(self.host.executions.values()):
            execution.leave(park=False)

    async def outlive(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`. Raises Died when the engine is killed first; `work` is cancelled then."""
        task, death = asyncio.ensure_future(work), asyncio.ensure_future(self._died.wait())
        try:
            await asyncio.wait((task, death), return_when=asyncio.FIRST_COMPLETED)
            if self.dead:
                raise Died(f"killed at commit {self.commits}" + ("" if self.crash is None else f": {self.crash}"))
            return await task
        finally:
            task.cancel()
            death.cancel()
            await asyncio.gather(task, death, return_exceptions=True)

    def _probe(self, when: str) -> None:
        self.commits += when == "before"
        if self.crash is not None and self.crash == (self.commits, when):
            self.kill()
        if self.dead:
            raise ProcessDied
