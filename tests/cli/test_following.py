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
        database.execute(
            "insert into events (run, seq, epoch, at, type, version, args) values (1, 1, 0, 1, 'run.accepted', 1, '{}')"
        )
    return made


def _follow(path: Path, happens: Callable[[pytest.MonkeyPatch], object]) -> None:
    """Follow the run, and let something happen between the first two looks."""
    with pytest.MonkeyPatch.context() as patch:
        _follow_in(patch, path, happens)


def _follow_in(patch: pytest.MonkeyPatch, path: Path, happens: Callable[[pytest.MonkeyPatch], object]) -> None:
    looks: list[float] = []

    def passes(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 1:
            happens(patch)
        assert len(looks) < 5, "it goes on with a file that nobody writes to any more"

    patch.setattr(following.time, "sleep", passes)
    with Journal.open_readonly(str(path)) as reader:
        list(following._tail(reader, reader.get("r"), 0, True))  # pyright: ignore[reportPrivateUsage]  the command never ends


def test_a_file_that_is_replaced_by_its_copy(path: Path) -> None:
    def replaced(_: object) -> None:
        shutil.copy(path, path.parent / "copy")
        os.replace(path.parent / "copy", path)

    with pytest.raises(StoreMissing, match="moved, deleted or replaced"):
        _follow(path, replaced)


def test_a_file_that_is_moved(path: Path) -> None:
    with pytest.raises(StoreMissing, match="moved, deleted or replaced"):
        _follow(path, lambda _: path.rename(path.parent / "y.db"))


def test_a_file_that_can_no_longer_be_seen(path: Path) -> None:
    def shut(*_: object, **__: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(StoreError, match="can no longer be seen"):
        _follow(path, lambda patch: patch.setattr(os, "stat", shut))
