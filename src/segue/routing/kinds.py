"""What the fields of a policy may hold: where another kind of value is natural, what to write instead. Pure, but that a
word of an enum becomes its member.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any

from .errors import expect

__all__ = ["hold_kinds"]

_NAMES = ("among", "steps", "shadows")
_POLICIES = ("of", "otherwise")
_NUMBERS = (
    "hold_ms", "quality_min", "caution", "cost_usd_max", "latency_s_max", "per_quality", "per_usd", "per_s",
    "steps_max", "share", "after_s", "similarity_min",
)  # fmt: skip


def hold_kinds(policy: Any) -> None:
    """See that each field of a policy holds a value of its kind. Raises InvalidPolicy."""
    given: dict[str, Any] = {
        name: getattr(policy, name) for name in (*_NAMES, *_POLICIES, *_NUMBERS, *_OTHERS) if hasattr(policy, name)
    }
    for name, value in given.items():
        if name in _NAMES:
            expect(not isinstance(value, str), name, f"names of models were expected, as ({value!r},)")
        elif name in _POLICIES:
            expect(not isinstance(value, str), name, f"a policy was expected, as Pinned(model={value!r})")
        elif name in _NUMBERS:
            fits = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
            expect(fits, name, f"a number was expected, not {value!r}")
    expect(not isinstance(given.get("explore"), int | float), "explore", "as Explore(floor=0.02, ceiling=0.1)")
    expect(not isinstance(given.get("arms"), Mapping | str), "arms", "as (Arm(name=..., policy=..., share=0.5), ...)")
    expect(isinstance(given.get("require", {}), Mapping), "require", 'tags were expected, as {"residency": "eu"}')
    function = given.get("function", "")
    expect(isinstance(function, str) or callable(function), "function", "a function, or module:name of one")
    _words(policy)


def _words(policy: Any) -> None:
    for field in fields(policy):
        if isinstance(field.default, StrEnum):
            kind, value = type(field.default), getattr(policy, field.name)
            expect(value in list(kind), field.name, f"{' or '.join(kind)} was expected, not {value!r}")
            object.__setattr__(policy, field.name, kind(value))  # the policy is frozen, and just being made


_OTHERS = ("explore", "arms", "require", "function")
