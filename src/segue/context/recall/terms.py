"""Words of a text as they are compared: stems, without those that say nothing; and the times it names. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

__all__ = ["Mentioned", "mentioned", "names_a_number", "names_a_time", "terms", "words"]

_WORD = re.compile(r"[^\W_]+")
_SILENT = frozenset(
    re.findall(
        r"\w+",
        """
        a an and are as at be but by did do does for from had has have he her his how i if in is it its me my of on or
        our she so that the their them then there they this to was we were what when where which who whom why will with
        would you your about after before during into over than been being can could should not no up out just like get
        got really very some any more most also too s t ll ve re d m
        """,
    )
)
_ENDS = ("ingly", "edly", "ings", "ing", "ies", "ied", "ed", "es", "s", "ly")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_TIME = re.compile(
    r"\b(yesterday|today|tonight|tomorrow|last|next|ago|week|weekend|month|years?|days?|monday|tuesday|wednesday|"
    rf"thursday|friday|saturday|sunday|{'|'.join(_MONTHS)}|\d{{4}}|morning|recently|since|few)\b",
    re.I,
)
_NUMBER = re.compile(r"\b(\d+|one|two|three|four|five|six|seven|eight|nine|ten|twice|once|couple|several)\b", re.I)
_DATE = re.compile(
    rf"(?:(\d{{1,2}})(?:st|nd|rd|th)?(?: of)?,? )?\b({'|'.join(_MONTHS)})\b"
    r"(?:,? (\d{1,2})(?:st|nd|rd|th)?\b(?!\d))?(?:,? (\d{4}))?"
)
_IN_MAY = re.compile(r"\b(in|of|during|by|early|late|mid|since|until|last|next) may\b")


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return _WORD.findall(text.lower().replace("'s", ""))


def terms(text: str) -> list[str]:
    """The stems of its words, in order, without those that say nothing."""
    return [_stem(word) for word in words(text) if word not in _SILENT]


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    """A light stemmer: endings of English go, a doubled consonant and a last e too."""
    for end in _ENDS:
        if word.endswith(end) and len(word) - len(end) >= 3:
            word = word[: -len(end)]
            if end in ("ies", "ied"):
                word += "y"
            elif end in ("ing", "ed", "ings") and len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
                word = word[:-1]
            break
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


def names_a_time(text: str) -> bool:
    """Whether it says when: a day, a month, `last week`."""
    return _TIME.search(text) is not None


def names_a_number(text: str) -> bool:
    """Whether it says how many."""
    return _NUMBER.search(text) is not None


@dataclass(frozen=True, slots=True)
class Mentioned:
    """A date that a request names; 0 where it leaves day or year open."""

    month: int
    day: int
    year: int

    def fits(self, at: datetime) -> str:
        """`day`, `month`, `after` (what is told in the days after it), or nothing."""
        if self.year and at.year != self.year:
            return ""
        if at.month == self.month:
            if not self.day:
                return "month"
            return "day" if at.day == self.day else "after" if 0 < at.day - self.day <= 10 else ""
        follows = (at.month - 1) % 12 == self.month % 12
        return "after" if follows and ((not self.day and at.day < 15) or self.day > 20) else ""


def mentioned(text: str) -> list[Mentioned]:
    """The dates that a text names by their month."""
    low = text.lower()
    return [
        Mentioned(_MONTHS.index(found[2]) + 1, int(found[1] or found[3] or 0), int(found[4] or 0))
        for found in _DATE.finditer(low)
        if found[2] != "may" or found[1] or found[3] or found[4] or _IN_MAY.search(low)
    ]
