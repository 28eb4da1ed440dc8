"""A file is one idea, a function fits on a screen, a name says what a thing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import scan

FILE_LINES = 400
FUNCTION_LINES = 60

each_source = pytest.mark.parametrize("path", scan.sources(), ids=lambda path: path.relative_to(scan.SRC).as_posix())


@each_source
def test_files_and_functions_are_short(path: Path) -> None:
    code = path.read_text(encoding="utf-8")
    lines = len(code.splitlines())
    assert lines <= FILE_LINES
    assert scan.long_functions(code, FUNCTION_LINES) == []


@each_source
def test_no_except_is_bare(path: Path) -> None:
    assert scan.bare_excepts(path.read_text(encoding="utf-8")) == []


@each_source
def test_classes_and_modules_are_named_for_what_they_are(path: Path) -> None:
    assert scan.poor_class_names(path.read_text(encoding="utf-8")) == []
    assert not scan.POOR_NAMES.search(path.stem.title())
