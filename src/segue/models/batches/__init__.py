"""The providers' batch APIs: what is queued, sent together, looked after and brought back, whatever dies meanwhile.

`tape` writes down what a call would send and plays an answer back, `outbox` keeps what is queued in a file beside the
database, `api` is what a provider's batch API can do, `batcher` carries it all out, one process at a time.
"""

from __future__ import annotations

from .outbox import Item, Outbox, Progress
from .rules import BatchRules

__all__ = ["BatchRules", "Item", "Outbox", "Progress"]
