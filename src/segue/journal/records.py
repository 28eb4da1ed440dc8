"""What the journal keeps beside events: runs, inbox items, and the units in which a run writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ..core.events import Event
from ..core.lifecycle import RunState
from ..errors import StoreCorrupt
from .damage import REMEDY

if TYPE_CHECKING:  # 30 ms, which a run without budgets need not pay
    from ..core.records import Reservation, Settlement

_STATES = frozenset(state.value for state in RunState)


class RunRow(NamedTuple):
    """Where a run stands. Times are seconds since the epoch, UTC.

    `memo_run` and `memo_seq` name the events of another run that come before its own: a fork.
    `detail` says for what it waits or why it is stuck.
    """

    no: int
    id: str
    tenant: str
    flow: str
    origin: str | None
    version: int
    input_hash: str
    seed: str
    state: str
    detail: dict[str, Any]
    owner: str | None
    epoch: int
    wake_at: float | None
    paused: bool
    parent: str | None
    parent_key: str | None
    memo_run: int | None
    memo_seq: int
    replaced: dict[str, Any]
    created_at: float
    updated_at: float
    continued_seq: int = 0
    """The event with which its present part begins; 0: it has never gone on as new."""
    thread: str | None = None
    """The thread that it is a turn of, or of whose turn it is a fork."""


class Standing(NamedTuple):
    """As much of a run's row as it takes to know who may go on with it."""

    no: int
    state: str
    owner: str | None
    flow: str
    version: int
    paused: bool


class NewRun(NamedTuple):
    """A run to be accepted. `args` is its input as JSON by parameter name."""

    id: str
    tenant: str
    flow: str
    origin: str | None
    version: int
    args: bytes
    at: float
    seed: str
    owner: str | None = None
    revision: str = ""
    parent: str | None = None
    parent_key: str | None = None
    memo_run: int | None = None
    memo_seq: int = 0
    replaced: dict[str, Any] | None = None
    body: dict[str, Any] | None = None
    continued_seq: int = 0
    thread: str | None = None
    leaves: int | None = None
    """The number of the turn in whose place it begins `thread`, a branch: that is made with it, or neither is."""


class Post(NamedTuple):
    """Something for a run's inbox, from anybody. Two posts with one `id` to one run are one."""

    run: str
    kind: str
    id: str
    name: str
    at: float
    value: bytes | None = None
    body: bytes | None = None


SAID_AFTER = "said_after"
"""In the body of an override: the last `seq` of the run's journal that stood on disk when it was said."""
BESIDE = "beside"
"""The kind of a post that is the record of what was made beside an attempt: a shadow."""
LATE = ("feedback", BESIDE)
"""The kinds of posts that a run takes after its end too."""


class Late(NamedTuple):
    """A post of such a kind, to be an event."""

    kind: str
    name: str
    body: bytes
    at: float


class Item(NamedTuple):
    """An inbox item that the run's owner has not yet turned into an event."""

    no: int
    run: str
    kind: str
    id: str
    name: str
    at: float
    value: bytes | None
    body: bytes | None


class Change(NamedTuple):
    """A run's new standing, written with its events. `wake_at` is its earliest timer while it is parked."""

    state: str
    detail: dict[str, Any]
    at: float
    wake_at: float | None = None
    release: bool = False
    """Whether the run gives up its owner: another process may go on with it."""


class Write(NamedTuple):
    """One atomic unit of one run: an event and what belongs to it. All of it is durable, or none.

    `done(write, error)` is called on the loop after the commit; with StaleOwner when another process owns the run by
    now. `then` is the writer's own, for `done` to call.

    A unit whose reservation or settlement is refused, with BudgetExceeded or InputError, leaves no gap: what the same
    incarnation writes after it moves up by one, and `done` is given the event with the number that it got.
    """

    event: Event
    done: Callable[[Write, Exception | None], None]
    then: Callable[[], None] | None = None
    more: More | None = None


class More(NamedTuple):
    """What is written together with an event."""

    change: Change | None = None
    paused: bool | None = None
    posts: Sequence[Post] = ()
    children: Sequence[NewRun] = ()
    consumed: Sequence[int] = ()
    turn: str | None = None
    """The thread that the event is a turn of."""
    summary: tuple[str, int] | None = None
    """The thread that the event sums up, and up to which turn."""
    continued: int | None = None
    """The run goes on as new with this event, and with this version of its flow."""
    reserve: Reservation | None = None
    """What its `usage.reserved` sets aside: checked against every budget, and refused with BudgetExceeded."""
    settle: Settlement | None = None
    """What its `usage.settled` settles. In the commit of the outcome, if both are queued in one turn of the loop."""


def run_row(row: tuple[Any, ...]) -> RunRow:
    """A row of `runs`. Raises StoreCorrupt for one that is damaged."""
    made = RunRow._make(row)
    try:
        if made.state not in _STATES:
            raise _damaged(made, f"its state is {str(made.state)[:20]!r}")
        return made._replace(detail=_object(made.detail), replaced=_object(made.replaced), paused=bool(made.paused))
    except (ValueError, TypeError) as error:
        raise _damaged(made, f"its detail or replaced is no JSON object ({error})") from error


def _damaged(row: RunRow, what: str) -> StoreCorrupt:
    return StoreCorrupt(f"the row of run {row.id} is damaged: {what}", run=row.id, remedy=REMEDY)


def listed_row(row: tuple[Any, ...]) -> RunRow:
    """A row of `runs` for a list, which one damaged row is not to hide: of such a one only that it is `damaged`."""
    try:
        return run_row(row)
    except StoreCorrupt as error:
        made = RunRow._make(row)
        detail = {"damaged": error.message, "message": error.message, "remedy": error.remedy}
        state = made.state if made.state in _STATES else RunState.STUCK.value
        return made._replace(state=state, detail=detail, replaced={})


def _object(text: Any) -> dict[str, Any]:
    made: Any = {} if text == "{}" else json.loads(text)
    if not isinstance(made, dict):
        raise TypeError(f"it is {str(text)[:20]!r}")
    return cast("dict[str, Any]", made)
