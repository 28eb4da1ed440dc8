"""What the repository holds: it runs from a clean clone on any machine."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.house import scan


def listed(*options: str) -> list[Path]:
    """The files that `git ls-files` names; skips where git knows no checkout."""
    git = subprocess.run(
        ["git", "ls-files", "-z", *options], cwd=scan.ROOT, capture_output=True, text=True, check=False
    )
    if git.returncode:
        pytest.skip(git.stderr)
    return [scan.ROOT / name for name in git.stdout.split("\0") if (scan.ROOT / name).is_file()]


def tracked() -> list[Path]:
    """All files that git holds, and those in our folders that it would take; a stray log at the root is neither."""
    untracked = listed("--others", "--exclude-standard")
    return [*listed(), *(path for path in untracked if path.parent != scan.ROOT)]


def text(path: Path) -> str:
    """The file's text, empty for a binary."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def test_no_file_names_a_place_on_one_machine() -> None:
    found = {str(path.relative_to(scan.ROOT)): scan.machine_places(text(path)) for path in tracked()}
    assert {name: places for name, places in found.items() if places} == {}


def test_ci_can_be_executed() -> None:
    assert os.access(scan.ROOT / ".ci" / "run", os.X_OK)


def test_every_target_of_the_makefile_is_explained() -> None:
    makefile = (scan.ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split())
    assert targets == set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))
