"""Trained models as named versions: whole or not there, one current, back by name; and the predictor that learns."""

from __future__ import annotations

import contextlib
import functools
import json
import multiprocessing
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segue import Engine
from segue.core.records import AttemptRecorded
from segue.errors import InputError
from segue.journal import Journal
from segue.routing import Features, Predictors, Request, Router
from segue.routing.errors import UnreadableModel
from segue.routing.learn.fit import fit
from segue.routing.learned import Learned, train
from segue.routing.policies import Best
from segue.routing.versions import Version, Versions
from tests.routing.asked import Question, asking, attempt, checked, told
from tests.routing.made import three


def kept(versions: Versions, data: bytes = b"model", position: int = 0) -> Version:
    return versions.add(data, lessons=10, models=("a", "b"), position=position)


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return Versions(tmp_path / "segue.db-routes", clock=lambda: 100.0)


def test_a_version_is_named_listed_and_put_to_use(versions: Versions) -> None:
    assert versions.list() == [] and versions.current() is None and versions.stamp() is None
    first, second = kept(versions), kept(versions, b"other")
    assert (first.name, second.name) == ("v1", "v2") and versions.list() == [first, second]
    assert versions.current() is None  # made is not used
    versions.use("v2")
    stamp, current = versions.stamp(), versions.current()
    assert current is not None and current.name == "v2" and not current.held and stamp is not None
    assert versions.content(versions.find("v2")) == b"other"
    back = versions.use("v1", held=True, by="ada")
    assert versions.current() == back and back.held and back.by == "ada" and versions.stamp() != stamp


def test_what_is_not_there_is_told(versions: Versions) -> None:
    with pytest.raises(InputError, match="none yet"):
        versions.find("v1")
    kept(versions)
    for name in ("v9", "../v1", "current", ""):
        with pytest.raises(InputError, match="there are v1"):
            versions.use(name)


def test_a_damaged_model_is_never_put_to_use(versions: Versions) -> None:
    made = kept(versions)
    path = versions.folder / f"{made.model}.model"
    path.write_bytes(b"mode")
    with pytest.raises(UnreadableModel, match="not what it was"):
        versions.use("v1")
    path.unlink()
    with pytest.raises(UnreadableModel, match="No such file"):
        versions.content(made)
    (versions.folder / "current").write_text("{")
    (versions.folder / "v2.json").write_text('{"name": "v2"}')
    assert versions.current() is None and versions.list() == [made]
    assert kept(versions, b"new").name == "v3"  # a name is never used twice


def test_the_oldest_are_removed_but_never_the_current_one(versions: Versions) -> None:
    for n in range(5):
        kept(versions, b"same" if n in (1, 4) else str(n).encode())
    versions.use("v1", held=True)
    versions.prune(2)
    assert [one.name for one in versions.list()] == ["v1", "v4", "v5"]
    assert all(versions.content(one) for one in versions.list())
    assert len(list(versions.folder.glob("*.model"))) == 3
    assert kept(versions).name == "v6"


class FullDisk:
    """Does what a function does, but fails at its k-th call."""

    def __init__(self, real: Callable[..., object], fails_at: int):
        self.real, self.left = real, fails_at

    def __call__(self, *args: object) -> object:
        self.left -= 1
        if self.left == -1:
            raise OSError(28, "No space left on device")
        return self.real(*args)

    def __get__(self, one: object, kind: type | None = None) -> Callable[..., object]:
        return functools.partial(self, one)


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("fails_at", range(6))
def test_a_failure_at_any_write_leaves_what_was_there(
    versions: Versions, call: str, fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the k-th fsync or rename: what is listed can be read, and the current one is one of them."""
    kept(versions, b"first")
    versions.use("v1")
    with monkeypatch.context() as patch, contextlib.suppress(OSError):
        home = os if call == "fsync" else Path
        patch.setattr(home, call, FullDisk(getattr(home, call), fails_at))
        versions.use(kept(versions, b"second").name)
    assert all(versions.content(one) for one in versions.list())
    current = versions.current()
    assert current is not None and versions.content(versions.find(current.name))
    assert not list(versions.folder.glob("*.draft"))


def test_one_trains_at_a_time(versions: Versions) -> None:
    with versions.training() as may, versions.training() as another:
        assert may and not another
    with versions.training() as again:
        assert again


def _hold(folder: str, held: multiprocessing.synchronize.Event, go: multiprocessing.synchronize.Event) -> None:  # type: ignore[name-defined]
    with Versions(folder).training():
        held.set()
        go.wait(20)


def test_another_process_holds_the_training_until_it_dies(versions: Versions) -> None:
    context = multiprocessing.get_context("spawn")
    held, go = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(versions.folder), held, go))
    other.start()
    assert held.wait(20)
    with versions.training() as may:
        assert not may
    other.kill()
    other.join()
    with versions.training() as may:
        assert may


FRUIT, STAR = "Is fruit number {} ripe, an apple or a pear?", "How far away is the star number {}?"


class Traffic:
    """A database with asks about fruit, which `small` knows, and about stars, which only `large` does."""

    def __init__(self, folder: Path):
        self.database = str(folder / "segue.db")
        self.random = random.Random(3)

    async def grow(self, many: int) -> None:
        asks: list[list[AttemptRecorded]] = []
        questions: list[Question] = []
        for _ in range(many):
            fruit = self.random.random() < 0.5
            n = self.random.randrange(1000)
            text = FRUIT.format(n) if fruit else STAR.format(n)
            name = self.random.choice(["small", "large"])
            asks.append([attempt(name, **checked(fruit or name == "large"))])
            questions.append(Question(text))
        told(*asks)
        async with Engine(self.database) as engine:
            await engine.run(asking, questions)

    def learned(self, **more: object) -> Learned:
        return Learned(self.database, three(), **{"least": 60, "start": lambda work: work(), **more})  # type: ignore[arg-type]


def expected(learned: Learned, text: str) -> list[float]:
    return [float(mean) for mean in learned.predict(Features(text=text), ["small", "large", "mid"])[0]]


async def test_it_learns_from_traffic_and_says_which_version_speaks(tmp_path: Path) -> None:
    traffic, now = Traffic(tmp_path), [0.0]
    await traffic.grow(40)
    learned = traffic.learned(clock=lambda: now[0], look_s=5.0)
    assert learned.version == "prior" and np.isnan(expected(learned, "Is fruit ripe?")).all()
    await traffic.grow(80)
    assert expected(learned, "a star") is not None and learned.version == "prior"  # it does not look all the time
    now[0] = 6.0
    expected(learned, "a star")
    assert learned.version == "v1" and learned.trouble is None
    small, large, mid = expected(learned, "How far away is the star number 5?")
    assert large > small + 0.3 and np.isnan(mid)
    ripe = expected(learned, "Is fruit number 5 ripe, an apple or a pear?")
    assert ripe[0] > small + 0.3
    router = Router(three(), {"r": Best()}, predictors=Predictors(quality=learned))
    decision = router.decide(Request(text="How far away is the star number 5?"), id="d", luck=0.5, route="r")
    sources = {c.target.name: c.quality and c.quality.source for c in decision.candidates}
    assert sources["large"] == "v1"


async def test_it_trains_anew_when_enough_is_new_and_not_before(tmp_path: Path) -> None:
    traffic, now = Traffic(tmp_path), [0.0]
    await traffic.grow(80)
    learned = traffic.learned(clock=lambda: now[0])
    for many, name in ((0, "v1"), (30, "v1"), (40, "v2"), (0, "v2")):
        if many:
            await traffic.grow(many)
        now[0] += 10
        expected(learned, "x")
        assert learned.version == name, many
    newest = learned.versions.list()[-1]
    assert newest.lessons == 150 and newest.models == ("large", "small")


async def test_it_takes_what_another_process_has_made_current_and_stays_where_it_is_held(tmp_path: Path) -> None:
    traffic = Traffic(tmp_path)
    await traffic.grow(80)
    one, other = traffic.learned(look_s=0.0), traffic.learned(look_s=0.0, learn=False)
    one.look()
    expected(other, "x")
    assert other.version == "v1"
    await traffic.grow(80)
    one.versions.use("v1", held=True, by="ada")
    one.look()
    assert [v.name for v in one.versions.list()] == ["v1", "v2"] and one.version == "v1"
    with Journal.open_readonly(traffic.database) as reader:
        done = train(reader, one.versions, three())
    assert done.version is not None and done.version.name == "v3" and one.refresh() and one.version == "v3"


async def test_a_damaged_version_does_not_speak(tmp_path: Path) -> None:
    traffic = Traffic(tmp_path)
    await traffic.grow(80)
    learned = traffic.learned()
    learned.look()
    with Journal.open_readonly(traffic.database) as reader:
        second = train(reader, learned.versions, three(), share=0.0).version
    assert second is not None
    path = learned.versions.folder / f"{second.model}.model"
    path.write_bytes(b"no")
    current = json.loads((learned.versions.folder / "current").read_text())
    assert current["name"] == "v2"
    assert second.model == learned.versions.find("v1").model  # the same lessons make the same model
    rows = np.array([[1.0, 0.0], [0.0, 1.0]])
    other = learned.versions.add(fit(["a", "b"], rows, ["x", "y"]).to_bytes(), lessons=2, models=("x",), position=0)
    fresh = traffic.learned(learn=False)
    assert fresh.version == other.name and fresh.trouble is not None and "not what it was" in fresh.trouble


async def test_no_decision_waits_for_training(tmp_path: Path) -> None:
    """While it trains in its thread, what is asked is answered from what is loaded, and nothing else is started."""
    traffic = Traffic(tmp_path)
    await traffic.grow(80)
    started: list[threading.Thread] = []
    go = threading.Event()

    def start(work: Callable[[], None]) -> None:
        def later() -> None:
            go.wait(20)
            work()

        started.append(threading.Thread(target=later))
        started[-1].start()

    learned = traffic.learned(start=start, look_s=0.0)
    for _ in range(10):
        expected(learned, "x")
    assert len(started) == 1 and learned.version == "prior"
    go.set()
    started[0].join()
    assert learned.version == "v1"
    learned.close()
    expected(learned, "x")
    assert len(started) == 1


async def test_its_own_thread_ends_with_close(tmp_path: Path) -> None:
    traffic = Traffic(tmp_path)
    await traffic.grow(80)
    learned = Learned(traffic.database, three(), least=60)
    expected(learned, "x")
    learned.close()
    assert learned.version == "v1" and learned.trouble is None


def test_without_a_database_nothing_is_learned(tmp_path: Path) -> None:
    for database in (":memory:", str(tmp_path / "none.db")):
        learned = Learned(database, three(), start=lambda work: work(), look_s=0.0)
        expected(learned, "x")
        assert learned.version == "prior" and learned.trouble is None
    assert not (tmp_path / "none.db-routes").exists()


async def test_trouble_in_the_background_is_kept_and_nobody_is_hurt(tmp_path: Path) -> None:
    traffic = Traffic(tmp_path)
    await traffic.grow(80)
    learned = traffic.learned(look_s=0.0)
    (tmp_path / "segue.db-routes").write_text("in the way")
    expected(learned, "x")
    assert learned.trouble is not None and "File" in learned.trouble and learned.version == "prior"
    (tmp_path / "segue.db-routes").unlink()
    expected(learned, "x")
    assert learned.trouble is None and learned.version == "v1"
