"""A function of the user that chooses: found by its name, called, and its answer read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from math import isfinite
from typing import Any, NamedTuple, cast

from ..errors import UnguardedScript
from ..importing import imported
from .errors import PolicyFailed
from .policies import Function
from .table import Situation

__all__ = ["Considered", "Said", "load_function", "said"]

_ONE_BY_ONE = 8
"""So many who cannot answer now are passed over one after the other; then it is shown only those who can."""


class Considered(NamedTuple):
    """A candidate, as a function sees it. None: not known."""

    name: str
    quality: float | None
    """0 to 1, as expected."""
    cost_usd: float | None
    latency_s: float | None
    tags: Mapping[str, str]


class Said(NamedTuple):
    """What a function says of all whom it was shown."""

    order: tuple[str, ...]
    """Whom it would choose, the first ones first."""
    weights: Mapping[str, float] | None
    """Of these, where they are a distribution."""
    others: str | None
    """Why it is nobody else. None: who is next is not known until it is asked again."""


class _Nobody(Exception):
    """It chose nobody of those that it was shown, or raised over them."""

    def __init__(self, message: str, remedy: str | None = None):
        super().__init__(message)
        self.message, self.remedy = message, remedy


def said(policy: Function, at: Situation, seen: Sequence[Considered], now: Collection[str]) -> Said:
    """Whom a function chooses among those seen: all who are able to answer, of whom only these can do so `now`.

    A list or weights are all that it chooses. One name is the choice; where that one cannot answer now it is asked
    again without it, and so on, until it has nobody more, or names one again: then anybody may stand in. Raises
    PolicyFailed where it cannot be found, raises or names nobody while nobody has failed, or names somebody there is
    not.
    """
    try:
        answer = _asked(policy, at, seen)
    except _Nobody as error:
        if at.request.tried:
            return Said((), None, error.message)
        raise PolicyFailed(error.message, remedy=error.remedy) from error.__cause__
    others, order = f"the function of {policy.title} does not name it", dict[str, None]()
    while isinstance(answer, str) and answer not in now and answer not in order:
        order[answer] = None
        left = [one for one in seen if one.name not in order and (len(order) < _ONE_BY_ONE or one.name in now)]
        try:
            answer = _asked(policy, at, left) if left else {}
        except _Nobody as error:
            return Said(tuple(order), None, f"{error.message}, without {', '.join(order)}")
    if not isinstance(answer, str):
        weights = answer if not order and any(answer.values()) else None
        return Said((*order, *answer), weights, others)
    if answer not in order:
        return Said((*order, answer), None, None)
    return Said((*order, *(one.name for one in seen if one.name not in order)), None, others)


def _asked(policy: Function, at: Situation, seen: Sequence[Considered]) -> str | dict[str, float]:
    """One name, or several with their weights. Raises _Nobody, PolicyFailed."""
    title, function = policy.title, policy.function
    call = load_function(function) if isinstance(function, str) else function
    try:
        given: object = call(at.request, at.features, seen)
        answer = _read(title, given)
    except (PolicyFailed, _Nobody):
        raise
    except Exception as error:
        remedy = f"mend {_named_as(function)}: it is called with the request, its features and the candidates"
        raise _Nobody(f"the function of {title} raised {type(error).__name__}: {error}", remedy) from error
    for name, weight in (answer if isinstance(answer, dict) else {answer: 0.0}).items():
        if name not in at.table.place:
            remedy = f"choose among its third argument: {', '.join(sorted(one.name for one in seen))}"
            raise PolicyFailed(f"the function of {title} chose {name!r}, and there is no such model", remedy=remedy)
        if not (isfinite(weight) and weight >= 0.0):
            says = f"the function of {title} gave {name!r} the weight {weight}: it is not negative"
            raise PolicyFailed(says, remedy="give weights of 0 or more, or leave the model out")
    return answer


@cache
def load_function(name: str) -> Callable[..., Any]:
    """The function that `module:name` names. Raises PolicyFailed."""
    module, _, path = name.partition(":")
    try:
        found: Any = imported(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        says = f"{name} cannot be found: {error}"
        raise PolicyFailed(says, remedy="give module:name of what can be imported") from None
    except UnguardedScript as error:
        raise PolicyFailed(f"{name} cannot be imported: {error.message}", remedy=error.remedy) from error
    except (Exception, SystemExit) as error:
        says = f"{name} cannot be imported: {type(error).__name__}: {error}"
        raise PolicyFailed(says, remedy=f"see that {module} can be imported") from error
    if not callable(found):
        raise PolicyFailed(f"{name} is no function", remedy="give module:name of what can be called")
    return cast("Callable[..., Any]", found)


def _named_as(function: str | Callable[..., Any]) -> str:
    """A function as its module calls it: `module:name`."""
    if isinstance(function, str):
        return function
    of: Any = function if hasattr(function, "__qualname__") else type(function)
    return f"{of.__module__}:{of.__qualname__}"


def _read(title: str, answer: object) -> str | dict[str, float]:
    if isinstance(answer, (str, Considered)):
        return _name(answer)
    given = cast("Mapping[Any, Any] | Sequence[Any]", () if answer is None else answer)
    says, remedy = f"the function of {title} gave {answer!r}", "give a name, several in their order, or weights by name"
    try:
        pairs = given.items() if isinstance(given, Mapping) else [(name, 0.0) for name in given]
        weights = {_name(name): float(weight) for name, weight in pairs}
    except (TypeError, ValueError):
        raise PolicyFailed(says, remedy=remedy) from None
    if not weights:
        raise _Nobody(says, remedy)
    return weights


def _name(of: object) -> str:
    return of.name if isinstance(of, Considered) else str(of)
