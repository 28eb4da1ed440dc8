"""What the model calls of runs were shown: the manifests in the journal, drawn and compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ..context.differ import Difference, differences
from ..core.codec import loads
from ..core.events import EventType
from ..core.records import Manifest, ManifestPart
from ..core.shell import command
from ..core.short import resolve
from ..errors import InputError
from .exits import Exit
from .paint import Drawn, emit, out
from .shelf import reading

Seen = tuple[str, int | None, Manifest]
"""A call's key, its attempt, and what it was shown."""


def show(db: str, run: str, key: str | None, as_json: bool) -> Exit:
    """Draw what the calls of a run were shown; of one key only its. Raises InputError where nothing is on record."""
    found = _of(db, run, key)
    if as_json:
        print(json.dumps([_json(one) for one in found], ensure_ascii=False, indent=2))
        return Exit.DONE
    for one in found:
        emit(out(), *drawn(one))
    return Exit.DONE


def diff(db: str, one: str, other: str, as_json: bool) -> Exit:
    """Draw what two calls saw differently; each is RUN or RUN:KEY, and of several attempts the last counts."""
    then, now = _last(db, one), _last(db, other)
    found = differences(then[2], now[2])
    if as_json:
        print(json.dumps([_difference(each) for each in found], ensure_ascii=False, indent=2))
        return Exit.DONE
    emit(out(), *_compared(then[2], now[2], found))
    return Exit.DONE


def _of(db: str, run: str, key: str | None) -> list[Seen]:
    with reading(db) as reader:
        events = [reader.whole(e) for e in reader.events(reader.get(run)) if e.type == EventType.CONTEXT_ASSEMBLED]
    seen = [(e.key or "", e.attempt, Manifest.from_body(loads(e.body), e.version)) for e in events]
    if key is not None:
        name = resolve(key, (one[0] for one in seen), what="call", run=run)
        seen = [one for one in seen if one[0] == name]
    if not seen:
        raise InputError(
            "no manifest is on record" + (f" for {key!r}" if key is not None else ""), run=run,
            remedy=f"list its calls: {command('show', run)}",
        )  # fmt: skip
    return seen


def _last(db: str, named: str) -> Seen:
    run, key = _call(db, named)
    return _of(db, run, key or None)[-1]


def _call(db: str, named: str) -> tuple[str, str]:
    """The run and the key that are meant: both may have a colon in them. The longest name that a run has counts."""
    with reading(db) as reader:
        at = len(named)
        while at > 0:
            if reader.find(named[:at]) is not None:
                return named[:at], named[at + 1 :]
            at = named.rfind(":", 0, at)
    run, _, key = named.partition(":")
    return run, key


def drawn(seen: Seen) -> list[Drawn]:
    """One manifest: its head, and a line for each part."""
    key, attempt, manifest = seen
    exact = "" if manifest.exact else f" (estimated, {manifest.margin:,} kept free)"
    head = Text(f"{key}" + (f" attempt {attempt}" if attempt else ""), "bold")
    head.append(
        f"  {manifest.target.name}: {manifest.tokens:,} of {manifest.window:,} tokens{exact}, "
        f"{manifest.reserved_out:,} for the answer, {manifest.tokens_prefix:,} as in the call before",
        "dim",
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column, right in (("fate", False), ("tokens", True), ("role", False), ("kind", False), ("why", False)):
        table.add_column(column, justify="right" if right else "left", no_wrap=column != "why")
    for part in manifest.parts:
        tokens = f"{part.shown:,}" if part.shown == part.tokens else f"{part.shown:,}/{part.tokens:,}"
        table.add_row(part.fate.value, tokens, part.role, part.kind, _about(part), style="" if part.shown else "dim")
    return [head, table, ""]


def _about(part: ManifestPart) -> Text:
    said = [part.why] if part.why else []
    said += [f"from {part.source}"] if part.source else []
    said += ["pinned"] if part.pinned else []
    said += [f"call {part.call}"] if part.call else []
    said += [f"recall {part.recall}"] if part.recall else []
    return Text("; ".join(said))


def _compared(then: Manifest, now: Manifest, found: Sequence[Difference]) -> list[Drawn]:
    head = Text(f"{then.target.name}, {then.tokens:,} tokens  →  {now.target.name}, {now.tokens:,} tokens", "bold")
    if not found:
        return [head, Text("They saw the same.", "dim")]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("before", "after", "tokens", "role", "kind", "why"):
        table.add_column(column, justify="right" if column == "tokens" else "left", no_wrap=column != "why")
    for each in found:
        part = each.part
        table.add_row(each.before, each.after, f"{part.tokens:,}", part.role, part.kind, Text(each.why))
    return [head, table]


def _json(seen: Seen) -> dict[str, Any]:
    key, attempt, manifest = seen
    return {"key": key, "attempt": attempt, **manifest.to_body()}


def _difference(each: Difference) -> dict[str, Any]:
    return {"before": each.before, "after": each.after, "why": each.why, "part": each.part.write("")}
