"""Who waits for the end of a run, in whichever process it ends."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

from ...core.events import Event
from ...core.lifecycle import RunState
from ...errors import StoreMissing

if TYPE_CHECKING:
    from .host import Host

_MOVES = (RunState.QUEUED, RunState.RUNNING, RunState.PARKED)
_AT_ONCE = 500
"""Runs that are looked at in one go: a hundred thousand may be watched."""


class Watchers:
    """Futures by run: done when it ends (with its last event), is set aside or leaves this process."""

    def __init__(self, host: Host):
        self._host = host
        self._futures: dict[int, list[asyncio.Future[Event | None]]] = {}

    def add(self, no: int) -> asyncio.Future[Event | None]:
        """One more."""
        future: asyncio.Future[Event | None] = self._host.loop.create_future()
        self._futures.setdefault(no, []).append(future)
        return future

    def tell(self, no: int, end: Event | None = None) -> None:
        """The run moved on."""
        for future in self._futures.pop(no, ()):
            if not future.done():
                future.set_result(end)

    def look(self) -> None:
        """Runs that end in other processes: some at each look, in turn. All, when the file was taken away."""
        if not self._futures:
            return
        try:
            self._host.journal.check_file()
        except StoreMissing:
            self.close()
        waiting = list(islice((n for n in self._futures if n not in self._host.executions), _AT_ONCE))
        for no in waiting:
            self._futures[no] = self._futures.pop(no)
            row = self._host.journal.find(no)
            if row is not None and row.state not in _MOVES:
                self.tell(no)

    def close(self) -> None:
        """Let all look for themselves: nobody will hear more from here."""
        for no in list(self._futures):
            self.tell(no)
