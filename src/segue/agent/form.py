"""How answers of one type are asked for and read: the schema that a model is given, and the value that its text is."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from ..core.codec import by_type, describe
from ..errors import InputError

__all__ = ["Check", "Form", "form_of", "misfit", "name_of", "told"]

T = TypeVar("T")

Check = Callable[[T], str | None]
"""Says what is wrong with an answer, for the model to read; None when nothing is. A ValueError says it too."""


@dataclass(frozen=True, slots=True)
class Form:
    """Of one type. `schema` is None for text; `title` is the type as a reader writes it."""

    adapter: TypeAdapter[Any] | None
    schema: dict[str, Any] | None
    title: str

    def written(self, value: Any) -> str:
        """A value as a model would write it. Raises ValueError for one that is none of the type."""
        if self.adapter is None:
            return str(value)
        given = self.adapter.validate_python(value, by_alias=True, by_name=True)
        return self.adapter.dump_json(given, by_alias=True).decode()  # as its schema names them

    def read(self, text: str, check: Check[Any] | None = None) -> tuple[Any, str]:
        """The value and "", or None and what is wrong. Raises what a check raises that is no ValueError."""
        try:
            value = text if self.adapter is None else self.adapter.validate_json(text, by_alias=True, by_name=True)
        except ValueError as bad:
            return None, misfit(bad)
        wrong = "" if check is None else told(check, value)
        return (None, wrong) if wrong else (value, "")

    def value(self, data: Any) -> Any:
        """A value that was read before, from its JSON."""
        return data if self.adapter is None else self.adapter.validate_python(data, by_alias=True, by_name=True)

    def plain(self, value: Any) -> Any:
        """A value as JSON."""
        return value if self.adapter is None else self.adapter.dump_python(value, mode="json")


def told(check: Check[Any], value: Any) -> str:
    """What a check says is wrong with a value; "" where nothing is. Raises InputError where it says something else."""
    try:
        said = cast("object", check(value))
    except ValueError as bad:
        return misfit(bad) or "it is wrong"
    if said is None or isinstance(said, str):
        return said or ""
    kind = type(said).__name__
    if isinstance(said, Coroutine):
        said.close()  # nobody awaits it
    raise InputError(
        f"a check says what is wrong with an answer, as a text, or None; {name_of(check)} said {kind}",
        remedy='for example: lambda total: None if total > 0 else "the total is more than 0"; it is no async function',
    )


def name_of(check: Check[Any]) -> str:
    """What a check is called on record."""
    name = getattr(check, "__name__", type(check).__name__)
    return "check" if name == "<lambda>" else str(name)


def misfit(error: ValueError) -> str:
    """What does not fit, and where."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors()[:3])


def form_of(returns: Any) -> Form:
    """The form of a type. Raises InputError for what is none, or has no JSON schema."""
    try:
        return _form(returns)
    except (PydanticUserError, TypeError, NameError) as error:
        said = str(error).partition("\n")[0]
        remedy = "give a type that pydantic has a JSON schema of: a model, a dataclass, list[str], Literal[...], int"
        raise InputError(f"returns is a type, and {returns!r} has no schema: {said}", remedy=remedy) from error


@by_type
def _form(returns: Any) -> Form:
    if returns is str:
        return Form(None, None, "text")
    adapter: TypeAdapter[Any] = TypeAdapter(returns)
    return Form(adapter, adapter.json_schema(), describe(returns))
