"""Why a command could not read what it needs: a damaged event looks like a bug of ours to whatever reads it."""

from __future__ import annotations

from contextlib import suppress

from ..core.lifecycle import ENDED
from ..errors import SegueError, StoreCorrupt
from ..journal.damage import UNREADABLE
from .shelf import reading


def cause(error: Exception, db: object, run: object) -> Exception:
    """The damage that an error comes of: in the run that the command names, else in one that is open. The error itself
    where there is none.
    """
    if not isinstance(error, UNREADABLE) or not isinstance(db, str):
        return error
    found: StoreCorrupt | None = None
    with suppress(SegueError):
        found = _damage(db, run if isinstance(run, str) else None)
    if found is None:
        return error
    found.__cause__ = error
    return found


def _damage(db: str, run: str | None) -> StoreCorrupt | None:
    marks = ", ".join("?" * len(ENDED))
    where, values = ("id = ?", [run]) if run is not None else (f"state not in ({marks})", sorted(ENDED))
    with reading(db) as reader:
        for (no,) in reader.query(f"select no from runs where {where} order by no", values):
            try:
                found = reader.damage(reader.get(no))
            except StoreCorrupt as error:
                return error
            if found is not None:
                return found
    return None
