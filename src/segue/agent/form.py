"""How answers of one type are asked for and read: the schema that a model is given, and the value that its text is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

__all__ = ["Check", "Form", "form_of"]

T = TypeVar("T")

Check = Callable[[T], str | None]
"""Says what is wrong with an answer, for the model to read; None when nothing is. A ValueError says it too."""


@dataclass(frozen=True, slots=True)
class Form:
    """Of one type. `schema` is None for text."""

    adapter: TypeAdapter[Any] | None
    schema: dict[str, Any] | None

    def written(self, value: Any) -> str:
        """A value as a model would write it."""
        return str(value) if self.adapter is None else self.adapter.dump_json(value).decode()

    def read(self, text: str, check: Check[Any] | None = None) -> tuple[Any, str]:
        """The value and "", or None and what is wrong."""
        try:
            value = text if self.adapter is None else self.adapter.validate_json(text)
            error = None if check is None else check(value)
        except ValidationError as bad:
            return None, "; ".join(f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in bad.errors()[:3])
        except ValueError as bad:
            return None, str(bad) or "it is wrong"
        return (None, error) if error else (value, "")

    def value(self, data: Any) -> Any:
        """A value that was read before, from its JSON."""
        return data if self.adapter is None else self.adapter.validate_python(data)

    def plain(self, value: Any) -> Any:
        """A value as JSON."""
        return value if self.adapter is None else self.adapter.dump_python(value, mode="json")


@lru_cache(maxsize=256)
def form_of(returns: Any) -> Form:
    """The form of a type. Raises what pydantic raises for one that has no schema."""
    if returns is str:
        return Form(None, None)
    adapter: TypeAdapter[Any] = TypeAdapter(returns)
    return Form(adapter, adapter.json_schema())
