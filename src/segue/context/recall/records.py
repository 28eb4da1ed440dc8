"""JSON within a text: where it may be cut, and whose a part of it is, by what names the records around it. Pure."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

__all__ = ["Value", "atoms", "blocks", "enclosing"]

_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)
_BEGINS = re.compile(r"^[ \t]*[\[{](?=\s*[\"\[\]{}\d-])", re.MULTILINE)
_REST = re.compile(r"[ \t\r]*$", re.MULTILINE)
_TRIES = 50
"""Lines that begin like JSON, and are none, after which no more are looked at."""
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]|[^\s\[\]{},:"]+')
_LAST = re.compile(r"(?:[A-Z]?[a-z]+|[A-Z]+)$")
"""The last word of a key: `order_id`, `firstName`."""
_NAMING = ("name", "title", "label", "id", "key", "sku", "email", "slug", "code", "number", "no")
"""The keys of what names a record, the best first."""
_FIRST = len(_NAMING)
_WITHIN = _FIRST + 1
"""A name that a manifest has in its metadata: it names it together with its kind."""
_NAMED, _LONGEST = 2, 40
"""Fields that name a record at most; characters of each."""


@dataclass(slots=True)
class Value:
    """A value of JSON. It begins with its key, if it has one, and ends with the comma after it."""

    start: int
    end: int = 0
    key: str = ""
    opens: str = ""
    inside: int = 0
    """How far in its line it stands."""
    items: list[Value] = field(default_factory=list["Value"])
    named: list[tuple[int, int, str]] = field(default_factory=list[tuple[int, int, str]])
    """The fields that may name it: how well, where, and what they say."""

    def said(self) -> str:
        """What a line says that encloses what is in it; nothing, where that would be a bracket alone."""
        kind = [one for one in self.named if one[2].startswith('"kind":')][:1]
        name = [one for one in self.named if one[0] == _WITHIN][:1]
        best = sorted(one for one in self.named if one[0] < _FIRST)[:_NAMED]
        best = [*kind, *name] if kind and name else best
        if not best and not self.key:
            best = self.named[:1]
        fields = [f"{said}," for _, _, said in sorted(best, key=lambda one: one[1])]
        return " ".join(filter(None, (self.key, self.opens, *fields))) if self.key or fields else ""


def blocks(text: str) -> Iterator[Value]:
    """The JSON that stands in lines of its own; values that follow each other are one, as a list of them would be."""
    at, tries, block = 0, 0, Value(0)
    while tries < _TRIES and (begins := _BEGINS.search(text, at)) is not None:
        start = begins.end() - 1
        end = _end(text, start)
        if not end:
            tries, at = tries + 1, begins.end()
            continue
        if block.items and text[block.end : start].strip():
            yield block
            block = Value(0)
        block.items.append(_read(text, start, end))
        block.start, block.end, at = block.items[0].start, end, end
    if block.items:
        yield block


def enclosing(block: Value, at: int) -> list[tuple[float, str]]:
    """What encloses a place of a block, the outermost first: how far in it stands, and what it says."""
    found, value = list[tuple[float, str]](), block
    while (no := bisect_right(value.items, at, key=lambda one: one.start) - 1) >= 0:
        value = value.items[no]
        if value.start == at or value.end <= at:
            break
        if said := value.said():
            found.append((value.inside, said))
    return found


def atoms(text: str, block: Value, most: int, size: Callable[[str], int]) -> Iterator[tuple[int, int, bool]]:
    """A block in parts of a size at most, if they can be: the greatest values that are, with the brackets around them.
    From where to where each goes, and whether something before it that had to be cut has ended.
    """
    start = end = block.start
    now, full, apart, ended = 0, False, False, False
    for upto, opens, closes in _steps(text, block, most, size):
        more = size(text[end:upto])
        if start < end and ((full and not closes) or now + more > most):
            yield start, end, apart
            start, now, full, apart, ended = end, 0, False, ended and not closes, ended and closes
        end, now, full, ended = upto, now + more, full or not opens, ended or closes
    yield start, end, apart


def _steps(text: str, block: Value, most: int, size: Callable[[str], int]) -> Iterator[tuple[int, bool, bool]]:
    """The ends of values that fit, of what opens others, and of what closes them, one after the other."""
    rest: list[tuple[Value, bool]] = [(one, False) for one in reversed(block.items)]
    while rest:
        value, closes = rest.pop()
        short = value.end - value.start <= most
        if closes or not value.items or (short and size(text[value.start : value.end]) <= most):
            yield value.end, False, closes
        else:
            yield value.items[0].start, True, False
            rest.append((value, True))
            rest.extend((one, False) for one in reversed(value.items))


def _end(text: str, start: int) -> int:
    """Where the JSON ends that begins there; 0 if there is none, or the line goes on."""
    try:
        _, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return 0
    return end if _REST.match(text, end) else 0


def _read(text: str, start: int, end: int) -> Value:
    """The values of JSON that is known to be valid."""
    root = last = Value(start)
    open_, key, key_at, before, inside = [root], "", start, start, 0
    for token in _TOKEN.finditer(text, start, end):
        said, at = token[0], token.start()
        if not key:
            key_at, inside = at, at - 1 - text.rfind("\n", before, at) if "\n" in text[before:at] else 0
        before = token.end()
        if said == ",":
            last.end = before
        elif said in ("]", "}"):
            last = open_.pop()
            last.end = before
            if last.key == '"metadata":':
                open_[-1].named += [(_WITHIN, at, said) for _, at, said in last.named if said.startswith('"name":')]
        elif open_[-1].opens == "{" and not key:
            key = said
        else:
            last = Value(key_at, before, f"{key}:" if key else "", said if said in "[{" else "", inside)
            open_[-1].items.append(last)
            if last.opens:
                open_.append(last)
            elif key:
                _name(open_[-1], key, said, at)
            key = ""
    return root.items[0]


def _name(record: Value, key: str, said: str, at: int) -> None:
    """Note a field that may name its record."""
    word = key.strip('"')
    last = _LAST.search(word[-_LONGEST:])
    words = (word.lower(), last[0].lower() if last is not None and word != last[0] else "")
    rank = _NAMING.index(words[0]) if words[0] in _NAMING else _FIRST
    if rank == _FIRST and words[1] in _NAMING[:4]:
        rank = _NAMING.index(words[1])
    if said[0] in '"-0123456789' and said != '""' and (rank < _FIRST or word == "kind" or not record.named):
        said = said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"
        record.named.append((rank, at, f"{key}: {said}"))
