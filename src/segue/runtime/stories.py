"""What an error tells of what had failed before it: to a person who is asked, and to the parent of a child."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any, cast

from ..core.faults import classify
from ..errors import SegueError
from .scope import FlowScope, here

_TRIED = "segue_tried"
"""What the error of a child has of what had failed in it."""
_ERRORS, _LINES = 250, 200
"""Errors of a run's end that are looked at, and lines that are told of them."""
_LONG, _SHORT = 32_000, 300
"""Characters of a story, and of each text in one that is longer."""
_MORE = {"error": "… and more, which is left out"}


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


def bring(error: BaseException, tried: Iterable[object]) -> None:
    """Let the error of a child tell what `of_end` has told there."""
    setattr(error, _TRIED, tuple(tried))


def of_end(error: BaseException, run: str, hide: Callable[[str], str]) -> list[object]:
    """What the end of a run tells its parent: what had failed before its error, and in which call the error itself
    came about, if in one. Of very many the middle is left out. `hide` takes secrets out of a text.
    """
    told = _told(error, run, set(), whole=False, most=_ERRORS)
    half = _LINES // 2
    return shortened(_texts(told if len(told) <= _LINES else [*told[:half], _MORE, *told[-half:]], hide))


def story_of(tried: Iterable[object], *, whole: bool | None = None, but: BaseException | None = None) -> list[object]:
    """Errors as what they tell, oldest first; anything else as it is. The same live and on replay, and in a fork.

    `whole` says whether an error that no call ended in tells of itself; without it, where it has no story of its own.
    Nothing is told of `but`, and of what had failed before that.
    """
    scope = here()
    run = "" if scope is None else scope.drive.run if isinstance(scope, FlowScope) else scope.run
    story, seen = list[object](), {id(but)}
    for one in tried:
        story += _told(one, run, seen, whole) if isinstance(one, BaseException) else [one]
    return story


def shortened(story: list[object]) -> list[object]:
    """A story. Of one that is very long the long texts are cut."""
    if len(json.dumps(story)) < _LONG:
        return story
    return _texts(story, lambda text: f"{text[:_SHORT]}…" if len(text) > _SHORT else text)


def _texts(told: Any, change: Callable[[str], str]) -> Any:
    """JSON with all texts changed."""
    if isinstance(told, dict):
        return {name: _texts(one, change) for name, one in cast("dict[str, Any]", told).items()}
    if isinstance(told, list):
        return [_texts(one, change) for one in cast("list[Any]", told)]
    return change(told) if isinstance(told, str) else told


def _told(
    error: BaseException, run: str, seen: set[int], whole: bool | None = None, most: int = sys.maxsize
) -> list[object]:
    """What came before it, then what it says itself. Each error is told once: two may be each other's causes."""
    line, one, story = list[BaseException](), error, list[object]()
    while one is not None and id(one) not in seen and len(seen) < most:
        seen.add(id(one))
        line.append(one)
        one = _before(one)
    for one in reversed(line):
        if isinstance(one, BaseExceptionGroup):
            for member in cast("tuple[BaseException, ...]", one.exceptions):  # pyright: ignore[reportUnknownMemberType]  of any
                story += _told(member, run, seen, most=most)
        else:
            story += _itself(one, run, whole if one is error else None)
    return story


def _before(error: BaseException) -> BaseException | None:
    """Its cause, else the error that was being handled when it was raised: what had been tried before. The members of
    a group come in its place, and a delegation has told of its cause.
    """
    if isinstance(error, BaseExceptionGroup):
        return None
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if error.__cause__ is not None and _own(error):
        before = error.__context__
    return before if isinstance(before, Exception) else None  # what a `timeout` cancels has not failed


def _own(error: BaseException) -> tuple[object, ...]:
    """The story of a delegation: of all who were asked, in order. A user's own type may have one of another kind."""
    return getattr(error, "story", ()) if isinstance(error, SegueError) else ()


def _itself(error: BaseException, run: str, whole: bool | None) -> list[object]:
    """What an error brings along, and which call it has ended; of a question, which models were asked."""
    story = list(getattr(error, _TRIED, ()) or _own(error))
    if not story and (calls := _asked(error)):
        return calls
    what, attempts = place_of(error, run)
    if not what and not (not story if whole is None else whole):
        return story
    fault = classify(error)
    said = {"what": what, "attempts": attempts, "error": f"{type(error).__name__}: {fault.message}"}
    kind = fault.kind.value if isinstance(error, Exception) else ""
    return [*story, {name: value for name, value in {**said, "fault": kind}.items() if value}]


def _asked(error: BaseException) -> list[object]:
    """The calls of a question that has no answer, as its last error carries them."""
    said: object = getattr(error, "tries", "[]")
    calls: list[dict[str, Any]] = json.loads(said) if isinstance(error, SegueError) and isinstance(said, str) else []
    return [{name: value for name, value in call.items() if value not in ("", 0, 0.0, None)} for call in calls]
