"""What a benchmark is given and what it gives: a plan, floors, figures."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any


def _silent(_done: int, _total: int, _what: str) -> None:
    """Show no progress."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much to measure, and where."""

    folder: Path
    quick: bool = False
    """Tiny sizes: whether it runs, not how fast."""
    full: bool = False
    """The sizes of the goals, where the default is smaller."""
    repeats: int = 5
    progress: Callable[[int, int, str], None] = _silent

    def size(self, normal: int, quick: int, full: int | None = None) -> int:
        """One of the sizes."""
        if self.quick:
            return quick
        return normal if full is None or not self.full else full

    @property
    def rounds(self) -> int:
        """How often to repeat."""
        return 2 if self.quick else self.repeats

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder of its own on the measured disk, removed afterwards."""
        self.folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="bench-", dir=self.folder))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """Repeats of one measurement."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Sample:
        """The sample of some values."""
        return cls(values=tuple(values))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)

    def quantile(self, share: float) -> float:
        """The value that this share of the values does not exceed."""
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def times(self, factor: float) -> Sample:
        """In another unit."""
        return Sample.of([v * factor for v in self.values])


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One line of the report. `floor` and `ratio` are None where no floor bounds the figure."""

    name: str
    what: str
    unit: str
    sample: Sample
    goal: str
    met: bool | None
    floor: Sample | None = None
    floor_unit: str = ""
    ratio: float | None = None
    notes: dict[str, Any] = field(default_factory=dict[str, Any])

    def data(self) -> dict[str, Any]:
        """As JSON."""
        sample, floor = self.sample, self.floor
        return {
            "name": self.name, "what": self.what, "unit": self.unit, "median": sample.median, "least": sample.least,
            "most": sample.most, "repeats": len(sample.values), "floor": None if floor is None else floor.median,
            "floor_unit": self.floor_unit, "ratio": self.ratio, "goal": self.goal, "met": self.met, "notes": self.notes,
        }  # fmt: skip


def beside(floor: Callable[[], float], measure: Callable[[], float], rounds: int) -> tuple[Sample, Sample, Sample]:
    """Measure in turns with the floor. Gives the values, the floors around each (their mean) and their ratios."""
    floors, values = [floor()], list[float]()
    for _ in range(rounds):
        values.append(measure())
        floors.append(floor())
    around = [(a + b) / 2 for a, b in pairwise(floors)]
    ratios = [v / f for v, f in zip(values, around, strict=True)]
    return Sample.of(values), Sample.of(around), Sample.of(ratios)


def rss_mb(peak: bool = False) -> float:
    """Resident memory of this process, now or at its peak."""
    name = "VmHWM:" if peak else "VmRSS:"
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0
