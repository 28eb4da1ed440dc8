"""What the commands draw with: two consoles, a few colours, one look for errors and hints."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from .faults import ImportFailed, import_trace, known, whole_trace
from .outputs import columns
from .waits import Advice
from .words import harmless, printable

PIPE_WIDTH = 4000
"""Columns where nobody looks: nothing is cut."""

OF_STATE: dict[str, tuple[str, str]] = {
    "completed": ("✓", "green"),
    "done": ("✓", "green"),
    "ok": ("✓", "green"),
    "orphaned": ("✓", "yellow"),
    "unsure": ("?", "yellow"),
    "failed": ("✗", "red"),
    "fails": ("✗", "red"),
    "mismatch": ("✗", "red"),
    "undecodable": ("✗", "red"),
    "unknown flow": ("?", "yellow"),
    "stuck": ("!", "bold red"),
    "running": ("●", "cyan"),
    "queued": ("·", "cyan"),
    "retrying": ("↻", "yellow"),
    "asking": ("?", "yellow"),
    "no worker": ("?", "bold red"),
    "parked": ("○", "yellow"),
    "waiting": ("○", "yellow"),
    "paused": ("‖", "yellow"),
    "interrupted": ("◌", "yellow"),
    "cancelled": ("–", "dim"),
}


def out() -> Console:
    """Where results go: to the stdout of now, whatever is redirected later."""
    file = sys.stdout
    width = columns() if file.isatty() else PIPE_WIDTH
    return Console(file=file, highlight=False, markup=False, emoji=False, width=width)


def err() -> Console:
    """Where everything else goes."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        return console
    return Console(stderr=True, highlight=False, markup=False, emoji=False, width=PIPE_WIDTH)


class Copyable:
    """A command to copy: never cut or folded by us. What it is for stands behind it as a shell's comment."""

    def __init__(self, command: str, why: str = "", width: int = 0):
        self.command, self.why, self.width = command, why, width

    def lines(self, width: int) -> list[Text]:
        """One line where both fit, else two."""
        command, why = Text(f"  {self.command}", "bold"), Text(f"  # {self.why}", "dim")
        if not self.why:
            return [command]
        if max(len(command), self.width + 2) + len(why) <= width:
            return [command.append(" " * (self.width - len(self.command))).append_text(why)]
        return [why, command]


Drawn = RenderableType | Copyable


class Harmless:
    """Draws something without the control characters that user data may hold: they would steer the terminal."""

    def __init__(self, drawn: RenderableType):
        self.drawn = drawn

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich asks for this."""
        for segment in console.render(self.drawn, options):
            yield Segment(harmless(segment.text), segment.style, segment.control)


def emit(console: Console, *drawn: Drawn) -> None:
    """Print; where nobody looks, without the spaces that fill a terminal's lines."""
    if console.is_terminal:
        _print(console, drawn)
        return
    with console.capture() as caught:
        _print(console, drawn)
    console.file.write("".join(line.rstrip() + "\n" for line in caught.get().splitlines()))
    console.file.flush()


def _print(console: Console, drawn: Iterable[Drawn]) -> None:
    for one in drawn:
        if not isinstance(one, Copyable):
            console.print(Harmless(one))
            continue
        for line in one.lines(console.width):
            console.print(line, soft_wrap=True)


def glyph(state: str) -> Text:
    """The sign of a state, in its colour."""
    sign, style = OF_STATE.get(state, ("·", "dim"))
    return Text(sign, style)


def stated(state: str) -> Text:
    """A state with its sign."""
    sign, style = OF_STATE.get(state, ("·", "dim"))
    return Text(f"{sign} {state}", style)


def pairs(rows: Iterable[tuple[str, RenderableType]], indent: int = 0) -> RenderableType:
    """Names and what belongs to them, two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, told in rows:
        table.add_row(name, told)
    return Padding(table, (0, 0, 0, indent), expand=False)


def advised(advice: Iterable[Advice]) -> list[Drawn]:
    """What holds a run up, each with the commands that help."""
    drawn: list[Drawn] = []
    for one in advice:
        drawn.append(Text(one.says))
        widest = max((len(command) for command, _ in one.do), default=0)
        drawn += [Copyable(command, why, widest) for command, why in one.do]
    return drawn


def failure(error: BaseException) -> list[Drawn]:
    """An error in two or three lines: what, where, and what to do."""
    of = known(error)
    head = Text("✗ ", "red").append(of.message.strip().replace("\n", "\n  "), "default")
    rows: list[tuple[str, RenderableType]] = []
    run = "" if of.run is None or of.message.startswith(f"no run {of.run!r}") else f"run {of.run}"
    place = " ".join(p for p in (run, of.key) if p)
    if place:
        rows.append(("at", Text(printable(place))))
    if of.remedy:
        rows.append(("do", Text(of.remedy)))
    return [head, pairs(rows, 2)] if rows else [head]


def complain(error: BaseException, *, debug: bool = False) -> None:
    """Print an error on stderr: with every frame of its traceback under `debug`, else with the user's own, if any."""
    console = err()
    trace = whole_trace(error) if debug else import_trace(error) if isinstance(error, ImportFailed) else ""
    if trace:
        emit(console, Text(trace.rstrip(), "dim"), "")
    emit(console, *failure(error))


def warn(text: str) -> None:
    """One line on stderr."""
    emit(err(), Text(text, "yellow"))


def tell(*drawn: Drawn) -> None:
    """What is no result: on stderr."""
    emit(err(), *drawn)
