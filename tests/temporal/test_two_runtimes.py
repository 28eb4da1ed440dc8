"""The same flows, embedded and on a Temporal server: the same results under the same keys."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("temporalio", reason="the extra `temporal` is not installed")

from segue import Flow
from segue.core.events import EventType
from segue.runtime.loop import FlowLoop
from tests.temporal import face, flows
from tests.temporal.runtimes import Line, Ran, Talk, Told, embedded, nothing, on_temporal, replayed, sees, served

PAY = "approve:pay#c49907"
"""The question of `people`: its name is made of what is shown."""


async def both(
    temporal: str,
    path: Path,
    flow: Flow[..., Any],
    *args: Any,
    talk: Talk = nothing,
    ordered: bool = True,
    **options: Any,
) -> Ran:
    """Run it on both, and give the embedded run once the other is seen to be the same."""
    here = await embedded(path, flow, *args, talk=talk, id=f"{flow.short}-embedded")
    there = await on_temporal(temporal, flow, *args, talk=talk, id=f"{flow.short}-temporal", **options)
    assert there.end == here.end
    if not ordered:
        here.journal.sort(key=as_json)
        there.journal.sort(key=as_json)
    assert there.journal == here.journal
    return here


def as_json(line: Line) -> str:
    return json.dumps(line, sort_keys=True)


def keys(ran: Ran, type_: EventType) -> list[str | None]:
    return [key for kind, key, _, _ in ran.journal if kind == type_]


@pytest.mark.parametrize("cached", [1000, 0], ids=["a worker with memory", "every task begins with a replay"])
async def test_gather_with_a_limit(temporal: str, tmp_path: Path, cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[asyncio.Task[Any] | None] = []
    drain = FlowLoop.drain_aside

    def watched(loop: FlowLoop) -> None:
        inside.append(asyncio.current_task())
        drain(loop)

    monkeypatch.setattr(FlowLoop, "drain_aside", watched)
    there = await on_temporal(temporal, flows.fan, 7, id=f"fan-{cached}", max_cached_workflows=cached)
    monkeypatch.undo()
    here = await embedded(tmp_path, flows.fan, 7, id="fan-here")
    assert here.end == there.end == ([0, 1, 4, 9, 16, 25, 36, 4], ["A ß", "B ß"])
    assert sorted(there.journal) == sorted(here.journal)
    assert len(set(keys(here, EventType.STEP_COMPLETED))) == 10
    assert flows.peak["fan-here"] == flows.peak[f"fan-{cached}"] == 3
    assert len(inside) > 10
    assert set(inside) == {None}  # Python 3.14 would refuse to step the flow's tasks


async def test_signals_before_and_after_the_wait(temporal: str, tmp_path: Path) -> None:
    async def talk(run: Told) -> None:
        await run.signal("early", {"yes": True, "by": "ann"})
        await run.signal("early", "the second one is kept")
        await sees(run, "shout")  # now it waits for `late`
        await run.signal("late", {"yes": "perhaps"})
        await sees(run, "late", times=2)  # received, and rejected
        await run.signal("late", {"yes": False, "by": "bob"})

    ran = await both(temporal, tmp_path, flows.signals, talk=talk)
    assert ran.end == [{"yes": True, "by": "ann"}, "ANN ß", "bob", "the second one is kept"]
    assert len(keys(ran, EventType.SIGNAL_REJECTED)) == 1


async def test_people_are_asked_reminded_and_heard(temporal: str, tmp_path: Path) -> None:
    async def talk(run: Told) -> None:
        await sees(run, "approve", times=3)  # the reminder was set, has fired, and the limit was set
        await run.signal(PAY, {"word": "approve", "by": "eve", "bound": "another's"})  # refused: the wait goes on
        await run.signal(PAY, {"word": "approve", "by": "ada"})

    ran = await both(temporal, tmp_path, flows.people, talk=talk)
    assert ran.end == [True, "ada", 7]
    assert [k.partition("]")[2] for k in keys(ran, EventType.TIMER_FIRED)] == ["#1/reminder#1", "#1/limit#1"]


async def test_timers_and_time_limits(temporal: str, tmp_path: Path) -> None:
    ran = await both(temporal, tmp_path, flows.timers)
    assert ran.end == ["began", "slept", "gave up", "IN TIME ß"]
    assert keys(ran, EventType.TIMER_SET) == ["sleep#1", "timeout#1", "timeout#2"]
    assert keys(ran, EventType.TIMER_FIRED) == ["sleep#1", "timeout#1"]
    assert keys(ran, EventType.STEP_CANCELLED) == ["wait[never]#1", "timeout#2"]


async def test_retries(temporal: str, tmp_path: Path) -> None:
    ran = await both(temporal, tmp_path, flows.retries)
    assert ran.end == [
        3,
        "ConnectionError: down, attempt 4",
        "TimeoutError: the attempt took longer than timeout_s=0.05",
    ]
    assert len(keys(ran, EventType.ATTEMPT_FAILED)) == 2 + 3


async def test_children(temporal: str, tmp_path: Path) -> None:
    ran = await both(temporal, tmp_path, flows.family, ordered=False)
    assert ran.end == [9, 16, "-1 is too small"]


async def test_a_flow_that_fails_raises_its_own_error(temporal: str, tmp_path: Path) -> None:
    ran = await both(temporal, tmp_path, flows.doomed)
    assert ran.end == "LookupError: ('no such claim', 7)"


async def test_a_cancelled_run_cleans_up_durably(temporal: str, tmp_path: Path) -> None:
    async def talk(run: Told) -> None:
        await run.signal("begun", None)
        await sees(run, "begun")
        await run.cancel()

    ran = await both(temporal, tmp_path, flows.cancelled, talk=talk)
    assert ran.end == "cancelled"
    assert len(keys(ran, EventType.STEP_COMPLETED)) == 1


async def test_what_a_task_group_cancels_is_cancelled_in_the_same_order_again(temporal: str, tmp_path: Path) -> None:
    """The order of a set is that of addresses, if nothing is done about it: no two processes have the same."""
    async with served(temporal) as (client, queue):
        handle = await face.start(client, queue, flows.siblings, id="siblings")
        order = await face.result(handle, flows.siblings)
        assert sorted(order) == [i * i for i in range(12)]
        for _ in range(5):
            await replayed(handle)
