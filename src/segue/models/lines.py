"""In which line of a TOML file each key stands, so that a mistake can be shown where it is. Pure.

`tomllib` reads the values and says nothing of their places. This is no second parser: it goes over a text that was
found valid and notes where keys begin. On any other text it stops where it no longer understands.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress

Path = tuple[str | int, ...]
"""Where a value stands: keys by name, elements of arrays by number."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)+")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r'[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
_TEXT = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}(?!")|\'\'\'.*?\'{3,5}(?!\')|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL)
_ATOM = re.compile(r"[^,\]}#\n]+")


class _Stop(Exception):
    """The text goes on in a way that is no TOML."""


def lines_of(text: str) -> Mapping[Path, int]:
    """The line of each table, key and element, from 1. Empty or cut short where the text is not valid."""
    return _scanned(text).lines


def last_of(text: str) -> tuple[Path, int]:
    """The last header or key that begins in a text, and its line; the text may break off anywhere."""
    scan = _scanned(text)
    return scan.last, scan.last_line


def _scanned(text: str) -> _Scan:
    scan = _Scan(text)
    with suppress(_Stop, RecursionError):
        scan.document()
    return scan


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """The line of a path; else of the first thing within it; else of what it stands in; else 0."""
    if path in lines:
        return lines[path]
    within = [line for known, line in lines.items() if known[: len(path)] == path]
    if within:
        return min(within)
    return line_of(lines, path[:-1]) if path else 0


class _Scan:
    """Goes over a document once. `at` is the place in the text."""

    def __init__(self, text: str):
        self.text = text.replace("\r\n", "\n")
        self.at, self.line, self._counted = 0, 1, 0
        self.lines: dict[Path, int] = {}
        self.last: Path = ()
        self.last_line = 0
        self._arrays: dict[Path, int] = {}
        """Arrays of tables: the number of their last element."""

    def document(self) -> None:
        """All statements: headers, and keys of the table that the last header has opened."""
        table: Path = ()
        while self._more():
            if self._take("[["):
                table = self._header("]]")
            elif self._take("["):
                table = self._header("]")
            else:
                self._pair(table)

    def _header(self, end: str) -> Path:
        line, names = self._line(), list(self._keys())
        path: Path = ()
        for name in names[:-1]:
            path = self._element((*path, name))
        path = (*path, names[-1])
        self.last, self.last_line = path, line
        self._expect(end)
        if end == "]]":
            self.lines.setdefault(path, line)
            self._arrays[path] = self._arrays.get(path, -1) + 1
        path = self._element(path)
        self.lines.setdefault(path, line)
        return path

    def _element(self, path: Path) -> Path:
        """The element that a name means: of an array of tables, the last one."""
        return (*path, self._arrays[path]) if path in self._arrays else path

    def _pair(self, table: Path) -> None:
        line, path = self._line(), (*table, *self._keys())
        self.last, self.last_line = path, line
        self.lines.setdefault(path, line)
        self._expect("=")
        self._value(path)

    def _value(self, path: Path) -> None:
        self._more()
        if self._take("{"):
            while not self._closes("}"):
                self._pair(path)
        elif self._take("["):
            number = 0
            while not self._closes("]"):
                self.lines[(*path, number)] = self._line()
                self._value((*path, number))
                number += 1
        elif not (self._match(_TEXT) or self._match(_ATOM)):
            raise _Stop

    def _closes(self, end: str) -> bool:
        """Whether the list of things ends here; a comma between two is passed over."""
        if not self._more():
            raise _Stop
        self._take(",")
        self._more()
        return self._take(end)

    def _keys(self) -> Iterator[str]:
        """A key, or several with dots between them."""
        while True:
            self._match(_SPACE)
            word = self._match(_KEY)
            if not word:
                raise _Stop
            yield _plain(word)
            self._match(_SPACE)
            if not self._take("."):
                return

    def _more(self) -> bool:
        """Pass over blanks and comments; whether anything follows."""
        self._match(_BLANK)
        return self.at < len(self.text)

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found[0] if found else ""

    def _take(self, sign: str) -> bool:
        there = self.text.startswith(sign, self.at)
        self.at += len(sign) * there
        return there

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise _Stop

    def _line(self) -> int:
        """The line of this place; it only ever moves on."""
        self.line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self.line


def _plain(word: str) -> str:
    """A key without its quotes."""
    if word[0] not in "\"'":
        return word
    try:
        return next(iter(tomllib.loads(f"{word} = 0")))
    except tomllib.TOMLDecodeError:
        raise _Stop from None
