"""Several people decide: who has said yes and who no, and what that comes to. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...core.asked import person, tally
from ...core.records import Verdict
from .word import Word

__all__ = ["Votes"]


@dataclass(slots=True)
class Votes:
    """Of one question. With a quorum of 1 the first word decides."""

    quorum: int = 1
    _said: dict[str, tuple[bool, str, str]] = field(default_factory=dict[str, tuple[bool, str, str]])
    """By person: yes or no, the name as it was given, the note."""

    def take(self, yes: bool, by: str, note: str, asked: int) -> Verdict | None:
        """Count a word; what is decided by it, if something is. `asked` is how many people are named.

        Raises ValueError where more than one must agree, and it is nobody's, or one's who has spoken.
        """
        if self.quorum > 1:
            if not by.strip():
                raise ValueError(f"by: nobody is named, and {self.quorum} people must agree")
            if person(by) in self._said:
                raise ValueError(f"by: {by} has spoken, and another person must agree")
        self._said[person(by)] = (yes, by, note)
        said = tally([yes for yes, _, _ in self._said.values()], self.quorum, asked)
        return None if said is None else Verdict.APPROVED if said else Verdict.DENIED

    def told(self) -> str:
        """How far it has come where time is over."""
        yes = [yes for yes, _, _ in self._said.values()].count(True)
        noes = len(self._said) - yes
        said = (
            f"{yes} of {self.quorum} said yes{f' and {noes} no' if noes else ''}" if self._said else "nobody answered"
        )
        return f"{said} in time"

    def joined(self, word: Word, verdict: Verdict) -> Word:
        """The word that decided, as that of all who said what it came to."""
        if self.quorum == 1 or word.word not in ("approve", "deny"):
            return word
        alike = [(by, note) for yes, by, note in self._said.values() if yes is (verdict is Verdict.APPROVED)]
        if len(alike) == 1:
            return word
        notes = [f"{by}: {note}" for by, note in alike if note]
        return word._replace(by=", ".join(by for by, _ in alike), note="; ".join(notes))
