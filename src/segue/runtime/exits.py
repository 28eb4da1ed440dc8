"""What leaves a step by another door than an Exception, as an error that can be journaled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..core.codec import loads
from ..core.events import Event
from ..core.faults import Fault, message_of, own_frames, rebuild, type_name
from ..errors import StepFailed
from .stories import bring, note_place

T = TypeVar("T")


def as_error(raised: BaseException, what: str = "") -> StepFailed:
    """The error of a step that raised it. `what` says how, where its own text does not."""
    said = message_of(raised)
    what = what or f"the step raised {type(raised).__name__}" + (f": {said}" if said else "")
    error = StepFailed(what, remedy="raise an Exception instead")
    error.error_type = type_name(raised)
    return error.with_traceback(raised.__traceback__)


def fault_in(event: Event) -> Fault:
    """The fault that a step or a child has failed with."""
    return Fault.read(loads(event.body)["fault"])


def failure(run: str, event: Event, original: BaseException | None) -> Exception:
    """The error of a failed step or child, with a note of where it happened. Of an error of this process the
    traceback is kept, as far as it is the user's.
    """
    body = loads(event.body)
    error = rebuild(Fault.read(body["fault"]))
    if tried := body.get("tried"):
        bring(error, tried)
    if original is not None:
        error.with_traceback(own_frames(original))
    note_place(error, run, event.key or "", event.attempt or 1, event.seq)
    return error


def raised_by(body: Mapping[str, Any], run: str) -> str | None:
    """The call whose error a run has ended with, as its last event says it; before it did, errors of ours alone did."""
    state: Mapping[str, Any] = body["fault"].get("state") or {}
    return body.get("key") or (state.get("key") if state.get("run", run) == run else None)


def in_thread(call: Callable[[], T]) -> T:
    """Call it, in a thread. Raises what it raises; what no future can carry is an error as a coroutine's would be."""
    try:
        return call()
    except StopIteration as raised:  # a future refuses it, and whoever waits would wait for ever
        raise RuntimeError("the step raised StopIteration") from raised
    except GeneratorExit as raised:  # it would close whoever waits
        raise as_error(raised) from raised
