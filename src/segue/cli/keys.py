"""Finds the key that somebody means: whole, as `segue show` prints it, or just the step's name or fingerprint. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..core.keys import name_of
from ..errors import InputError
from .words import short_key

_DIGITS = 4
"""Digits of a fingerprint that are shown."""
_FINGERPRINT = re.compile(r"\[([0-9a-f]+)\](?:#\d+)?$")
_COUNTED = re.compile(r"#\d+$")
"""How a whole key ends: `pay#1` is no beginning of `pay#12`, which is another call."""
_IDENTITY = re.compile(r"\[[^\]]*\]")


def resolve(given: str, keys: Iterable[str], *, what: str, run: str) -> str | None:
    """The one key that is meant; None when none fits.

    Raises InputError when several fit equally well, naming them.
    """
    known = list(dict.fromkeys(keys))
    if given in known:
        return given
    for fits in (
        [k for k in known if given == short_key(k)],
        [k for k in known if given == short_key(_last(k))],
        [k for k in known if given == name_of(k)],
        [k for k in known if len(given) >= _DIGITS and (part := _FINGERPRINT.search(k)) and part[1].startswith(given)],
        [k for k in known if f"/{_plain(k)}".endswith(f"/{given}")],
        [k for k in known if not _COUNTED.search(given) and (k.startswith(given) or _last(k).startswith(given))],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise InputError(
                f"{given!r} fits {len(fits)} {what}s: {', '.join(fits[:5])}" + (", …" if len(fits) > 5 else ""),
                run=run,
                remedy="name one of them in full",
            )
    return None


def _last(key: str) -> str:
    return key.rpartition("/")[2]


def _plain(key: str) -> str:
    """The key without what its calls are told apart by: `gather/0/fetch`."""
    return _IDENTITY.sub("", short_key(key))
