"""A prompt by its name and values, and the text that it comes to. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import to_json

from ...errors import PromptError

__all__ = ["Prompt", "Version", "filled", "places", "prompt"]

_PLACE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """A prompt of the shelf, with the values that are filled in."""

    name: str
    values: Mapping[str, object] = field(default_factory=dict[str, object])
    version: str | None = None
    key: str | None = None

    def at(self, version: str) -> Prompt:
        """This version, whatever is rolled out."""
        return replace(self, version=version)

    def sticky(self, key: str) -> Prompt:
        """The same version for the same key (a user, a thread) in every run; without it, each run draws its own."""
        return replace(self, key=key)


def prompt(name: str, /, **values: object) -> Prompt:
    """A named prompt for `ask`, with a value for each `{{place}}` of its text: text, or any value, shown as JSON.

    Its versions are files (`prompts/NAME/v1.md`) or stand in segue.toml; which one a run gets is drawn by their shares,
    journaled as a step `prompt[NAME]`, and kept for the whole run.
    """
    return Prompt(name=name, values=values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One version of a prompt: its text, and where that stands."""

    name: str
    text: str
    path: str
    line: int = 1
    """Of the file, where the text begins."""


def places(version: Version) -> Iterator[tuple[str, int]]:
    """Its places with the line of each. Raises PromptError for one without a proper name, or an end."""
    end = 0
    for found in _PLACE.finditer(version.text):
        name, line = found[1].strip(), version.line + version.text.count("\n", 0, found.start())
        if not _NAME.fullmatch(name):
            raise _wrong(version, line, f"{found[0]!r} is no place: a name is letters, digits and _")
        yield name, line
        end = found.end()
    begun = version.text.find("{{", end)
    if begun >= 0:
        line, said = version.line + version.text.count("\n", 0, begun), version.text[begun:].split("\n", 1)[0][:40]
        raise _wrong(version, line, f"{said!r} has no end", "write }} after the name; give {{ itself as a value")


def filled(version: Version, values: Mapping[str, object], known: Collection[str] = ()) -> str:
    """Its text with the values. Raises PromptError for one that is missing, with its line, and for one too many.

    `known` are the places of all versions: a value that only another version wants is none too many.
    """
    wanted = dict(reversed(list(places(version))))
    for name, line in sorted(wanted.items(), key=lambda one: one[1]):
        if name not in values:
            raise _wrong(version, line, f"{{{{{name}}}}} has no value", f"give it: prompt(..., {name}=...)")
    strange = sorted(values.keys() - wanted.keys() - set(known))
    if strange:
        has = ", ".join(sorted({*wanted, *known})) or "none"
        raise _wrong(version, 0, f"there is no place {strange[0]!r}; its places are: {has}", "leave that value out")
    said: dict[str, str] = {}
    for name, line in wanted.items():
        try:
            said[name] = _shown(values[name])
        except ValueError as error:
            what = f"{{{{{name}}}}} cannot be filled with a {type(values[name]).__name__}"
            raise _wrong(version, line, what, "give a text, or a value that JSON can carry") from error
    return _PLACE.sub(lambda found: said[found[1].strip()], version.text)


def _shown(value: Any) -> str:
    """As text. Raises ValueError for what is no JSON."""
    return value if isinstance(value, str) else to_json(value).decode()


def _wrong(version: Version, line: int, says: str, remedy: str | None = None) -> PromptError:
    where = f"{version.path}, line {line}" if line else version.path
    error = PromptError(f"{where}: {says}", remedy=remedy or f"correct {where}")
    error.path, error.line = version.path, line
    return error
