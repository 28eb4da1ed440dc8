"""Every type of event is written through a real run's journal and read back typed."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from segue import Engine
from segue.core.events import EventType
from segue.core.records import AttemptStarted, Feedback, OperatorAct, RunPaused, SignalRejected, record_of
from tests.records.producers import FAKES, PRODUCERS, records_in_the_flow, records_of, retried
from tests.records.samples import SAMPLES


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Engine]:
    async with Engine(str(folder / "segue.db"), linger_s=0.01, tick_s=0.05) as engine:
        yield engine


@pytest.mark.parametrize("kind", list(EventType))
async def test_it_is_written_by_a_run_and_read_back_typed(kind: EventType, tmp_path: Path) -> None:
    assert kind in PRODUCERS, f"give {kind} a producer in tests/records/producers.py"
    async with opened(tmp_path) as engine:
        run = await PRODUCERS[kind](engine)
        found = await records_of(await engine.get(run.id), kind)
    assert found
    if kind in FAKES:
        assert found == [SAMPLES[kind]] * 2  # by the flow, and by its step


async def test_what_people_said_is_in_the_records(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        for kind, wanted in (
            (EventType.RUN_PAUSED, RunPaused(by="ada", why="incident 12")),
            (EventType.FEEDBACK_GIVEN, Feedback(score=0.5, by="ada", note="short")),
            (EventType.OPERATOR_ACTED, OperatorAct(act="result", by="ada", why="known")),
        ):
            assert await records_of(await PRODUCERS[kind](engine), kind) == [wanted]
        (rejected,) = await records_of(await PRODUCERS[EventType.SIGNAL_REJECTED](engine), EventType.SIGNAL_REJECTED)
        assert isinstance(rejected, SignalRejected)
        assert rejected.signal == "go"


async def test_what_a_failed_attempt_recorded_is_not_lost(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        run = await retried(engine)
        events = [e async for e in run.events(follow=False)]
    own = [(e.type, e.attempt) for e in events if (e.key or "").startswith("flaky")]
    assert own == [
        (EventType.ATTEMPT_STARTED, 1),
        (EventType.USAGE_SETTLED, 1),
        (EventType.ATTEMPT_FAILED, 1),
        (EventType.ATTEMPT_STARTED, 2),
        (EventType.STEP_COMPLETED, 2),
    ]
    started = record_of(next(e for e in events if e.type == EventType.ATTEMPT_STARTED))
    assert started == AttemptStarted(effect="write")


async def test_a_replay_does_not_record_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as engine:
        run = await engine.start(records_in_the_flow, EventType.USAGE_RESERVED.value)
        await run.result()
        fork = await run.fork()  # it replays all but the end
        await fork.result()
        assert len(await records_of(fork, EventType.USAGE_RESERVED)) == 2


async def test_a_version_is_kept_in_the_envelope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = EventType.DECISION_MADE
    monkeypatch.setattr(type(SAMPLES[kind]), "version", 3)
    async with opened(tmp_path) as engine:
        await PRODUCERS[kind](engine)
    with sqlite3.connect(tmp_path / "segue.db") as database:
        assert database.execute("select distinct version from events where type = ?", (kind,)).fetchall() == [(3,)]
    database.close()
