"""Gives runs the outcomes that one commit has made durable: many flows move, one after the other, and then all of their
commands are carried out.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...core.events import Event
from ...errors import SegueError
from ..loop import aside

if TYPE_CHECKING:
    from .execution import Execution


class Outcomes:
    """Outcomes that are on disk and not yet given. A run has one of them at most: its flow settles in between."""

    def __init__(self, loop: AbstractEventLoop):
        self._loop = loop
        self._waiting: dict[Execution, Event] = {}
        self._moved: set[Execution] = set()
        """Runs whose flow moves, and whose commands are not carried out yet."""

    def add(self, execution: Execution, event: Event) -> None:
        """Give it soon: `give` is called in the same turn of the loop."""
        self._waiting[execution] = event

    def holds(self, execution: Execution) -> bool:
        """Whether one waits for this run, or has moved it just now: it must not be parked in between."""
        return execution in self._waiting or execution in self._moved

    def settle(self, execution: Execution) -> None:
        """Before something else is told to this run: give it what waits."""
        if execution in self._waiting:
            self.give()

    def give(self) -> None:
        """Let the flows move. An error of one sets that one aside, and keeps no other from being told."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        self._moved.update(waiting)
        execution: Execution | None = None
        broken: list[tuple[Execution, Exception]] = []
        try:
            with aside():
                for execution, event in waiting.items():
                    if not execution.closed:
                        try:
                            execution.drive.deliver_aside(event)
                        except SegueError as failed:
                            execution.drive.fail(failed)
                        except Exception as error:  # noqa: BLE001  a bug of ours belongs to one run
                            broken.append((execution, error))
        except BaseException:  # Ctrl-C in the code of a flow
            self._interrupted(execution, waiting)
            raise
        try:
            for run, error in broken:
                run.host.crashed(run, error)
        finally:
            self._settle(iter(waiting))

    def _settle(self, told: Iterator[Execution]) -> None:
        try:
            for execution in told:
                self._moved.discard(execution)
                try:
                    execution.settle()
                except Exception as error:  # noqa: BLE001  see above
                    execution.host.crashed(execution, error)
        except BaseException:  # Ctrl-C in the code of a flow that ends or parks: the others go on
            self._loop.call_soon(self._settle, told)
            raise

    def _interrupted(self, execution: Execution | None, waiting: dict[Execution, Event]) -> None:
        """A flow was interrupted as it moved: where the loop goes on, it begins anew, and the others go on."""
        runs = list(waiting)
        at = runs.index(execution) if execution is not None else 0
        self._waiting = {run: waiting[run] for run in runs[at + 1 :]} | self._waiting
        self._loop.call_soon(self._settle, iter(runs[:at]))
        self._loop.call_soon(self.give)
        if execution is not None:
            self._moved.discard(execution)
            execution.interrupted()
