"""What `gc` leaves of a long thread: what it goes on from, as long as somebody talks in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue import Engine, Thread
from segue.testing.provider import Served, serve
from tests.agent.served import KEYS
from tests.agent.test_long_threads import answers, said_in, small, turn

ASKS = "Who am I, what may I spend, and what is ruled out?"
KNOWS = "Ann Lindqvist; 4711; Never book a flight on a Friday"
HOUR = 3600.0


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


async def talked(thread: Thread, turns: range) -> None:
    for n in turns:
        await (await thread.start(turn, said_in(n), id=str(n))).result()


async def aged(engine: Engine, which: str) -> None:
    """These runs ended two hours ago."""
    sql = f"update runs set updated_at = updated_at - 7200 where {which}"
    await engine.journal.ask(lambda connection: connection.execute(sql))


async def summaries(engine: Engine, thread: str) -> list[str]:
    """The runs that have summed up a thread, the first one first."""
    rows = engine.journal.query(
        "select r.id from summaries s join runs r on r.no = s.run where s.thread = ? order by s.upto", (thread,)
    )
    return [run for (run,) in rows]


async def test_a_thread_in_use_keeps_the_summary_that_it_goes_on_from(tmp_path: Path) -> None:
    async with (
        serve({"chat": Served(answer=answers)}) as server,
        Engine(str(tmp_path / "x.db"), resources=small(server, "chat", window=2_600)) as engine,
    ):
        thread = Thread("t", engine)
        await talked(thread, range(28))
        made = await summaries(engine, "t")
        assert len(made) > 1 and made[-1] not in ("t/27", "t/26")
        await aged(engine, "id not in ('t/27', 't/26')")
        listed = await engine.gc(HOUR, dry_run=True)
        gone = await engine.gc(HOUR)
        assert gone.kept == listed.kept == {"newest summary": 1}
        assert set(gone.runs) == set(listed.runs) == {f"t/{n}" for n in range(26)} - {made[-1]}
        assert await summaries(engine, "t") == made[-1:]
        assert await (await thread.start(turn, ASKS)).result() == KNOWS
        assert (await engine.gc(HOUR)).kept == {"newest summary": 1}

        await (await Thread("other", engine).start(turn, said_in(1))).result()
        await aged(engine, "thread = 't'")
        assert (await engine.gc(HOUR)).kept == {}, "nobody has talked in it: all of it goes"
        assert await summaries(engine, "t") == []
        assert await (await thread.start(turn, ASKS)).result() == "I do not know"


async def test_a_branch_in_use_keeps_the_summary_of_the_turns_that_it_shares(tmp_path: Path) -> None:
    async with (
        serve({"chat": Served(answer=answers)}) as server,
        Engine(str(tmp_path / "x.db"), resources=small(server, "chat", window=2_600)) as engine,
    ):
        thread = Thread("t", engine)
        await talked(thread, range(28))
        first, *later = await summaries(engine, "t")
        assert later, "the thread itself goes on from another one"
        edited = await thread.edit(first, said_in(1), to="b")
        await edited.result()
        again = await Thread("b", engine).edit(first.rpartition("/")[2], said_in(2), to="c")
        await again.result()
        await aged(engine, "thread = 't' or thread = 'b'")
        gone = await engine.gc(HOUR)
        assert gone.kept == {"newest summary": 1}
        assert await summaries(engine, "t") == [first]
        assert await (await Thread("c", engine).start(turn, ASKS)).result() == KNOWS
