"""What a model is told of a call that failed: as much as is known, and no more. Pure."""

from __future__ import annotations

from typing import Protocol

from ...core.commands import Effect
from ...core.faults import classify, in_doubt
from ...core.records import ToolOutcome
from ...errors import Declined, SegueError, StepFailed, Unanswered, UnserialisableResult
from ...models import ModelError
from ...runtime.effects import is_settled
from .careful import is_refusal
from .result import Told
from .tool import OnError

__all__ = ["Called", "failure", "has_happened", "may_have_happened"]

_TELLABLE = (StepFailed, ModelError, UnserialisableResult, Unanswered, Declined)
"""Errors of ours that are a tool's, and not the caller's or the engine's."""
_UNSHOWN = f"{UnserialisableResult.__module__}:{UnserialisableResult.__qualname__}"
_MAX = 1000
"""Characters of an error that a model is told."""


class Called(Protocol):
    """What is said of a tool that was called."""

    @property
    def name(self) -> str:
        """What the model calls it."""
        ...

    @property
    def effect(self) -> Effect:
        """What it does to the world."""
        ...

    @property
    def on_error(self) -> OnError:
        """What becomes of an error that it raises."""
        ...


def failure(tool: Called, error: Exception) -> Told | None:
    """What the model is told of an error that a call raised; None where the question fails with it."""
    kind, name, said = _named(error)
    if is_refusal(name) or (isinstance(error, ValueError) and not isinstance(error, SegueError)):
        return _told(ToolOutcome.REFUSED, said or "the tool refused")
    if tool.on_error == "raise" or (isinstance(error, SegueError) and not isinstance(error, _TELLABLE)):
        return None
    if isinstance(error, UnserialisableResult) and not is_settled(error):
        return _told(ToolOutcome.FAILED, f"{tool.name} was carried out, and its result cannot be shown: {said}")
    short = name.rpartition(":")[2]
    says = f"{short}: {said}".rstrip(": ") if short and short != "StepFailed" else said
    if is_settled(error) and (in_doubt(kind, name) or name == _UNSHOWN):
        return _told(ToolOutcome.FAILED, f"{tool.name} was not carried out: {says}. It may be called again.")
    if tool.effect != "read" and in_doubt(kind, name):
        unknown = f"nobody knows whether {tool.name} had its effect: {says}. Find out before you call it again."
        return _told(ToolOutcome.UNKNOWN, unknown)
    return _told(ToolOutcome.FAILED, f"{tool.name} failed: {says}")


def may_have_happened(error: Exception) -> bool:
    """Whether nobody knows what came of the call that raised this."""
    kind, name, _ = _named(error)
    return in_doubt(kind, name) and not is_settled(error)


def has_happened(error: Exception) -> bool:
    """Whether the call was made, and its result alone could not be kept."""
    return _named(error)[1] == _UNSHOWN and not is_settled(error)


def _told(outcome: ToolOutcome, says: str) -> Told:
    return Told(content=says if len(says) <= _MAX else f"{says[: _MAX - 1]}…", outcome=outcome)


def _named(error: Exception) -> tuple[str, str, str]:
    """The kind of its fault, the name of its type and what it says, the same live and on replay."""
    if isinstance(error, StepFailed):
        short = error.error_type.rpartition(":")[2]
        return error.fault, error.error_type, error.message.removeprefix(f"{short}: ")
    fault = classify(error)
    return fault.kind.value, fault.error, fault.message
