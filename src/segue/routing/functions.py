"""A function of the user that chooses: found by its name, called, and its answer read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import isfinite
from typing import Any, NamedTuple, cast

from ..errors import UnguardedScript
from ..importing import imported
from .errors import PolicyFailed
from .policies import Function
from .table import Situation

__all__ = ["ChoseNobody", "Considered", "chosen", "load_function"]


class ChoseNobody(Exception):
    """A function chose nobody of those that it was shown, or raised over them."""

    def __init__(self, message: str, remedy: str | None = None):
        super().__init__(message)
        self.message, self.remedy = message, remedy


class Considered(NamedTuple):
    """A candidate, as a function sees it. None: not known."""

    name: str
    quality: float | None
    """0 to 1, as expected."""
    cost_usd: float | None
    latency_s: float | None
    tags: Mapping[str, str]


def chosen(policy: Function, at: Situation, seen: Sequence[Considered]) -> dict[str, float]:
    """What the function says: names with their weights, of which the first is the choice where all weigh nothing.

    It may name models that cannot answer now. Raises ChoseNobody where it raises or names nobody, PolicyFailed where it
    cannot be found, or names somebody there is not.
    """
    title, function = policy.title, policy.function
    call = load_function(function) if isinstance(function, str) else function
    try:
        answer: object = call(at.request, at.features, seen)
    except Exception as error:
        raise ChoseNobody(f"the function of {title} raised {type(error).__name__}: {error}") from error
    weights = _weights(title, answer)
    for name, weight in weights.items():
        if name not in at.table.place:
            remedy = f"choose among its third argument: {', '.join(sorted(one.name for one in seen))}"
            raise PolicyFailed(f"the function of {title} chose {name!r}, and there is no such model", remedy=remedy)
        if not (isfinite(weight) and weight >= 0.0):
            raise PolicyFailed(f"the function of {title} gave {name!r} the weight {weight}: it is not negative")
    return weights


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
        raise PolicyFailed(f"{name} is no function")
    return cast("Callable[..., Any]", found)


def _weights(title: str, answer: object) -> dict[str, float]:
    if isinstance(answer, str):
        return {answer: 0.0}
    given = cast("Mapping[Any, Any] | Sequence[Any]", () if answer is None else answer)
    says, remedy = f"the function of {title} gave {answer!r}", "give a name, several in their order, or weights by name"
    try:
        pairs = given.items() if isinstance(given, Mapping) else [(name, 0.0) for name in given]
        weights = {str(name): float(weight) for name, weight in pairs}
    except (TypeError, ValueError):
        raise PolicyFailed(says, remedy=remedy) from None
    if not weights:
        raise ChoseNobody(says, remedy)
    return weights
