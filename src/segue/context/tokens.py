"""How many tokens a text has: exactly where the tokenizer is known here, else an estimate with a margin. Offline.

`bpe-openai` (the extra `context`) counts as OpenAI's models do and brings its vocabularies along. For every other model
the count is estimated from the kinds of characters, with weights fitted to tokenizers of 100,000 tokens (`large`) and
of 32,000 (`small`, which spend a token on each digit), on prose, code, JSON, numbers and other languages. What is no
language (keys, base64, sequences) is told by its vowels, a language that vocabularies know little of by its having none
of the small words of those that they know best, lists of names by their capitals.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import import_module
from operator import mul
from typing import Any

from ..models import Model
from ..models.spec import Provider
from .scripts import scripts

__all__ = ["Tokens", "dearest", "encoding_of", "estimate", "exact", "tokens_of"]

_KEPT = 65_536
"""Counts that are kept, so that a long thread is counted once."""
_LONG = 16_384
"""Characters of a text whose count is not kept under the text itself."""

_OPENAI = frozenset({Provider.OPENAI, Provider.OPENAI_RESPONSES})
_SMALL = frozenset({Provider.LOCAL, Provider.OLLAMA, Provider.MISTRAL, Provider.GOOGLE, Provider.OPENAI_COMPATIBLE})
_CL100K = re.compile(r"(?:ft:)?(?:gpt-4(?!o|\.1|\.5)|gpt-3\.5|gpt-35|text-embedding-)")
_O200K = re.compile(r"(?:ft:)?(?:gpt-|chatgpt-|o\d|codex|computer-use)")

_LOWER = re.compile(r"[a-z]+")
_CAPS = re.compile(r"[A-Z](?:[A-Z]*(?![a-z]))")
"""Capitals that begin no word of small letters."""
_DIGITS, _NUMERALS = re.compile(r"[0-9]+"), re.compile(r"\d+")
_SPACED = re.compile(r"(?<=[ \t])\d")
_SIGNS = re.compile(r"[^\w\s]+")
_WORD, _NAME = (re.compile(rf"(?<![^\W_]){first}[^\W\d_A-Z]{{2}}") for first in (r"[^\W\d_]", "[A-ZÀ-ÞĀ-Ž]"))
"""The beginning of a word, and of what may be a name of people, places or species: with a capital."""
_CODE = re.compile(r"[{}()<>=:]")
_LINES, _BLANKS = re.compile(r"\n+"), re.compile(r"[ \t]{2,}")


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Counts the tokens of texts. The same text has the same count each time."""

    name: str
    count_: Callable[[str], int]
    exact: bool
    margin_share: float = 0.0
    """By which share of the count the true one may be higher."""
    _kept: dict[str, int] = field(default_factory=dict[str, int])

    def __call__(self, text: str) -> int:
        """The tokens of a text; 0 for none."""
        if not text:
            return 0
        found = self._kept.get(text)
        if found is None:
            found = self.count_(text)
            if len(text) <= _LONG:
                if len(self._kept) >= _KEPT:
                    self._kept.clear()
                self._kept[text] = found
        return found

    def margin(self, room: int) -> int:
        """Of so much room for input, what is kept free since the count is an estimate."""
        return 0 if self.exact else math.ceil(room * self.margin_share / (1 + self.margin_share))


def tokens_of(model: Model) -> Tokens:
    """How the tokens of a model are counted."""
    encoding = encoding_of(model)
    known = exact(encoding) if encoding is not None else None
    return known or estimate(small=model.provider in _SMALL)


def dearest(models: Iterable[Model]) -> Tokens:
    """Counts as the one of several models does that a text costs most, so that it is no longer for any of them."""
    counts = {one.name: one for one in map(tokens_of, models)}
    if len(counts) < 2:
        return next(iter(counts.values()), estimate())
    return Tokens(
        " or ".join(sorted(counts)), lambda text: max(count(text) for count in counts.values()), exact=False,
        margin_share=max(one.margin_share for one in counts.values()),
    )  # fmt: skip


def encoding_of(model: Model) -> str | None:
    """The encoding that an OpenAI model is known to use; None for all others."""
    if model.provider not in _OPENAI:
        return None
    name = model.id.lower().rpartition("/")[2]
    if _CL100K.match(name):
        return "cl100k_base"
    return "o200k_base" if _O200K.match(name) else None


@cache
def exact(encoding: str) -> Tokens | None:
    """Counts by an encoding's own vocabulary; None where the package is not installed, or does not know it."""
    try:
        with warnings.catch_warnings():  # it reads its files in a way that Python 3.11 calls old
            warnings.simplefilter("ignore", DeprecationWarning)
            package: Any = import_module("bpe_openai")
            encode: Callable[[str], list[int]] = package.get_encoding(encoding).encode_ordinary
    except (ImportError, KeyError, ValueError):
        return None
    return Tokens(encoding, lambda text: len(encode(text)), exact=True)


@cache
def estimate(*, small: bool = False) -> Tokens:
    """Estimates by kinds of characters. `small`: as a vocabulary of 32,000 tokens would, which needs more."""
    weights = _SMALL_WEIGHTS if small else _LARGE_WEIGHTS
    name = "estimate-small" if small else "estimate-large"
    return Tokens(name, lambda text: _estimated(text, weights), exact=False, margin_share=0.3)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Weights:
    """Tokens of each piece."""

    word: float
    digits: float
    """Of three digits."""
    signs: float
    """Of three signs."""
    gap: float
    spaced: float
    """Of the blank before a number, which stands by itself."""
    letters: tuple[float, ...]
    """Of a letter, by the kind of its script."""


_LARGE_WEIGHTS = _Weights(
    word=0.95, digits=1.35, signs=1.05, gap=0.7, spaced=0.25, letters=(0.45, 1.2, 0.85, 1.0, 1.85, 2.6, 2.2, 3.1)
)
_SMALL_WEIGHTS = _Weights(
    word=1.02, digits=3.0, signs=1.4, gap=1.7, spaced=0.6, letters=(0.5, 1.25, 1.05, 1.3, 2.6, 2.6, 4.2, 4.2)
)


def _estimated(text: str, w: _Weights) -> int:
    words, runs, digits, spaced, signs, gaps, letters = _pieces(text)
    total = w.word * words + w.digits * (runs if w.digits < 2 else digits / 3) + w.signs * signs + w.gap * gaps
    total += w.spaced * spaced + sum(map(mul, w.letters, letters))
    return max(1, math.ceil(total))


@lru_cache(maxsize=4096)
def _pieces(text: str) -> tuple[float, int, int, int, int, int, tuple[int, ...]]:
    """Of a text its words (long ones, capitals and random letters count more), its digits by threes and all of them,
    blanks before them, signs by threes, gaps, and letters by script: what each estimate is made of.
    """
    plain = text.isascii()
    lower, caps = _LOWER.findall(text), _CAPS.findall(text)
    long = [len(word) for word in lower if len(word) > 6]
    words = len(lower) + sum(long) / 4 - 1.5 * len(long)
    if long and max(long) > _COMPOUND:
        words += _COMPOUNDS * sum([size - _COMPOUND for size in long if size > _COMPOUND])
    numbers = (_DIGITS if plain else _NUMERALS).findall(text)
    threes, digits = sum([(len(run) + 2) // 3 for run in numbers]), sum(map(len, numbers))
    signs = sum([(len(run) + 2) // 3 if len(run) < 7 else _signs(run) for run in _SIGNS.findall(text)])
    words *= 1 + _UNFAMILIAR * _unfamiliar(lower, signs + threes + text.count("_"))
    words += _names(text, lower) * max(0.0, _NAMED * sum(map(len, lower)) - words)
    words = _dense(words, lower, _RANDOM, _SPOKEN, text)
    if caps:
        words += _dense(_capitals(caps), caps, _RANDOM_CAPS, _SPOKEN_CAPS)
    spaced = len(_SPACED.findall(text)) if digits else 0
    return words, threes, digits, spaced, signs, _gaps(text), () if plain else scripts(text)


_COMPOUND, _COMPOUNDS = 14, 0.12
"""Letters of a word from which on it is put together from others, and what each letter more takes beside its fourth."""
_UNFAMILIAR = 0.5
"""What a word takes more in a language of which vocabularies know few whole words: Finnish, Basque, Swahili."""
_NAMED = 0.44
"""Tokens of a letter of names, of which vocabularies have few as a whole."""
_FAMILIAR = frozenset(
    re.findall(
        r"\w+",
        """
        the of and to in is that for was with are this not you from have be it or will can if by an at we your all when
        der die das und den von mit ist im des ein eine einer nicht sich dem auf zu nach oder werden
        le la les de et un une que en dans pour du est qui sur pas ne au
        el los las y del por con una para su al como o os um uma do dos em que
        il di che non per della het een van op te och att det som er til av
        """,
    )
)
"""What no prose of English, German, French, Spanish, Portuguese, Italian, Dutch or of Scandinavia is without."""
_RANDOM, _RANDOM_CAPS = 0.54, 0.65
"""Tokens of a random letter: in keys, in base64, in sequences."""
_SPOKEN, _SPOKEN_CAPS, _SPREAD = 0.33, 0.37, 0.12
"""The share of vowels in what people write is above this; in random letters it is lower by so much."""
_VOWELS, _LARGE = b"aeiouAEIOU", bytes(range(ord("A"), ord("Z") + 1))


def _unfamiliar(lower: list[str], marks: int) -> float:
    """How far a text is prose, and in none of the languages that vocabularies know best: 0 to 1. Prose has few signs
    and numbers, as code and data do not.
    """
    n = len(lower)
    prose = min(1.0, (0.5 - marks / n) / 0.15) if n > 3 else 0.0
    return _strange(lower) * prose if prose > 0 else 0.0


def _names(text: str, lower: list[str]) -> float:
    """How far a text is a list of names: 0 to 1. Most of its words begin with a capital, none is a small word, and it
    is neither code nor talk.
    """
    names = len(_NAME.findall(text))
    n = len(_WORD.findall(text)) if names > 3 else 0
    share = names / n if n > 3 else 0.0
    if share <= 0.4:
        return 0.0
    strange = _strange([word for word in lower if len(word) > 1])  # one letter may be a part of a word with accents
    return min(1.0, (share - 0.4) / 0.1) * max(0.0, 1 - 5 * len(_CODE.findall(text)) / n) * strange


def _strange(lower: list[str]) -> float:
    """How far words have none of the small words that vocabularies know best among them; a few words tell little."""
    n = len(lower)
    return max(0.0, 1 - sum([word in _FAMILIAR for word in lower]) / (n * 0.1)) * n / (n + 3) if n else 0.0


def _dense(words: float, runs: list[str], each: float, spoken: float, mixed: str = "") -> float:
    """The words that runs of letters count as: more, as far as these have fewer vowels than what anybody says, and are
    not the same few again and again. `mixed` is the text whose small letters they are: capitals among random ones count
    with them.
    """
    letters = "".join(runs)
    have = len(letters)
    if not have:
        return words
    vowels = have - len(letters.encode().translate(None, _VOWELS))
    if vowels >= have * spoken or len(set(letters)) < 4:
        return words
    random = min(1.0, (spoken - vowels / have) / _SPREAD) * have / (have + 4)
    names = [run for run in runs if len(run) > 2]
    if names:
        random *= min(1.0, 2 * len(set(names)) / len(names))
    if mixed:
        data = mixed.encode()
        have += (len(data) - len(data.translate(None, _LARGE))) * 5 // 6
    return words + random * max(0.0, have * each - words)


def _capitals(caps: list[str]) -> float:
    """The words that runs of capitals count as: very long ones are none, but sequences."""
    words = sum([1 if len(run) < 5 else len(run) / 4 for run in caps])
    sequences = [run for run in caps if len(run) > 20]
    return words + sum([(len(run) - 20) * 0.35 for run in sequences if len(set(run)) > 3])


def _signs(run: str) -> int:
    """A long run of signs, by threes; nearly by twos where they are not the same few."""
    return len(run) * 4 // 7 + 1 if len(set(run)) * 4 > len(run) or len(set(run)) > 8 else (len(run) + 2) // 3


def _gaps(text: str) -> int:
    """Runs of line feeds, and of blanks; very long ones are several."""
    gaps = 0
    if "\n" in text:
        gaps += sum([1 + len(run) // 12 for run in _LINES.findall(text)])
    if "  " in text or "\t" in text:
        gaps += sum([1 + len(run) // 64 for run in _BLANKS.findall(text)])
    return gaps
