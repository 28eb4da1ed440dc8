"""The same flows, embedded and on a Temporal server: the same results under the same keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

pytest.importorskip("temporalio", reason="the extra `temporal` is not installed")

from temporalio.client import Client
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from segue import Engine, Flow, RunFailed
from segue.core.codec import loads
from segue.core.events import DELIVERED, EventType
from tests.temporal import face, flows
from tests.temporal.far_side import FlowRun

SAID = DELIVERED | {
    EventType.ATTEMPT_FAILED,
    EventType.CHILD_STARTED,
    EventType.SIGNAL_REJECTED,
    EventType.STEP_CANCELLED,
    EventType.TIMER_SET,
}
"""What both runtimes write. Who owns a run, and whether it is parked, is each one's own matter."""

Told = list[tuple[str, Any]]
Journal = list[tuple[str, str | None, int | None, Any]]
```
