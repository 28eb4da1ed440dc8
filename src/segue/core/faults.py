"""Faults are data: every error that an attempt ends in, in a small taxonomy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import traceback
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, cast

from ..errors import SegueError, StepFailed, UnserialisableResult, UsageError
from .modules import bearers, real_name
from .shell import command

_HOUSE = str(Path(__file__).parent.parent)
_PASSED = (_HOUSE, contextlib.__file__)


class FaultKind(StrEnum):
    """What went wrong, by what can be done about it."""

    RATE_LIMITED = "rate limited"
    OVERLOADED = "overloaded"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    CONTEXT_TOO_LONG = "context too long"
    CONTENT_REFUSED = "content refused"
    BAD_OUTPUT = "bad output"
    BAD_REQUEST = "bad request"
    UNAUTHORISED = "unauthorised"
    TOOL_FAILED = "tool failed"
    BUDGET_EXCEEDED = "budget exceeded"
    BUG = "bug"
    INTERRUPTED = "interrupted"


_KINDS = frozenset(FaultKind)
PERMANENT = frozenset(
    {
        FaultKind.BAD_REQUEST,
        FaultKind.UNAUTHORISED,
        FaultKind.CONTENT_REFUSED,
        FaultKind.BUDGET_EXCEEDED,
        FaultKind.BUG,
    }
)
"""Kinds that the same attempt would meet again."""


class Fault(NamedTuple):
    """One classified error.

    `error` is the type as `module:qualname`, `args` its arguments as JSON when the error can be built again from them,
    else None. `retry_after_s` is what the other side asked for, in seconds.
    """

    kind: FaultKind
    error: str
    message: str = ""
    args: list[Any] | None = None
    retry_after_s: float | None = None
    limit: str | None = None
    trace: str = ""
    state: dict[str, Any] | None = None
    """What one of our own errors carries beside its message: the run, the key, the remedy."""
    attributes: dict[str, Any] | None = None
    """Of a user's error what its arguments alone do not give it, as far as that is JSON."""

    def body(self) -> dict[str, Any]:
        """As the fields of an event's body; empty ones are left out."""
        return {k: v for k, v in self._asdict().items() if v not in (None, "")}

    @classmethod
    def read(cls, body: dict[str, Any]) -> Fault:
        """From an event's body; fields of a newer version are ignored."""
        known: dict[str, Any] = {k: v for k, v in body.items() if k in cls._fields}
        known["kind"] = FaultKind(known.get("kind", FaultKind.BUG))
        return cls(**known)


_MOST_CAUSES = 8
PLACE = "at: run "
"""How the note begins that says which call an error ended."""
_LONGEST = 16_000
"""Characters of an attribute that goes with an error."""
_MARKS = ("__", "segue_")
"""What Python and this engine keep on errors."""


_DOUBTFUL = frozenset({FaultKind.INTERRUPTED, FaultKind.TIMED_OUT, FaultKind.UNREACHABLE})
NEVER_SENT = "builtins:ConnectionRefusedError"
"""The error of a call that has surely not been begun."""
_LOST = re.compile(
    r"Time(d)?[Oo]ut|Transport|Network|Protocol|Disconnect|Connect(ion)?Error|(Read|Write)Error|Incomplete"
)
"""Errors of the network have these names, whichever library raises them."""


def in_doubt(kind: str, error: str) -> bool:
    """Whether a call that failed like this may have had its effect. `error` is the type's name."""
    if error == NEVER_SENT:
        return False
    return kind in _DOUBTFUL or _LOST.search(error.rpartition(":")[2]) is not None


def classify(error: BaseException) -> Fault:
    """The fault that an error stands for.

    An error may say it itself: an attribute `fault_kind` (a FaultKind or its value) and `retry_after_s`. One that came
    from elsewhere and tells all there is to know says `from_afar`: of its causes the words are kept, not the frames.
    """
    args = _rebuildable_args(error)
    return Fault(
        kind_of(error),
        type_name(error),
        message_of(error),
        args,
        _seconds(_said(error, "retry_after_s")),
        _text(_said(error, "limit")),
        _trace(error),
        _state(error),
        {**(_attributes(error, args) or {} if args is not None else {}), **_notes(error)} or None,
    )


def kind_of(error: BaseException) -> FaultKind:
    """What went wrong, by what the error says itself, else by its type."""
    said = _said(error, "fault_kind")
    return FaultKind(said) if isinstance(said, str) and said in _KINDS else _kind(error)


def _trace(error: BaseException) -> str:
    """The end of its traceback, and what it says."""
    try:
        if _said(error, "from_afar") is True:
            return _words(error)
        return "".join(traceback.format_exception(type(error), error, own_frames(error), limit=-12))
    except Exception:  # noqa: BLE001  a user's type may raise wherever it is read
        return "".join(traceback.format_tb(own_frames(error), limit=-12)) + f"{type_name(error)}: {message_of(error)}\n"


def _words(error: BaseException) -> str:
    """What it and its causes say, the first cause first, and the frames that the error itself has passed."""
    said, seen, cause = list[str](), {id(error)}, error.__cause__
    while cause is not None and id(cause) not in seen and len(seen) <= _MOST_CAUSES:
        seen.add(id(cause))
        said[:0] = traceback.format_exception_only(type(cause), cause)
        cause = cause.__cause__
    passed = own_frames(error)
    far = passed is None or all(f.f_code.co_filename.startswith(_PASSED) for f, _ in traceback.walk_tb(passed))
    kept = None if far else passed
    return "".join([*said, *traceback.format_exception(type(error), error, kept, limit=-12, chain=False)])


def own_frames(error: BaseException) -> TracebackType | None:
    """The user's own frames of a traceback: ours say nothing to them. All of it when there are none."""
    frames: list[TracebackType] = []
    trace = error.__traceback__
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_HOUSE):
            frames.append(trace)
        trace = trace.tb_next
    own: TracebackType | None = None
    for frame in reversed(frames):
        own = TracebackType(own, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return own or error.__traceback__


_STEP_FAILED = "segue.errors:StepFailed"
INTERRUPTED = Fault(FaultKind.INTERRUPTED, _STEP_FAILED, "the process ended while this attempt was running")


def cut_off(run: str, key: str, n: int) -> Fault:
    """What a step ends in whose last attempt, the `n`th, the end of a process has cut off."""
    again = command("fork", run, "--at", key)
    state = {
        "error_type": _STEP_FAILED, "fault": FaultKind.INTERRUPTED.value, "run": run, "key": key,
        "remedy": f"see what ended the process, and what the step has done; to make it again: {again}",
    }  # fmt: skip
    message = f"the process ended while attempt {n} of {key} was running, the last one"
    return INTERRUPTED._replace(message=message, args=[message], state=state)


def rebuild(fault: Fault) -> Exception:
    """The error of a fault, the same live and on replay: its own type where it can be built, else StepFailed."""
    if fault.args is not None:
        error = _build(fault.error, fault.args, {**(fault.state or {}), **(fault.attributes or {})})
        if error is not None:
            return error
    told = fault.message if fault.error == _STEP_FAILED else f"{fault.error.rpartition(':')[2]}: {fault.message}"
    failed = StepFailed(told)
    failed.error_type, failed.fault = fault.error, fault.kind.value
    vars(failed).update({k: v for k, v in (fault.attributes or {}).items() if k == "__notes__"})
    return failed


def type_name(error: BaseException) -> str:
    """The type of an error as `module:qualname`, in every process the same."""
    return name_of(type(error))


def name_of(kind: type[Any]) -> str:
    """`type_name` of the errors of a type."""
    return f"{real_name(kind.__module__)}:{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    """What an error says."""
    try:
        return error.message if isinstance(error, SegueError) else str(error)
    except Exception:  # noqa: BLE001  a user's __str__ may raise anything
        return "(its message cannot be read)"


def _said(error: BaseException, name: str) -> object:
    """What an error says of itself."""
    try:
        return getattr(error, name, None)
    except Exception:  # noqa: BLE001  a user's property may raise anything
        return None


def _seconds(said: object) -> float | None:
    """What an error says of itself, if it is a time to wait."""
    try:
        seconds = float(said) if isinstance(said, (int, float, str)) else math.nan
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None


def _text(said: object) -> str | None:
    try:
        return None if said is None else str(said)
    except Exception:  # noqa: BLE001  see above
        return None


def _kind(error: BaseException) -> FaultKind:
    if isinstance(error, UnserialisableResult):
        return FaultKind.BUG
    if isinstance(error, UsageError):
        return FaultKind.BAD_REQUEST
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return FaultKind.TIMED_OUT
    if isinstance(error, ConnectionError):
        return FaultKind.UNREACHABLE
    if isinstance(error, PermissionError):
        return FaultKind.UNAUTHORISED
    return FaultKind.TOOL_FAILED


def _rebuildable_args(error: BaseException) -> list[Any] | None:
    """The arguments, if type(error)(*args) over JSON gives an error that reads the same."""
    try:
        args = json.loads(json.dumps(_arguments(error), allow_nan=False))
        again = _build(type_name(error), args, _state(error))
        if again is None or type_name(again) != type_name(error) or str(again) != str(error):
            return None
        same = list(again.args) == list(error.args)
    except Exception:  # noqa: BLE001  a user's __init__ or __str__ may raise anything: then it is not rebuildable
        return None
    return args if same else None


def _arguments(error: BaseException) -> list[Any]:
    """What it is built with. Those of an error of the system leave out the names of files."""
    if isinstance(error, OSError) and error.filename is not None:
        second = [] if error.filename2 is None else [None, error.filename2]  # between them what only Windows has
        return [error.errno, error.strerror, error.filename, *second]
    return list(error.args)


def _attributes(error: BaseException, args: list[Any]) -> dict[str, Any] | None:
    """What it has beside what its arguments give it. What is no JSON, or is long, stays behind: a response, say."""
    again = None if isinstance(error, SegueError) else _build(type_name(error), args, None)
    if again is None:
        return None
    built, kept = vars(again), dict[str, Any]()
    for name, value in vars(error).items():
        try:
            data = json.dumps(value, allow_nan=False)
            if len(data) > _LONGEST or name.startswith(_MARKS) or json.loads(data) != value:
                continue
            if name not in built or built[name] != value:
                kept[name] = value
        except Exception:  # noqa: BLE001  a user's value may raise anything
            continue
    return kept or None


def _notes(error: BaseException) -> dict[str, list[str]]:
    """What `add_note` has put on it, as an attribute; not where it was raised, which is noted anew where it is seen."""
    notes = vars(error).get("__notes__")
    given = cast("list[object]", notes) if isinstance(notes, list) else []
    kept = [note for note in given if isinstance(note, str) and not note.startswith(PLACE)]
    return {"__notes__": kept} if kept and sum(map(len, kept)) <= _LONGEST else {}


def _state(error: BaseException) -> dict[str, Any] | None:
    if not isinstance(error, SegueError):
        return None
    kept = (str, int, float, bool)
    return {k: v for k, v in vars(error).items() if isinstance(v, kept) and k != "message"} or None


def _build(name: str, args: list[Any], state: dict[str, Any] | None) -> Exception | None:
    """The error, or None when its type is gone or no longer takes these arguments."""
    kind = type_of(name)
    if kind is None:
        return None
    try:
        error = kind(*args)
    except Exception:  # noqa: BLE001  a user's __init__ may raise anything
        return None
    vars(error).update(state or {})
    return error


def type_of(name: str) -> type[Exception] | None:
    """The type of an error by its name, as `type_name` gives it; None where it is gone, or is made in a function."""
    module, _, qualname = name.partition(":")
    for found in bearers(module):
        kind: Any = found
        for part in qualname.split("."):
            kind = getattr(kind, part, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            return kind
    return None
