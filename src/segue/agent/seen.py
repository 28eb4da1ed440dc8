"""What the last call of a conversation was shown: the next one says how much of its beginning is the same."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from ..core.records import Manifest

__all__ = ["Seen"]


@dataclass(slots=True)
class Seen:
    """Those of one process, the newest `most` of them. It is a hint for the record: a restart begins without."""

    most: int = 1024
    _last: OrderedDict[str, Manifest] = field(default_factory=OrderedDict[str, Manifest], init=False)

    def get(self, line: str) -> Manifest | None:
        """That of a conversation."""
        return self._last.get(line)

    def put(self, line: str, manifest: Manifest) -> None:
        """A call goes out."""
        self._last[line] = manifest
        self._last.move_to_end(line)
        if len(self._last) > self.most:
            self._last.popitem(last=False)
