"""An assembly as the record of one call: each part, its tokens, what became of it and why. Pure.

The far past is one entry, not one for each part: a thread may be as long as it likes, and each call's record stays
short, so that what a thread takes on disk grows with its length and not with the square of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from ..core.records import Fate, Manifest, ManifestPart, Target
from .types import Assembly, Kind, Part, Role, Shown

__all__ = ["Call", "manifest_of", "with_covered", "with_unread"]

RULES = "1"
"""The version of the rules that fit a context."""
FOLDED = 24
"""Neighbours that were left out for one reason are one entry from so many on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """The call that an assembly was made for."""

    id: str
    """Of the manifest; unique in its run."""
    target: Target
    decision: str | None = None
    thread: str | None = None
    turn: int | None = None
    before: Manifest | None = None
    """The manifest of the call before, to say how much of the beginning is the same."""
    after: str | None = None
    """The manifest that this one replaces."""


def manifest_of(made: Assembly, call: Call) -> Manifest:
    """The record. Its prefix is what stands at the start of both this call and the one before."""
    parts = _folded(made.shown)
    same = _same_start(made, call.before)
    start = _starts(made)[same - 1] if same else None
    budget = made.budget
    return Manifest(
        id=call.id, target=call.target, window=budget.window, reserved_out=budget.reserved_out, tokens=made.tokens,
        tokenizer=made.tokenizer, parts=parts, exact=made.exact, margin=budget.margin, tokens_tools=budget.tools,
        tokens_prefix=0 if start is None else start[1], prefix=None if start is None else start[0],
        decision=call.decision, thread=call.thread, turn=call.turn, after=call.after, assembler=RULES,
    )  # fmt: skip


def with_covered(manifest: Manifest, tokens: int) -> Manifest:
    """With an entry for the turns that its first summary stands for, where they are not among its parts: a thread
    reads them no more. They had so many tokens.
    """
    at = next((at for at, part in enumerate(manifest.parts) if part.kind == Kind.SUMMARY.value), None)
    if at is None or not tokens:
        return manifest
    summary = manifest.parts[at]
    digest = blake2b(" ".join(summary.made_of).encode(), digest_size=16).hexdigest()
    covered = ManifestPart(
        hash=digest, role=Role.USER.value, tokens=tokens, fate=Fate.SUMMARISED, why="old turn", source=summary.source,
        into=summary.hash,
    )  # fmt: skip
    return replace(manifest, parts=(*manifest.parts[:at], covered, *manifest.parts[at:]))


def with_unread(manifest: Manifest, turns: tuple[int, int] | None) -> Manifest:
    """With an entry for the turns of a thread, from one to another, that were not read: it went on too far back. Their
    tokens were not counted.
    """
    if turns is None:
        return manifest
    at = next((at for at, part in enumerate(manifest.parts) if not _is_head(part)), len(manifest.parts))
    source = f"turns {turns[0]} to {turns[1]}"
    digest = blake2b(f"{manifest.thread} {source}".encode(), digest_size=16).hexdigest()
    left_out = ManifestPart(hash=digest, role=Role.USER.value, tokens=0, fate=Fate.DROPPED, why=NOT_READ, source=source)
    return replace(manifest, parts=(*manifest.parts[:at], left_out, *manifest.parts[at:]))


NOT_READ = "not read"


def _is_head(part: ManifestPart) -> bool:
    """Whether it stands before the turns: the system's words, examples, the state, a summary and what that covers."""
    stands = part.kind in (Kind.STATE.value, Kind.SUMMARY.value) or part.fate is Fate.SUMMARISED
    return stands or part.pinned or part.role == Role.SYSTEM.value


def _folded(shown: Sequence[Shown]) -> tuple[ManifestPart, ...]:
    parts: list[ManifestPart] = []
    at = 0
    while at < len(shown):
        end = at
        while end < len(shown) and _like(shown[at], shown[end]):
            end += 1
        if end - at >= FOLDED:
            parts.append(_many(shown[at:end]))
        else:
            parts += [_one(one) for one in shown[at : max(end, at + 1)]]
        at = max(end, at + 1)
    return tuple(parts)


def _like(one: Shown, other: Shown) -> bool:
    left_out = one.fate in (Fate.DROPPED, Fate.SUMMARISED)
    return left_out and (one.fate, one.why, one.into) == (other.fate, other.why, other.into)


def _many(shown: Sequence[Shown]) -> ManifestPart:
    first, last = shown[0], shown[-1]
    digest = blake2b(f"{first.part.hash} {last.part.hash} {len(shown)}".encode(), digest_size=16).hexdigest()
    turns = [one.part.turn for one in shown if one.part.turn is not None]
    where = f", turns {min(turns)} to {max(turns)}" if turns else ""
    return ManifestPart(
        hash=digest, role=Role.USER.value, tokens=sum(one.tokens for one in shown), fate=first.fate, why=first.why,
        source=f"{len(shown)} parts{where}", into=first.into, recall=first.recall,
    )  # fmt: skip


def _one(shown: Shown) -> ManifestPart:
    """The entry of one part. That of one that is shown as it is stays the same over calls, and is kept with it."""
    if shown.fate is not Fate.KEPT:
        return _entry(shown)
    kept = shown.part.__dict__
    found: ManifestPart | None = kept.get("entry")
    if found is None or (found.tokens, found.why, found.into) != (shown.tokens, shown.why, shown.into):
        found = kept["entry"] = _entry(shown)
    return found


def _entry(shown: Shown) -> ManifestPart:
    part = shown.part
    return ManifestPart(
        hash=part.hash, role=part.role.value, tokens=shown.tokens, fate=shown.fate, why=shown.why,
        kind=part.kind.value, key=part.key, run=part.run, model=part.model, source=part.source, pinned=part.pinned,
        who=part.who,
        tokens_shown=shown.tokens_shown if shown.fate is Fate.CUT else None,
        into=shown.into or _into(shown), made_of=_lineage(part), call=part.call, recall=shown.recall, turn=part.turn,
        relevance=part.relevance,
    )  # fmt: skip


def _into(shown: Shown) -> str | None:
    """The shorter form that is shown in its place."""
    return shown.as_.hash if shown.fate is Fate.CUT and shown.as_ is not None else None


def _lineage(part: Part) -> tuple[str, ...]:
    """The context has the whole of it; the record of one call has its beginning and its end."""
    made_of = part.made_of
    return made_of if part.kind is not Kind.SUMMARY or len(made_of) <= FOLDED else (*made_of[:8], "…", *made_of[-8:])


def _starts(made: Assembly) -> list[tuple[str, int]]:
    """Of each beginning of what is shown its hash and its tokens, the tools included."""
    starts: list[tuple[str, int]] = []
    digest, tokens = blake2b(digest_size=16), made.budget.tools
    for one in made.shown:
        if one.as_ is not None:
            digest.update(one.as_.hash.encode())
            tokens += one.tokens_shown
            starts.append((digest.hexdigest(), tokens))
    return starts


def _same_start(made: Assembly, before: Manifest | None) -> int:
    """How many of the parts that are shown stand at the start of the call before too."""
    if before is None or before.tokens_tools != made.budget.tools or before.target.name != made.target.model:
        return 0
    then = [part.into if part.fate is Fate.CUT else part.hash for part in before.parts if _seen(part)]
    now = [one.as_.hash for one in made.shown if one.as_ is not None]
    return next((n for n, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), min(len(then), len(now)))


def _seen(part: ManifestPart) -> bool:
    return part.fate in (Fate.KEPT, Fate.CUT)
