"""What the fields of a model, of a deployment and of limits may hold, and what to write instead. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from .tariff import expect

__all__ = ["MAYBE_TEXT", "MAYBE_WHOLE", "NUMBER", "TABLE", "TEXT", "WHOLE", "WORDS", "Kind", "hold_kinds"]

_SHOWN = 60
"""Characters of a value, in an error."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field holds. `says` is how it is asked for, `like` an example; True and False are no numbers."""

    of: tuple[type, ...]
    says: str
    like: str = ""
    each: tuple[type, ...] = (object,)
    """Of what the items are, or the values of a mapping."""

    def fits(self, value: Any) -> bool:
        """Whether it is of this kind. What a mapping names is named by texts."""
        named = not isinstance(value, Mapping) or all(isinstance(name, str) for name in value)  # pyright: ignore[reportUnknownVariableType]
        return named and _is(value, self.of) and all(_is(one, self.each) for one in _items(value))


TEXT = Kind((str,), "a text was expected")
MAYBE_TEXT = Kind((str, type(None)), "a text was expected")
WHOLE = Kind((int,), "a whole number was expected")
MAYBE_WHOLE = Kind((int, type(None)), "a whole number was expected")
NUMBER = Kind((int, float), "a number was expected")
WORDS = Kind((Set, list, tuple), "words were expected", '{"tools", "vision"}', (str,))
TABLE = Kind((Mapping,), "named values were expected", '{"temperature": 0.2}')


def hold_kinds(made: object, kinds: Mapping[str, Kind]) -> None:
    """See that each of these fields holds a value of its kind. Raises InvalidModel."""
    for name, kind in kinds.items():
        value = getattr(made, name)
        if not kind.fits(value):
            shown = repr(value)
            shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
            as_ = f", as {kind.like}" if kind.like else ""
            expect(False, name, f"{kind.says}{as_}, not {shown}")


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not (isinstance(value, bool) and object not in kinds)


def _items(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())  # pyright: ignore[reportUnknownArgumentType]
    return list(value) if isinstance(value, Set | list | tuple) else []  # pyright: ignore[reportUnknownArgumentType]
