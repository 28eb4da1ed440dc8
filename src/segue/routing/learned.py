"""What was learned, as the router asks for it: the current version, newly trained in the background as outcomes come.

    learned = Learned("segue.db", catalogue)
    router = Router(catalogue, routes, predictors=Predictors(quality=learned))

A route decision never waits: it is told what the loaded version says, and at most starts a thread that looks whether
there is another one, or enough news to train one. Of all processes on the database one trains at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..errors import SegueError
from ..journal import Journal, Reader
from .apart import Apart, Job
from .errors import UnreadableModel
from .lessons import Lesson, lessons, table_of
from .traffic import OUTCOMES, Traffic
from .types import Features, Option, Predictor
from .versions import Version, Versions

__all__ = ["Learned", "Learning", "Trained", "train"]

LEAST = 64
"""Judged requests that the first version takes."""
SHARE = 0.2
"""Of what a version was learned from: so much must be new for the next one."""
LOOK_S = 5.0
LESSONS_MAX = 8000
_MEMORY = ":memory:"
Report = Callable[[str], None]
Start = Callable[[Callable[[], None]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """How an engine learns from its own traffic: `Engine(..., resources={"learning": Learning(...)})`."""

    on: bool = True
    """Whether it trains at all. Without it the current version speaks, and what calls take is still learned."""
    least: int = LEAST
    """Judged answers before the first version."""
    share: float = SHARE
    """Of what the last version was learned from: so much must be new for the next one."""
    look_s: float = LOOK_S
    """Seconds between two looks for news at most."""
    apart: bool = True
    """Whether it trains in a process of its own; else in a thread, which takes turns with the loop."""


class Fitted(Predictor, Protocol):
    """What training gives."""

    def to_bytes(self) -> bytes:
        """As a file."""
        ...


class Trained(NamedTuple):
    """What came of training."""

    version: Version | None
    """None: nothing was trained, as `why` says."""
    why: str
    lessons: int
    """How many judged requests there are."""
    new: int
    """Of them, since the version before."""


def train(
    reader: Reader,
    versions: Versions,
    options: Iterable[Option],
    *,
    traffic: Traffic | None = None,
    least: int = 2,
    share: float = 0.0,
    use: bool = True,
    report: Report = lambda _: None,
) -> Trained:
    """Learn from all judged traffic and keep it as a new version, in use from now on unless the current one is held.

    `use` puts it to use even then. Nothing is trained with fewer lessons than `least`, or without so many or a `share`
    of those of the newest version that are new. Raises StoreError; MissingExtra without scipy; OSError.
    """
    with versions.training() as may:
        if not may:
            return Trained(None, "another process is training", 0, 0)
        traffic = Traffic(decisions=False) if traffic is None else traffic
        report("reading the journal")
        traffic.read(reader)
        priors = {option.name: option.quality.get("any", 0.5) for option in options}
        found = lessons(traffic, priors)[-LESSONS_MAX:]
        newest = max(versions.list(), key=lambda v: v.position, default=None)
        new = len(found) if newest is None else sum(one.position > newest.position for one in found)
        wanted = max(least, int(share * newest.lessons)) if newest else least
        if len(found) < max(least, 2) or (share > 0 and new < wanted):
            why = f"{len(found)} judged answers, {new} of them new: {wanted} are wanted"
            return Trained(None, why, len(found), new)
        made = _fit(found, priors, report)
        version = versions.add(
            made.to_bytes(),
            lessons=len(found),
            models=table_of(found)[0],
            position=traffic.position,
            trained=made.version,
        )
        held = versions.current()
        if use or held is None or not held.held:
            versions.use(version.name)
        versions.prune()
        return Trained(version, "", len(found), new)


def _fit(found: Sequence[Lesson], priors: dict[str, float], report: Report) -> Fitted:
    import numpy as np  # noqa: PLC0415  only who trains needs them

    from .learn.fit import fit  # noqa: PLC0415

    models, scores = table_of(found)
    before = np.array([priors.get(name, np.nan) for name in models])
    tasks = [one.task for one in found]
    return fit([one.text for one in found], scores, models, priors=before, tasks=tasks, report=report)


class Learned:
    """A predictor of quality that learns. Thread-safe; `close` waits for what it does in the background."""

    def __init__(
        self,
        database: str,
        options: Iterable[Option],
        *,
        least: int = LEAST,
        share: float = SHARE,
        look_s: float = LOOK_S,
        learn: bool = True,
        apart: bool = False,
        clock: Callable[[], float] = time.monotonic,
        start: Start | None = None,
    ) -> None:
        """Loads the current version, if there is one: the only time that anybody waits for a file.

        Looks for a newer one, or for news to learn from, every `look_s` seconds at most, when it is asked. Without
        `learn` it never trains; `apart` it trains in a process of its own. `start` runs a function in the background,
        by default in a thread.
        """
        self.database, self.versions = database, Versions.of(database)
        self.trouble: str | None = None
        """What last went wrong in the background; the version that was loaded stays in use."""
        self._options, self._least, self._share, self._learn = tuple(options), least, share, learn
        self._look_s, self._clock = look_s, clock
        self._start = start or self._in_a_thread
        self._model: Predictor | None = None
        self._name = "prior"
        self._stamp: tuple[int, int] | None = None
        self._traffic: Traffic | None = None
        self._counted = 0
        self._busy, self._closed = threading.Lock(), False
        self._apart = Apart() if apart and learn else None
        self._thread: threading.Thread | None = None
        self.refresh()
        self._next = clock() + (0.0 if learn else look_s)

    @property
    def version(self) -> str:
        """The name of the version that speaks; `prior` where nothing was learned yet."""
        return self._name

    def predict(self, features: Features, models: Sequence[str]) -> tuple[Any, Any, Any]:
        """As the pipeline asks for it. NaN for a model of which nothing is known. Never waits for anything."""
        self._look_in_time()
        model = self._model
        if model is None:
            return [float("nan")] * len(models), [float("nan")] * len(models), [0.0] * len(models)
        return model.predict(features, models)

    def refresh(self) -> bool:
        """Load the current version, if it is another one than before. Says whether it was.

        One that is damaged is passed over: what is loaded stays, and where nothing is, an older version speaks.
        """
        stamp = self.versions.stamp()
        if stamp is None or stamp == self._stamp:
            return False
        current = self.versions.current()
        if current is None:
            return False
        others = [] if self._model is not None else [v.name for v in reversed(self.versions.list())]
        for name in [current.name, *(other for other in others if other != current.name)]:
            try:
                self._model = _load(self.versions, self.versions.find(name))
            except SegueError as error:
                self.trouble = error.message
                continue
            self._name, self._stamp = name, stamp if name == current.name else None
            return True
        return False

    def look(self) -> Trained | None:
        """Load what is new, and train if there is enough to learn. What `predict` has done in the background."""
        self.trouble = None
        self.refresh()
        if not self._learn or self.database == _MEMORY or not Path(self.database).exists():
            return None
        newest = max(self.versions.list(), key=lambda v: v.position, default=None)
        with Journal.open_readonly(self.database) as reader:
            if not self._news(reader, newest):
                return None
            if self._apart is not None:
                return self._train_apart(self._apart)
            self._traffic = Traffic(decisions=False) if self._traffic is None else self._traffic
            trained = train(
                reader, self.versions, self._options, traffic=self._traffic, least=self._least, share=self._share,
                use=False,
            )  # fmt: skip
        self._counted = self._traffic.position
        self.refresh()
        return trained

    def _train_apart(self, apart: Apart) -> Trained:
        priors = {option.name: dict(option.quality) for option in self._options}
        came = apart(Job(database=self.database, priors=priors, least=self._least, share=self._share))
        self._counted = max(self._counted, came.position)
        self.refresh()
        version = None if came.version is None else self.versions.find(came.version)
        return Trained(version, came.why, came.lessons, came.new)

    def close(self) -> None:
        """Look no more, and wait until what is under way has ended; a process that trains is ended."""
        self._closed = True
        if self._apart is not None:
            self._apart.stop()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _news(self, reader: Reader, newest: Version | None) -> bool:
        """Whether so many outcomes came since that there may be enough to learn: a count, nothing is read yet."""
        since = max(self._counted, newest.position if newest else 0)
        wanted = max(self._least, int(self._share * newest.lessons) if newest else 0)
        marks = ", ".join("?" for _ in OUTCOMES)
        ((many,),) = reader.query(
            f"select count(*) from (select 1 from events where pos > ? and type in ({marks}) limit ?)",
            (since, *OUTCOMES, wanted),
        )
        return many >= wanted

    def _look_in_time(self) -> None:
        now = self._clock()
        if now < self._next or self._closed or not self._busy.acquire(blocking=False):
            return
        self._next = now + self._look_s
        try:
            self._start(self._look_quietly)
        except BaseException:
            self._busy.release()
            raise

    def _look_quietly(self) -> None:
        try:
            self.look()
        except Exception as error:  # noqa: BLE001  nobody is there to be told: what is loaded stays in use
            self.trouble = None if self._closed else f"{type(error).__name__}: {error}"
        finally:
            self._busy.release()

    def _in_a_thread(self, work: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=work, name="segue-routes", daemon=True)
        self._thread.start()


def _load(versions: Versions, version: Version) -> Predictor:
    from .learn.model import QualityModel  # noqa: PLC0415  where nothing was learned, numpy is not needed here

    data = versions.content(version)
    try:
        return QualityModel.from_bytes(data)
    except UnreadableModel as error:
        error.message = f"{version.name}: {error.message}"
        raise
