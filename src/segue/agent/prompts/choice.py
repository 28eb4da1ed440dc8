"""Which version a run gets: drawn once, journaled, and kept."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from ...errors import InputError
from ...runtime.scope import FlowScope, StepScope, here
from ...runtime.step import step
from ..gateway import config_of, shared
from ..request import shown
from .filling import Prompt, Version, filled
from .shelf import Named, Shelf, luck_of

__all__ = ["Chosen", "chosen", "resolved", "worded"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """A version as the journal has it: whole, so that a replay needs no file."""

    version: str
    text: str
    path: str
    line: int = 1
    known: list[str] = field(default_factory=list[str])
    """The places of all versions."""


@step(name="prompt", effect="read")
async def chosen(name: str, version: str | None = None, key: str | None = None) -> Chosen:
    """The version that is pinned, or drawn by the key, or by the run. Raises PromptError, ConfigError."""
    named = Shelf.read(shared("config of prompts", config_of)).get(name)
    found = named.version(version) if version is not None else named.drawn(_luck(named, key))
    return Chosen(version=found.name, text=found.text, path=found.path, line=found.line, known=named.places)


def _luck(named: Named, key: str | None) -> float:
    scope = here()
    run = scope.run if isinstance(scope, StepScope) else ""
    return luck_of(named.name, key or run) if key or run else random.random()


_Place = tuple[str, str | None, str | None]
_kept: WeakKeyDictionary[Any, dict[_Place, Chosen]] = WeakKeyDictionary()
"""What each run in memory has chosen so far; a replay makes the same calls, and finds the same."""


async def resolved(prompt: Prompt) -> tuple[str, dict[str, str]]:
    """The text, filled in, and which version it is. Raises PromptError."""
    scope, place = here(), (prompt.name, prompt.version, prompt.key)
    kept = _kept.setdefault(scope.drive, {}) if isinstance(scope, FlowScope) else {}
    if place not in kept:
        kept[place] = await chosen.using(key=prompt.name)(*place)
    one = kept[place]
    version = Version(name=one.version, text=one.text, path=one.path, line=one.line)
    return filled(version, prompt.values, one.known), {prompt.name: one.version}


async def worded(given: str | Prompt) -> tuple[str, dict[str, str]]:
    """A text as it is, a named prompt as `resolved`. Raises InputError for what is neither."""
    if isinstance(given, Prompt):
        return await resolved(given)
    if not isinstance(given, str):  # pyright: ignore[reportUnnecessaryIsInstance]  users err
        raise InputError(f"a prompt is a text, or a prompt by its name, no {type(given).__name__}")
    return shown(given), {}
