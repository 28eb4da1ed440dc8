"""What two calls saw differently: their manifests side by side. Pure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from ..core.records import Fate, Manifest, ManifestPart

__all__ = ["Difference", "differences"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One part that only one of the two saw, or that both saw otherwise."""

    part: ManifestPart
    before: str
    """What became of it in the first: `kept`, `cut`, `summarised`, `dropped`, or `absent`."""
    after: str
    why: str


def differences(one: Manifest, other: Manifest) -> list[Difference]:
    """In the order of the second, then what only the first had.

    What an entry stands for together with others (`24 parts`, `turns 1 to 9`) cannot be told from what is not there:
    `why` says so.
    """
    then = _by_hash(one)
    now = _by_hash(other)
    found = [_between(then.get(key), part, _absent(one)) for key, part in now.items()]
    found += [_between(part, None, _absent(other)) for key, part in then.items() if key not in now]
    return [difference for difference in found if difference is not None]


_TOGETHER = re.compile(r"\d+ parts|turns \d+ to \d+")


def _absent(manifest: Manifest) -> str:
    """Why a part has no entry."""
    unseen = [part for part in manifest.parts if part.fate in (Fate.DROPPED, Fate.SUMMARISED)]
    several = [part for part in unseen if part.source is not None and _TOGETHER.match(part.source)]
    told = [f"{part.source}, {part.fate.value} together ({part.why})" for part in several]
    return f"not there, or among {'; '.join(told)}" if told else "not there"


def _by_hash(manifest: Manifest) -> dict[tuple[str, int], ManifestPart]:
    """Equal parts are told apart by their number."""
    times: Counter[str] = Counter()
    parts: dict[tuple[str, int], ManifestPart] = {}
    for part in manifest.parts:
        parts[part.hash, times[part.hash]] = part
        times[part.hash] += 1
    return parts


def _between(then: ManifestPart | None, now: ManifestPart | None, absent: str) -> Difference | None:
    part = now or then
    assert part is not None
    before, after = _state(then), _state(now)
    seen = {"kept", "cut"}
    if before == after and (then is None or now is None or _shown(then) == _shown(now)):
        return None
    if before not in seen and after not in seen:
        return None
    why = absent if now is None or (then is None and absent != "not there") else part.why
    return Difference(part, before, after, why)


def _shown(part: ManifestPart) -> object:
    """What was seen of it: of a cut one the form that stood in its place."""
    return (part.shown, part.into) if part.fate is Fate.CUT else None


def _state(part: ManifestPart | None) -> str:
    return "absent" if part is None else part.fate.value
