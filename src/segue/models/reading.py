"""Reads tables of a configuration file, and collects every mistake in it with its line.

    table = open_config("segue.toml")
    with table.mistakes.told():
        name, most = table.text("name", required=True), table.whole("most")
        table.done()

What is asked of a table is what it may hold: `done` finds the keys that nobody asked for.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import tomllib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path as File
from typing import Any, cast

from ..config import DEFAULT_CONFIG, config_from_environment
from ..errors import ConfigError
from .lines import Path, last_of, line_of, lines_of

TABLES = ("models", "routes", "budgets", "prompts", "guards", "batches")
"""What a file may hold. Each room reads its own table; a name that is like one of these is a mistake."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PLACE = re.compile(r"\s*\(at (?:line (?P<line>\d+), column \d+|end of document)\)$")
_KINDS: dict[type, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "a text", dict: "a table", list: "an array",
}  # fmt: skip


class Mistakes:
    """What is wrong in one file, in the order of its lines."""

    def __init__(self, path: str, text: str):
        self.path = path
        self._text = text
        self._found: list[tuple[int, Path, str]] = []

    @cached_property
    def _lines(self) -> Mapping[Path, int]:
        """Found at the first mistake: most files have none."""
        return lines_of(self._text)

    def add(self, at: Path, says: str) -> None:
        """Note one."""
        self._found.append((line_of(self._lines, at), at, says))

    def within(self, at: Path) -> bool:
        """Whether there is one at this place or inside of it."""
        return any(path[: len(at)] == at for _, path, _ in self._found)

    @contextmanager
    def told(self) -> Generator[None]:
        """Raises ConfigError when the block is through and found any."""
        yield
        if self._found:
            raise config_error(
                self.path, [(line, dotted(at), says) for line, at, says in sorted(self._found, key=_line)]
            )


def _line(found: tuple[int, Path, str]) -> int:
    return found[0]


class Table:
    """One table. What a method does not find, or finds to be wrong, it gives as None, and notes the mistake."""

    def __init__(self, values: Mapping[str, Any], mistakes: Mistakes, at: Path = ()):
        self.values, self.mistakes, self.at = values, mistakes, at
        self._asked: dict[str, None] = {}

    @property
    def fine(self) -> bool:
        """Whether no mistake was found in it so far."""
        return not self.mistakes.within(self.at)

    def wrong(self, key: str | int | None, says: str) -> None:
        """Note a mistake at a key, or at the table itself."""
        self.mistakes.add(self.at if key is None else (*self.at, key), says)

    def text(self, key: str, *, required: str | None = None) -> str | None:
        """A text. `required` says what it is, where it must be there."""
        return self._typed(key, str, required)

    def whole(self, key: str, *, required: str | None = None) -> int | None:
        """A whole number."""
        return self._typed(key, int, required)

    def number(self, key: str, *, required: str | None = None) -> float | None:
        """A finite number, as it stands: whole or not."""
        value = self._given(key, required)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self._misfit(key, float, value)
        if not math.isfinite(value):
            return self.wrong(key, f"{value} is no finite number")
        return value

    def word(self, key: str, allowed: Iterable[str], *, required: str | None = None) -> str | None:
        """One of a vocabulary."""
        value = self._typed(key, str, required)
        return value if value is None or self._known(key, value, allowed, {}) else None

    def words(self, key: str, allowed: Iterable[str], *, hints: Mapping[str, str] | None = None) -> list[str] | None:
        """An array of words of a vocabulary, none of them twice."""
        values = self._typed(key, list, None)
        if values is None:
            return None
        given, kept = cast("list[object]", values), list[str]()
        inside = Table({}, self.mistakes, (*self.at, key))
        for number, value in enumerate(given):
            if not isinstance(value, str):
                inside._misfit(number, str, value)
            elif value in kept:
                inside.wrong(number, f"{_shown(value)} is there twice")
            elif inside._known(number, value, allowed, hints or {}):
                kept.append(value)
        return kept

    def table(self, key: str) -> Table | None:
        """A table within."""
        values = self._typed(key, dict, None)
        return None if values is None else Table(cast("dict[str, Any]", values), self.mistakes, (*self.at, key))

    def tables(self, key: str) -> list[Table]:
        """An array of tables; empty where there is none."""
        values = self._typed(key, list, None)
        inside, made = Table({}, self.mistakes, (*self.at, key)), list[Table]()
        for number, value in enumerate(cast("list[object]", values or [])):
            if isinstance(value, dict):
                made.append(Table(cast("dict[str, Any]", value), self.mistakes, (*inside.at, number)))
            else:
                inside._misfit(number, dict, value)
        return made

    def each(self) -> Iterator[tuple[str, Table]]:
        """All that it holds, where each is a table named by its key."""
        for key in self.values:
            table = self.table(key)
            if table is not None:
                yield key, table

    def ask(self, key: str) -> Any:
        """A value of any type; None where there is none."""
        return self._given(key, None)

    def done(self, *, hints: Mapping[str, str] | None = None) -> None:
        """Everything was asked for: what else stands here is a mistake. `hints` says what other words mean here."""
        for key in self.values:
            if key not in self._asked:
                guess = _guess(key, self._asked, hints or {})
                self.wrong(key, f"there is no such key{guess}: {', '.join(self._asked)}")

    def doubted(self, *, hints: Mapping[str, str] | None = None) -> None:
        """What must be known first is missing: of the keys not asked for, name those that may mean one that was."""
        for key in self.values:
            guess = (hints or {}).get(_folded(key)) or meant(key, self._asked)
            if key not in self._asked and guess:
                self.wrong(key, f"there is no such key; did you mean {guess}?")

    def _typed(self, key: str, kind: type[Any], required: str | None) -> Any:
        value = self._given(key, required)
        fits = isinstance(value, kind) and not (isinstance(value, bool) and kind is int)
        return value if value is None or fits else self._misfit(key, kind, value)

    def _given(self, key: str, required: str | None) -> Any:
        self._asked[key] = None
        if required is not None and key not in self.values:
            self.wrong(key, f"is missing: {required}")
        return self.values.get(key)

    def _misfit(self, key: str | int, kind: type, value: object) -> None:
        """The value itself is shown where it is a number: a text may be private."""
        found = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else _kind(value)
        self.wrong(key, f"{_KINDS[kind]} was expected, not {found}")

    def _known(self, key: str | int, value: str, allowed: Iterable[str], hints: Mapping[str, str]) -> bool:
        words = [str(word) for word in allowed]
        if value not in words:
            self.wrong(key, f"{_shown(value)} is not known{_guess(value, words, hints)}: {', '.join(words)}")
        return value in words


def open_config(path: str | os.PathLike[str] | None = None) -> Table | None:
    """The whole file; without `path` the one that SEGUE_CONFIG names, else segue.toml in this folder if it is there.

    None where there is none. Raises ConfigError for a file that was named and is not there, or cannot be read.
    """
    named = path if path is not None else config_from_environment()
    file = File(DEFAULT_CONFIG if named is None else named)
    if named is None and not file.exists():
        return None
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        why = "" if path is not None else ": SEGUE_CONFIG names it"
        raise config_error(str(file), [(0, "", f"there is no such file{why}")]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise config_error(str(file), [(line, "", "this is no UTF-8")]) from None
    except OSError as error:
        raise config_error(str(file), [(0, "", f"cannot be read: {error.strerror or error}")]) from None
    return read_config(text, str(file))


def read_config(text: str, path: str = DEFAULT_CONFIG) -> Table:
    """A file's text as a table. Raises ConfigError for what is no TOML."""
    text = text.replace("\r\n", "\n")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(path, text, str(error)) from None
    except RecursionError:
        raise config_error(path, [(0, "", "is nested too deeply")]) from None
    table = Table(values, Mistakes(path, text))
    for key in values:
        if key not in TABLES and (guess := meant(key, TABLES)):
            table.wrong(key, f"there is no such table; did you mean {guess}?")
    return table


def config_error(path: str, mistakes: list[tuple[int, str, str]]) -> ConfigError:
    """The error of all mistakes of a file, each as `(line, setting, what is wrong)`; line 0: of the file as a whole."""
    says = [
        ": ".join(part for part in (f"{path}, line {line}" if line else path, setting, what) if part)
        for line, setting, what in mistakes
    ]
    line, setting, _ = mistakes[0]
    places = ", ".join(dict.fromkeys(str(line) for line, _, _ in mistakes if line))
    do = (
        f"correct line {places} of {path}" if places else f"see that {path} is a file that can be read, or name another"
    )
    error = ConfigError("\n".join(says), remedy=do.replace("line", "lines", 1) if "," in places else do)
    error.path, error.line, error.setting, error.mistakes = path, line, setting, tuple(mistakes)
    return error


def _no_toml(path: str, text: str, message: str) -> ConfigError:
    """What tomllib says, with the key that it is about: the last one that begins before the place that it names."""
    place = _PLACE.search(message)
    told = place["line"] if place else None
    ends, line = told is None, int(told or len(text.rstrip().splitlines()))
    before = "\n".join(text.split("\n")[:line])
    at, begun = last_of(before)
    setting = dotted(at) if ends or begun == line else ""
    says = f"this is no valid TOML: {_PLACE.sub('', message)}"
    if message.startswith(("Cannot overwrite", "Cannot declare", "Duplicate inline")) and setting:
        first = line_of(lines_of(before), at)
        says = "is there twice" + (f": first in line {first}" if first < line else "")
    return config_error(path, [(line, setting, says)])


def dotted(at: Path) -> str:
    """A path as one writes it: `models.fast.deployments[1].url`."""
    said = ""
    for part in at:
        if isinstance(part, int):
            said += f"[{part}]"
        else:
            said += ("." if said else "") + (part if _BARE.fullmatch(part) else _shown(part))
    return said


def meant(word: str, known: Iterable[str]) -> str:
    """The known words that are like this one, at most two, as `fast or faster`; empty where none is."""
    folded: dict[str, str] = {_folded(k): k for k in known}
    close = difflib.get_close_matches(_folded(word), folded, n=2, cutoff=0.6)
    return " or ".join(folded[c] for c in close)


def _guess(word: str, known: Iterable[str], hints: Mapping[str, str]) -> str:
    guess = hints.get(_folded(word)) or meant(word, known)
    return f"; did you mean {guess}? Allowed" if guess else "; allowed"


def _folded(word: str) -> str:
    return word.casefold().replace("-", "_")


def _kind(value: object) -> str:
    kinds: Callable[[type], str | None] = _KINDS.get
    return kinds(type(value)) or "a date or time"


def _shown(text: str) -> str:
    return '"' + (text if len(text) <= 40 else text[:39] + "…").replace('"', '\\"') + '"'
