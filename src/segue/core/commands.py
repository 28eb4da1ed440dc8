"""What the near side asks of the far side: commands, as data.

The far side carries a command out and journals its outcome as an event, which comes back in `seq` order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from .codec import Codec, Upcast
from .recovery import ONCE, Reading, Recovery
from .redaction import Redact

Effect = Literal["read", "write", "once"]
"""What a step does to the world: `read` and `write` may be repeated after a crash, `once` never blindly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepOptions:
    """How a step is carried out."""

    name: str
    retry: Recovery = ONCE
    attempts: int = 1
    """The bound of `retry`, 1 where nothing is retried."""
    timeout_s: float | None = None
    """Limit of one attempt, in seconds. None: no limit."""
    effect: Effect = "write"
    threaded: bool = False
    """Whether it is a plain function, to be called in a thread."""
    reconcile: Callable[..., Any] | None = None
    """For `effect="once"`: called with the arguments after an interruption, says whether the effect was applied."""

    redact: Redact | None = None
    """Applied to the result before it is journaled, and before the flow sees it."""

    upcast: Upcast | None = None
    """Turns a stored result that no longer fits its type into one that does."""
    gives: str | None = None
    """What people call its result who say it by hand, where that is not the name of its type."""

    guarded: bool = field(init=False)
    """Whether the start of an attempt must be durable before the call is made, so that it counts."""
    simple: bool = field(init=False)
    """Whether it is an async function that is called once, with nothing around it."""

    def __post_init__(self) -> None:
        retried = self.attempts > 1
        guarded = (retried and not isinstance(self.retry, Reading)) or self.effect == "once"
        object.__setattr__(self, "guarded", guarded)
        plain = self.timeout_s is None and self.redact is None
        object.__setattr__(self, "simple", plain and not (guarded or retried or self.threaded))


class RunStep(NamedTuple):
    """Run a step until it has an outcome. `args` is what is journaled, `values` what `call` is given."""

    key: str
    seen: int
    options: StepOptions
    call: Callable[..., Any]
    result: Codec
    args: bytes
    values: Mapping[str, Any]
    codecs: Mapping[str, Codec]


class Wait(NamedTuple):
    """Wait for a signal called `name`. `form`: it brings a person's answer of this type; `payload`: its own type, where
    that has secrets in it; `takes`: its own type, whatever is in it.
    """

    key: str
    seen: int
    name: str
    form: Codec | None = None
    payload: Codec | None = None
    takes: Codec | None = None


class Timer(NamedTuple):
    """Fire `after_s` seconds after it was first set, or after the question `since` was put. `why` is shown while the
    run waits.
    """

    key: str
    seen: int
    after_s: float
    why: str
    since: str | None = None
    """The key of an `approval.asked` of this run: however late the timers before it fired, this one counts from there.
    """


class FlowRef(Protocol):
    """What the far side must know of a flow to start it."""

    @property
    def name(self) -> str:
        """`module:qualname`, by which any process finds it."""
        ...

    @property
    def version(self) -> int:
        """The version that new runs start on."""
        ...


class StartChild(NamedTuple):
    """Start a child run; its end comes back unless it is `detached`."""

    key: str
    seen: int
    flow: FlowRef
    args: bytes
    id: str | None
    detached: bool
    codecs: Mapping[str, Codec]


class Record(NamedTuple):
    """Journal a record: nothing comes back."""

    key: str
    seen: int
    type: str
    body: dict[str, Any]
    value: bytes | None = None
    version: int = 1


class Rekey(NamedTuple):
    """The code gives the call that is on record as `key` another key now: it goes on under that one."""

    key: str
    seen: int
    asked_as: str


class Cancel(NamedTuple):
    """The flow no longer wants the outcome of `key`."""

    key: str
    seen: int


class Seal(NamedTuple):
    """The payload of a signal, event `seq`, is secret, and came as it was: from now on the journal holds this."""

    key: str
    seen: int
    seq: int
    value: bytes


Command = RunStep | Wait | Timer | StartChild | Record | Cancel | Seal | Rekey

NEVER_HELD = (Cancel, Seal, Rekey)
"""What is carried out in a pause, too: it starts nothing."""
