"""`segue gc`: deletes what ended long ago."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

from rich.text import Text

from ..journal.retention import Collected
from .exits import Exit
from .paint import tell
from .shelf import acting, reading
from .wheres import seconds
from .words import plural


def collect(db: str, older_than: str, *, dry_run: bool, as_json: bool) -> Exit:
    """Delete, or say what would be deleted."""
    age_s = seconds(older_than, "--older-than")
    reading(db, acts=not dry_run).shut()  # a missing file is an error, and stays missing
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


async def _collect(db: str, age_s: float, dry_run: bool) -> Collected:
    async with acting(db) as engine:
        return await engine.gc(age_s, dry_run=dry_run)
