"""Virtual time passes for whoever waits for it."""

from __future__ import annotations

import asyncio
import math

from segue import testing
from segue.testing.loop import VirtualClock
from tests.crash.test_programs import play


@testing.simulated
async def test_the_next_tick_of_the_wall_clock_comes() -> None:
    """It is a quarter of a microsecond off, and a timer may be called up to a microsecond early."""
    loop = asyncio.get_running_loop()
    clock = VirtualClock(loop)
    for n in range(200):
        await asyncio.sleep(n * 0.0137)
        due, calls = math.nextafter(clock.now(), math.inf), 0
        while clock.now() < due:
            called = loop.create_future()
            loop.call_later(due - clock.now(), called.set_result, None)
            loop.call_soon(int)  # while something is ready, time does not jump
            await called
            calls += 1
            assert calls < 10, "time stands still"


def test_a_run_whose_timer_is_due_at_the_next_tick_goes_on() -> None:
    testing.run(play(619, [testing.Crash(14, "before")], (619, 1), linger_s=0.0, resident=0, pace_s=1.0))
