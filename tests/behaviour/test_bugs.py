"""A bug of ours sets the run aside that it is met in: it is told, and nothing vanishes."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from segue import flow, step
from segue.errors import CrashLoop
from segue.runtime.embedded import attempts, execution
from tests.behaviour.world import World


@step
async def one() -> int:
    return 1


@step(timeout_s=5)
async def other() -> int:
    return 2


@flow
async def both() -> int:
    return await one() + await other()


@pytest.mark.parametrize("where", ["perform_once", "perform"])
@pytest.mark.parametrize("waits", [False, True])
async def test_a_bug_while_a_step_is_carried_out_sets_its_run_aside(
    world: World, where: str, waits: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def bug(run: Any, *_: Any) -> None:
        if waits:
            await run.late()
        raise AttributeError("a slip")

    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr(execution, where, bug)
    assert where in vars(attempts)
    async with world.engine() as engine:
        run = await engine.start(both, id="r")
        with pytest.raises(CrashLoop, match="a bug in Segue: AttributeError: a slip"):
            await run.result()
        assert (await run.status()).state == "stuck"
