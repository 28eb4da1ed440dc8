"""What the options of `ask` may be: a wrong one is told by its name before anything is asked. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

from ..core.budgets import nano
from ..errors import InputError
from ..models import Capability
from ..models.reading import meant
from ..models.settings import is_json, mistaken
from ..routing import Policy

__all__ = ["bounded", "hold", "hold_settings", "said_of"]

_Says = Callable[[Any], bool]
_MOST = 1 << 31
"""No count of anything is larger."""


def hold(said: Mapping[str, Any]) -> None:
    """See that each option is of its kind and within its bounds. Raises InputError."""
    for name in _WANTED:
        bounded(name, said[name])
    hold_settings(said["settings"] or {})
    _hold_needs(said["needs"])
    budget = said["budget_usd"]
    if budget is not None and (not _is_number(budget) or nano(budget) < 0):
        raise InputError(f"ask: budget_usd is 0 or more, in USD, not {budget!r}", remedy="0 allows nothing")


def hold_settings(settings: Mapping[Any, object], *, of: str = "ask: settings") -> None:
    """See that a model may have these; None says nothing. Raises InputError."""
    settings = said_of(settings)
    for name, value in settings.items():
        if not is_json(value):
            raise InputError(f"{of}.{name}: plain JSON was expected, not {_shown(value)}")
    wrong = mistaken(settings)
    if wrong is not None:
        name, says, allowed = wrong
        raise InputError(f"{of}.{name}: {says}", remedy=f"it may have {allowed}" if allowed else None)


def said_of(settings: Mapping[Any, Any] | None) -> dict[Any, Any]:
    """Settings without those that are None."""
    return {name: value for name, value in (settings or {}).items() if value is not None}


def _hold_needs(needs: Collection[str]) -> None:
    for word in needs:
        if word not in list(Capability):
            guess = meant(word, Capability)
            hint = f"; did you mean {guess}?" if guess else ""
            remedy = f"one of {', '.join(Capability)}"
            raise InputError(f"ask: needs has {word!r}, which is no capability{hint}", remedy=remedy)


def bounded(name: str, value: object, *, of: str = "ask") -> None:
    """See that one of them is. Raises InputError."""
    wanted, fits = _WANTED[name]
    if not fits(value):
        raise InputError(f"{of}: {name} is {wanted}, not {_shown(value)}", remedy="the reference says what each may be")


def _whole(least: int) -> tuple[str, _Says]:
    return (
        f"a whole number, at least {least} and less than {_MOST:,}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value < _MOST,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(value: Any) -> bool:
    return _is_number(value) and value > 0


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _many(value: Any) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)


def _texts(value: Any) -> bool:
    return _many(value) and all(isinstance(one, str) for one in cast("Collection[object]", value))


def _or_none(wanted: str, fits: _Says) -> tuple[str, _Says]:
    return f"{wanted}, or None", lambda value: value is None or fits(value)


def _table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _tags(value: Any) -> bool:
    return _table(value) and _texts([*value, *value.values()])


def _messages(value: Any) -> bool:
    return _many(value) and all(map(_table, value))


def _shown(value: object) -> str:
    """A text may be private: only short ones are shown."""
    said = repr(value)
    return said if len(said) <= 40 else f"a {type(value).__name__}"


_TIME = ("seconds, more than 0", _seconds)
_FLAG = ("True or False", _flag)
_WANTED: Mapping[str, tuple[str, _Says]] = {
    **dict.fromkeys(("max_tokens", "rounds"), _whole(1)),
    "attempts": _or_none(*_whole(1)),
    **dict.fromkeys(("repairs", "memory_tokens"), _whole(0)),
    **dict.fromkeys(("timeout_s", "batch_within_s"), _TIME),
    **dict.fromkeys(("first_token_s", "stall_s", "escalate_s"), _or_none(*_TIME)),
    **dict.fromkeys(("batch", "stream"), _FLAG),
    **dict.fromkeys(("kind", "key", "sticky"), _or_none("a text", _text)),
    **dict.fromkeys(("model", "escalate"), _or_none("a name", _name)),
    **dict.fromkeys(("role", "asked_by"), ("a text", _text)),
    **dict.fromkeys(("memory", "tools", "guards"), ("a list", _many)),
    "history": ("a list of messages, each a dict", _messages),
    "settings": _or_none("a dict", _table),
    "require": _or_none("a dict of texts", _tags),
    "route": _or_none("the name of a route, or a policy", lambda value: isinstance(value, Policy) or _name(value)),
    "needs": ("a list of capabilities", _texts),
    "refused": ('"fail" or "next"', lambda value: value in ("fail", "next")),
}  # fmt: skip
