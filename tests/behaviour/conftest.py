"""One suite, two runtimes: SQLite in a file on the real clock, and in memory on the virtual one."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from segue import testing
from tests.behaviour.world import World


@pytest.fixture(params=["file", "memory"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """Makes engines on one database, one after the other or two at a time."""
    return World(tmp_path / "segue.db" if request.param == "file" else None)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Tests of the runtime in memory run on virtual time; the others as everywhere."""
    world = pyfuncitem.funcargs.get("world")
    if isinstance(world, World) and world.virtual and inspect.iscoroutinefunction(pyfuncitem.obj):
        pyfuncitem.obj = testing.simulated(pyfuncitem.obj)
