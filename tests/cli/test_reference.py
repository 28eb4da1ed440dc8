"""The reference says what the code does: every command, option, exit code, setting and error."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from typer.main import get_command

from segue import errors
from segue.cli import acts, commands, manual
from segue.cli.app import app
from segue.cli.exits import MEANING, Exit, exit_of
from segue.cli.manual import Command, Commands
from segue.config import EngineOptions
from tools import reference


def registered() -> Iterator[Command]:
    group = get_command(app)
    assert isinstance(group, Commands)
    for _, found in group.panels():
        yield from found


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    written = (reference.FOLDER / name).read_text(encoding="utf-8")
    assert written == reference.PAGES[name](), "write it anew: python -m tools.reference"


@pytest.mark.parametrize("command", list(registered()), ids=lambda c: c.name)
def test_a_command_and_all_its_options_are_in_the_reference(command: Command) -> None:
    page = (reference.FOLDER / "cli.md").read_text(encoding="utf-8")
    section = re.search(rf"^### segue {command.name}\n(.*?)(?=^##)", page, re.MULTILINE | re.DOTALL)
    assert section is not None, f"segue {command.name} is not documented"
    text = section[1] + page[page.index("## Options of every command") :]
    for param in command.params:
        for option in param.opts if param.param_type_name == "option" else [str(param.metavar)]:
            assert option == "--help" or f"`{option}" in text or f", {option}" in text, f"{option} is not documented"


def test_every_command_has_the_common_options_and_a_help_of_its_own() -> None:
    for command in registered():
        options = {o for p in command.params for o in p.opts}
        assert {"--db", "--json", "--debug"} <= options, command.name
        assert len(manual.first_line(command)) < 62 and (command.help or "").strip()
        assert all(e.says for e in [*manual.arguments(command), *manual.options(command)]), command.name
    assert {commands.run.__name__, acts.gc.__name__} <= {c.name for c in registered()}


def test_every_exit_code_means_something() -> None:
    assert list(MEANING) == list(Exit)
    page = (reference.FOLDER / "cli.md").read_text(encoding="utf-8")
    assert all(f"| {code.value} | {code.name.lower()} |" in page for code in Exit)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InputError, 2), (errors.DuplicateRun, 2), (errors.RunEnded, 2), (errors.UnknownRun, 6),
        (errors.UnknownFlow, 6), (errors.RunFailed, 1), (errors.RunCancelled, 4), (errors.CrashLoop, 3),
        (errors.StoreMissing, 5), (errors.StoreLocked, 5), (errors.InternalError, 70), (KeyError, 70),
    ],
)  # fmt: skip
def test_an_error_has_the_code_of_its_branch(error: type[Exception], code: int) -> None:
    assert exit_of(error("x")) == code


def test_every_setting_is_explained() -> None:
    page = (reference.FOLDER / "config.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in EngineOptions.__dataclass_fields__)


def test_every_error_is_drawn_in_the_tree() -> None:
    drawing = errors.__doc__ or ""
    kinds = [k.__name__ for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.SegueError)]
    assert [k for k in kinds if not re.search(rf"\b{k}\b", drawing)] == []
