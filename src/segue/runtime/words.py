"""Words in a run's inbox on calls in whose way a recorded effect stands: they are put on record before the flow begins.

Whoever sends such a word knows the two calls, and says both. So it counts under whichever code it is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..core.codec import dumps, loads
from ..core.events import OUTCOMES, Event, EventType
from ..core.placed import IN_PLACE_OF
from ..journal import SAID_AFTER, Item

ARGS = "args"
"""In the body of such a word, where they are known: the arguments of the call."""
_BEGUN = frozenset({EventType.ATTEMPT_STARTED, EventType.CHILD_STARTED, EventType.STEP_CANCELLED, *OUTCOMES})


class Word(NamedTuple):
    """What somebody says of such a call: what it gives, or that it is to be made."""

    no: int
    key: str
    said: dict[str, Any]
    value: bytes | None
    args: bytes | None
    after: int
    """The last `seq` that was on record when it was said."""

    @property
    def gives(self) -> bool:
        """Whether it says what the call gives."""
        return self.said.get("act", "result") != "retry"


def read(item: Item) -> Word:
    """An override in an inbox."""
    said = loads(item.body)
    after, args = int(said.pop(SAID_AFTER, 0)), said.pop(ARGS, None)
    return Word(item.no, item.name, said, item.value, None if args is None else args.encode(), after)


def waiting(items: Iterable[Item], detail: Mapping[str, Any]) -> list[Word]:
    """Those in an inbox. An earlier version of Segue did not say what stood in the way: the row says it, where that set
    the run aside.
    """
    found = [read(item) for item in items if item.kind == "override"]
    for word in found:
        if word.key == detail.get("asks") and "key" in detail:
            word.said.setdefault(IN_PLACE_OF, detail["key"])
    return [word for word in found if IN_PLACE_OF in word.said]


def heard(events: Iterable[Event], words: Sequence[Word]) -> list[Event]:
    """A journal as it is once these words are on record, but for those on calls that have begun by now."""
    events = list(events)
    begun = {event.key for event in events if event.type in _BEGUN} if words else set[str | None]()
    for word in words:
        if word.key not in begun:
            last = events[-1]
            said = last._replace(
                seq=last.seq + 1, type=EventType.OPERATOR_ACTED, version=1, key=word.key, attempt=None, seen=None,
                began=None, body=dumps(word.said), args=None, value=word.value,
            )  # fmt: skip
            events.append(said)
            if word.gives:
                ended = {"seq": said.seq + 1, "type": EventType.STEP_COMPLETED, "attempt": 0, "body": None}
                events.append(said._replace(**ended, args=word.args, value=word.value or b"null"))
    return events
