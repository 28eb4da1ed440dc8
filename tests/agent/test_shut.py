"""A key that is refused while others wait for a place, or beside a good one in a pool; pauses that are long."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from segue import Engine
from segue.agent import answer
from segue.models import Catalogue, Deployment, Limits
from segue.models.errors import NotAuthorised
from segue.routing import Cheapest
from segue.routing.policies import NEVER
from segue.testing.provider import FaultPlan, Served, serve
from tests.agent.routed import catalogue, opened, served
from tests.agent.served import KEYS
from tests.agent.test_climbing import LOCKED


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "test")


async def test_those_who_stand_in_line_are_told_of_a_refused_key_too(tmp_path: Path) -> None:
    """They slept for the hour that the model is shut."""
    async with (
        serve({"small": LOCKED, "middle": LOCKED, "large": LOCKED}) as server,
        opened(tmp_path, server, {}, models={"limits": Limits(concurrency=1)}),
    ):
        began = time.perf_counter()
        asks = [answer("Which?", model="small") for _ in range(5)]
        said = await asyncio.wait_for(asyncio.gather(*asks, return_exceptions=True), 20)
        assert all(isinstance(one, NotAuthorised) for one in said), said
        assert time.perf_counter() - began < 10
        assert any("segue models --reopen small" in (getattr(one, "remedy", "") or "") for one in said)


async def test_what_is_wrong_with_the_model_that_is_named_is_said_and_nothing_of_the_others(tmp_path: Path) -> None:
    async with serve({"small": LOCKED, "middle": Served(), "large": Served()}) as server, opened(tmp_path, server, {}):
        for _ in range(2):
            with pytest.raises(NotAuthorised) as refused:
                await answer("Which?", model="small")
        assert "small: " in refused.value.message
        assert "wants" not in refused.value.message
        assert "large" not in refused.value.message
        assert "segue models --reopen small" in (refused.value.remedy or "")


@pytest.mark.parametrize("trouble", ["overloaded", "cut", "rate-limited"])
async def test_the_good_key_of_a_pool_is_asked_again_after_a_fault(
    tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was left of the pool was the one that is shut, and the question waited for that."""
    monkeypatch.setenv("BAD_KEY", "bad")
    async with serve({"small": Served(answer=lambda _: "well", keys=frozenset({"test"}))}) as server:
        one = catalogue(server).get("small")
        pool = tuple(Deployment(name=key, url=server.openai_url, key_env=key) for key in ("OPENAI_API_KEY", "BAD_KEY"))
        known = Catalogue.of(replace(one, url=None, deployments=pool))
        async with Engine(str(tmp_path / "x.db"), resources={"catalogue": known}):
            for _ in range(8):  # until the bad one is known
                assert (await answer("Which?")).value == "well"
            server.next("small", trouble)
            assert (await asyncio.wait_for(answer("Which?"), 15)).value == "well"


async def test_a_long_pause_is_not_slept_through_while_somebody_else_may_answer(tmp_path: Path) -> None:
    """One asks for an hour; the other's answers are turned down at first."""
    tries: list[str] = []

    def later(said: str) -> str | None:
        tries.append(said)
        return None if len(tries) > 3 else "not yet"

    route = Cheapest(name="cheap", explore=NEVER)
    async with serve(served(), faults=FaultPlan(retry_after_s=3600)) as server:
        known = catalogue(server)
        resources = {"catalogue": Catalogue.of(known.get("small"), known.get("large")), "routes": {"cheap": route}}
        async with Engine(str(tmp_path / "x.db"), resources=resources):
            server.next("small", "rate-limited")
            given = await asyncio.wait_for(answer("Which?", route="cheap", check=later), 15)
            assert given.value == "large"
            assert [call.model for call in server.log] == ["small", *["large"] * 4]
