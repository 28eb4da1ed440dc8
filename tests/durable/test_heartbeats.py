"""A process is judged by the heartbeat that it has promised, not by that of whoever looks."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from segue.journal.owners import Owner
from tests.durable import places


def test_a_slow_heart_is_not_a_stopped_one(tmp_path: Path) -> None:
    slow, quick = Owner(tmp_path, 10.0), Owner(tmp_path, 0.05)
    try:
        slow.beat()
        assert quick.alive(slow.id)
        time.sleep(0.2)
        assert quick.alive(slow.id), "it has promised to beat every ten seconds"
        assert slow.alive(quick.id)
        time.sleep(0.2)
        assert not slow.alive(quick.id), "it has promised to beat every 0.05 s"
    finally:
        slow.close()
        quick.close()


def test_the_time_that_one_stood_still_itself_does_not_count(tmp_path: Path) -> None:
    looks, beats = Owner(tmp_path, 10.0), Owner(tmp_path, 0.3)
    try:
        assert looks.alive(beats.id)
        time.sleep(0.5)
        looks.looked_away(0.5)
        assert looks.alive(beats.id), "it may have stood still with it"
        time.sleep(0.4)
        assert not looks.alive(beats.id)
    finally:
        looks.close()
        beats.close()


@pytest.mark.parametrize("blocks_s", [0.1, 0.35])
def test_one_that_is_busy_all_the_time_still_finds_who_hangs(tmp_path: Path, blocks_s: float) -> None:
    looks, beats = Owner(tmp_path, 10.0), Owner(tmp_path, 0.6)
    try:
        assert looks.alive(beats.id)
        for _ in range(round(1.1 / blocks_s)):
            time.sleep(blocks_s)
            looks.looked_away(blocks_s)
            looks.alive(beats.id)
        assert not looks.alive(beats.id)
    finally:
        looks.close()
        beats.close()


def test_who_may_open_no_more_files_goes_by_no_heartbeat_of_its_own(tmp_path: Path) -> None:
    slow, quick = Owner(tmp_path, 10.0), Owner(tmp_path, 0.05)
    try:
        slow.beat()
        assert quick.alive(slow.id)
        time.sleep(0.2)
        with places.no_more_files():
            assert quick.alive(slow.id), "what it has promised cannot be read"
    finally:
        slow.close()
        quick.close()
