"""A command in a remedy is copied into a shell: it names the database, and is quoted, as `core.shell.command` does."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.cli.app import app
from tests.house import scan

NAMES = frozenset(str(command.name) for command in app.registered_commands)

each_source = pytest.mark.parametrize("path", scan.sources(), ids=lambda path: path.relative_to(scan.SRC).as_posix())


@each_source
def test_no_command_is_written_by_hand(path: Path) -> None:
    assert scan.commands_by_hand(path.read_text(encoding="utf-8"), NAMES) == []


def test_what_is_found() -> None:
    code = '''
"""See segue show RUN."""
def f(x): """segue runs lists them."""
raise E("no", remedy=f"list them: segue runs {x}")
raise E("no", remedy="see segue show --help, or segue nothing")
Option("--x", help="as segue inbox has it")
'''
    assert scan.commands_by_hand(code, frozenset({"runs", "show", "inbox"})) == ["4: list them: segue runs "]
