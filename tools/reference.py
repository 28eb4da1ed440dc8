"""Writes docs/reference/cli.md, config.md and errors.md from the code: `python -m tools.reference`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType

from typer.main import get_command

from segue import config, errors
from segue.cli import manual
from segue.cli.app import app
from segue.cli.exits import MEANING, exit_of
from segue.cli.manual import Command, Commands, Entry
from segue.models.batches import rules
from segue.models.reading import TABLES

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
NOTE = "*Generated from `{}` by `python -m tools.reference`; do not edit.*\n"

CLI = """`segue` starts runs, shows them, and carries an operator's acts to them. A flow is named `MODULE:FLOW`, as in
Python, or `FILE.py:FLOW`; the current folder is on the import path. A run whose flow was started from a script is
found by its module's name, else by the file that it was started from.

- **Results go to stdout, everything else to stderr.** What flows and steps print goes to stderr too, and so does what
  the programs print that they call. With `--json`, stdout is one JSON document (JSON lines for `events`
  and `watch`), and an error is one JSON object on stderr:
  `{"error": {"code", "message", "run", "key", "remedy", "exit"}}`, also for a command line that cannot be read. What
  is sent to a run (`signal`, `cancel`, `pause`, `override`, `feedback`) gives
  `{"run", "state", "sent", "taken", "attended"}`, a word on a question (`approve`, `deny`, `answer`, `reassign`) also
  `{"id", "key", "done", "by"}`, and `--detach` gives `{"run", "state"}`. Secrets are masked.
- **Looking never starts an engine.** `runs`, `show`, `watch`, `events` and `check` open the database to be read:
  nothing is taken over, nothing is written, and a missing file is an error, not a new database.
- **Ctrl-C suspends**, and so does SIGTERM: what is done is on disk, what was under way is made again by
  `segue resume`. A second one kills, which loses nothing either. Workers of `multiprocessing` end
  with it, but not what these have started.
  Once a run's end is recorded, a signal changes its exit code no more; what nobody reads is waited for a second longer,
  or until a second signal.
- **Whoever reads changes nothing for a run.** What stderr does not take (a pipe that has ended, a full disk) is not
  said, and the run is carried on. The code of `run`, `resume`, `fork` and `watch` is the runs' own also where stdout
  does not take their result (`segue run … | head -0` ends with 0 when the run completed): it is on record, and
  `segue show RUN --json` has it. Any other command ends with 0 once its reader has gone (`segue runs | head`), and with
  8 where stdout is full. A stream that is closed is as `/dev/null`.
- **A KEY may be shortened** to what `segue show` prints, to the step's name, or to any beginning that fits one step.
"""

ENVIRONMENT = (
    Entry("SEGUE_DB", "The database of the command line. Default: `segue.db` in the current folder."),
    Entry("SEGUE_CONFIG", "The file with the models. Default: `segue.toml` in the current folder, if it is there."),
    Entry("SEGUE_BY", "Who acts, for the record of `cancel`, `override` and the like. Default: this user's name."),
    Entry("SEGUE_CACHE", "Where the weights of the local models are kept. Default: `~/.cache/segue`."),
    Entry("NO_COLOR", "When set, the command line uses no colours."),
)


def cli() -> str:
    """The page of the command line."""
    group = get_command(app)
    assert isinstance(group, Commands)
    parts = ["# Command line\n", NOTE.format("segue.cli"), CLI, "## Exit codes\n", *_exit_codes(), "## Commands\n"]
    for panel, commands in group.panels():
        parts.append(f"**{panel}:** " + ", ".join(f"[`{c.name}`](#segue-{c.name})" for c in commands) + "\n")
    for _, commands in group.panels():
        parts += [_command(c) for c in commands]
    first = next(c for _, commands in group.panels() for c in commands)
    parts += ["## Options of every command\n", _table("option", manual.options(first, common=True))]
    return "\n".join(parts)


def _exit_codes() -> Iterator[str]:
    yield "| code | name | means |\n| --- | --- | --- |"
    yield "\n".join(f"| {c.value} | {c.name.lower()} | {says} |" for c, says in MEANING.items()) + "\n"


def _command(command: Command) -> str:
    lines = [f"### segue {command.name}\n", f"```\n{manual.usage(command)}\n```\n"]
    lines.append(inspect.cleandoc(command.help or "") + "\n")
    if manual.arguments(command):
        lines.append(_table("argument", manual.arguments(command)))
    if manual.options(command):
        lines.append(_table("option", manual.options(command)))
    return "\n".join(lines)


def _table(head: str, entries: Iterable[Entry]) -> str:
    rows = [f"| `{_cell(e.name)}` | {_cell(e.says)} |" for e in entries]
    return "\n".join([f"| {head} | |", "| --- | --- |", *rows]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def settings() -> str:
    """The page of the settings."""
    rows = [
        f"| `{name}` | `{kind}` | `{default}` | {_cell(doc)} |"
        for name, kind, default, doc in _fields(config, "EngineOptions")
    ]
    table = ["| option | type | default | |", "| --- | --- | --- | --- |", *rows]
    environment = ["| variable | |", "| --- | --- |", *(f"| `{e.name}` | {e.says} |" for e in ENVIRONMENT)]
    how = (
        '`Engine("segue.db", capacity=200)`, or `Engine("segue.db", options=EngineOptions(capacity=200))`. Times are '
        "seconds.\n"
    )
    parts = ["# Configuration\n", NOTE.format("segue.config"), "## Engine\n", how, "\n".join(table) + "\n"]
    return "\n".join([*parts, "## Environment\n", "\n".join(environment) + "\n", *_file()])


_PAGES = {
    "models": "models", "routes": "routing", "budgets": "budgets", "prompts": "prompts", "guards": "guards",
    "batches": "batches",
}  # fmt: skip


def _file() -> list[str]:
    """The tables of the file, and the keys of the one that is no table of tables."""
    tables = [
        "| table | |",
        "| --- | --- |",
        *(f"| `[{name}]` | [{_PAGES[name]}](../{_PAGES[name]}.md) |" for name in TABLES),
    ]
    keys = ["| `[batches]` | type | default | |", "| --- | --- | --- | --- |"]
    keys += [
        f"| `{n}` | `{_cell(kind)}` | `{default}` | {_cell(says)} |"
        for n, kind, default, says in _fields(rules, "BatchRules")
    ]
    return ["## The file\n", "\n".join(tables) + "\n", "\n".join(keys) + "\n"]


def _fields(module: ModuleType, name: str) -> Iterator[tuple[str, str, str, str]]:
    """The fields of a class in order, each with the docstring that stands under it."""
    (made,) = (n for n in _tree(module).body if isinstance(n, ast.ClassDef) and n.name == name)
    for node, after in zip(made.body, [*made.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            assert isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant), (
                f"{node.target.id}: no docstring"
            )
            yield node.target.id, ast.unparse(node.annotation), ast.unparse(node.value), str(after.value.value)


def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def error_tree() -> str:
    """The page of the errors."""
    drawing = inspect.cleandoc(errors.__doc__ or "").partition("\n\n")[2].partition("\n\n`Suspended`")[0]
    text = (
        "Every error of Segue is a `SegueError` with a stable `code`, and says `run` and `key` (the place) and\n"
        "`remedy` (the next thing to do). The command line prints the three, and ends with the code under *exit*.\n"
    )
    parts = ["# Errors\n", NOTE.format("segue.errors"), text, f"```\n{drawing}\n```\n"]
    parts.append("| error | code | exit | |\n| --- | --- | --- | --- |")
    for kind in _kinds(errors.SegueError):
        says = " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())
        exits = exit_of(kind.__new__(kind))
        parts.append(f"| `{kind.__name__}` | `{kind.code}` | {exits.value} | {_cell(says)} |")
    return "\n".join(parts) + "\n"


def _kinds(kind: type[errors.SegueError]) -> Iterator[type[errors.SegueError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _kinds(below)


PAGES: dict[str, Callable[[], str]] = {"cli.md": cli, "config.md": settings, "errors.md": error_tree}


def main() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
