"""A room for your own tests: a virtual clock, the engine in memory, crashes on demand. It stands beside the house.

    @testing.simulated
    async def test_the_reminder_goes_out_after_a_day() -> None:
        async with testing.Engine() as engine:
            assert await engine.run(remind, "Ada") == "sent"       # sleeps a day; takes a millisecond

    def test_paying_survives_any_crash() -> None:
        testing.crash_everywhere(lambda engine: engine.run(pay, "order-7", id="pay-7"), check=paid_once)

What runs here is the engine that ships, over SQLite in memory. Nothing in it is mocked but time.
"""

from .crash import Crash, crash_everywhere, play
from .engine import Died, Engine
from .loop import Stalled, VirtualClock, VirtualLoop, hold, run, simulated

__all__ = [
    "Crash", "Died", "Engine", "Stalled", "VirtualClock", "VirtualLoop", "crash_everywhere", "hold", "play", "run",
    "simulated",
]  # fmt: skip
