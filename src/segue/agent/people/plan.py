"""When what happens to a question that nobody answers: reminders, reassignments, its end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Literal, NamedTuple, cast

from ...core.asked import distinct
from ...errors import InputError
from ...runtime.scope import FlowScope
from ...runtime.waits import Seconds, seconds_of

__all__ = ["Bell", "Names", "Times", "bells", "names"]

Times = Seconds | Sequence[Seconds]
Names = str | Sequence[str]
BELLS_MAX = 100
"""How often a question may be reminded of, or go on to somebody else."""


class Bell(NamedTuple):
    """What happens so many seconds after the question was asked, if it is still open then."""

    after_s: float
    kind: Literal["reminder", "reassignment", "limit"]
    to: str = ""
    """To whom it goes on."""


def names(given: Names) -> tuple[str, ...]:
    """People and roles: one, several, or none, each once, as it was written first. Raises InputError for no name."""
    return distinct(_in_turn(given))


def _in_turn(given: Names) -> tuple[str, ...]:
    """All of them: a question may come back to somebody."""
    several: Any = [given] if isinstance(given, str) else given
    if not isinstance(several, Iterable) or isinstance(several, bytes):
        raise InputError(f"{given!r} names nobody", remedy='name people or roles: by="lead", or by=["ada", "bob"]')
    listed = list(cast("Iterable[object]", several))
    wrong = next((one for one in listed if not isinstance(one, str)), None)
    if wrong is not None:
        raise InputError(f"{wrong!r} is no name", remedy='name people or roles as texts: by=["ada", "bob"]')
    return tuple(one for one in map(str, listed) if one.strip())


def bells(
    what: str, scope: FlowScope, timeout_s: Seconds | None, *, remind_s: Times, reassign_s: Seconds | None,
    or_else: Names,
) -> tuple[Bell, ...]:  # fmt: skip
    """The plan of a question, in order. All times count from asking, those of reassignments from one to the next.

    Raises InputError for what is no time, comes after the end, or lacks its other half.
    """
    made: list[Bell] = []
    several: Any = remind_s
    if isinstance(several, str) or not isinstance(several, int | float | timedelta | Iterable):
        raise _wrong(what, scope, f"remind_s={remind_s!r} is no time", "give seconds, or several: remind_s=[60, 3600]")
    reminds = [remind_s] if isinstance(remind_s, int | float | timedelta) else list(remind_s)
    made += [Bell(seconds_of(given, what, scope), "reminder") for given in reminds]
    others = _in_turn(or_else)
    if (reassign_s is None) != (not others):
        raise _wrong(what, scope, "reassign_s and or_else go together", 'give both: reassign_s=3600, or_else="manager"')
    if reassign_s is not None:
        each = seconds_of(reassign_s, what, scope)
        made += [Bell(each * (n + 1), "reassignment", to) for n, to in enumerate(others)]
    if len(made) > BELLS_MAX:
        raise _wrong(what, scope, f"{len(made)} reminders and reassignments", f"at most {BELLS_MAX}")
    made.sort(key=lambda bell: bell.after_s)
    if timeout_s is not None:
        limit = seconds_of(timeout_s, what, scope)
        late = [bell for bell in made if bell.after_s >= limit]
        if late:
            said = f"its {late[0].kind} after {late[0].after_s:g} s comes when its time of {limit:g} s is over"
            raise _wrong(what, scope, said, "let it come before, or give it more time")
        made.append(Bell(limit, "limit"))
    return tuple(made)


def _wrong(what: str, scope: FlowScope, said: str, remedy: str) -> InputError:
    return InputError(f"segue.{what}: {said}", run=scope.drive.run, key=f"{scope.path}{what}", remedy=remedy)
