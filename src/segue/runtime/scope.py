"""Where the current code runs: in a flow (and in which scope), in a step, or outside of any run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from ..core.keys import Scope
from ..errors import NotInAFlow
from .live import Live
from .outlet import Outlet

if TYPE_CHECKING:
    from ..core.events import Event
    from ..core.records import AttemptRecorded, Record, Settlement
    from ..core.recovery import Attempt
    from ..core.streams import AttemptId, Kind
    from ..journal import Outcome
    from .drive import Drive
    from .engine import Engine
    from .purse import Purse


T = TypeVar("T")


class FlowScope(Scope):
    """A naming scope of a run that is being driven."""

    __slots__ = ("drive",)

    def __init__(self, drive: Drive, path: str = ""):
        super().__init__(path)
        self.drive = drive

    def record(self, record: Record, key: str, value: bytes | None = None) -> None:
        """Journal a record of the flow's own under a `key` of its own, once: a replay does not write it again.

        `value` is JSON that belongs to it and may be large. Raises RecordError for a misfit.
        """
        self.drive.record(record.type, key, record.to_body(), value, version=record.version)

    def child(self, segment: str) -> FlowScope:
        """A scope below this one, of the same run."""
        return FlowScope(self.drive, f"{self.path}{segment}/")


class StepScope:
    """Inside of a step's attempt: durable calls run inline, and their records go under the step's key.

    `history` are the attempts before this one, `candidate` whom the Recovery wants to be asked now (`Use`), `purse` the
    money of its run; None outside of one.
    """

    __slots__ = (
        "_inner", "_later", "_outlet", "_write", "attempt", "candidate", "epoch", "events", "history", "key", "outlets",
        "part", "path", "purse", "run", "sums_up", "tenant", "thread", "turn_of",
    )  # fmt: skip

    def __init__(
        self,
        run: str,
        key: str,
        attempt: int,
        history: Sequence[Attempt] = (),
        candidate: str | None = None,
        *,
        epoch: int = 0,
        tenant: str = "default",
        write: Callable[[str, int, dict[str, Any]], Awaitable[None]] | None = None,
        later: Callable[[int, dict[str, Any]], Awaitable[None]] | None = None,
        purse: Purse | None = None,
    ):
        self.run, self.key, self.attempt, self.epoch, self.tenant = run, key, attempt, epoch, tenant
        self.history, self.candidate = history, candidate
        self.events: list[tuple[str, int, dict[str, Any]]] = []
        self._write, self._later, self.purse = write, later, purse
        self.path: AttemptId = (epoch, attempt)
        self.part = ""
        self.thread: str | None = None
        """The thread whose budget pays for what is called here, beside that of the run; None: the run's own thread."""
        self.turn_of: str | None = None
        """The thread that the outcome of this step is a turn of."""
        self.sums_up: tuple[str, int] | None = None
        """The thread that the outcome of this step sums up, and up to which turn."""
        self.outlets: list[Outlet] | None = None
        """The streams of this attempt, those of steps that it called included."""
        self._outlet: Outlet | None = None
        self._inner: dict[str, int] | None = None

    def emit(self, text: str, kind: Kind = "text") -> None:
        """Publish a piece of text to whoever follows the run now (`run.stream()`), from any thread.

        It is not journaled: what the step returns is. Where that is the very text that was emitted, whoever comes later
        gets it from there. If this attempt fails, its consumers are told to forget what it said.
        """
        self.outlet.say(text, kind)

    @property
    def outlet(self) -> Outlet:
        """The stream of this attempt."""
        if self._outlet is None:
            around = _surroundings.get()
            live = _channel.get() or (Live() if around is None else around.live)
            self._outlet = Outlet(live, self)
            self.outlets = [] if self.outlets is None else self.outlets
            self.outlets.append(self._outlet)
        return self._outlet

    @property
    def streamed(self) -> Outlet | None:
        """The stream of this attempt, if it has one."""
        return self._outlet

    def inner(self, name: str) -> str:
        """Names a step that is called inside of this attempt, for its streams."""
        count = self.counted(name)
        return f"{self.part}/{name}#{count}" if self.part else f"{name}#{count}"

    def counted(self, name: str) -> int:
        """How many of this name there were inside of this attempt, with this one."""
        self._inner = counts = self._inner or {}
        counts[name] = count = counts.get(name, 0) + 1
        return count

    def within(self, part: str, scope: StepScope) -> None:
        """Make a scope the one of a call inside of this attempt: what it records and streams belongs here."""
        if self.outlets is None:
            self.outlets = []
        scope.events, scope.outlets = self.events, self.outlets
        scope.part, scope.path = part, (*self.path, scope.attempt)

    def record(self, record: Record) -> None:
        """Journal a record under the step's key, before the attempt's outcome. Raises RecordError for a misfit."""
        self.events.append((record.type, record.version, record.to_body()))

    async def commit(self, record: Record) -> None:
        """Journal a record under the step's key now, and wait until it is on disk: before a call that costs money.

        Outside of a run it is as `record`. Raises RecordError for a misfit.
        """
        if self._write is None:
            self.record(record)
        else:
            await self._write(record.type, record.version, record.to_body())

    @property
    def lasting(self) -> bool:
        """Whether `later` has a journal to write to."""
        return self._later is not None

    async def later(self, record: AttemptRecorded) -> None:
        """Journal what was made beside the attempt, whenever it ends: also after the step and the run have ended.

        Outside of a run it is dropped. Raises a StoreError where the database is closed.
        """
        if self._later is not None:
            await self._later(record.version, record.to_body())

    @property
    def idempotency_key(self) -> str:
        """Names this step to the outside world, the same over all its attempts."""
        return f"{self.run}/{self.key}"


class Outside(Protocol):
    """An engine, as those see it who answer its steps: a provider's batch."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def is_open(self, run: str) -> bool:
        """Whether the run has not ended."""
        ...

    def is_asked_to_end(self, run: str) -> bool:
        """Whether the run, or one that waits for it, was told to end, and has not heard so yet."""
        ...

    def heard(self, tenant: str, thread: str, run: str) -> int:
        """The number of the last turn of a thread that a run may hear; 0: there is none. A fork hears what the run that
        was forked read next, or what had been said before that went on.
        """
        ...

    def said(self, tenant: str, thread: str, upto: int, after: int = 0, *, oldest: bool = False) -> Iterator[Outcome]:
        """The turns of a thread up to this number, the newest first (or the `oldest`)."""
        ...

    def spans(self, tenant: str, thread: str, upto: int) -> Sequence[tuple[str, int, int]]:
        """Whose the turns of a thread up to this number are: those of the threads that it left, the furthest first, and
        its own; of each after which number and up to which.
        """
        ...

    def said_where(self, said: Outcome) -> tuple[str, str, float, int] | None:
        """Of a turn the run and the key of the step that said it, when, and its place in the order of all events; None
        where it has gone by now.
        """
        ...

    def told(self, tenant: str, run: str, after: int) -> Iterator[tuple[Event, int]]:
        """What a run of a tenant was given, was answered and gave, after an event: the events that have its input, its
        steps' results and its own, each with its place in the order of all events. None where there is no such run.
        """
        ...

    def forked_at(self, run: str, other: str) -> int | None:
        """The last event of the other run that this one, a fork of it, has; None: it is none."""
        ...

    def position(self, tenant: str) -> int:
        """The place of the last event; 0 where the tenant has no run."""
        ...

    def cut(self, tenant: str, thread: str, upto: int, handle: str) -> Iterator[tuple[bytes, str, int]]:
        """Results of tools that turns of a thread were shown in part, by their handle: each whole, the name of the
        tool, and how many characters were shown.
        """
        ...

    def summary(self, tenant: str, thread: str, upto: int) -> bytes | None:
        """The result of the step that has summed up a thread furthest, but not past this number."""
        ...

    def results(self, tenant: str, thread: str, upto: int, after: int, *, step: str, run: str) -> Iterator[bytes]:
        """What a step of this name has given in the turns of a thread after a number up to another, newest first, as
        far as a run may know: nothing that came after what it is a fork of went on.
        """
        ...

    def children(self, tenant: str, thread: str, run: str) -> dict[str, str]:
        """The open runs that turns of a thread have started, by id: what each does; as far as a run may know."""
        ...

    def threads(self, run: str) -> Sequence[str]:
        """The thread that a run is a turn of (empty where it is none, but part of one), and those that this has left,
        the nearest first.
        """
        ...

    def lineage(self, run: str) -> Sequence[tuple[str, str]]:
        """The flows of a run and of those above it, its own first, each with the key of its call that started the one
        before; that of the run itself is empty.
        """
        ...

    def outcomes(self, keys: str, after: int) -> tuple[int, Sequence[Event]]:
        """What came of calls whose keys are like `keys` (SQLite's GLOB), after a position of the database: their
        decisions, attempts, and all feedback; and the position up to which that is all. Below 0: of the last events.
        """
        ...

    async def answer(self, run: str, key: str, attempt: int, value: bytes, by: str) -> bool:
        """Give an attempt that waits for a service its answer; it is on disk then. False where nobody waits for it."""
        ...


class Forgone(NamedTuple):
    """What a service had not been sent of what nobody waits for any more."""

    took: Sequence[tuple[str, int, Settlement]] = ()
    """That it took nothing, with the key and the number of the attempt."""
    recorded: Callable[[], None] | None = None
    """To be called once that is on disk."""


class Surroundings:
    """What the steps of one engine share: made when it is first asked for, closed with the engine.

    `database` is the engine's file, None outside of one; `given` what the engine was opened with for its steps.
    """

    def __init__(self, database: str | None = None, given: Mapping[str, Any] | None = None):
        self.database, self.given = database, dict(given or {})
        self.live = Live()
        """What the open streams of the engine's runs say."""
        self.engine: Engine | None = None
        """Whose they are, while it is open."""
        self.outside: Outside | None = None
        """The engine, for what answers its steps from outside; None while it is not open."""
        self.waits: Callable[[str, str, int], None] | None = None
        """Told of each attempt that waits for a service, by run, key and number, once that is on disk."""
        self.looks: Callable[[], Callable[[], bool]] | None = None
        """Has services look once more for what has come by now; what it gives says whether they still do."""
        self.forgoes: Callable[[str, str | None], Forgone] | None = None
        """Told that nobody waits any more for what a service answers to a step of a run, by its key; None: to any."""
        self.drafts: set[tuple[str, str]] = set()
        """Reservations, by run and id, for what is not even given to the service yet."""
        self._shared: dict[str, Any] = {}
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._leavers: list[Callable[[], Awaitable[None]]] = []

    def share(
        self,
        name: str,
        make: Callable[[], T],
        close: Callable[[T], Awaitable[None]] | None = None,
        leave: Callable[[T], Awaitable[None]] | None = None,
    ) -> T:
        """The one of this name. `leave` is called before the journal closes, `close` after it."""
        if name not in self._shared:
            made = self._shared[name] = make()
            if close is not None:
                self._closers.append(partial(close, made))
            if leave is not None:
                self._leavers.append(partial(leave, made))
        return self._shared[name]

    def shared(self, name: str) -> Any:
        """The one of this name; None: nobody has made it."""
        return self._shared.get(name)

    async def leave(self) -> None:
        """The journal will close: what has something left to write does so now."""
        while self._leavers:
            await self._leavers.pop()()

    async def close(self) -> None:
        """Close what was made, last first. Raises the first error, after all had their turn."""
        self._shared.clear()
        failed: Exception | None = None
        while self._closers:
            try:
                await self._closers.pop()()
            except Exception as error:  # noqa: BLE001  it is raised, after the others
                failed = failed or error
        if failed is not None:
            raise failed


_surroundings: ContextVar[Surroundings | None] = ContextVar("segue_surroundings", default=None)

surroundings = _surroundings.get
surround = _surroundings.set

_channel: ContextVar[Live | None] = ContextVar("segue_channel", default=None)

publish_to = _channel.set
"""Where streams go in this context, in place of the engine's own channel."""
published_to = _channel.get


_current: ContextVar[FlowScope | StepScope | None] = ContextVar("segue_scope", default=None)

here = _current.get
enter = _current.set
leave = _current.reset


@contextmanager
def opened(name: str, ident: str | None = None) -> Generator[FlowScope | None]:
    """In a flow, a scope of a call's own below the present one: `name[ident]#k/`. None elsewhere."""
    outer = _current.get()
    if not isinstance(outer, FlowScope):
        yield None
        return
    inner = FlowScope(outer.drive, f"{outer.key(name, ident)}/")
    token = enter(inner)
    try:
        yield inner
    finally:
        leave(token)


def in_flow(what: str) -> FlowScope:
    """The current flow's scope. Raises NotInAFlow, naming `what` was called."""
    scope = _current.get()
    if isinstance(scope, FlowScope):
        return scope
    if scope is None:
        raise NotInAFlow(
            f"{what} waits durably: it needs a run to wait in",
            remedy="call it in a @flow that an Engine runs; outside, use asyncio's own",
        )
    raise NotInAFlow(
        f"{what} was called inside of a step: a step cannot wait durably",
        run=scope.run,
        key=scope.key,
        remedy=f"call {what} in the flow, between its steps",
    )


def step_scope() -> StepScope:
    """The attempt that is running: its run, key, number and idempotency key. Raises NotInAFlow outside of a step."""
    scope = _current.get()
    if isinstance(scope, StepScope):
        return scope
    raise NotInAFlow("there is no step running here", remedy="call it in the body of a @step that a run has called")
