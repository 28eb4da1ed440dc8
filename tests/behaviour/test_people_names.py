"""A question can be decided whatever its short names have in common with those of others."""

from __future__ import annotations

import pytest

from segue import approve, continue_as_new, flow, gather
from segue.agent.people.asking import _digits  # pyright: ignore[reportPrivateUsage]
from segue.core.asked import ticket
from segue.core.records import binding
from tests.behaviour.test_asking_people import waiting
from tests.behaviour.world import World


def alike() -> tuple[int, int]:
    """Two sums whose questions have other keys, and the same six digits."""
    seen: dict[str, tuple[str, int]] = {}
    for cents in range(100_000):
        key = f"approve[{_digits(['Pay?', binding(None, cents, ())])}]#1"
        known, before = seen.setdefault(_digits(key), (key, cents))
        if known != key:
            return before, cents
    raise AssertionError("six digits are enough")


SUMS = alike()


@flow(name="pays_one_after_the_other")
async def one_by_one() -> list[bool]:
    return [bool(await approve("Pay?", cents)) for cents in SUMS]


@flow(name="pays_at_once")
async def at_once() -> list[bool]:
    return [bool(said) for said in await gather(*(approve("Pay?", cents) for cents in SUMS))]


@flow(name="pays_for_ever")
async def for_ever(n: int = 0) -> int:
    await approve("Pay?", 5)
    if n < 2:
        continue_as_new(n + 1)
    return n


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_question_with_the_digits_of_an_earlier_one_can_be_decided(world: World, restarts: bool) -> None:
    """Somebody else was said to have been quicker, for ever."""
    async with world.engine(linger_s=0.0 if restarts else 100.0) as engine:
        run = await engine.start(one_by_one, id="r")
        (item,) = await waiting(engine)
        await item.approve(by="ada")
        while item.shown == SUMS[0]:
            (item,) = await waiting(engine)
        if not restarts:
            await item.deny(by="ada")
            assert await run.result() == [True, False]
            return
    async with world.parking() as engine:
        (again,) = await waiting(engine)
        assert (again.id, again.shown) == (item.id, SUMS[1])
        await again.deny(by="ada")
        run = await engine.get("r")
        assert await run.result() == [True, False]
        assert await (await run.fork()).result() == [True, False]


async def test_of_two_at_once_each_gets_its_own_word(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(at_once)
        for item in await waiting(engine, 2):
            await (item.approve if item.shown == SUMS[0] else item.deny)(by="ada")
        assert await run.result() == [True, False]


async def test_a_run_that_goes_on_as_new_names_each_question_anew(world: World) -> None:
    async with world.parking() as engine:
        run = await engine.start(for_ever)
        names: set[str] = set()
        while len(names) < 3:
            for item in await engine.inbox():
                if item.name not in names:
                    names.add(item.name)
                    await item.approve(by="ada")
            await world.pass_(0.1)
        assert await run.result() == 2
        assert len({name.partition("#")[2] for name in names}) == 3
        assert sorted(len(name.partition("#")[2]) for name in names) == [6, 16, 16]


async def test_of_two_questions_with_one_id_the_open_one_is_meant(world: World) -> None:
    async with world.parking() as engine:
        await engine.start(for_ever, 2, id="r0")
        (first,) = await waiting(engine)
        seen = {ticket(f"r{n}", first.name): n for n in range(200_000)}
        one, other = next((n, seen[id_]) for n in range(200_000) if seen[id_ := ticket(f"r{n}", first.name)] != n)
        await first.approve(by="ada")
        for n in (one, other):
            run = await engine.start(for_ever, 2, id=f"r{n}")
            (item,) = await waiting(engine)
            await item.approve(by="ada")
            assert await run.result() == 2
