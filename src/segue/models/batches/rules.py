"""How batches are put together and looked after."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import InputError

__all__ = ["BatchRules"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchRules:
    """Given to an engine as `resources={"batches": BatchRules(...)}`, or written as `[batches]` in `segue.toml`.

    Times are seconds.
    """

    wait_s: float = 5.0
    """A batch is sent once no request has come for so long, or its first one has waited five times as long."""
    requests: int | None = None
    """A batch with so many is sent at once. None: as many as the provider takes."""
    look_s: float = 10.0
    """After which a batch is looked at first; each look that finds it unfinished comes half as much later again."""
    look_s_max: float = 300.0
    """The longest time between two looks."""
    turn_s: float = 2.0
    """How often a process that does not carry the batches looks whether it is its turn."""
    settle_s: float = 15.0
    """After a submission of which nobody heard the end, before the provider's list is believed to be complete."""
    retry_s: float = 120.0
    """How long a batch that is turned away, or finds nobody there, is sent again before its requests go elsewhere."""
    calls_at_once: int = 8
    """Batches of a deployment that are sent or looked at together."""

    def due_at(self, first_at: float, last_at: float) -> float:
        """When a batch is sent whose first and last request came then."""
        return min(last_at + self.wait_s, first_at + 5 * self.wait_s)

    def pause_s(self, looks: int) -> float:
        """How long to wait after so many looks before the next one, or before the next attempt to send a batch."""
        return min(self.look_s_max, self.look_s * 1.5 ** min(looks, 20))

    def __post_init__(self) -> None:
        """Hold what must be true."""
        times = (self.look_s, self.look_s_max, self.turn_s)
        if min(times) <= 0 or min(self.wait_s, self.settle_s, self.retry_s) < 0 or self.calls_at_once < 1:
            raise InputError(
                "BatchRules: times are more than 0; wait_s, settle_s and retry_s may be 0; calls_at_once at least 1"
            )
        if self.requests is not None and self.requests < 1:
            raise InputError("BatchRules: requests is at least 1")
