"""The figures of one client: from its answers, and from what the server has seen of its models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from segue.testing.provider.faults import Trouble

from .books import Books
from .crew import Done
from .scene import Scene
from .tasks import Seen, check


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """Whether limits were kept: the most that the server saw, of any model, against the limit."""

    concurrency: int
    rpm: int
    tpm: int
    refused: int
    """Calls over a limit, which the server refused."""
    kept: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """One client in the first scene. Times are seconds."""

    client: str
    version: str
    asks: int
    valid: float
    """Share of asks that ended in a valid answer."""
    ends: Mapping[str, int]
    """How asks ended, by verdict of the checker."""
    attempts: float
    """Calls that reached the server, for each ask."""
    attempts_said: float
    """As the client counts them; 0: it does not say."""
    twice: int
    """Asks that got two whole answers."""
    p50_s: float
    p99_s: float
    worst_s: float
    asks_per_s: float
    limits: Kept
    tokens: int
    """Accounted by the client."""
    tokens_served: int
    """Counted by the server."""
    tokens_wrong: int
    """Valid answers whose own tokens the client counts otherwise than the server."""
    errors: Mapping[str, int] = field(default_factory=dict[str, int])
    """What is said of asks without an answer, the most frequent first."""
    outage: Outage | None = None
    books: Books | None = None
    """What its journal says of money, where it has one."""

    def data(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outage:
    """One model down for a while. Times are seconds."""

    before_s: float
    """The 99th percentile before."""
    during_s: float
    """That of asks that came while it was down."""
    rise_s: float
    timeout_s: float
    lost: int
    """Asks without a valid answer."""
    asks: int


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def tally(
    scene: Scene, done: Sequence[Done], seen: Seen, counts: Mapping[str, Mapping[str, int]], *, name: tuple[str, str]
) -> Tally:
    """The figures. `counts` are those of this client's models, `name` is its name and version."""
    verdicts = {one.ask.ticket: check(one.ask, one.said["text"], seen) for one in done}
    ends, times = Counter(verdicts.values()), [one.s for one in done]
    calls = sum(c["calls"] for c in counts.values())
    errors = Counter(str(one.said["error"])[:90] for one in done if one.said["text"] is None)
    return Tally(
        client=name[0], version=name[1], asks=len(done), valid=ends["valid"] / len(done), ends=dict(ends),
        attempts=calls / len(done), attempts_said=sum(one.said.get("attempts", 0) for one in done) / len(done),
        twice=seen.twice(), p50_s=quantile(times, 0.5), p99_s=quantile(times, 0.99), worst_s=max(times),
        asks_per_s=len(done) / max(one.due + one.s for one in done), limits=_kept(scene, counts.values()),
        tokens=sum(one.said.get("tokens_in", 0) + one.said.get("tokens_out", 0) for one in done),
        tokens_served=sum(c["tokens_in"] + c["tokens_out"] for c in counts.values()),
        tokens_wrong=sum(_miscounted(one, seen) for one in done if verdicts[one.ask.ticket] == "valid"),
        errors=dict(errors.most_common(5)),
    )  # fmt: skip


def outage(scene: Scene, before: Sequence[Done], during: Sequence[Done], seen: Seen) -> Outage:
    """The figures of the second scene."""
    calm, rough = (quantile([one.s for one in some], 0.99) for some in (before, during))
    lost = sum(check(one.ask, one.said["text"], seen) != "valid" for one in during)
    return Outage(
        before_s=calm, during_s=rough, rise_s=rough - calm, timeout_s=scene.timeout_s, lost=lost, asks=len(during)
    )


def _kept(scene: Scene, counts: Any) -> Kept:
    most = {name: max(c[name] for c in counts) for name in ("peak_active", "peak_admitted", "peak_tpm")}
    refused = sum(c["limited"] for c in counts)
    over = most["peak_active"] > scene.concurrency or most["peak_admitted"] > scene.rpm or most["peak_tpm"] > scene.tpm
    return Kept(
        concurrency=most["peak_active"], rpm=most["peak_admitted"], tpm=most["peak_tpm"], refused=refused,
        kept=not over and not refused,
    )  # fmt: skip


def _miscounted(one: Done, seen: Seen) -> bool:
    given = seen.given(one.ask.ticket, one.said["text"])
    if given is not None and given.get("trouble") in (Trouble.NO_USAGE, Trouble.WRONG_USAGE):
        return False  # nobody can know
    return given is None or (given["tokens_in"], given["tokens_out"]) != (one.said["own_in"], one.said["own_out"])
