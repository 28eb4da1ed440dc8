"""The numbers of events, when one before them was refused."""

from __future__ import annotations

from ..core.events import Event


class Numbers:
    """How far the events of runs move up: a refused one leaves no gap, and those behind it have their numbers by then.

    What a transaction has refused counts from now on (`keep`) or never happened (`drop`). Only of runs with a refusal,
    and only while the incarnation lasts that numbered them.
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[int, int]] = {}
        self._new: dict[int, tuple[int, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._kept or self._new)

    def placed(self, event: Event) -> Event:
        """The event with the number that it gets."""
        refused = self._refused(event)
        return event._replace(seq=event.seq - refused) if refused else event

    def refuse(self, event: Event) -> None:
        """This one, as it was numbered, is not written: those behind it move up by one."""
        self._new[event.run] = (event.epoch, self._refused(event) + 1)

    def forget(self, run: int) -> None:
        """Its incarnation has ended."""
        if run in self._kept or run in self._new:
            self._new[run] = (0, 0)

    def keep(self) -> None:
        """The transaction was committed."""
        for run, (epoch, refused) in self._new.items():
            if refused:
                self._kept[run] = (epoch, refused)
            else:
                self._kept.pop(run, None)
        self._new.clear()

    def drop(self) -> None:
        """The transaction was rolled back."""
        self._new.clear()

    def _refused(self, event: Event) -> int:
        epoch, refused = self._new.get(event.run) or self._kept.get(event.run) or (0, 0)
        return refused if epoch == event.epoch else 0
