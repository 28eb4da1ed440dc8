"""A terminal for each test; whatever it has started ends with the test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    yield made
    for started in made.started:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
