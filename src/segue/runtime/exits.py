"""What leaves a step by another door than an Exception, as an error that can be journaled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from ..core.codec import loads
from ..core.events import Event
from ..core.faults import Fault, message_of, own_frames, rebuild, type_name
from ..errors import SegueError, StepFailed

T = TypeVar("T")
_TRIED = "segue_tried"
"""What the error of a child has of what had failed in it before."""
_CAUSES = 50
"""Errors that are told of at most."""


def as_error(raised: BaseException, what: str = "") -> StepFailed:
    """The error of a step that raised it. `what` says how, where its own text does not."""
    said = message_of(raised)
    what = what or f"the step raised {type(raised).__name__}" + (f": {said}" if said else "")
    error = StepFailed(what, remedy="raise an Exception instead")
    error.error_type = type_name(raised)
    return error.with_traceback(raised.__traceback__)


def failure(run: str, event: Event, original: BaseException | None) -> Exception:
    """The error of a failed step or child, with a note of where it happened. Of an error of this process the
    traceback is kept, as far as it is the user's.
    """
    body = loads(event.body)
    error = rebuild(Fault.read(body["fault"]))
    if tried := body.get("tried"):
        setattr(error, _TRIED, tuple(tried))
    if original is not None:
        error.with_traceback(own_frames(original))
    note_place(error, run, event.key or "", event.attempt or 1)
    return error


def note_place(error: BaseException, run: str, key: str, attempt: int) -> None:
    """Note on an error which call it ended, and at which attempt."""
    error.add_note(f"at: run {run} {key}, attempt {attempt}")


def place_of(error: BaseException, run: str) -> tuple[str, int]:
    """Which call of a run raised it, and at which attempt, as `note_place` has noted it; else empty and 0."""
    mark = f"at: run {run} "
    for note in getattr(error, "__notes__", ()):
        key, found, attempt = str(note).removeprefix(mark).rpartition(", attempt ")
        if found and str(note).startswith(mark) and attempt.isdigit():
            return key, int(attempt)
    return "", 0


def raised_by(body: Mapping[str, Any], run: str) -> str | None:
    """The call whose error a run has ended with, as its last event says it; before it did, errors of ours alone did."""
    state: Mapping[str, Any] = body["fault"].get("state") or {}
    return body.get("key") or (state.get("key") if state.get("run", run) == run else None)


def earlier(error: BaseException) -> BaseException | None:
    """Its cause, else the error that was being handled when it was raised: what had been tried before."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return before if isinstance(before, Exception) else None  # what a `timeout` cancels has not failed


def told_by(error: BaseException) -> tuple[object, ...]:
    """What an error itself says of what was tried before: a delegation's story, or what a child's end has brought
    along. A user's own type may have a `story` of another kind.
    """
    own = getattr(error, "story", ()) if isinstance(error, SegueError) else ()
    return own or getattr(error, _TRIED, ())


def causes(error: BaseException, run: str, fault_of: Callable[[BaseException], Fault]) -> list[object]:
    """What had failed before an error of a run, oldest first: its causes, and the members of groups."""
    found, seen = list[object](), {id(error)}

    def before(one: BaseException) -> None:
        for each in _members(one) or [earlier(one)]:
            tell(each)
        found.extend(told_by(one))

    def tell(one: BaseException | None) -> None:
        if one is None or id(one) in seen or len(seen) > _CAUSES:
            return
        seen.add(id(one))
        before(one)
        if _members(one):
            return
        (what, attempts), fault = place_of(one, run), fault_of(one)
        said = {"what": what, "attempts": attempts, "error": f"{type(one).__name__}: {fault.message}"}
        found.append({name: value for name, value in {**said, "fault": fault.kind.value}.items() if value})

    before(error)
    return found


def _members(error: BaseException) -> tuple[BaseException, ...]:
    """Those of a group; none of any other error."""
    if not isinstance(error, BaseExceptionGroup):
        return ()
    return cast("tuple[BaseException, ...]", error.exceptions)  # pyright: ignore[reportUnknownMemberType]  of any


def in_thread(call: Callable[[], T]) -> T:
    """Call it, in a thread. Raises what it raises; what no future can carry is an error as a coroutine's would be."""
    try:
        return call()
    except StopIteration as raised:  # a future refuses it, and whoever waits would wait for ever
        raise RuntimeError("the step raised StopIteration") from raised
    except GeneratorExit as raised:  # it would close whoever waits
        raise as_error(raised) from raised
