"""What an error tells of what had failed before it: to a person who is asked, and to the parent of a child."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, cast

from ..core.faults import PLACE, kind_of, message_of
from ..errors import SegueError
from .scope import FlowScope, here

_TRIED = "segue_tried"
"""What the error of a child has of what had failed in it."""
_AT = "segue_at"
"""Where in its run's journal the error of a call stands."""
_BEFORE, _WHO = "segue_before", "segue_who"
"""What the error of a last question has of those that had failed before it, as JSON, and who was asked it."""
_ERRORS, _LINES, _NEAR = 10_000, 200, 250
"""Errors of a run's end that are looked at, and lines that are told of them; how far its place is looked for."""
_LONG, _SHORT = 32_000, 300
"""Characters of a story, and of each text in one that is longer."""


class Told(SegueError):
    """The error of work that several have had. It has a story of its own, of all of them, in order."""

    code = "told"
    complete: ClassVar[bool] = False
    """Whether its story says all that the error itself would say."""
    told: str = "[]"
    """The story as JSON: so it is on record with the error, which takes it out of a step and a run."""

    @property
    def story(self) -> tuple[object, ...]:
        """What a person is told of each who was tried, in order, and of those who were left out."""
        return tuple(json.loads(self.told))

    def tell(self, story: Iterable[object]) -> None:
        """Give it its story. Of very many lines the middle is left out; of a long one the long texts are cut."""
        self.told = json.dumps(shortened(bounded(list(story))))


def note_place(error: BaseException, run: str, key: str, attempt: int, at: int = 0) -> None:
    """Note on an error which call it ended, and at which attempt; and where `at` in the run's journal that stands."""
    _keep(error, "__notes__", [*_notes(error), f"{PLACE}{run} {key}, attempt {attempt}"])
    _keep(error, _AT, at)


def _notes(error: BaseException) -> list[str]:
    """As a user's own `__getattr__` does not come to hear of."""
    return vars(error).get("__notes__", [])


def place_of(error: BaseException, run: str) -> tuple[str, int]:
    """Which call of a run raised it, and at which attempt, as `note_place` has noted it; else empty and 0."""
    mark = f"{PLACE}{run} "
    for note in _notes(error):
        key, found, attempt = str(note).removeprefix(mark).rpartition(", attempt ")
        if found and str(note).startswith(mark) and attempt.isdigit():
            return key, int(attempt)
    return "", 0


def bring(error: BaseException, tried: Iterable[object]) -> None:
    """Let the error of a child tell what `of_end` has told there."""
    _keep(error, _TRIED, tuple(tried))


def bring_before(error: BaseException, who: str, story: Iterable[object]) -> None:
    """Let the error of a last question tell who was asked it, and before that of those that had failed. As texts it is
    on record with an error of ours, and goes out of a step with it.
    """
    _keep(error, _WHO, who)
    _keep(error, _BEFORE, json.dumps(shortened(bounded(list(story)))))


def _keep(error: BaseException, name: str, value: object) -> None:
    """A user's own type may refuse new attributes: an exception that is a frozen dataclass does."""
    object.__setattr__(error, name, value)


def of_end(error: BaseException, run: str, hide: Callable[[str], str]) -> list[object]:
    """What the end of a run tells its parent: what had failed before its error, and in which call the error itself
    came about, if in one. Of very many the middle is left out. `hide` takes secrets out of a text.
    """
    return shortened(_texts(bounded(_told(error, run, set(), whole=False, most=_ERRORS)), hide))


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


def bounded(told: list[object]) -> list[object]:
    """A story. Of very many lines the middle is left out; how many these were is said."""
    half = _LINES // 2
    if len(told) <= _LINES:
        return told
    many = sum(_stands_for(one) for one in told[half:-half])
    return [*told[:half], {"error": f"… and {many} more, which are left out", "lines": many}, *told[-half:]]


def _stands_for(line: object) -> int:
    """How many lines one is, or tells of that were left out before."""
    many = cast("dict[str, object]", line).get("lines") if isinstance(line, dict) else None
    return many if isinstance(many, int) else 1


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
    """What came before it, then what it says itself. Each error is told once: two may be each other's causes. Of a
    group its members speak, and what a `timeout` cancels has not failed: that only leads to what came before.
    """
    story, left = list[object](), [(error, False)]
    while left:
        one, is_next = left.pop()
        if is_next:
            if not isinstance(one, BaseExceptionGroup) and (isinstance(one, Exception) or one is error):
                story += _itself(one, run, whole if one is error else None)
        elif id(one) not in seen and len(seen) < most:
            seen.add(id(one))
            left += [(one, True), *((earlier, False) for earlier in reversed(_before(one)))]
    return story


def _before(error: BaseException) -> list[BaseException]:
    """What had been tried before it, the oldest first: its cause, what was being handled when it was raised, and the
    members of a group. Work that several have had has told of its cause, and `from None` of what is not to be told.
    """
    cause, handled = error.__cause__, error.__context__
    if cause is None and error.__suppress_context__ and not _is_of_tasks(error):
        handled = None
    if cause is not None and _own(error):
        cause = None
    both = [one for one in (cause, handled) if one is not None]
    if cause is not None and handled is not None and 0 < _since(handled) < _since(cause):
        both.reverse()  # where one of them comes of the other it is told first anyhow
    return [*both, *_members(error)]


def _is_of_tasks(error: BaseException) -> bool:
    """Whether a TaskGroup has raised it: always `from None`, which says nothing of what was being handled."""
    return isinstance(error, BaseExceptionGroup) and error.message == "unhandled errors in a TaskGroup"


def _members(error: BaseException) -> tuple[BaseException, ...]:
    return cast("BaseExceptionGroup[BaseException]", error).exceptions if isinstance(error, BaseExceptionGroup) else ()


def _since(error: BaseException) -> int:
    """Where in the journal a call has failed that it is of, or comes of; 0: nobody knows."""
    one: BaseException | None = error
    for _ in range(_NEAR):
        at: int = 0 if one is None else vars(one).get(_AT, 0)
        if at or one is None:
            return at
        members = _members(one)
        one = members[-1] if members else one.__cause__ or one.__context__
    return 0


def _own(error: BaseException) -> tuple[object, ...]:
    """The story of work that several have had. A user's own type may hold anything there, or raise."""
    try:
        return error.story if isinstance(error, Told) else tuple(json.loads(vars(error).get(_BEFORE, "[]")))
    except Exception:  # noqa: BLE001  see above
        return ()


def _itself(error: BaseException, run: str, whole: bool | None) -> list[object]:
    """What an error brings along, and which call it has ended; of a question, which models were asked."""
    story = list(vars(error).get(_TRIED, ()))
    who = "" if story else str(vars(error).get(_WHO, ""))
    story = story or list(_own(error))
    if (who or not story) and (calls := _asked(error)):
        return [*story, *({"who": who, **call} if who else call for call in calls)]
    what, attempts = place_of(error, run)
    alone = who or not story or (isinstance(error, Told) and not error.complete)
    if not what and not (alone if whole is None else whole):
        return story
    said = {"who": who, "what": what, "attempts": attempts, "error": f"{type(error).__name__}: {message_of(error)}"}
    kind = kind_of(error).value if isinstance(error, Exception) else ""
    return [*story, {name: value for name, value in {**said, "fault": kind}.items() if value}]


def _asked(error: BaseException) -> list[dict[str, Any]]:
    """What is told of the calls of a question that has no answer."""
    calls = calls_of(error)
    return [{name: value for name, value in call.items() if value not in ("", 0, 0.0, None)} for call in calls]


def calls_of(error: BaseException) -> list[dict[str, Any]]:
    """The calls of a question that has no answer, as its last error carries them. A user's own type may hold anything
    there, or raise: then there are none.
    """
    try:
        said: Any = getattr(error, "tries", "") if isinstance(error, SegueError) else ""
        found: Any = json.loads(said) if isinstance(said, str) and said else []
    except Exception:  # noqa: BLE001  see above
        return []
    calls = cast("list[dict[str, Any]]", found if isinstance(found, list) else [])
    return [call for call in calls if isinstance(call, dict) and "model" in call]  # pyright: ignore[reportUnnecessaryIsInstance]  see above
