"""What happens to a run and to its durable calls: the records that the runtime itself writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import ClassVar

from ..events import EventType
from ..faults import Fault
from .base import Json, Record, record


@record
class RunAccepted(Record):
    """A run is on disk. The envelope's `args` is its input."""

    type: ClassVar[EventType] = EventType.RUN_ACCEPTED
    flow: str
    """`module:qualname`."""
    flow_version: int = field(metadata={"json": "version"})
    """The version of the flow that the run stays on."""
    seed: str
    """From it the run's random values are drawn."""
    parent: str | None = None
    """The run that started it as a child."""
    tenant: str | None = None
    thread: str | None = None
    """The conversation that it is a turn of."""
    threads: tuple[str, ...] = ()
    """The branch whose turn has started it, and the conversations that this has left: their names mean the branch."""
    queue: str | None = None
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """What people search it by."""
    by: str = ""
    """Who or what started it: a person, a schedule, a client."""


@record
class RunForked(RunAccepted):
    """A run that goes on from an event of another one, on disk."""

    type: ClassVar[EventType] = EventType.RUN_FORKED
    fork_of: str
    """The other run."""
    at: Json = None
    """The key of the step that is made anew, or the `seq` of the last event that it keeps; null: all but the end."""
    edited: bool = False
    """Whether its input is another one."""
    given: tuple[str, ...] = ()
    """The keys of the calls whose results it was given; not those that the other run, a fork too, was given."""
    begun: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """Of all that it was given, the once-effects, and the children with one, that had been begun after the point: their
    keys on record, each with a list of the others that it was given them by.
    """
    again: tuple[str, ...] = ()
    """If there are any: the others that had been begun after the point, which it makes anew."""
    why: str = ""


@record
class RunStarted(Record):
    """An incarnation: a process has taken the run up."""

    type: ClassVar[EventType] = EventType.RUN_STARTED
    owner: str
    """The process."""
    revision: str = ""
    """The hash of the code that it runs."""
    flow_version: int | None = field(default=None, metadata={"json": "version"})
    """The version of that code, where it is not the run's own: a migration."""


@record
class RunParked(Record):
    """All that the run waits for is durable; no process has it in memory."""

    type: ClassVar[EventType] = EventType.RUN_PARKED
    version: ClassVar[int] = 2
    waits_on: tuple[Mapping[str, Json], ...] = ()
    """One object per wait with its `key`, and `signal` (its name), `child` (its run), `person` (who is asked), `retry`,
    `sleep` or `timeout` (when it is due) or `step`, with `unknown` where it is in doubt and why; 20 at most."""
    unknown: Mapping[str, str] = field(default_factory=dict[str, str])
    """Once-effects by key of which nobody knows whether they were applied, and why. Since version 2."""


@record
class RunPaused(Record):
    """Somebody paused it: no new work starts."""

    type: ClassVar[EventType] = EventType.RUN_PAUSED
    by: str = ""
    why: str = ""


@record
class RunResumed(Record):
    """Somebody let it go on."""

    type: ClassVar[EventType] = EventType.RUN_RESUMED
    by: str = ""
    why: str = ""


@record
class RunCancelling(Record):
    """Somebody asked it to end."""

    type: ClassVar[EventType] = EventType.RUN_CANCELLING
    by: str = ""
    why: str = ""


@record
class RunStuck(Record):
    """It is set aside: open, resumable, nothing lost."""

    type: ClassVar[EventType] = EventType.RUN_STUCK
    version: ClassVar[int] = 2
    reason: str
    """`mismatch`, `crashes`, `unknown effect`, `undecodable` or `no worker`."""
    message: str
    key: str | None = None
    """The step that it is about."""
    remedy: str | None = None
    """The next thing to do."""
    asks: str | None = None
    """The call that the code asks for, and in whose way the effect of `key` stands."""
    unknown: Mapping[str, str] = field(default_factory=dict[str, str])
    """Once-effects by key of which nobody knows whether they were applied, and why. Since version 2."""


@record
class RunContinued(Record):
    """The flow goes on as new, with another input and nothing of its past. The envelope's `args` is that input."""

    type: ClassVar[EventType] = EventType.RUN_CONTINUED
    part: int
    """How often it has done so: its calls are made under `continued#PART/`."""
    flow_version: int = field(metadata={"json": "version"})
    """The version of the flow that it goes on with."""
    seed: str
    """From it the random values of this part are drawn."""
    revision: str = ""
    """The hash of the code that wrote it."""
    carried: tuple[int, ...] = ()
    """The `seq` of the signals that nobody had waited for yet: they still wait for somebody."""
    paused: bool = False
    """Whether it is paused meanwhile."""
    orphaned: tuple[str, ...] = ()
    """Keys of outcomes that the code, changed meanwhile, did not ask for."""


@record
class RunCompleted(Record):
    """The flow returned. The envelope's `value` is its result."""

    type: ClassVar[EventType] = EventType.RUN_COMPLETED
    orphaned: tuple[str, ...] = ()
    """Keys of outcomes that the code, changed meanwhile, did not ask for."""


@record
class RunFailed(Record):
    """The flow raised."""

    type: ClassVar[EventType] = EventType.RUN_FAILED
    version: ClassVar[int] = 3
    fault: Fault
    orphaned: tuple[str, ...] = ()
    tried: tuple[Json, ...] = ()
    """What had failed, oldest first, each with `what` (the call), `attempts`, `error`, `fault`: its causes, and the
    call that raised it, if one did.
    """
    key: str = ""
    """The call that raised it, where it was one."""


@record
class RunCancelled(Record):
    """It ended because somebody asked."""

    type: ClassVar[EventType] = EventType.RUN_CANCELLED
    fault: Fault | None = None
    orphaned: tuple[str, ...] = ()
    by: str = ""
    why: str = ""


@record
class StepCompleted(Record):
    """A step has a result: the envelope's `value`."""

    type: ClassVar[EventType] = EventType.STEP_COMPLETED


@record
class StepFailed(Record):
    """A step gave up."""

    type: ClassVar[EventType] = EventType.STEP_FAILED
    fault: Fault


@record
class StepCancelled(Record):
    """The flow no longer wanted the outcome of a call."""

    type: ClassVar[EventType] = EventType.STEP_CANCELLED
    why: str = ""


@record
class CallRekeyed(Record):
    """The code was changed, and gives a call another key than the one on record: the envelope's `key`, which it keeps.

    A replay reads this, and does not ask again which calls are the same.
    """

    type: ClassVar[EventType] = EventType.CALL_REKEYED
    asked_as: str
    """The key that the code gives it now."""


@record
class TimerSet(Record):
    """A timer runs."""

    type: ClassVar[EventType] = EventType.TIMER_SET
    due_at: float
    """Seconds since the epoch, UTC."""
    why: str = ""
    """`sleep`, `timeout`, or what it is for."""


@record
class TimerFired(Record):
    """A timer was due."""

    type: ClassVar[EventType] = EventType.TIMER_FIRED


@record
class SignalReceived(Record):
    """A signal arrived. The envelope's `key` is its name, `value` its payload."""

    type: ClassVar[EventType] = EventType.SIGNAL_RECEIVED
    by: str = ""


@record
class SignalRejected(Record):
    """A signal's payload was not what the flow waits for; the wait goes on."""

    type: ClassVar[EventType] = EventType.SIGNAL_REJECTED
    signal: str
    """Its name."""
    seq: int
    """The event that brought it."""
    why: str


@record
class ChildStarted(Record):
    """A child run is on disk, and its end is awaited."""

    type: ClassVar[EventType] = EventType.CHILD_STARTED
    run: str
    flow: str


@record
class ChildDetached(ChildStarted):
    """A child run is on disk, and lives on its own."""

    type: ClassVar[EventType] = EventType.CHILD_DETACHED


@record
class ChildEnded(Record):
    """A child run ended: with a result (the envelope's `value`), or with a fault."""

    type: ClassVar[EventType] = EventType.CHILD_ENDED
    version: ClassVar[int] = 2
    run: str
    fault: Fault | None = None
    orphaned: tuple[str, ...] = ()
    tried: tuple[Json, ...] = ()
    """What had failed in it, oldest first: also the call that raised its fault, if one did."""
