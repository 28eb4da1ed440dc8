"""Settings, read from the environment once, at the edge."""

from __future__ import annotations

import os
from dataclasses import dataclass

DEFAULT_DATABASE = "segue.db"
DEFAULT_CONFIG = "segue.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineOptions:
    """How an engine runs. The defaults are safe; times are seconds."""

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


def database_from_environment() -> str:
    """The database that the command line uses: SEGUE_DB, else segue.db in this folder."""
    return os.environ.get("SEGUE_DB", DEFAULT_DATABASE)


def config_from_environment() -> str | None:
    """The configuration file that SEGUE_CONFIG names. None: segue.toml in this folder, if it is there."""
    return os.environ.get("SEGUE_CONFIG") or None
