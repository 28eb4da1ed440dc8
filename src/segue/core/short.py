"""Keys in short, as a reader is shown them, and the key that somebody means by one. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import InputError
from .keys import name_of

_DIGITS = 4
"""Digits of a fingerprint that are shown."""
_WHOLE_FINGERPRINT = re.compile(r"\[([0-9a-f]{12})\]")
_FINGERPRINT = re.compile(r"\[([0-9a-f]+)\](?:#\d+)?$")
_COUNTED = re.compile(r"#\d+$")
"""How a whole key ends: `pay#1` is no beginning of `pay#12`, which is another call."""
_SHORT = re.compile(r"\[[0-9a-f]{4}\]#\d+$")
_IDENTITY = re.compile(r"\[[^\]]*\]")


def short_key(key: str) -> str:
    """A key as it is shown: four digits of a fingerprint, and no `#1`. `resolve` finds the whole one again."""
    short = _WHOLE_FINGERPRINT.sub(lambda m: f"[{m[1][:_DIGITS]}]", key)
    return "/".join(part.removesuffix("#1") for part in short.split("/"))


def is_counted(key: str) -> bool:
    """Whether a key that is on record is that of a call."""
    return bool(_COUNTED.search(key))


def is_whole(key: str) -> bool:
    """Whether a key is one as it stands, also of a call that is still to come."""
    return bool(_COUNTED.search(key)) and not _SHORT.search(key)


def resolve(given: str, keys: Iterable[str], *, what: str, run: str) -> str | None:
    """The one key that is meant; None when none fits.

    Raises InputError when several fit equally well, naming the first of them.
    """
    fits = fitting(given, keys)
    if len(fits) > 1:
        short = list(map(short_key, fits))
        shown = short if len(set(short)) == len(short) else fits
        raise InputError(
            f"{given!r} fits {len(fits)} {what}s: {', '.join(shown[:5])}" + (", …" if len(fits) > 5 else ""),
            run=run,
            remedy="name one of them in full",
        )
    return fits[0] if fits else None


def fitting(given: str, keys: Iterable[str]) -> list[str]:
    """The keys that fit best, all of them equally well."""
    known = list(dict.fromkeys(keys))
    if given in known:
        return [given]
    ways = (
        [k for k in known if given == short_key(k)],
        [k for k in known if given == short_key(_last(k))],
        [k for k in known if given == name_of(k)],
        [k for k in known if len(given) >= _DIGITS and (part := _FINGERPRINT.search(k)) and part[1].startswith(given)],
        [k for k in known if f"/{_plain(k)}".endswith(f"/{given}")],
        [k for k in known if not _COUNTED.search(given) and (k.startswith(given) or _last(k).startswith(given))],
    )
    return next((fits for fits in ways if fits), list[str]())


def _last(key: str) -> str:
    return key.rpartition("/")[2]


def _plain(key: str) -> str:
    """The key without what its calls are told apart by: `gather/0/fetch`."""
    return _IDENTITY.sub("", short_key(key))
