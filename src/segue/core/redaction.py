"""What viewers do not see (sealed values, masked), and what not even the flow sees (`@step(redact=...)`).

Redaction happens before a result is journaled and before the flow sees it: live and replay agree, and there is nothing
to erase later. Patterns are conservative: card and account numbers must pass their checksum. They find what has a form;
a name in a sentence has none.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from ..errors import DefinitionError
from .codec import Codec

MASK = "•••"
SEALED = "$sealed"


def envelope_of(value: object) -> Mapping[str, Any] | None:
    """The envelope, when a JSON value is a sealed one."""
    if isinstance(value, dict) and len(cast("dict[str, Any]", value)) == 1 and SEALED in value:
        inside = cast("dict[str, Any]", value)[SEALED]
        return cast("Mapping[str, Any]", inside) if isinstance(inside, Mapping) else None
    return None


def mask(value: Any) -> Any:
    """A JSON value for people to see: sealed values are `•••`."""
    if isinstance(value, dict):
        if SEALED in value:
            return MASK
        return {k: mask(v) for k, v in cast("dict[str, Any]", value).items()}
    return [mask(v) for v in cast("list[Any]", value)] if isinstance(value, list) else value


def mask_json(data: bytes | None) -> bytes | None:
    """`mask` for a JSON text, such as an event's `value`, `args` or `body`."""
    if data is None or f'"{SEALED}"'.encode() not in data:
        return data
    return json.dumps(mask(json.loads(data)), ensure_ascii=False, separators=(",", ":")).encode()


def _luhn(found: str) -> bool:
    """The checksum of card numbers (ISO/IEC 7812)."""
    digits = [int(c) for c in found if c.isdigit()]
    doubled = [d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0


def _mod97(found: str) -> bool:
    """The checksum of account numbers (ISO 13616)."""
    text = found.replace(" ", "")
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def _octets(found: str) -> bool:
    return all(int(part) < 256 for part in found.split("."))


class Cut(NamedTuple):
    """What is taken out of a text: from `begin` to before `end`; and what is put there."""

    begin: int
    end: int
    put: str


class Pattern(NamedTuple):
    """What is found, and what stands in its place: `[email]`. `fits` may look at it again."""

    name: str
    finds: str
    fits: Callable[[str], bool] | None = None
    flags: int = 0

    def apply(self, text: str) -> str:
        """The text without what it finds."""
        compiled = re.compile(self.finds, self.flags)  # at the first use, and from re's own cache after it
        return compiled.sub(lambda m: self.mark if self.fits is None or self.fits(m[0]) else m[0], text)

    @property
    def mark(self) -> str:
        """What stands in its place."""
        return f"[{self.name}]"

    def places(self, text: str) -> list[tuple[int, int]]:
        """From where to where it finds something."""
        compiled = re.compile(self.finds, self.flags)
        return [m.span() for m in compiled.finditer(text) if self.fits is None or self.fits(m[0])]


_API_KEYS = (
    r"\b(?:sk|pk|rk)[-_](?:[a-zA-Z]+[-_])*[A-Za-z0-9_-]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}"
    r"|\bA(?:KIA|SIA)[A-Z0-9]{16}\b|\bxox[abeoprs]-[\w-]{10,}|\bAIza[\w-]{30,}|\bglpat-[\w-]{16,}"
)
_PATTERNS = {
    p.name: p
    for p in (
        Pattern("private key", r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", None, re.DOTALL),
        Pattern("jwt", r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
        Pattern("api key", _API_KEYS),
        Pattern("bearer", r"(?<=\bbearer )[\w.~+/-]{12,}=*", None, re.IGNORECASE),
        Pattern("password in url", r"(?<=://)[^\s/:@]+:[^\s/@]+(?=@)"),
        Pattern("email", r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}"),
        Pattern("iban", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", _mod97),
        Pattern("card", r"\b\d(?:[ -]?\d){12,18}\b", _luhn),
        Pattern("ssn", r"\b(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}\b"),
        Pattern("phone", r"(?<![\w+])(?:\+|00)[1-9](?:[ ().-]{0,2}\d){7,14}(?!\w)"),
        Pattern("ip", r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])", _octets),
    )
}
_SETS = {
    "credentials": ("private key", "jwt", "api key", "bearer", "password in url"),
    "pii": ("email", "iban", "card", "ssn", "phone", "ip"),
}


class Patterns:
    """Named patterns over every text of a JSON value. `pii` and `credentials` each name a set of them."""

    def __init__(self, names: Sequence[str]):
        chosen = [n for name in names for n in _SETS.get(name, (name,))]
        unknown = [n for n in chosen if n not in _PATTERNS]
        if unknown or not chosen:
            known = ", ".join((*_SETS, *_PATTERNS))
            raise DefinitionError(
                f"redact: no pattern is called {unknown[0]!r}" if unknown else "redact: no pattern is named",
                remedy=f"the names are: {known}; or pass a function from the result to the redacted result",
            )
        self._patterns = [p for name, p in _PATTERNS.items() if name in chosen]

    def text(self, text: str) -> str:
        """A text without what they find."""
        for pattern in self._patterns:
            text = pattern.apply(text)
        return text

    def cuts(self, text: str) -> list[Cut]:
        """Where it stands that `text` takes out, and what is put there, in the order of the text."""
        found: list[Cut] = []
        for pattern in self._patterns:
            now, back = _shortened(text, found)
            for begin, end in pattern.places(now):
                whole = Cut(back(begin).begin, back(end - 1).end, pattern.mark)
                found = [one for one in found if not whole.begin <= one.begin < whole.end] + [whole]
            found.sort()
        return found

    def json(self, value: Any) -> Any:
        """A JSON value without it; sealed values and the names of fields stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict) and envelope_of(cast("object", value)) is None:
            return {k: self.json(v) for k, v in cast("dict[str, Any]", value).items()}
        if isinstance(value, list):
            return [self.json(v) for v in cast("list[Any]", value)]
        return cast("Any", value)


def _shortened(text: str, cuts: Sequence[Cut]) -> tuple[str, Callable[[int], Cut]]:
    """A text with these cuts made, and from a character of it the way back: to its place, or that of its cut."""
    said, ends, ways, at = list[str](), list[int](), list[Cut | int](), 0
    for one in (*cuts, Cut(len(text), len(text), "")):
        for piece, way in ((text[at : one.begin], at), (one.put, one)):
            if piece:
                said.append(piece)
                ways.append(way)
                ends.append((ends[-1] if ends else 0) + len(piece))
        at = one.end

    def back(place: int) -> Cut:
        n = bisect_right(ends, place)
        way = ways[n]
        if isinstance(way, Cut):
            return way
        here = way + place - (ends[n - 1] if n else 0)
        return Cut(here, here + 1, "")

    return "".join(said), back


Redact = Callable[[Any], Any] | Patterns
"""How a step's result is redacted: a function from the result to the redacted one, or patterns."""


def redaction(given: Callable[[Any], Any] | str | Sequence[str] | None) -> Redact | None:
    """What `@step(redact=...)` was given. Raises DefinitionError for a pattern that does not exist."""
    if given is None or callable(given) or isinstance(given, Patterns):
        return given
    return Patterns([given] if isinstance(given, str) else list(given))


def redacted(how: Redact, of: Codec, value: Any) -> Any:
    """A step's result, redacted. Raises ValueError or TypeError when it no longer fits its type."""
    if not isinstance(how, Patterns):
        return how(value)
    data = of.encode(of.validate(value))
    return of.decode(json.dumps(how.json(json.loads(data)), ensure_ascii=False).encode())
