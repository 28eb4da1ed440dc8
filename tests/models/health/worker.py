"""A process of its own that uses a file of health. `python -m tests.models.health.worker COMMAND PATH ...`.

`hold N`: take N places of a model with N, say so, and wait to be killed. `rush SECONDS LIMITS`: take and give back as
fast as it goes, and print when each call was let through, began and ended. `probe N`: ask N times, and print how many
places it got.
"""

from __future__ import annotations

import json
import os
import sys
import time

from segue.models.health import Health, Place
from tests.models.health.pools import Clock, Limits, Model, single

FASTER = 60.0
"""A minute passes in a second: what counts is that all processes have the same clock."""


def fast_clock() -> float:
    return time.monotonic() * FASTER


def hold(path: str, number: str, now: str) -> None:
    clock = Clock(float(now))
    health = Health(path, clock=clock)
    got = [health.try_acquire(single(concurrency=int(number)), 10) for _ in range(int(number))]
    print(sum(isinstance(p, Place) for p in got), flush=True)
    for line in sys.stdin:
        if line.startswith("release at "):
            clock.now = float(line.split()[2])
            for each in got:
                if isinstance(each, Place):
                    health.release(each, None, 1.0, 10)
            print("released", flush=True)


def rush(path: str, seconds: str, limits: str) -> None:
    model = Model(limits=Limits(**json.loads(limits)))
    health = Health(path, clock=fast_clock)
    print("ready", flush=True)
    sys.stdin.readline()
    until = time.monotonic() + float(seconds)
    calls: list[tuple[float, float, float]] = []
    held: list[tuple[Place, float]] = []
    while time.monotonic() < until:
        got = health.try_acquire(model, 10)
        if isinstance(got, Place):
            held.append((got, fast_clock()))
        if held and (len(held) > 2 or isinstance(got, Place)):
            place, began = held.pop(0)
            calls.append((place.began, began, fast_clock()))
            health.release(place, None, 0.01, 10)
        elif not isinstance(got, Place):
            time.sleep(0.0005)
    for place, began in held:
        calls.append((place.began, began, fast_clock()))
        health.release(place, None, 0.01, 10)
    print(json.dumps(calls), flush=True)


def probe(path: str, number: str, now: str) -> None:
    health = Health(path, clock=Clock(float(now)))
    print("ready", flush=True)
    sys.stdin.readline()
    got = [health.try_acquire(single(), 10) for _ in range(int(number))]
    print(sum(isinstance(p, Place) for p in got), flush=True)
    sys.stdin.readline()


def fork(path: str, now: str) -> None:
    """What a forked child may do: it holds nothing of its parent's, and its end is not its parent's."""
    health, model = Health(path, clock=Clock(float(now))), single(concurrency=3)
    place = health.try_acquire(model, 10)
    assert isinstance(place, Place)
    child = os.fork()
    if child == 0:
        health.release(place, None, 1.0, 10)
        health.try_acquire(model, 10)
        os._exit(0)
    os.waitpid(child, 0)
    got = [health.try_acquire(model, 10) for _ in range(3)]
    print(sum(isinstance(p, Place) for p in got), flush=True)


if __name__ == "__main__":
    {"hold": hold, "rush": rush, "probe": probe, "fork": fork}[sys.argv[1]](*sys.argv[2:])
