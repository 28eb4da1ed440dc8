"""Where a JSON object that comes in pieces ends. Pure."""

from __future__ import annotations

__all__ = ["Closing"]


class Closing:
    """Hears a text that begins with a JSON object, piece by piece."""

    def __init__(self) -> None:
        self.at: int | None = None
        """How long the object is; None while it is open."""
        self._heard = self._depth = 0
        self._quoted = self._escaped = False

    def hear(self, text: str) -> None:
        """The next piece."""
        for sign in text if self.at is None else "":
            self._heard += 1
            if self._quoted:
                self._quoted = self._escaped or sign != '"'
                self._escaped = sign == "\\" and not self._escaped
            elif sign == '"':
                self._quoted = True
            elif sign in "{}":
                self._depth += 1 if sign == "{" else -1
                if self._depth == 0:
                    self.at = self._heard
                    return
