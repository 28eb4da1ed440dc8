"""What is damaged in the events of a run. Nobody looks before reading has failed: it costs nothing until then. Only
whether events are gone, or of no known type, is seen to in every replay: nothing would fail, and what they told of
would be done again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from types import NoneType
from typing import Any

from ..core.codec import loads
from ..core.events import Event, EventType
from ..errors import RecordError, StoreCorrupt
from .faults import fault

UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecordError)
"""What reading raises over a body that is no JSON, or that is JSON of another shape."""
BEGINNINGS = frozenset({EventType.RUN_ACCEPTED, EventType.RUN_FORKED, EventType.RUN_CONTINUED})
"""What the events of a run, or of a part of it, begin with: it has the input."""
_COLUMNS: Mapping[str, tuple[type, ...]] = {
    "epoch": (int,), "at": (int, float), "type": (str,), "version": (int,), "key": (str, NoneType),
    "attempt": (int, NoneType), "seen": (int, NoneType), "began": (int, float, NoneType),
    "body": (bytes, NoneType), "args": (bytes, NoneType), "value": (bytes, NoneType),
}  # fmt: skip
_TYPES = frozenset(type_.value for type_ in EventType)
REMEDY = "restore the database from a copy; all other runs go on"


def damaged(path: str, run: str, what: str) -> StoreCorrupt:
    """That something of a run cannot be read."""
    error = fault(StoreCorrupt, path, what, REMEDY)
    error.run = run
    return error


def missing(path: str, run: str, seq: int) -> StoreCorrupt:
    """That the event is missing that has the input of a run, or of a part of it."""
    return damaged(path, run, f"event {seq} of run {run}, which has its input, is missing")


def first_damaged(events: Iterable[Event]) -> tuple[Event, str] | None:
    """The first event that cannot be read, or follows on none, and why; None where all is well. `events` are all of a
    run's, with those of the runs that it was forked from.
    """
    for seq, event in enumerate(events, 1):
        try:
            _check_columns(event, seq)
            _read(event)
        except UNREADABLE as error:
            return event, str(error)
    return None


def gapless(first: Event, events: Iterable[Event]) -> Iterator[Event]:
    """The first event and those that follow on it. Raises ValueError where some between them are gone, or of a type
    that there is not.
    """
    yield first
    for seq, event in enumerate(events, first.seq + 1):
        _check_place(event, seq)
        yield event


def _check_place(event: Event, seq: int) -> None:
    if event.seq != seq:
        raise ValueError(f"it follows on event {seq - 1}, and what came between them is missing")
    if event.type not in _TYPES:
        raise ValueError("its type is none that this version of Segue knows, and a later one may have written it")


def _check_columns(event: Event, seq: int) -> None:
    """Raises TypeError for a column that holds what its type does not, ValueError where events before it are gone."""
    _check_place(event, seq)
    for name, types in _COLUMNS.items():
        value = getattr(event, name)
        if not isinstance(value, types):
            raise TypeError(f"its {name} is {str(value)[:20]!r}")


def _read(event: Event) -> None:
    from ..core.records import RECORDS, record_of  # noqa: PLC0415  30 ms that most processes never need

    for what, payload in (("args", event.args), ("value", event.value)):
        try:
            json.loads(payload or b"null")
        except ValueError as error:
            raise ValueError(f"its {what} is no JSON ({error})") from error
    try:
        body: Any = loads(event.body)
    except ValueError as error:
        raise ValueError(f"its body is no JSON ({error})") from error
    if not isinstance(body, dict):
        raise TypeError(f"its body is no JSON object, but a {type(body).__name__}")
    if event.type in RECORDS:
        record_of(event)
