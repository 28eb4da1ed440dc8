"""What two calls saw differently: their manifests side by side. Pure."""

from __future__ import annotations

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
    """In the order of the second, then what only the first had."""
    then = _by_hash(one)
    now = _by_hash(other)
    found = [_between(then.get(key), part) for key, part in now.items()]
    found += [_between(part, None) for key, part in then.items() if key not in now]
    return [difference for difference in found if difference is not None]


def _by_hash(manifest: Manifest) -> dict[tuple[str, int], ManifestPart]:
    """Equal parts are told apart by their number."""
    times: Counter[str] = Counter()
    parts: dict[tuple[str, int], ManifestPart] = {}
    for part in manifest.parts:
        parts[part.hash, times[part.hash]] = part
        times[part.hash] += 1
    return parts


def _between(then: ManifestPart | None, now: ManifestPart | None) -> Difference | None:
    part = now or then
    assert part is not None
    before, after = _state(then), _state(now)
    seen = {"kept", "cut"}
    if before == after and (part.fate is not Fate.CUT or (then is not None and then.shown == part.shown)):
        return None
    if before not in seen and after not in seen:
        return None
    return Difference(part, before, after, part.why if now is not None else "not there")


def _state(part: ManifestPart | None) -> str:
    return "absent" if part is None else part.fate.value
