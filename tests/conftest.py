"""What every test has: async tests run, no test hangs, and Ctrl-C reaches the processes that it starts."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

GRACE_S = 5.0
"""An async test ends this long before the hard limit, so that its own traceback is seen first."""

MEMORY = Path("/dev/shm")
"""Where files of tests are kept in memory: what dies in them are processes, so no disk has to be waited for."""

MEMORY_FREE = 4 << 30
"""In bytes: below this they are on the disk."""

if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_FREE:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("house", deadline=None, max_examples=60, print_blob=True)
settings.register_profile("ci", settings.get_profile("house"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "house")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays: to look for garbage among it took a fifth of the collection, and a tenth of the tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        _the_cheapest_first()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the cases of a test with `sampled(n)` each n-th is run by `make test`; the others become long proofs."""
    seen: Counter[str] = Counter()
    for item in items:
        mark = item.get_closest_marker("sampled")
        if mark is None or item.get_closest_marker("soak") is not None:
            continue
        test = item.nodeid.partition("[")[0]
        if seen[test] % mark.args[0]:
            item.add_marker(pytest.mark.proof)
        seen[test] += 1


def _the_cheapest_first() -> None:
    """The route of those who name none explores a little: in one of fifty calls a test would meet another model."""
    gateway = sys.modules.get("segue.agent.gateway")
    if gateway is not None:
        from segue.routing.policies import NEVER, Cheapest

        vars(gateway)["DEFAULT_ROUTE"] = Cheapest(name="default", explore=NEVER)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Let `async def` tests run, plain and under `@given`; pytest's own call does the rest."""
    limit_s = float(pyfuncitem.config.getini("faulthandler_timeout") or 0)
    within_s = limit_s - GRACE_S if limit_s > GRACE_S else None
    test = pyfuncitem.obj
    if inspect.iscoroutinefunction(test):
        pyfuncitem.obj = _run(test, within_s)
    elif inspect.iscoroutinefunction(getattr(getattr(test, "hypothesis", None), "inner_test", None)):
        test.hypothesis.inner_test = _run(test.hypothesis.inner_test, within_s)


def _run(test: Callable[..., Coroutine[Any, Any, object]], within_s: float | None) -> Callable[..., None]:
    async def limited(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(within_s):
            await test(*args, **kwargs)

    @functools.wraps(test)
    def call(*args: Any, **kwargs: Any) -> None:
        asyncio.run(limited(*args, **kwargs))

    return call
