"""What two calls saw differently: their manifests side by side. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from ..core.records import Fate, Manifest, ManifestPart
from .types import Kind

__all__ = ["Difference", "differences"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One part that only one of the two saw, or that both saw otherwise or in another place."""

    part: ManifestPart
    before: str
    """What became of it in the first: `kept`, `cut`, `summarised`, `dropped`, or `absent`."""
    after: str
    why: str
    then: int | None = None
    """Its place among the parts of the first; None where it is absent."""
    now: int | None = None


def differences(one: Manifest, other: Manifest, said: Sequence[str] = (), says: Sequence[str] = ()) -> list[Difference]:
    """In the order of the second, then what only the first had. What both saw, but in another order, is among them.

    `said` and `says` have for each part of the two what is the same for all that say the same, and nothing where that
    is not known: a provider gives each call an id of its own, which is part of the hash of the call and of its result.
    What an entry stands for together with others (`24 parts`, `turns 1 to 9`) cannot be told from what is not there:
    `why` says so.
    """
    paired, unsure = _paired(one.parts, other.parts, said, says)
    moved = _moved(one.parts, other.parts, paired)
    found: list[Difference | None] = []
    for at, part in enumerate(other.parts):
        then = paired.get(at)
        before = None if then is None else one.parts[then]
        why = moved.get(at) or (_UNSURE if at in unsure else "")
        found.append(_between((then, before), (at, part), _absent(one, part), why))
    kept = set(paired.values())
    gone = (at for at in range(len(one.parts)) if at not in kept)
    found += [_between((at, one.parts[at]), (None, None), _absent(other, one.parts[at])) for at in gone]
    return [difference for difference in found if difference is not None]


_UNSURE = "another call: whether it says the same is not known, since its words are not on record"
_TOGETHER = re.compile(r"\d+ parts|turns \d+ to \d+")
_CALLS = (Kind.CALL.value, Kind.RESULT.value)
_BESIDE = (Kind.MEMORY.value, Kind.STATE.value, Kind.SUMMARY.value)
_Place = tuple[int | None, ManifestPart | None]


def _absent(manifest: Manifest, part: ManifestPart) -> str:
    """Why a part has no entry. What stands beside the turns is never among several."""
    if part.kind in _BESIDE:
        return "not there"
    unseen = [part for part in manifest.parts if part.fate in (Fate.DROPPED, Fate.SUMMARISED)]
    several = [part for part in unseen if part.source is not None and _TOGETHER.match(part.source)]
    told = [f"{part.source}, {part.fate.value} together ({part.why})" for part in several]
    return f"not there, or among {'; '.join(told)}" if told else "not there"


def _paired(
    then: Sequence[ManifestPart], now: Sequence[ManifestPart], said: Sequence[str], says: Sequence[str]
) -> tuple[dict[int, int], set[int]]:
    """Of each part of the second its place in the first, if it has one; and which may say something else. Parts that
    are equal are told apart by their order.
    """
    paired = _equal(said, says, {})
    paired |= _equal([part.hash for part in then], [part.hash for part in now], paired)
    unknown = (_unknown(then, said), _unknown(now, says))
    unsure = _equal(*unknown, paired)
    return paired | unsure, set(unsure)


def _equal(then: Sequence[str], now: Sequence[str], paired: Mapping[int, int]) -> dict[int, int]:
    """The places of what is equal, and not paired yet; an empty name is equal to nothing."""
    taken = set(paired.values())
    before = dict(_numbered("" if at in taken else name for at, name in enumerate(then)))
    after = _numbered("" if at in paired else name for at, name in enumerate(now))
    return {at: before[name] for name, at in after if name in before}


def _numbered(names: Iterable[str]) -> Iterator[tuple[tuple[str, int], int]]:
    times: Counter[str] = Counter()
    for at, name in enumerate(names):
        if name:
            yield (name, times[name]), at
            times[name] += 1


def _unknown(parts: Sequence[ManifestPart], says: Sequence[str]) -> list[str]:
    """Calls and results whose words are not known, by what else is known of them."""
    unknown = [part.kind in _CALLS and bool(says) and not says[at] for at, part in enumerate(parts)]
    return [f"{part.kind} {part.tokens}" if one else "" for part, one in zip(parts, unknown, strict=True)]


def _moved(then: Sequence[ManifestPart], now: Sequence[ManifestPart], paired: Mapping[int, int]) -> dict[int, str]:
    """What both saw and does not stand where it stood among the others that both saw: where it stands now."""
    both = {at: was for at, was in sorted(paired.items()) if _seen(now[at]) and _seen(then[was])}
    after = list(both.values())
    before = sorted(after)
    if before == after:
        return {}
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    kept = {was for block in blocks for was in after[block.b : block.b + block.size]}
    place = {was: n for n, was in enumerate(before, 1)}
    return {
        at: f"in another place: {place[was]} before, {n} after, of {len(after)}"
        for n, (at, was) in enumerate(both.items(), 1) if was not in kept
    }  # fmt: skip


def _between(one: _Place, other: _Place, absent: str, why: str = "") -> Difference | None:
    (was, then), (at, now) = one, other
    part = now or then
    assert part is not None
    before, after = _state(then), _state(now)
    if before == after and not why and (then is None or now is None or _shown(then, now) == _shown(now, then)):
        return None
    if not _seen(then) and not _seen(now):
        return None
    because = absent if now is None or (then is None and absent != "not there") else part.why
    return Difference(part, before, after, why or because, was, at)


def _seen(part: ManifestPart | None) -> bool:
    return part is not None and part.fate in (Fate.KEPT, Fate.CUT)


_HANDLE = re.compile(r"\b[0-9a-f]{12}\b")


def _shown(part: ManifestPart, beside: ManifestPart) -> object:
    """What was seen of it: of a cut one the form that stood in its place, which names the part by its own handle."""
    if part.fate is not Fate.CUT:
        return None
    return (part.shown, part.into) if part.hash == beside.hash else _HANDLE.sub("", part.why)


def _state(part: ManifestPart | None) -> str:
    return "absent" if part is None else part.fate.value
