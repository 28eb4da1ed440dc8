"""`segue gc`: deletes what ended long ago."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import asdict

from rich.text import Text

from ..errors import InputError
from ..journal.retention import Collected
from ..runtime.engine import Engine
from .exits import Exit
from .paint import tell
from .shelf import path_of, reading
from .words import plural

_AGE = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h|d)")
_UNIT_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def collect(db: str, older_than: str, *, dry_run: bool, as_json: bool) -> Exit:
    """Delete, or say what would be deleted."""
    age_s = seconds(older_than)
    reading(db).shut()  # a missing file is an error, and stays missing
    gone = asyncio.run(_collect(db, age_s, dry_run))
    if as_json:
        print(json.dumps(asdict(gone), ensure_ascii=False, indent=2))
        return Exit.DONE
    would = "would be " if dry_run else ""
    payloads = f", {plural(gone.payloads, 'payload')} of {gone.payload_bytes / 1e6:.1f} MB" if gone.payloads else ""
    tell(Text(f"{plural(len(gone.runs), 'run')} {would}deleted: {plural(gone.events, 'event')}{payloads}."))
    for why, count in gone.kept.items():
        tell(Text(f"  {count:,} kept: {why}", "dim"))
    return Exit.DONE


def seconds(age: str) -> float:
    """`90d`, `12h`, `30min`, `10s`. Raises InputError."""
    found = _AGE.fullmatch(age.strip())
    if found is None:
        raise InputError(f"--older-than {age}: no age", remedy="write a number and its unit: 90d, 12h, 30min, 10s")
    return float(found[1]) * _UNIT_S[found[2]]


async def _collect(db: str, age_s: float, dry_run: bool) -> Collected:
    async with Engine(path_of(db), recover=False) as engine:
        return await engine.gc(age_s, dry_run=dry_run)
