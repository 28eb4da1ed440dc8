"""What two calls saw differently: their manifests side by side. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from ..core.records import Fate, Manifest, ManifestPart

__all__ = ["Difference", "differences"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One part that only one of the two saw, or that both saw otherwise or in another place."""

    part: ManifestPart
    before: str
    """What became of it in the first: `kept`, `cut`, `summarised`, `dropped`, or `absent`."""
    after: str
    why: str


def differences(one: Manifest, other: Manifest) -> list[Difference]:
    """In the order of the second, then what only the first had. What both saw, but in another order, is among them.

    What an entry stands for together with others (`24 parts`, `turns 1 to 9`) cannot be told from what is not there:
    `why` says so.
    """
    then = _by_hash(one)
    now = _by_hash(other)
    moved = _moved(then, now)
    found = [_between(then.get(key), part, _absent(one), moved.get(key, "")) for key, part in now.items()]
    found += [_between(part, None, _absent(other)) for key, part in then.items() if key not in now]
    return [difference for difference in found if difference is not None]


_TOGETHER = re.compile(r"\d+ parts|turns \d+ to \d+")


def _absent(manifest: Manifest) -> str:
    """Why a part has no entry."""
    unseen = [part for part in manifest.parts if part.fate in (Fate.DROPPED, Fate.SUMMARISED)]
    several = [part for part in unseen if part.source is not None and _TOGETHER.match(part.source)]
    told = [f"{part.source}, {part.fate.value} together ({part.why})" for part in several]
    return f"not there, or among {'; '.join(told)}" if told else "not there"


_Key = tuple[str, int]


def _moved(then: Mapping[_Key, ManifestPart], now: Mapping[_Key, ManifestPart]) -> dict[_Key, str]:
    """What both saw and does not stand where it stood among the others that both saw: where it stands now."""
    before = [key for key, part in then.items() if _seen(part) and key in now and _seen(now[key])]
    after = [key for key, part in now.items() if _seen(part) and key in then and _seen(then[key])]
    if before == after:
        return {}
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    kept = {key for block in blocks for key in after[block.b : block.b + block.size]}
    places = {key: (before.index(key) + 1, n) for n, key in enumerate(after, 1) if key not in kept}
    return {key: f"in another place: {was} before, {now} after, of {len(after)}" for key, (was, now) in places.items()}


def _by_hash(manifest: Manifest) -> dict[_Key, ManifestPart]:
    """Equal parts are told apart by their number."""
    times: Counter[str] = Counter()
    parts: dict[_Key, ManifestPart] = {}
    for part in manifest.parts:
        parts[part.hash, times[part.hash]] = part
        times[part.hash] += 1
    return parts


def _between(then: ManifestPart | None, now: ManifestPart | None, absent: str, moved: str = "") -> Difference | None:
    part = now or then
    assert part is not None
    before, after = _state(then), _state(now)
    if before == after and not moved and (then is None or now is None or _shown(then) == _shown(now)):
        return None
    if not _seen(then) and not _seen(now):
        return None
    why = absent if now is None or (then is None and absent != "not there") else part.why
    return Difference(part, before, after, moved or why)


def _seen(part: ManifestPart | None) -> bool:
    return part is not None and part.fate in (Fate.KEPT, Fate.CUT)


def _shown(part: ManifestPart) -> object:
    """What was seen of it: of a cut one the form that stood in its place."""
    return (part.shown, part.into) if part.fate is Fate.CUT else None


def _state(part: ManifestPart | None) -> str:
    return "absent" if part is None else part.fate.value
