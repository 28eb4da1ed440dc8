"""Who follows a run hears when its file is no longer the one that is written to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from segue.cli import following
from segue.errors import StoreError, StoreMissing
from segue.journal import Journal
from segue.journal.connect import connect


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a run that waits."""
    made = tmp_path / "folder" / "x.db"
    made.parent.mkdir()
    with closing(connect(str(made))) as database:
        database.execute(
            "insert into runs (id, tenant, flow, version, input_hash, seed, state, created_at, updated_at)"
            " values ('r', 'd', 'm:f', 1, '', '', 'parked', 1, 1)"
        )
    return made


def _follow(path: Path, happens: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow the run, and let something happen between the first two looks."""
    looks: list[float] = []

    def passes(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 1:
            happens()
        assert len(looks) < 5, "it goes on with a file that nobody writes to any more"

    monkeypatch.setattr(following.time, "sleep", passes)
    with Journal.open_readonly(str(path)) as reader:
        list(following._tail(reader, reader.get("r"), 0, True))  # pyright: ignore[reportPrivateUsage]  the command never ends


def test_a_file_that_is_replaced_by_its_copy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replaced() -> None:
        shutil.copy(path, path.parent / "copy")
        os.replace(path.parent / "copy", path)

    with pytest.raises(StoreMissing, match="moved, deleted or replaced"):
        _follow(path, replaced, monkeypatch)


def test_a_file_that_is_moved(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreMissing, match="moved, deleted or replaced"):
        _follow(path, lambda: path.rename(path.parent / "y.db"), monkeypatch)


def test_a_file_that_can_no_longer_be_seen(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shut(_: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(StoreError, match="can no longer be seen"):
        _follow(path, lambda: monkeypatch.setattr(os, "stat", shut), monkeypatch)
