"""Settings, read from the environment once, at the edge."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

from .errors import InputError

DEFAULT_DATABASE = "segue.db"
DEFAULT_CONFIG = "segue.toml"
_LEAST = {"capacity": 1, "resident": 0, "crash_limit": 1, "step_threads": 1}
"""Of whole numbers."""
_MAY_BE_NONE_AT_ALL = frozenset({"linger_s", "lock_timeout_s"})
"""Of seconds: those that may be 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineOptions:
    """How an engine runs. The defaults are safe; times are seconds. Raises InputError for a value that cannot be."""

    capacity: int = 1000
    """Runs in memory at once. More are accepted and queue."""
    resident: int = 256
    """Runs among them that only wait; older ones are parked: only the journal has them."""
    linger_s: float = 1.0
    """How long a waiting run stays in memory."""
    heartbeat_s: float = 10.0
    """After this time without a heartbeat a process is taken for hung, and its runs are taken over."""
    tick_s: float = 0.25
    """How often to look for the runs of dead processes, and for work that nobody rang for."""
    lock_timeout_s: float = 5.0
    """How long to wait for a file that another program holds locked."""
    crash_limit: int = 5
    """After so many starts without progress a run is set aside: it seems to end its process."""
    step_threads: int = 32
    """Threads for steps that are plain functions."""
    recover: bool = True
    """Whether to take up runs that nobody has: queued ones, those of dead processes, timers that are due."""

    paused: bool = False
    """Whether to pause the whole engine, in all processes, before anything is taken up, until `engine.resume()`."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            _check(name, getattr(self, name), int, least, f"a whole number from {least}")
        for name in (n for n in self.__dataclass_fields__ if n.endswith("_s")):
            if name in _MAY_BE_NONE_AT_ALL:
                _check(name, getattr(self, name), (int, float), 0.0, "a number of seconds from 0")
            else:
                _check(name, getattr(self, name), (int, float), math.ulp(0.0), "a number of seconds greater than 0")


def _check(name: str, value: Any, kind: type | tuple[type, ...], least: float, wanted: str) -> None:
    if isinstance(value, bool) or not isinstance(value, kind) or not least <= value < math.inf:
        raise InputError(
            f"Engine({name}={value!r}): this must be {wanted}", remedy=f"leave {name} out, or give {wanted}"
        )


def database_from_environment() -> str:
    """The database that the command line uses: SEGUE_DB, else segue.db in this folder."""
    return os.environ.get("SEGUE_DB", DEFAULT_DATABASE)


def database_option(given: str) -> list[str]:
    """What names the database that a command was given, as it was given: nothing for the one that it uses by itself."""
    return [] if given == database_from_environment() else ["--db", given]


def config_option(given: str | None) -> list[str]:
    """What names the configuration file that a command was given: nothing for the one that it uses by itself."""
    return [] if given in (None, config_from_environment()) else ["--config", str(given)]


def database_words(path: str) -> list[str]:
    """What names a database in a command to copy: nothing where that is the one that the command line uses by itself,
    or none that has a file.
    """
    if not os.path.isabs(path) or path == os.path.abspath(database_from_environment()):
        return []
    near = os.path.relpath(path) if path.startswith(os.path.join(os.getcwd(), "")) else path
    return ["--db", near]


def config_from_environment() -> str | None:
    """The configuration file that SEGUE_CONFIG names. None: segue.toml in this folder, if it is there."""
    return os.environ.get("SEGUE_CONFIG") or None
