"""What is damaged in the events of a run. Nobody looks before reading has failed: it costs nothing until then."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ..core.codec import loads
from ..core.events import Event, EventType
from ..errors import RecordError

UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecordError)
"""What reading raises over a body that is no JSON, or that is JSON of another shape."""
BEGINNINGS = frozenset({EventType.RUN_ACCEPTED, EventType.RUN_FORKED, EventType.RUN_CONTINUED})
"""What the events of a run, or of a part of it, begin with: it has the input."""
REMEDY = "restore the database from a copy; all other runs go on"


def first_damaged(events: Iterable[Event]) -> tuple[Event, str] | None:
    """The first event that cannot be read, and why; None where all can be."""
    for event in events:
        try:
            _read(event)
        except UNREADABLE as error:
            return event, str(error)
    return None


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
