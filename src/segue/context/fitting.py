"""Making room: what is cut, cleared and left out until the rest fits. The working state of one assembly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence, Set

from ..core.records import Fate
from .form import form
from .pairs import Units
from .shorter import REPEATED, cleared, cut, ends_of, pointing, recalled_by, repeats
from .tokens import Tokens
from .types import Budget, Kind, Part, Role, Shown, Target

__all__ = ["Fitting", "counts", "without_far"]


class Fitting:
    """The parts of one assembly with their sizes, and what is done to each."""

    def __init__(self, units: Units, budget: Budget, target: Target, tokens: Tokens):
        self.units, self.budget, self.target, self.tokens = units, budget, target, tokens
        parts = units.parts
        self.kinds = {part.kind for part in parts}
        self.whole = counts(parts, tokens, budget.per_part)
        self.size = self.whole.copy()
        """Of what is shown of each."""
        self.as_: list[Part | None] = list(parts)
        self.why: dict[int, str] = {}
        self.into: dict[int, str] = {}
        self.stays = [_stays(part) for part in parts]
        self.members: dict[int, list[int]] = {}
        for at, unit in enumerate(units.unit):
            self.members.setdefault(unit, []).append(at)
        self.total = sum(self.size)

    def count(self, part: Part) -> int:
        """The tokens of a part with the format around it."""
        return counts([part], self.tokens, self.budget.per_part)[0]

    def fit(self, gone: int = 0) -> None:
        """Do what must be done, and no more. `gone` tokens were left out before, of what is far in the past."""
        self._without_bound()
        self._cut_results()
        self._once()
        room = self.budget.input
        if self.total > room:
            self._clear(self._old_results(), self.total + gone - room)
        if self.total > room:  # rather one more result than a turn
            self._clear(self._old_results(in_steps=False), self.total - room)
        if self.total > room:
            self._pointed()
        if self.total > room:
            self._drop(room, gone)
        if self.total > room:
            self._clear_all()
        if self.total > room:  # rather all results than the newest turn: what was just called would be called again
            self._drop_until(self._order()[2], room)
        if self.total > room:  # rather an answer without what was summed up than none
            self._drop_until([unit for unit, at in self.members.items() if self._sums_up(at)], room)

    def shown(self, at: int) -> Shown:
        """What became of a part."""
        part, as_ = self.units.parts[at], self.as_[at]
        fate = Fate.DROPPED if as_ is None else Fate.KEPT if as_ is part else Fate.CUT
        return Shown(part, self.whole[at], fate, self.why.get(at, ""), as_, self.size[at], self.into.get(at))

    # --- what is done to a part ---------------------------------------------------------------------------------------

    def _show(self, at: int, as_: Part | None, why: str) -> None:
        size = 0 if as_ is None else self.count(as_)
        self.total += size - self.size[at]
        self.size[at], self.as_[at], self.why[at] = size, as_, why

    def _without_bound(self) -> None:
        """What another model sealed goes; a call goes with its result."""
        foreign = {self.units.unit[at] for at, part in enumerate(self.units.parts) if self._foreign(part)}
        for members in map(self.members.__getitem__, foreign):
            calls = {self.units.parts[at].call for at in members if self._foreign(self.units.parts[at])} - {None}
            for at in members:
                part = self.units.parts[at]
                if self._foreign(part) or part.call in calls:
                    self._show(at, None, "other provider")

    def _foreign(self, part: Part) -> bool:
        return part.bound is not None and part.bound != self.target.model

    def _cut_results(self) -> None:
        """The middles of overlong tool results: the same cut in every call, as long as the window is the same."""
        if Kind.RESULT not in self.kinds:
            return
        most = max(1, int(self.budget.input * self.budget.result_share) - self.budget.per_part)
        for at, part in enumerate(self.units.parts):
            if part.kind is Kind.RESULT and not part.pinned and self.as_[at] is part and self.whole[at] > most:
                self._shorten(at, cut(part, max(1, most - self.tokens(part.tool or "")), self.tokens), "too long")

    def _shorten(self, at: int, as_: Part, why: str) -> None:
        if self.count(as_) < self.size[at]:
            self._show(at, as_, why)

    def _once(self) -> None:
        """What is given twice, a document or what was recalled, is shown where it first stands."""
        for at, _, original in self._repeated(REPEATED - {Kind.RESULT}):
            self._show(at, None, f"duplicate of {recalled_by(original)}")
            self.into[at] = original.hash

    def _pointed(self) -> None:
        """A tool result that says again what one that is shown has said points at it, if no other reads like that."""
        alike: dict[tuple[str, str], set[str]] = {}
        unclear = set[int]()
        for at, part in enumerate(self.units.parts if Kind.RESULT in self.kinds else ()):
            if part.kind is Kind.RESULT:
                said = alike.setdefault(ends_of(part.text), set())
                said.add(part.same)
                if len(said) > 1:
                    unclear.add(at)
        for at, part, original in self._repeated({Kind.RESULT}):
            if at not in unclear and self.count(pointing(part)) < self.size[at]:
                self._show(at, pointing(part), f"duplicate of {recalled_by(original)}")
                self.into[at] = original.hash

    def _repeated(self, kinds: Set[Kind]) -> Iterator[tuple[int, Part, Part]]:
        """What says what an earlier part has said, and that one."""
        first: dict[str, Part] = {}
        for at, part in enumerate(self.units.parts if self.kinds & kinds else ()):
            if part.kind in kinds and self.as_[at] is not None and repeats(part) and self.why.get(at) != _OLD:
                earlier = first.setdefault(part.same, part)
                if earlier is not part:
                    yield at, part, earlier

    # --- room ---------------------------------------------------------------------------------------------------------

    @property
    def _step(self) -> int:
        return max(1, int(self.budget.input * self.budget.step))

    def _old_results(self, *, in_steps: bool = True) -> list[int]:
        """Places of results that may be cleared, oldest first. How many grows in steps, for the prefix's sake."""
        results = [at for at, part in enumerate(self.units.parts) if part.kind is Kind.RESULT and self.as_[at]]
        kept = self.budget.results_kept
        old = len(results) - kept
        old = old // kept * kept if kept and in_steps else old
        return [at for at in results[: max(0, old)] if self._clearable(at, self.units.parts[at])]

    def _clearable(self, at: int, part: Part) -> bool:
        return part.kind is Kind.RESULT and not part.pinned and self.as_[at] is not None

    def _clear(self, places: Iterable[int], need: int) -> None:
        """Clear results until so much is saved, rounded up to steps."""
        goal = self.total - math.ceil(need / self._step) * self._step
        for at in places:
            if self.total <= goal:
                return
            self._shorten(at, cleared(self.units.parts[at]), _OLD)

    def _clear_all(self) -> None:
        """Every result, those that point at others among them: these would point at what is gone."""
        for at, part in enumerate(self.units.parts):
            if self._clearable(at, part):
                if self.into.pop(at, None) is not None:
                    self._show(at, part, "")
                self._shorten(at, cleared(part), _OLD)

    def _order(self) -> tuple[list[int], list[int], list[int]]:
        """Units that may go, in the order in which they go: old turns; what was recalled; the newest turn."""
        parts = self.units.parts
        may = [unit for unit, members in self.members.items() if not any(self.stays[at] for at in members)]
        said = [unit for unit in may if parts[self.members[unit][0]].kind is not Kind.MEMORY]
        recalled = [unit for unit in may if parts[self.members[unit][0]].kind is Kind.MEMORY]
        recalled.sort(key=lambda unit: parts[self.members[unit][0]].relevance or 0.0)
        return said[:-1], recalled, said[-1:]

    def _drop(self, room: int, gone: int) -> None:
        """Leave units out until the rest fits: in whole steps while old turns are left, then one by one."""
        old, recalled, _ = self._order()
        all_ = self.total + gone
        goal = all_ - math.ceil((all_ - room) / self._step) * self._step
        floor = sum(size for size, stays in zip(self.size, self.stays, strict=True) if stays)
        self._drop_until(old, goal if goal >= floor + self._step else room)
        self._drop_until([*recalled, *recalled], room)  # what one of them had stood for, further up, may have come back

    def _sums_up(self, members: Sequence[int]) -> bool:
        parts = [self.units.parts[at] for at in members]
        return all(part.kind is Kind.SUMMARY and not (part.pinned or part.asks) for part in parts)

    def _drop_until(self, units: Sequence[int], goal: int) -> None:
        for unit in units:
            if self.total <= goal:
                return
            for at in self.members[unit]:
                if self.as_[at] is not None:
                    self.total -= self.size[at]
                    self.size[at], self.as_[at], self.why[at] = 0, None, "window"
            if self.into:
                self._restore(unit)

    def _restore(self, unit: int) -> None:
        """What pointed at a part that is gone says it itself again, the first of them; the others point at that."""
        gone = {self.units.parts[at].hash: at for at in self.members[unit]}
        for name in gone.keys() & set(self.into.values()):
            pointers = [p for p, into in self.into.items() if into == name and p != gone[name]]
            heirs = [p for p in pointers if self.why.get(p) != "window"]
            for p in pointers:
                del self.into[p]
            if heirs:
                self._inherit(heirs)

    def _inherit(self, heirs: Sequence[int]) -> None:
        first, *others = sorted(heirs)
        part = self.units.parts[first]
        self._show(first, part, "")
        del self.why[first]
        if part.kind is Kind.RESULT:
            most = max(1, int(self.budget.input * self.budget.result_share) - self.budget.per_part)
            if self.whole[first] > most:
                self._shorten(first, cut(part, max(1, most - self.tokens(part.tool or "")), self.tokens), "too long")
        for at in others:
            self.into[at] = part.hash
            if self.units.parts[at].kind is Kind.RESULT:
                self._show(at, pointing(self.units.parts[at]), f"duplicate of {recalled_by(part)}")


def without_far(
    parts: Sequence[Part], places: Sequence[int], sizes: Sequence[int], room: int
) -> tuple[Sequence[int], int]:
    """The places without those that are too far in the past to be shown in any case, and the tokens of these.

    What must stay is not among them. The border moves in steps of `_FAR` parts, so that the prefix does not.
    """
    if len(places) <= 2 * _FAR:
        return places, 0
    taken, border = 0, len(places)
    while border and taken <= room * 5 // 4:
        border -= 1
        if parts[places[border]].kind is Kind.TEXT:  # the others may shrink to nothing
            taken += sizes[places[border]]
    border -= border % _FAR
    far = places[:border]
    staying = [at for at in far if _stays(parts[at])]
    if any(parts[at].call is not None for at in staying) or _answers_far(parts[at] for at in places[border:]):
        return places, 0
    gone = sum(sizes[at] for at in far) - sum(sizes[at] for at in staying)
    return [*staying, *places[border:]], gone


def _answers_far(near: Iterable[Part]) -> bool:
    """Whether a result that must stay answers a call from before these parts: the call stays with it."""
    called: set[str | None] = set()
    for part in near:
        if part.kind is Kind.CALL:
            called.add(part.call)
        elif part.kind is Kind.RESULT and part.pinned and part.call not in called:
            return True
    return False


_FAR = 256
_OLD = "old tool result"


def counts(parts: Sequence[Part], tokens: Tokens, around: int) -> list[int]:
    """The tokens of each part with the format around it; what was recalled stands in one turn together.

    A part keeps its count, so that a long thread is counted once.
    """
    name = f"tokens:{tokens.name}"
    made: list[int] = []
    for part in parts:
        kept = part.__dict__
        own = kept.get(name)
        if own is None:
            own = part.tokens if part.tokens is not None else tokens(form(part)) + tokens(part.tool or "")
            kept[name] = own
        made.append(own + (1 if part.kind is Kind.MEMORY else around))
    return made


def _stays(part: Part) -> bool:
    return part.pinned or part.asks or part.role is Role.SYSTEM or part.kind is Kind.STATE or part.kind is Kind.SUMMARY
