"""The help of the commands, as a terminal shows it and as the reference prints it. It needs no drawing library."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from .outputs import columns

COMMON = "Common"
_WIDTH_MAX = 100


class Entry(NamedTuple):
    """One argument, option or command, and what it is."""

    name: str
    says: str


class Command(TyperCommand):
    """A command with its own help page."""

    def get_help(self, ctx: Any) -> str:
        """The page of this command."""
        sections = [("Arguments", arguments(self)), ("Options", options(self)), (COMMON, options(self, common=True))]
        return _page(usage(self), inspect.cleandoc(self.help or ""), sections, "")


class Commands(TyperGroup):
    """All commands, by what they are for."""

    def get_help(self, ctx: Any) -> str:
        """The first page."""
        sections = [(panel, [Entry(c.name or "", first_line(c)) for c in found]) for panel, found in self.panels()]
        own = [_option(p) for p in self.params if isinstance(p, TyperOption) and p.name != "help"]
        sections.append(("Options", [*own, Entry("-h, --help", "Show this, or with a command what it takes.")]))
        return _page("segue COMMAND", inspect.cleandoc(self.help or ""), sections, self.epilog or "")

    def panels(self) -> Iterator[tuple[str, list[Command]]]:
        """The commands by panel, both in the order in which they were registered."""
        panels: dict[str, list[Command]] = {}
        for command in self.commands.values():
            assert isinstance(command, Command)
            panels.setdefault(str(command.rich_help_panel), []).append(command)
        yield from panels.items()


def usage(command: Command) -> str:
    """`segue show RUN [KEY] [options]`."""
    words = [a.display_name_raw if a.required else f"[{a.display_name_raw}]" for a in _arguments(command)]
    words += [_option(p).name for p in command.params if isinstance(p, TyperOption) and p.required]
    return " ".join(["segue", command.name or "", *words, "[options]"])


def first_line(command: Command) -> str:
    """What a command does, in a few words."""
    return inspect.cleandoc(command.help or "").partition("\n")[0]


def arguments(command: Command) -> list[Entry]:
    """A command's arguments."""
    return [Entry(str(a.display_name_raw), a.help or "") for a in _arguments(command)]


def options(command: Command, *, common: bool = False) -> list[Entry]:
    """A command's own options, or those that all commands have."""
    found = [p for p in command.params if isinstance(p, TyperOption) and (p.rich_help_panel == COMMON) is common]
    return [_option(p) for p in found if not p.hidden]


def _arguments(command: Command) -> list[TyperArgument]:
    return [p for p in command.params if isinstance(p, TyperArgument)]


def _option(option: TyperOption) -> Entry:
    names = ", ".join(sorted(option.opts, key=len))
    value = "" if option.is_flag else f" {option.metavar or (option.name or '').upper()}"
    notes = [str(option.envvar)] if option.envvar else []
    default: Any = option.default
    if isinstance(option.show_default, str):
        notes.append(f"default: {option.show_default}")
    elif option.show_default and not option.is_flag and default not in (None, "", []) and not callable(default):
        notes.append(f"default: {default:g}" if isinstance(default, float) else f"default: {default}")
    return Entry(names + value, (option.help or "") + (f" [{'; '.join(notes)}]" if notes else ""))


def _page(head: str, text: str, sections: Iterable[tuple[str, list[Entry]]], epilog: str) -> str:
    width = min(_WIDTH_MAX, columns())
    bold = sys.stdout.isatty()
    lines = [f"Usage: {head}", "", *_paragraphs(text, width)]
    filled = [(name, entries) for name, entries in sections if entries]
    column = min(28, max((len(e.name) for _, entries in filled for e in entries), default=0)) + 4
    for name, entries in filled:
        lines += ["", typer.style(name, bold=True) if bold else name]
        for entry in entries:
            lines += _entry(entry, column, width)
    return "\n".join([*lines, *(["", *_paragraphs(epilog, width)] if epilog else []), ""])


def _entry(entry: Entry, column: int, width: int) -> list[str]:
    body = textwrap.wrap(entry.says, width - column) or [""]
    head = f"  {entry.name}"
    if len(head) + 2 > column:
        return [head, *(" " * column + line for line in body)]
    return [f"{head:<{column}}{body[0]}".rstrip(), *(" " * column + line for line in body[1:])]


def _paragraphs(text: str, width: int) -> list[str]:
    made: list[str] = []
    for paragraph in text.split("\n\n"):
        made += ["", *textwrap.wrap(paragraph, width)]
    return made[1:]
